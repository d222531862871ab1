"""What stands where in the arena while the network runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter

from bqsearch.report import facts, words
from bqsearch.report.facts import Front, Point
from bqsearch.report.plots.canvas import BLUE, GREEN, INK, LEFT, ORANGE, PURPLE, plain, plain_frame, save, short, titled

LOOKS = {"output": ("output of an operator", BLUE), "input": ("network's input", ORANGE)}
LOOKS |= {"weights": ("decoded weights", GREEN), "scratch": ("scratch of a step", PURPLE)}
NAMED = 3  # pieces that a title has room for

_Piece = Sequence[Any]  # as front.json has it: role, operator, offset, bytes, first step, last step


def memory_png(front: Front, path: str | Path) -> None:
    """Draws the memory plan of the recommended point; of the baseline where the front is empty."""
    shown = facts.shown_point(front) or front["baseline"]
    figure = titled(front, 12, 5.6)
    axes = figure.subplots()
    figure.subplots_adjust(left=LEFT, right=0.985, top=0.76, bottom=0.185)
    _plan(axes, shown)
    whose = f"point {shown['id']}" if "id" in shown else "the baseline"
    axes.set_title(f"Memory plan of {whose}: {_peak_words(front, shown)}", loc="left", fontsize=11, color=INK, pad=24)
    standing = _standing_words(front, shown)
    axes.annotate(standing, (0, 1), (0, 9), "axes fraction", textcoords="offset points", fontsize=9, color="#55606E")
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=max(1, len(labels)), frameon=False, fontsize=9)
    save(figure, path)


def _plan(axes: Axes, shown: Point) -> None:
    memory = shown["memory"]
    named: set[str] = set()
    for piece in memory["pieces"]:
        label, color = LOOKS.get(piece[0], LOOKS["scratch"])
        axes.add_patch(_mark(piece, memory["peak"], color, "" if label in named else label))
        named.add(label)
    peak = memory["peak"]
    axes.axvspan(peak, peak + 1, color=INK, alpha=0.07, linewidth=0, zorder=0)
    axes.axhline(memory["bytes"], color=INK, linewidth=1.1, linestyle=(0, (2, 3)))
    axes.set_xlim(0, max(1, len(memory["steps"])))
    axes.set_ylim(0, 1.06 * max(1, memory["bytes"]))
    axes.set_xlabel("Step", color=INK)
    axes.set_ylabel("Arena, bytes from its start", color=INK)
    every = -(-len(memory["steps"]) // 17)
    axes.set_xticks([step + 0.5 for step in range(0, len(memory["steps"]), every)])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value - 0.5:.0f}"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: words.short_size(value)))
    plain_frame(axes)
    axes.grid(False, axis="x")


def _mark(piece: _Piece, peak: int, color: str, label: str) -> Rectangle:
    """A rectangle over the steps in which a piece stands; full only where it stands at the peak."""
    _, _, offset, nbytes, first, last = piece
    strength = 0.9 if first <= peak <= last else 0.4
    style: dict[str, Any] = {"facecolor": color, "edgecolor": "white", "linewidth": 0.6, "alpha": strength}
    return Rectangle((first, offset), last + 1 - first, nbytes, label=label or "_", **style)


def _peak_words(front: Front, shown: Point) -> str:
    memory = shown["memory"]
    _, _, ops = memory["steps"][memory["peak"]]
    where = f" ({front['operators'][ops[0]]})" if ops else ""
    return plain(f"step {memory['peak']}{where} sets the arena's {words.size(memory['bytes'])}")


def _standing_words(front: Front, shown: Point) -> str:
    """The largest pieces that stand at the peak."""
    peak = shown["memory"]["peak"]
    standing = [piece for piece in shown["memory"]["pieces"] if piece[4] <= peak <= piece[5]]
    standing.sort(key=lambda piece: -int(piece[3]))
    told = [f"{_name(front, piece)} {words.size(piece[3])}" for piece in standing[:NAMED]]
    rest = [f"{len(standing) - NAMED} smaller"] if len(standing) > NAMED else []
    return plain(f"Standing there: {', '.join([*told, *rest])}")


def _name(front: Front, piece: _Piece) -> str:
    role, op = piece[0], piece[1]
    return "the input" if op is None else f"{role} of {short(front['operators'][op])}"
