"""How a front is read: order, limits, thinning and the staircase."""

from collections.abc import Callable
from typing import Any

import pytest

from bqsearch.report import facts

FrontMaker = Callable[..., dict[str, Any]]


def test_points_come_by_flash(front: dict[str, Any]) -> None:
    front["points"].reverse()
    sizes = [point["flash_bytes"] for point in facts.by_flash(front)]
    assert sizes == sorted(sizes)
    assert len(sizes) == 12


def test_recommended_is_found_by_id_not_by_place(front: dict[str, Any]) -> None:
    front["points"].reverse()
    chosen = facts.recommended(front)
    assert chosen is not None
    assert chosen["id"] == front["recommended"]
    front["recommended"] = None
    assert facts.recommended(front) is None


def test_over_limits_names_each_broken_figure(front: dict[str, Any]) -> None:
    point = front["points"][0] | {"drop_holdout": 1.0}
    exact = {"flash_bytes": point["flash_bytes"], "ram_bytes": point["ram_bytes"], "max_drop": 1.0}
    assert facts.over_limits(point, exact) == frozenset()
    tight = {"flash_bytes": point["flash_bytes"] - 1, "ram_bytes": point["ram_bytes"] - 1, "max_drop": 0.9}
    assert facts.over_limits(point, tight) == {"flash", "ram", "drop"}
    assert facts.over_limits(point | {"drop_holdout": None}, {"max_drop": 0.0}) == frozenset()


def test_thinning_keeps_the_ends_and_any_wanted_point() -> None:
    points = [{"id": number} for number in range(97)]
    for wanted in points:
        shown = facts.thinned(points, wanted, 15)
        assert len(shown) == 15
        assert shown == sorted(shown, key=lambda point: point["id"])
        assert wanted in shown
        assert shown[0] is points[0]
        assert shown[-1] is points[-1]


def test_thinning_leaves_a_short_front_alone(front: dict[str, Any]) -> None:
    assert facts.thinned(front["points"], None, 15) == front["points"]


def test_staircase_drops_the_points_that_another_beats() -> None:
    assert facts.staircase([(3, 0.9), (1, 0.5), (2, 0.5), (2, 0.8), (4, 0.85)]) == [(1, 0.5), (2, 0.8), (3, 0.9)]


def test_one_unread_point_moves_the_front_to_the_search_split(front: dict[str, Any]) -> None:
    assert facts.shown_split(front) == "holdout"
    front["points"][3]["accuracy_holdout"] = None
    assert facts.shown_split(front) == "search"


def test_keys_are_those_of_the_quality(make_front: FrontMaker) -> None:
    front = make_front(quality="fidelity")
    assert facts.quality_key(front, "search") == "fidelity_search"
    assert facts.shown_split(front) == "holdout"
    assert facts.has_holdout(front)


@pytest.mark.parametrize("kind", ["float", "uint8"])
def test_the_given_network_comes_before_the_int8_one(front: dict[str, Any], kind: str) -> None:
    assert facts.uncompressed(front) == [front["baseline"]]
    front["given"] = {"kind": kind, "accuracy_holdout": 0.99}
    assert facts.uncompressed(front) == [{"id": kind, **front["given"]}, front["baseline"]]


def test_floor_is_the_baseline_less_the_drop(front: dict[str, Any]) -> None:
    floor = facts.quality_floor(front, "accuracy_holdout")
    assert floor is not None
    assert abs(floor - (front["baseline"]["accuracy_holdout"] - 0.01)) < 1e-12
    front["limits"]["max_drop"] = None
    assert facts.quality_floor(front, "accuracy_holdout") is None
