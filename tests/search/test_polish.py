"""Which plans are polished: those on the front within reach, by bisection and evenly in between."""

from bqsearch.plan import Choice, Plan
from bqsearch.search.polish import REACH, next_to_polish
from bqsearch.search.record import Record

DIRECTIONS = ("maximize", "minimize")
MAX_DROP = 1.0


def record(flash: int, drop: float, successive: bool = False, ram: float = 0.0, run: bool = True) -> Record:
    """A plan of so many bytes of flash that lost so many points."""
    choice = Choice(scheme="keep" if flash >= 1000 else "kmeans", levels=256 if flash >= 1000 else 4, coding="raw")
    return Record(
        plan=Plan(choices={"layer": choice}, successive=successive),
        values=(1 - drop / 100, float(flash)) if run else None,
        constraints={"flash": -1.0, "ram": ram, **({"drop": drop - MAX_DROP} if run else {})},
        metrics={"flash_bytes": flash},
        drop_bound=drop if run else None,
        seconds=0.0,
    )


LINE = [record(100 * n, (10 - n) * 0.8) for n in range(1, 11)]  # 1,000 B lose nothing and are not compressed


def polish(records: list[Record], asked: list[int]) -> int | None:
    return next_to_polish(records, asked, DIRECTIONS, MAX_DROP)


def test_the_first_lies_between_the_smallest_candidate_and_the_smallest_that_keeps_the_drop() -> None:
    chosen = polish(LINE, [])
    assert chosen is not None
    assert LINE[chosen].metrics["flash_bytes"] in (500, 600)  # candidates lose at most 7 points: 200 to 900


def test_bisection_goes_down_where_polishing_kept_the_drop_and_up_where_it_did_not() -> None:
    kept = [*LINE, record(600, 0.5, successive=True)]
    lost = [*LINE, record(600, 2.5, successive=True)]
    down, up = polish(kept, [5, 8]), polish(lost, [5, 8])
    assert down is not None
    assert up is not None
    assert kept[down].metrics["flash_bytes"] < 600 < lost[up].metrics["flash_bytes"]


def test_every_second_one_goes_where_nobody_was() -> None:
    chosen = polish(LINE, [5])
    assert chosen is not None
    assert LINE[chosen].metrics["flash_bytes"] == 200  # farthest from 600, as a ratio


def test_what_cannot_be_mended_is_not_tried() -> None:
    hopeless = [record(100, 1 + (REACH - 1) * MAX_DROP + MAX_DROP + 0.1), record(200, 0.5, ram=8.0)]
    unread = [record(300, 0.0, run=False), record(1000, 0.0)]
    assert polish([*hopeless, *unread], []) is None
    dominated = [record(500, 0.5), record(600, 0.6)]
    assert polish(dominated, []) == 0
    assert polish(dominated, [0]) is None


def test_polished_plans_are_not_polished_again() -> None:
    assert polish([record(500, 0.5, successive=True)], []) is None


def test_where_only_quality_counts_the_best_are_tried_in_order() -> None:
    mixed = [record(300, 0.9), record(500, 0.2), record(400, 0.2), record(600, 0.5), record(700, 0.1, ram=8.0)]
    asked: list[int] = []
    for wanted in (1, 2, 3, 0, None):
        chosen = next_to_polish(mixed, asked, ("maximize",), MAX_DROP)
        assert chosen == wanted
        asked += [] if chosen is None else [chosen]
