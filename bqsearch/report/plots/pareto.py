"""The front as a figure for a paper or a pull request."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import Normal, Stroke
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from bqsearch.report import facts, words
from bqsearch.report.facts import Front, Point
from bqsearch.report.plots.canvas import (
    BLUE,
    DPI,
    INK,
    LEFT,
    ORANGE,
    VERMILION,
    empty,
    plain_frame,
    save,
    titled,
    trial_marks,
)
from bqsearch.report.plots.layers import layer_panel
from bqsearch.types import Floats

COSTS = {"flash_bytes": "flash", "ram_bytes": "RAM", "latency_ms": "latency", "energy_mj": "energy"}
UNITS = {"latency_ms": "ms", "energy_mj": "mJ"}  # of the others bytes
WIDE_RANGE = 6.0  # costs that differ by more than this factor are drawn on a logarithmic axis
WINDOW = 10.0  # percentage points below the baseline that are worth drawing
CROWD = 25  # with more points than this the intervals are drawn fainter
OFFSETS = [
    (x, y) for y in (-42, -75, 42, -120, -160, -185) for x in (86, -86, 60, 0, 130, 170)
]  # where a label may stand


def pareto_png(front: Front, path: str | Path) -> None:
    """Draws the quality against flash, and beside it against RAM, or the bytes of each layer where RAM is the same.

    The same front gives the same file, bit for bit.
    """
    figure = titled(front, 12, 5.6)
    left, right = figure.subplots(1, 2, width_ratios=(1.15, 1))
    gap = 0.16 if _ram_varies(front) else 0.4  # the names of the layers stand in the gap
    figure.subplots_adjust(left=LEFT, right=0.985, top=0.79, bottom=0.185, wspace=gap)
    front_panel(left, front, "flash_bytes")
    _second_panel(right, front)
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=max(1, len(labels)), frameon=False, fontsize=9)
    save(figure, path)


def _in_bytes(cost: str) -> bool:
    return cost not in UNITS


def _unit(cost: str) -> str:
    return f", {UNITS[cost]}" if cost in UNITS else ""


def _worded(cost: str, value: float) -> str:
    return words.size(value) if _in_bytes(cost) else f"{words.figure(value)} {UNITS[cost]}"


def _ram_varies(front: Front) -> bool:
    return len({point["ram_bytes"] for point in front["points"]}) > 1


def _second_panel(axes: Axes, front: Front) -> None:
    shown = facts.shown_point(front)
    if _ram_varies(front):
        front_panel(axes, front, "ram_bytes")
    elif shown is not None:
        layer_panel(axes, front, shown)
    else:
        empty(axes, "No point on the front")


def front_panel(axes: Axes, front: Front, cost: str) -> None:
    """Draws the quality against one of `COSTS`."""
    title = COSTS[cost]
    split, quality = facts.shown_split(front), front["quality"]["name"].capitalize()
    key = facts.quality_key(front, split)
    low, high = _quality_window(front, key)
    axes.set_ylim(low, high)
    _cost_axis(axes, front, cost)
    _draw_trials(axes, front, cost, low)
    _draw_limits(axes, front, cost, key)
    _draw_points(axes, front, cost, key)
    _draw_marks(axes, front, cost, key)
    axes.set_title(f"{quality} on the {split} split against {title}", loc="left", fontsize=11, color=INK, pad=10)
    axes.set_ylabel(f"{quality}, %", color=INK)
    axes.set_xlabel(title[0].upper() + title[1:] + _unit(cost), color=INK)
    _note_hidden(axes, front, key, low)
    plain_frame(axes)


def _scale_rows(front: Front) -> list[Point]:
    """The rows that set the scales: trials only where there is no point to look at."""
    return [front["baseline"], *(front["points"] or front["trials"])]


def _quality_window(front: Front, key: str) -> tuple[float, float]:
    """The figures worth drawing, in percent: a point far below the baseline must not flatten all others."""
    rows = _scale_rows(front)
    ends = [end for row in rows for end in _ends(front, row, key)]
    start, chosen = front["baseline"].get(key), facts.recommended(front)
    floor = 100 * start - max(WINDOW, 4 * (front["limits"].get("max_drop") or 0)) if start is not None else 0.0
    if chosen is not None:
        floor = min(floor, *_ends(front, chosen, key))
    low, high = max(floor, min(ends, default=0.0)), max(ends, default=100.0)
    room = max(0.06 * (high - low), 0.3)
    return max(0.0, low - room), min(100.0 + room, high + room)


def _ends(front: Front, row: Point, key: str) -> list[float]:
    """The quality of a point in percent, and the ends of its interval where the holdout is drawn."""
    interval = row.get("interval_holdout") if key == facts.quality_key(front, "holdout") else None
    return [100 * value for value in (row.get(key), *(interval or ())) if value is not None]


def _cost_axis(axes: Axes, front: Front, cost: str) -> None:
    costs = [row[cost] for row in _scale_rows(front)]
    low, high = min(costs), max(costs)
    limit = front["limits"].get(cost)
    if limit is not None and low < limit < 1.5 * high:
        high = max(high, limit)
    if low > 0 and high / low > WIDE_RANGE:
        axes.set_xscale("log")
        axes.set_xlim(low / 1.15, high * 1.15)
        axes.xaxis.set_major_locator(LogLocator(base=10, subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        room = 0.06 * (high - low) or 0.05 * high
        axes.set_xlim(low - room, high + room)
        axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda value, _: words.short_size(value) if _in_bytes(cost) else f"{value:.4g}")
    )


def _draw_trials(axes: Axes, front: Front, cost: str, low: float) -> None:
    left, right = axes.get_xlim()
    key = facts.quality_key(front, "search")
    labels = {
        "kept": "trial (search split)",
        "broken": "trial that breaks a limit",
        "given up": "trial given up early (estimate)",
    }
    alpha = 0.6 if len(front["trials"]) <= 500 else 0.35
    for end, trials in facts.trials_by_end(front).items():
        spots = [(trial[cost], 100 * trial[key]) for trial in trials if trial[key] is not None]
        seen = [(x, quality) for x, quality in spots if left <= x <= right and quality >= low]
        trial_marks(axes, end, seen, s=11, alpha=alpha, label=labels[end])


def _draw_limits(axes: Axes, front: Front, cost: str, key: str) -> None:
    limit, floor = front["limits"].get(cost), facts.quality_floor(front, key)
    left, right = axes.get_xlim()
    if floor is not None:
        axes.axhline(100 * floor, color=VERMILION, linewidth=1.2, linestyle=(0, (5, 3)))
        drop = front["limits"]["max_drop"]
        text = f"baseline \u2212 {drop:g} {'point' if drop == 1 else 'points'}"
        chosen = facts.recommended(front)
        far = chosen is not None and axes.transLimits.transform(axes.transScale.transform((chosen[cost], 1)))[0] > 0.6
        x, side = (0.005, "left") if far else (0.995, "right")  # where the recommended point does not stand
        _limit_note(axes, text, (x, 100 * floor), ("axes fraction", "data"), (0, -4), ha=side, va="top")
    if limit is None:
        return
    text = f"limit {words.size(limit)}"
    if left < limit < right:
        axes.axvline(limit, color=VERMILION, linewidth=1.2, linestyle=(0, (5, 3)))
        axes.axvspan(limit, right, color=VERMILION, alpha=0.05, linewidth=0)
        _limit_note(axes, text, (limit, 0.02), ("data", "axes fraction"), (5, 0), va="bottom", rotation=90)
    else:
        arrow = "→" if limit >= right else "←"
        _limit_note(axes, f"{text} {arrow}", (0.995, 0.015), "axes fraction", (0, 0), ha="right", va="bottom")


def _limit_note(
    axes: Axes, text: str, spot: tuple[float, float], coordinates: Any, offset: tuple[float, float], **style: Any
) -> None:
    """Small text in the limits' color, haloed so that it reads on top of trials and lines."""
    halo = [Stroke(linewidth=3, foreground="white"), Normal()]
    style |= {"fontsize": 8, "color": VERMILION, "path_effects": halo, "zorder": 6}
    axes.annotate(text, spot, offset, xycoords=coordinates, textcoords="offset points", **style)


