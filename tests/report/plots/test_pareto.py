"""The figure: that it is an image, that it is the same twice, and what is drawn in it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from bqsearch.report.plots import pareto, pareto_png

FrontMaker = Callable[..., dict[str, Any]]


@pytest.fixture
def axes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[dict[str, Any]], list[Axes]]:
    """Draws a front and hands back the panels that were saved."""

    def draw(front: dict[str, Any]) -> list[Axes]:
        drawn: list[Figure] = []
        monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: drawn.append(figure))
        pareto.pareto_png(front, tmp_path / "unused.png")
        return list(drawn[0].axes)

    return draw


def texts(panel: Axes) -> str:
    return "\n".join(text.get_text() for text in panel.texts)


@pytest.mark.parametrize(
    "kind",
    [
        {},
        {"points": 0},
        {"points": 0, "trials": 0},
        {"points": 1},
        {"points": 3, "holdout": False},
        {"points": 150, "trials": 2_000},
        {"ram_varies": False},
    ],
)
def test_draws_a_valid_image_and_the_same_twice(make_front: FrontMaker, tmp_path: Path, kind: dict[str, Any]) -> None:
    front = make_front(**kind)
    for name in ("first.png", "second.png"):
        pareto_png(front, tmp_path / name)
    with Image.open(tmp_path / "first.png") as image:
        assert image.format == "PNG"
        assert image.size == (1920, 896)
        assert len(image.convert("RGB").getcolors(1 << 24) or []) > 50
    assert (tmp_path / "first.png").read_bytes() == (tmp_path / "second.png").read_bytes()


def test_marks_the_recommended_point_and_the_limits(front: dict[str, Any], axes: Any) -> None:
    flash, ram = axes(front)
    assert "point 7\n98.00 %, 137,485 B" in texts(flash)
    assert "baseline \u2212 1 point" in texts(flash)
    assert "limit 12,582,912 B" in texts(flash)
    assert "limit 16,384 B" in texts(ram)
    limit = [line for line in ram.lines if list(line.get_xdata()) == [16_384, 16_384]]
    assert len(limit) == 1
    assert {"baseline (does not fit)", "recommended"} <= {line.get_label() for line in flash.lines}


def test_every_point_is_drawn_where_it_lies(front: dict[str, Any], axes: Any) -> None:
    panel = axes(front)[0]
    marks = next(line for line in panel.lines if str(line.get_label()).startswith("front (holdout"))
    wanted = sorted((point["flash_bytes"], 100 * point["accuracy_holdout"]) for point in front["points"])
    assert list(zip(marks.get_xdata(), marks.get_ydata(), strict=True)) == wanted


def test_axes_name_the_quality_and_show_the_same_marks(make_front: FrontMaker, axes: Any) -> None:
    panels = {quality: axes(make_front(quality=quality))[0] for quality in ("accuracy", "fidelity")}
    assert panels["fidelity"].get_ylabel() == "Fidelity, %"
    assert panels["fidelity"].get_title(loc="left") == "Fidelity on the holdout split against flash"
    assert panels["accuracy"].get_ylabel() == "Accuracy, %"
    drawn = [[line.get_xydata().tolist() for line in panel.lines] for panel in panels.values()]
    assert drawn[0] == drawn[1]


def test_same_ram_gives_way_to_the_bytes_of_each_layer(make_front: FrontMaker, axes: Any) -> None:
    front = make_front(ram_varies=False)
    panel = axes(front)[1]
    names = [label.get_text() for label in panel.get_yticklabels()]
    assert panel.get_title(loc="left") == "Weight bytes of each layer"
    assert names[-1] == "34 smaller layers"
    widths = [bar.get_width() for bar in panel.patches]
    chosen = front["points"][front["recommended"]]
    assert sum(widths) == front["baseline"]["weight_bytes"] + chosen["weight_bytes"]


def test_points_far_below_the_baseline_do_not_flatten_the_rest(front: dict[str, Any], axes: Any) -> None:
    front["points"][0] |= {"accuracy_holdout": 0.11, "interval_holdout": [0.08, 0.15]}
    panel = axes(front)[0]
    assert panel.get_ylim()[0] > 80
    assert "1 point below this window" in texts(panel)


def test_mathematics_in_a_name_is_not_typeset(front: dict[str, Any], tmp_path: Path) -> None:
    pareto_png(front | {"study": r"a$\frac{$b"}, tmp_path / "odd.png")
    assert (tmp_path / "odd.png").stat().st_size > 10_000


def test_drawing_leaves_matplotlib_as_it_was(front: dict[str, Any], tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)
    pareto_png(front, tmp_path / "front.png")
    assert dict(matplotlib.rcParams) == before
