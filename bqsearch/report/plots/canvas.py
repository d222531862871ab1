"""What all figures share. Drawn through objects alone: pyplot keeps global state."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from bqsearch.report import facts
from bqsearch.report.facts import Front

# Okabe and Ito's palette keeps its contrasts for every kind of color vision.
BLUE, ORANGE, GREEN, PURPLE, VERMILION = "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00"
GRAY, INK, TRACK = "#9AA3AE", "#1B2430", "#CCD3DA"
DPI = 160
LEFT = 0.065  # where figures begin, as a share of their width


def titled(front: Front, width: float, height: float) -> Figure:
    """An empty figure of so many inches, headed by the study, the network, the board and the data."""
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    top = 1 - 0.28 / height
    figure.text(LEFT, top, plain(front["study"]), fontsize=15, fontweight="bold", color=INK, va="center")
    done = front["settings"].get("trials_done", len(front["trials"]))
    parts = (facts.title(front), f"data {front['data']['name']}", f"{done} trials")
    spot = (LEFT, top - 0.28 / height)
    figure.text(*spot, plain("  ·  ".join(parts)), fontsize=10, color="#55606E", va="center")
    return figure


def save(figure: Figure, path: str | Path) -> None:
    """The same figure gives the same file, bit for bit."""
    figure.savefig(path, format="png", metadata={"Software": None})


def plain(text: object) -> str:
    """Text that matplotlib does not read as mathematics."""
    return str(text).replace("$", r"\$")


def short(name: str, most: int = 24) -> str:
    """A long name without its middle: both ends tell layers apart."""
    return name if len(name) <= most else f"{name[: most // 2 - 1]}…{name[-most // 2 :]}"


def plain_frame(axes: Axes) -> None:
    """Quiet lines, and only two of four spines."""
    axes.grid(True, color="#E4E7EB", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#A8B0BA")
    axes.tick_params(colors="#3B4552", labelsize=9, length=3)


def trial_marks(axes: Axes, end: str, spots: Sequence[tuple[float, float]], **style: Any) -> None:
    """Trials of one of the ends that `facts.trials_by_end` names: dots, rings, and crosses for those given up."""
    if not spots:
        return
    marks: dict[str, dict[str, Any]] = {
        "kept": {"color": GRAY, "edgecolors": GRAY},
        "broken": {"color": "none", "edgecolors": GRAY},
        "given up": {"color": GRAY, "marker": "x"},
    }
    across, up = zip(*spots, strict=True)
    axes.scatter(across, up, linewidths=0.7, **marks[end], **style)


def empty(axes: Axes, text: str) -> None:
    """A panel with nothing but a word why."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, text, ha="center", va="center", color=INK, transform=axes.transAxes)