def _draw_points(axes: Axes, front: Front, cost: str, key: str) -> None:
    points = [point for point in facts.by_flash(front) if point.get(key) is not None]
    if not points:
        return
    costs, qualities = [point[cost] for point in points], [100 * point[key] for point in points]
    steps = facts.staircase(zip(costs, qualities, strict=True))
    steps.append((axes.get_xlim()[1], steps[-1][1]))
    axes.step([x for x, _ in steps], [top for _, top in steps], where="post", color=BLUE, linewidth=1.4, zorder=3)
    held = facts.has_holdout(front)
    if held:
        axes.errorbar(
            costs,
            qualities,
            yerr=_whiskers(points, key),
            fmt="none",
            ecolor=BLUE,
            elinewidth=0.9,
            capsize=2.2,
            alpha=0.4 if len(points) <= CROWD else 0.2,
        )
    label = "front (holdout, 95 % interval)" if held else "front (search split)"
    axes.plot(costs, qualities, "o", color=BLUE, markersize=6, markeredgecolor="white", zorder=4, label=label)


def _whiskers(points: Sequence[Point], key: str) -> list[list[float]]:
    """How far each interval reaches below and above its figure, in percentage points."""
    pairs = [(point[key], point.get("interval_holdout") or [point[key]] * 2) for point in points]
    lower = [max(0.0, 100 * (middle - low)) for middle, (low, _) in pairs]
    return [lower, [max(0.0, 100 * (high - middle)) for middle, (_, high) in pairs]]


