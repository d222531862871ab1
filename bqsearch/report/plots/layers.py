"""Bits and bytes of each layer of one point against the baseline."""

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from bqsearch.report import facts, words
from bqsearch.report.facts import Front, Point
from bqsearch.report.plots.canvas import (
    BLUE,
    INK,
    LEFT,
    TRACK,
    VERMILION,
    empty,
    plain,
    plain_frame,
    save,
    short,
    titled,
)

LAYERS = 18  # more bars than this cannot be read in one panel


def layers_png(front: Front, path: str | Path) -> None:
    """Draws the bits that each weight takes, every layer as wide as its bytes in 8 bits; and the bytes of each."""
    figure = titled(front, 12, 5.6)
    left, right = figure.subplots(1, 2, width_ratios=(1.15, 1))
    figure.subplots_adjust(left=LEFT, right=0.985, top=0.79, bottom=0.12, wspace=0.4)
    shown = facts.shown_point(front)
    if shown is None:
        empty(left, "No point on the front")
        right.set_axis_off()
    else:
        _bits_panel(left, front, shown)
        layer_panel(right, front, shown)
    save(figure, path)


def _bits_panel(axes: Axes, front: Front, shown: Point) -> None:
    start = {layer["name"]: layer["bits_per_weight"] for layer in front["baseline"]["layers"]}
    widths = [layer["weights"] for layer in shown["layers"]]
    bits = [layer["bits_per_weight"] for layer in shown["layers"]]
    before = [start.get(layer["name"], 8.0) for layer in shown["layers"]]
    lefts = [sum(widths[:index]) for index in range(len(widths))]
    edges: dict[str, Any] = {"align": "edge", "edgecolor": "white", "linewidth": 0.2}
    colors = [VERMILION if now > then else BLUE for now, then in zip(bits, before, strict=True)]
    axes.bar(lefts, before, widths, color=TRACK, label="baseline", **edges)
    axes.bar(lefts, bits, widths, color=colors, label=f"point {shown['id']}", **edges)
    axes.set_xlim(0, max(1, sum(widths)))
    axes.set_ylim(0, 1.04 * max([8.0, *bits]))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: words.short_size(value)))
    axes.set_title("Bits per weight, layers in order", loc="left", fontsize=11, color=INK, pad=10)
    axes.set_xlabel("Weights so far, bytes at 8 bits", color=INK)
    axes.set_ylabel("Bits per weight", color=INK)
    plain_frame(axes)
    _legend(axes)


def layer_panel(axes: Axes, front: Front, shown: Point) -> None:
    """Pairs of bars: what each large layer weighs in the baseline, and what it weighs in the shown point."""
    rows = _layer_rows(front, shown)
    spots = range(len(rows))
    axes.barh([spot - 0.19 for spot in spots], [row[1] for row in rows], 0.36, color=TRACK, label="baseline")
    axes.barh([spot + 0.19 for spot in spots], [row[2] for row in rows], 0.36, color=BLUE, label=f"point {shown['id']}")
    axes.set_yticks(list(spots), [plain(short(row[0])) for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_title("Weight bytes of each layer", loc="left", fontsize=11, color=INK, pad=10)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: words.short_size(value)))
    plain_frame(axes)
    axes.grid(False, axis="y")
    axes.tick_params(axis="y", labelsize=8 if len(rows) < 14 else 7, length=0)
    _legend(axes)


def _legend(axes: Axes) -> None:
    """On the title's line."""
    axes.legend(loc="lower right", bbox_to_anchor=(1.01, 1.0), ncols=2, fontsize=9, frameon=False)


def _layer_rows(front: Front, shown: Point) -> list[tuple[str, float, float]]:
    """(name, baseline bytes, shown bytes) in the network's order; the small layers are summed into one row."""
    start = {layer["name"]: layer["bytes"] for layer in front["baseline"].get("layers") or front["layers"]}
    rows = [(layer["name"], start.get(layer["name"], layer["weights"]), layer["bytes"]) for layer in shown["layers"]]
    if len(rows) <= LAYERS:
        return rows
    large = sorted(sorted(range(len(rows)), key=lambda index: -rows[index][1])[: LAYERS - 1])
    small = [row for index, row in enumerate(rows) if index not in large]
    rest = (f"{len(small)} smaller layers", sum(row[1] for row in small), sum(row[2] for row in small))
    return [*(rows[index] for index in large), rest]
