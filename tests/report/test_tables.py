"""The terminal's tables, as a terminal shows them."""

import io
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console, RenderableType

from bqsearch.report import words
from bqsearch.report.tables import ROWS, front_table, summary

FrontMaker = Callable[..., dict[str, Any]]


def shown(renderable: RenderableType, width: int, *, color: bool = False) -> str:
    """What a terminal of this width shows."""
    stream = io.StringIO()
    console = Console(file=stream, width=width, force_terminal=color, color_system="standard" if color else None)
    console.print(renderable)
    return stream.getvalue()


def line_of(text: str, start: str) -> str:
    return next(line for line in text.splitlines() if line.strip().startswith(start))


def test_baseline_comes_first_and_points_follow_by_flash(front: dict[str, Any]) -> None:
    front["points"].reverse()
    lines = shown(front_table(front, 120), 120).splitlines()
    names = [
        line.split("  ")[0].strip() for line in (raw.strip() for raw in lines) if line[:1] in "b0123456789★" and line
    ]
    assert names == ["baseline", "0", "1", "2", "3", "4", "5", "6", "★ 7", "8", "9", "10", "11"]


def test_recommended_row_holds_star_figures_and_intervals(front: dict[str, Any]) -> None:
    front["points"][7] |= {"drop_holdout": 0.86, "drop_interval": [-0.1, 1.8], "interval_holdout": [0.959, 0.9903]}
    row = line_of(shown(front_table(front, 120), 120), "★ 7")
    for part in ("98.57", "98.00 (95.9…99.0)", "0.86 (-0.1…1.8)", "137,485 B", "13,970 B", "597", "41.9", "2.5"):
        assert part in row


@pytest.mark.parametrize("kind", ["float", "uint8"])
def test_the_given_network_stands_above_the_baseline(front: dict[str, Any], given: dict[str, Any], kind: str) -> None:
    front["given"] = {**given, "kind": kind}
    for width in (80, 120):
        lines = [line.strip() for line in shown(front_table(front, width), width).splitlines()]
        at = next(number for number, line in enumerate(lines) if line.startswith(kind))
        assert lines[at].split()[:3] == [kind, "99.14", "99.43"]
        assert lines[at].split()[-5:] == ["\u2013"] * 5
        assert any(line.startswith("base") for line in lines[at + 1 : at + 3])


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_says_which_quality_it_shows(make_front: FrontMaker, width: int) -> None:
    text = shown(front_table(make_front(quality="fidelity"), width), width)
    assert "Search and holdout: fidelity." in text
    assert "accuracy" not in text.lower()
    assert "98.57" in line_of(text, "★ 7")
    assert "Search and holdout: accuracy." in shown(front_table(make_front(), width), width)


def test_the_caption_tells_the_arena_and_its_lower_bound(front: dict[str, Any]) -> None:
    text = " ".join(shown(front_table(front), 80).split())
    assert "Arena of the uncompressed network: 11,264 B; no plan takes less than 9,216 B." in text


def test_narrow_table_stacks_the_intervals(front: dict[str, Any]) -> None:
    lines = shown(front_table(front), 80).splitlines()
    at = next(number for number, line in enumerate(lines) if "★ 7" in line)
    assert "137,485" in lines[at]
    assert "95.9…99.0" in lines[at + 1]


@pytest.mark.parametrize("width", [80, 112])
def test_nothing_is_cut_even_with_large_figures(make_front: FrontMaker, width: int) -> None:
    front = make_front(points=3)
    front["points"][0] |= {
        "flash_bytes": 12_600_123,
        "ram_bytes": 262_144,
        "latency_ms": 12_345.6,
        "energy_mj": 1_234.5,
    }
    front["points"][0] |= {"drop_holdout": -10.25, "drop_interval": [-12.5, -10.1], "id": 147, "ratio": 12.3}
    text = shown(front_table(front, width), width)
    for part in ("!12,600,123", "!262,144", "12,346", "1,234", "-10.25", "-12.5…-10.1", "12.3", "147"):
        assert part in text
    assert max(map(len, text.splitlines())) <= width


def test_figures_over_a_limit_are_red_and_marked(front: dict[str, Any]) -> None:
    text = shown(front_table(front, 120), 120, color=True)
    assert "\x1b[1;31m!17,500 B\x1b[0m" in text
    assert "\x1b[1;31m!7.72\x1b[0m" in text
    assert "!137,485" not in text


def test_long_front_is_thinned_and_says_so(make_front: FrontMaker) -> None:
    front = make_front(points=60)
    front["recommended"] = 41
    table = front_table(front)
    text = shown(table, 80)
    assert table.row_count == ROWS + 1
    assert "★ 41" in text
    assert "45 more points in front.json." in text


def test_unread_holdout_and_empty_front_render(make_front: FrontMaker) -> None:
    text = shown(front_table(make_front(points=2, holdout=False)), 80)
    assert line_of(text, "base").split()[2] == "\u2013"
    assert front_table(make_front(points=0)).row_count == 1


def test_summary_tells_the_point_and_why(front: dict[str, Any]) -> None:
    text = " ".join(shown(summary(front), 80).split())
    assert text.startswith("★ Point 7 keeps 98.00 % accuracy on the holdout split")
    assert front["reason"] in text
    assert words.inputs_note(front) in text
    assert "does not fit" not in text  # the notes say so, once


def test_markup_in_names_is_shown_as_it_is(front: dict[str, Any]) -> None:
    front["model"], front["reason"] = "/some/where/[bold]net[red].tflite", "because [red]so[/red]"
    assert "[bold]net[red].tflite on" in shown(front_table(front), 80)
    assert "because [red]so[/red]" in shown(summary(front), 80)
