"""The figures besides the front: that they are images, the same twice, and what is drawn in them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from bqsearch.report import plots

FrontMaker = Callable[..., dict[str, Any]]
Drawn = Callable[[str, dict[str, Any]], list[Axes]]


@pytest.fixture
def axes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Drawn:
    """Draws a figure by name and hands back the panels that were saved."""

    def draw(name: str, front: dict[str, Any]) -> list[Axes]:
        drawn: list[Figure] = []
        monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: drawn.append(figure))
        plots.FIGURES[name](front, tmp_path / "unused.png")
        return list(drawn[0].axes)

    return draw


@pytest.mark.parametrize("kind", [{}, {"points": 0}, {"points": 0, "trials": 0}, {"points": 40, "trials": 2_000}])
def test_every_figure_is_an_image_and_the_same_twice(
    make_front: FrontMaker, tmp_path: Path, kind: dict[str, Any]
) -> None:
    front = make_front(**kind) | {"study": r"a$\frac{$b", "operators": [r"o$\frac{$p"] * 60}
    for folder in (tmp_path / "first", tmp_path / "second"):
        folder.mkdir()
        plots.draw(front, folder)
    for name in plots.FIGURES:
        with Image.open(tmp_path / "first" / name) as image:
            assert (image.format, image.size[0]) == ("PNG", 1920)
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


def test_the_memory_plan_is_drawn_piece_by_piece_and_names_its_peak(front: dict[str, Any], axes: Drawn) -> None:
    (panel,) = axes("memory.png", front)
    memory = next(p for p in front["points"] if p["id"] == front["recommended"])["memory"]
    marks = [patch for patch in panel.patches if isinstance(patch, Rectangle)][: len(memory["pieces"])]
    spots = [[*map(int, (mark.get_y(), mark.get_height(), mark.get_x()))] for mark in marks]
    assert spots == [[offset, nbytes, first] for _, _, offset, nbytes, first, _ in memory["pieces"]]
    title = panel.get_title(loc="left")
    assert f"step 2 (block_1_depthwise) sets the arena's {memory['bytes']:,} B" in title
    assert any("output of block_1_expand 4,016 B" in text.get_text() for text in panel.texts)


def test_without_a_point_the_baselines_plan_is_drawn(make_front: FrontMaker, axes: Drawn) -> None:
    (panel,) = axes("memory.png", make_front(points=0))
    assert panel.get_title(loc="left").startswith("Memory plan of the baseline")


def test_layers_are_as_wide_as_their_bytes_and_as_high_as_their_bits(front: dict[str, Any], axes: Drawn) -> None:
    bits, _ = axes("layers.png", front)
    point = next(p for p in front["points"] if p["id"] == front["recommended"])
    bars = [patch for patch in bits.patches if isinstance(patch, Rectangle)]
    shown = [(bar.get_width(), bar.get_height()) for bar in bars[len(point["layers"]) :]]
    assert shown == [(layer["weights"], layer["bits_per_weight"]) for layer in point["layers"]]
    assert {bar.get_height() for bar in bars[: len(point["layers"])]} == {8.0}


def test_convergence_ends_at_the_lowest_flash_and_all_of_the_hypervolume(front: dict[str, Any], axes: Drawn) -> None:
    best, volume = axes("convergence.png", front)
    line = next(line for line in best.lines if line.get_label() == "lowest so far")
    assert line.get_ydata()[-1] == min(
        t["flash_bytes"] for t in front["trials"] if t["feasible"] and t["accuracy_search"]
    )
    assert volume.lines[0].get_ydata()[-1] == 100


@pytest.mark.parametrize("name", ["pareto.png", "costs.png", "convergence.png"])
def test_estimates_of_trials_given_up_have_a_mark_of_their_own(front: dict[str, Any], axes: Drawn, name: str) -> None:
    panel = axes(name, front)[0]
    drawn = {str(marks.get_label()): marks for marks in panel.collections}
    (crosses,) = (marks for label, marks in drawn.items() if label.startswith("trial given up early"))
    key = "number" if name == "convergence.png" else "flash_bytes"
    assert {spot[0] for spot in crosses.get_offsets().tolist()} <= {t[key] for t in front["trials"] if t["given_up"]}
    assert len(crosses.get_offsets()) > 0
    others = [marks for label, marks in drawn.items() if label.startswith("trial") and marks is not crosses]
    shapes = [marks.get_paths()[0].vertices.shape for marks in others]
    assert others
    assert crosses.get_paths()[0].vertices.shape not in shapes


def test_costs_have_a_panel_each_with_every_point(front: dict[str, Any], axes: Drawn) -> None:
    panels = axes("costs.png", front)
    assert [panel.get_xlabel() for panel in panels] == ["Flash", "RAM", "Latency, ms", "Energy, mJ"]
    for panel, cost in zip(panels, ("flash_bytes", "ram_bytes", "latency_ms", "energy_mj"), strict=True):
        marks = next(line for line in panel.lines if str(line.get_label()).startswith("front (holdout"))
        assert sorted(marks.get_xdata()) == sorted(point[cost] for point in front["points"])
