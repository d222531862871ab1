"""The figures of a run for papers and pull requests."""

from pathlib import Path

from bqsearch.report.facts import Front
from bqsearch.report.plots.convergence import convergence_png
from bqsearch.report.plots.costs import costs_png
from bqsearch.report.plots.layers import layers_png
from bqsearch.report.plots.memory import memory_png
from bqsearch.report.plots.pareto import pareto_png

FIGURES = {
    "pareto.png": pareto_png,
    "costs.png": costs_png,
    "layers.png": layers_png,
    "memory.png": memory_png,
    "convergence.png": convergence_png,
}


def draw(front: Front, folder: Path) -> None:
    """Write every figure; the same front gives the same files, bit for bit."""
    for name, figure in FIGURES.items():
        figure(front, folder / name)