def _draw_marks(axes: Axes, front: Front, cost: str, key: str) -> None:
    """The baseline's diamond and the recommended point's star."""
    baseline, chosen = front["baseline"], facts.recommended(front)
    if baseline.get(key) is not None:
        label = "baseline" if baseline.get("feasible", True) else "baseline (does not fit)"
        face = INK if baseline.get("feasible", True) else "white"
        spot = (baseline[cost], 100 * baseline[key])
        axes.plot(*spot, "D", color=face, markeredgecolor=INK, markersize=7, zorder=5, label=label, linestyle="none")
    if chosen is not None and chosen.get(key) is not None:
        spot = (chosen[cost], 100 * chosen[key])
        axes.plot(
            *spot,
            "*",
            color=ORANGE,
            markeredgecolor=INK,
            markersize=17,
            zorder=6,
            label="recommended",
            linestyle="none",
        )
        _label_chosen(axes, front, cost, key)


def _label_chosen(axes: Axes, front: Front, cost: str, key: str) -> None:
    chosen = facts.recommended(front)
    if chosen is None:
        return
    spot = (chosen[cost], 100 * chosen[key])
    axes.annotate(
        f"point {chosen['id']}\n{spot[1]:.2f} %, {_worded(cost, spot[0])}",
        spot,
        _free_offset(axes, front, cost, key, spot),
        textcoords="offset points",
        ha="center",
        va="center",
        fontsize=9,
        color=INK,
        zorder=7,
        bbox={"boxstyle": "round,pad=0.35", "facecolor": "white", "edgecolor": "#C9D0D8", "alpha": 0.95},
        arrowprops={"arrowstyle": "-", "color": "#7B8694", "linewidth": 0.8},
    )


def _free_offset(axes: Axes, front: Front, cost: str, key: str, spot: tuple[float, float]) -> tuple[float, float]:
    """Where a label around `spot` hides the fewest marks, in typographic points."""
    rows = [(row, row.get(key), 20) for row in [front["baseline"], *front["points"]]]
    rows += [(trial, trial[facts.quality_key(front, "search")], 1) for trial in front["trials"]]
    marks = [(row[cost], 100 * quality, weight) for row, quality, weight in rows if quality is not None]
    named = _floor_name(axes, front, key)
    pixels = np.concatenate([axes.transData.transform([mark[:2] for mark in marks]), named])
    weights = np.array([*(mark[2] for mark in marks), *[20] * len(named)])
    center, scale = axes.transData.transform(spot), DPI / 72
    frame = axes.get_window_extent()

    def hidden(offset: tuple[float, float]) -> float:
        x, y = center + scale * np.asarray(offset)
        across = frame.x0 + 64 * scale < x < frame.x1 - 64 * scale
        outside = not (across and frame.y0 + 24 * scale < y < frame.y1 - 20 * scale)
        inside = (abs(pixels[:, 0] - x) < 68 * scale) & (abs(pixels[:, 1] - y) < 24 * scale)
        return float(1e6 * outside + weights[inside].sum())

    return min(OFFSETS, key=hidden)


def _floor_name(axes: Axes, front: Front, key: str) -> Floats:
    """Places in the name of the allowed drop's line, `(n, 2)` pixels."""
    floor = facts.quality_floor(front, key)
    if floor is None:
        return np.zeros((0, 2))
    right, height = axes.transData.transform((axes.get_xlim()[1], 100 * floor))
    return np.array([[right - left * DPI / 72, height - 9 * DPI / 72] for left in (5, 45, 85)])


def _note_hidden(axes: Axes, front: Front, key: str, low: float) -> None:
    """Says how many points lie below the window; silence would make the front look better than it is."""
    hidden = sum(point.get(key) is not None and 100 * point[key] < low for point in front["points"])
    if hidden:
        text = f"{hidden} {'point' if hidden == 1 else 'points'} below this window"
        axes.annotate(text, (0.012, 0.015), xycoords="axes fraction", fontsize=8, color="#55606E", va="bottom")
