"""The course of a search, by hand."""

from collections.abc import Callable
from typing import Any

import pytest

from bqsearch.report.convergence import courses

FrontMaker = Callable[..., dict[str, Any]]


def front_of(*trials: tuple[float, float | None, bool]) -> dict[str, Any]:
    """A front of trials (flash, accuracy, feasible), whose baseline takes 100 B of flash."""
    rows = [
        {"number": number, "flash_bytes": flash, "accuracy_search": accuracy, "feasible": feasible}
        for number, (flash, accuracy, feasible) in enumerate(trials)
    ]
    return {"quality": {"name": "accuracy"}, "baseline": {"flash_bytes": 100}, "trials": rows}


def test_only_trials_that_keep_all_limits_count() -> None:
    course = courses(front_of((50, 0.1, False), (80, 0.9, True), (60, None, False), (70, 0.8, True), (90, 0.95, True)))
    assert list(course) == ["flash_bytes"]
    assert course["flash_bytes"].best == ((1, 80), (3, 70))


def test_the_hypervolume_is_the_area_up_to_the_worst_of_both() -> None:
    """The corner is (100 B, 0.8): areas are 20 * 0.1, then as before (0.8 adds none), then 10 * 0.05 more."""
    course = courses(front_of((80, 0.9, True), (70, 0.8, True), (90, 0.95, True), (95, 0.9, True)))["flash_bytes"]
    assert [number for number, _ in course.volume] == [0, 1, 2]
    assert [share for _, share in course.volume] == pytest.approx([0.8, 0.8, 1.0])


def test_trials_that_cost_alike_have_no_area() -> None:
    course = courses(front_of((100, 0.9, True), (100, 0.9, True)))["flash_bytes"]
    assert (course.best, course.volume) == (((0, 100),), ())


def test_nothing_feasible_has_no_course() -> None:
    course = courses(front_of((50, 0.1, False)))["flash_bytes"]
    assert (course.best, course.volume) == ((), ())
    assert courses(front_of()) == {}


def test_both_figures_only_get_better(make_front: FrontMaker) -> None:
    for course in courses(make_front(trials=500)).values():
        assert [cost for _, cost in course.best] == sorted((cost for _, cost in course.best), reverse=True)
        assert [share for _, share in course.volume] == sorted(share for _, share in course.volume)
        assert course.volume[-1][1] == 1.0
