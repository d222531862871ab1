"""How a front is read: order, limits, thinning and the staircase."""

from typing import Any

from bqsearch.report import facts


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
    assert facts.accuracy_key(front) == "accuracy_holdout"
    front["points"][3]["accuracy_holdout"] = None
    assert facts.accuracy_key(front) == "accuracy_search"


def test_floor_is_the_baseline_less_the_drop(front: dict[str, Any]) -> None:
    floor = facts.accuracy_floor(front, "accuracy_holdout")
    assert floor is not None
    assert abs(floor - (front["baseline"]["accuracy_holdout"] - 0.01)) < 1e-12
    front["limits"]["max_drop"] = None
    assert facts.accuracy_floor(front, "accuracy_holdout") is None
