"""The quality against each cost."""

from pathlib import Path

from bqsearch.report.facts import Front
from bqsearch.report.plots.canvas import LEFT, save, titled
from bqsearch.report.plots.pareto import COSTS, front_panel


def costs_png(front: Front, path: str | Path) -> None:
    """Draws a panel for each cost, with the same points in all of them."""
    figure = titled(front, 12, 9.6)
    panels = figure.subplots(2, 2).flat
    figure.subplots_adjust(left=LEFT, right=0.985, top=0.88, bottom=0.115, wspace=0.16, hspace=0.36)
    for axes, cost in zip(panels, COSTS, strict=True):
        front_panel(axes, front, cost)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=max(1, len(labels)), frameon=False, fontsize=9)
    save(figure, path)
