"""What all figures share. Drawn through objects alone: pyplot keeps global state."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from bqsearch.report import facts
from bqsearch.report.facts import Front

# Okabe and Ito's palette keeps its contrasts for every kind of color vision.
BLUE, ORANGE, GREEN, PURPLE, VERMILION = "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00"
GRAY, INK, TRACK = "#9AA3AE", "#1B2430", "#D9DEE4"
DPI = 160


def titled(front: Front, width: float, height: float) -> Figure:
    """An empty figure of so many inches, headed by the study, the network, the board and the data."""
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    top = 1 - 0.28 / height
    figure.text(0.055, top, plain(front["study"]), fontsize=15, fontweight="bold", color=INK, va="center")
    done = front["settings"].get("trials_done", len(front["trials"]))
    parts = (facts.title(front), f"data {front['data']['name']}", f"{done} trials")
    spot = (0.055, top - 0.28 / height)
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


def empty(axes: Axes, text: str) -> None:
    """A panel with nothing but a word why."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, text, ha="center", va="center", color=INK, transform=axes.transAxes)
