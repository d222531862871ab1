"""How the search went: the lowest flash and the hypervolume after each trial."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from bqsearch.report import facts, words
from bqsearch.report.convergence import Course, courses
from bqsearch.report.facts import Front
from bqsearch.report.plots.canvas import BLUE, INK, LEFT, empty, plain_frame, save, titled, trial_marks


def convergence_png(front: Front, path: str | Path) -> None:
    """Draws both figures of the flash against the number of the trial."""
    figure = titled(front, 12, 4.6)
    left, right = figure.subplots(1, 2)
    figure.subplots_adjust(left=LEFT, right=0.985, top=0.74, bottom=0.24, wspace=0.18)
    course = courses(front).get("flash_bytes")
    if course is None or not course.best:
        empty(left, "No trial keeps all limits")
        right.set_axis_off()
    else:
        _best_panel(left, front, course)
        _volume_panel(right, front, course)
        handles, labels = left.get_legend_handles_labels()
        figure.legend(handles, labels, loc="lower center", ncols=max(1, len(labels)), frameon=False, fontsize=9)
    save(figure, path)


def _best_panel(axes: Axes, front: Front, course: Course) -> None:
    start = front["baseline"]["flash_bytes"]
    labels = {
        "kept": "trial that keeps all limits",
        "broken": "trial that breaks a limit",
        "given up": "trial given up early",
    }
    for end, trials in facts.trials_by_end(front).items():
        spots = [(trial["number"], trial["flash_bytes"]) for trial in trials]
        trial_marks(axes, end, spots, s=10, label=labels[end])
    axes.axhline(start, color=INK, linewidth=1.1, linestyle=(0, (2, 3)), label="baseline")
    _line(axes, front, [*course.best], "lowest so far")
    low, high = course.best[-1][1], max(start, course.best[0][1])
    room = 0.08 * (high - low) or 0.05 * high
    axes.set_ylim(max(0, low - room), high + room)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: words.short_size(value)))
    axes.set_title("Lowest flash so far", loc="left", fontsize=11, color=INK, pad=10)


def _volume_panel(axes: Axes, front: Front, course: Course) -> None:
    if not course.volume:
        empty(axes, "All trials that keep the limits have one flash")
        return
    _line(axes, front, [(number, 100 * share) for number, share in course.volume], "hypervolume")
    axes.set_ylim(0, 104)
    axes.set_ylabel("% of its final value", color=INK)
    title = f"Hypervolume of {front['quality']['name']} and flash"
    axes.set_title(title, loc="left", fontsize=11, color=INK, pad=10)


def _line(axes: Axes, front: Front, pairs: list[tuple[int, float]], label: str) -> None:
    """Each figure until the next one, and the last one to the last trial."""
    end = max(len(front["trials"]) - 1, 1)
    numbers, values = zip(*pairs, (end, pairs[-1][1]), strict=True)
    axes.step(numbers, values, where="post", color=BLUE, linewidth=1.6, label=label)
    axes.set_xlim(-0.012 * end, 1.012 * end)
    axes.set_xlabel("Trial", color=INK)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    plain_frame(axes)
