"""How figures are worded."""

from collections.abc import Callable
from typing import Any

import pytest

from bqsearch.report import words

QUALITIES = ("accuracy", "fidelity")


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0421, "0.042"), (3.184, "3.18"), (31.84, "31.8"), (318.4, "318"), (1204.4, "1,204"), (None, words.NONE)],
)
def test_figure_has_three_digits(value: float | None, text: str) -> None:
    assert words.figure(value) == text


@pytest.mark.parametrize(("value", "text"), [(812, "812 B"), (172_340, "172 kB"), (12_582_912, "12.6 MB")])
def test_short_size(value: float, text: str) -> None:
    assert words.short_size(value) == text


def test_size_is_exact() -> None:
    assert words.size(172_340) == "172,340 B"
    assert words.number(float("nan")) == words.NONE


def test_moment() -> None:
    assert words.moment("2026-01-15T09:30:00Z") == "2026-01-15 09:30 UTC"
    assert words.moment("2026-01-15T09:30:00.25+00:00") == "2026-01-15 09:30 UTC"
    assert words.moment("yesterday") == "yesterday"


def test_headline_says_every_figure_of_the_recommended_point(front: dict[str, Any]) -> None:
    point = front["points"][front["recommended"]]
    point |= {"accuracy_holdout": 0.9857, "interval_holdout": [0.967, 0.994], "drop_holdout": 0.29}
    point |= {"drop_interval": [-0.5, 1.1], "flash_bytes": 172_340, "ram_bytes": 15_872, "ratio": 2.9}
    assert words.headline(front) == (
        f"Point {point['id']} keeps 98.57 % accuracy on the holdout split (95 % interval 96.7 to 99.4), "
        "a drop of 0.29 points (95 % interval -0.5 to 1.1). It needs 172,340 B of flash and 15,872 B of RAM; "
        "its weights are 2.9 times smaller than the baseline's."
    )


def test_headline_names_the_quality(make_front: Callable[..., dict[str, Any]]) -> None:
    for holdout in (True, False):
        words_of = {quality: words.headline(make_front(holdout=holdout, quality=quality)) for quality in QUALITIES}
        assert words_of["fidelity"] == words_of["accuracy"].replace("accuracy", "fidelity")
        assert words_of["fidelity"] != words_of["accuracy"]


def test_headline_without_a_holdout_or_a_point(make_front: Callable[..., dict[str, Any]]) -> None:
    assert "the holdout split was not read" in words.headline(make_front(points=3, holdout=False))
    assert words.headline(make_front(points=0)) == "This run ended without a point on the front."
    assert words.headline(make_front() | {"recommended": None}) == "No point is recommended."


@pytest.mark.parametrize(
    ("run", "known", "left", "text"),
    [
        (600, 0, 0, "took 600 inferences to score its candidates."),
        (600, 150, 250, "spared 400 of 1,000 inferences (40 %), 150 by scores that were known, 250 by giving candi"),
        (0, 1000, 0, "spared 1,000 of 1,000 inferences (100 %), all by scores that were known."),
        (900, 0, 100, "spared 100 of 1,000 inferences (10 %), all by giving candidates up early."),
    ],
)
def test_note_says_what_was_spared_and_how(front: dict[str, Any], run: int, known: int, left: int, text: str) -> None:
    front["settings"] |= {"inputs_run": run, "inputs_spared": known + left, "inputs_known": known}
    assert f"This session {text}" in words.inputs_note(front)


def test_where_no_candidate_was_scored_no_note_says_so(front: dict[str, Any]) -> None:
    front["settings"] |= {"inputs_run": 0, "inputs_spared": 0, "inputs_known": 0}
    assert words.inputs_note(front) == ""


def test_note_names_what_stopped(make_front: Callable[..., dict[str, Any]]) -> None:
    front = make_front(points=3, holdout=False)
    assert words.stop_note(front) == "The run was interrupted after 200 of 400 trials."
    front["settings"]["stopped"] = "trials"
    assert words.stop_note(front) == ""
