"""Fronts against brute force, and intervals against published figures, another way of computing and simulation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bqsearch.search.pareto import drop_bound, drop_interval, undominated, wilson_interval

VALUES = st.lists(st.tuples(*[st.integers(0, 4)] * 3), max_size=25)
SIGNS = {"maximize": -1, "minimize": 1}


def brute_force(values: list[tuple[int, ...]], directions: list[str]) -> list[int]:
    """Rows that none is at least as good as in everything, unless it is an equal row that comes later."""
    rows = [tuple(SIGNS[d] * v for d, v in zip(directions, row, strict=True)) for row in values]
    return [
        i
        for i, row in enumerate(rows)
        if not any(
            all(o <= r for o, r in zip(other, row, strict=True)) and (other != row or j < i)
            for j, other in enumerate(rows)
            if j != i
        )
    ]


@given(VALUES, st.lists(st.sampled_from(sorted(SIGNS)), min_size=3, max_size=3))
def test_undominated_is_what_brute_force_finds(values: list[tuple[int, ...]], directions: list[str]) -> None:
    found = undominated(np.array(values, float).reshape(-1, 3), directions)
    assert found.tolist() == brute_force(values, directions)


def test_equal_rows_count_once_and_ties_in_one_value_stay() -> None:
    values = np.array([[0.9, 10], [0.9, 10], [0.9, 12], [0.8, 5], [0.8, 10], [0.9, 10]])
    assert undominated(values, ["maximize", "minimize"]).tolist() == [0, 3]
    assert undominated(values, ["maximize", "maximize"]).tolist() == [2]


def test_no_rows() -> None:
    assert undominated(np.zeros((0, 2)), ["maximize", "minimize"]).tolist() == []


@pytest.mark.parametrize(
    ("correct", "count", "low", "high"),
    [  # Newcombe, Statistics in Medicine 17, 1998, table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_interval_as_published(correct: int, count: int, low: float, high: float) -> None:
    assert wilson_interval(correct, count) == pytest.approx((low, high), abs=5e-5)
    mirrored = wilson_interval(count - correct, count)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=5e-5)


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_interval_holds_the_share(drawn: tuple[int, int]) -> None:
    correct, count = drawn
    low, high = wilson_interval(correct, count)
    assert 0 <= low <= correct / count + 1e-12
    assert correct / count - 1e-12 <= high <= 1
    wider = wilson_interval(correct, count, 0.99)
    assert wider[0] <= low + 1e-12
    assert high <= wider[1] + 1e-12


def test_drop_interval_by_hand() -> None:
    """12 lost, 4 gained of 100: 8/102 -+ 1.959964 * sqrt((18/102 - (8/102)^2) / 102)."""
    assert drop_interval(12, 4, 100) == pytest.approx((-0.001659, 0.158522), abs=2e-6)


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 300))
def test_drop_interval_is_that_of_a_sample_with_two_more(lost: int, gained: int, same: int) -> None:
    """One more lost and one more gained: mean and deviation of what is then -1, 0 or 1 for each input."""
    sample = np.array([1.0] * (lost + 1) + [-1.0] * (gained + 1) + [0.0] * same)
    half = 1.959963984540054 * sample.std() / np.sqrt(len(sample))
    wanted = sample.mean() - half, sample.mean() + half
    assert drop_interval(lost, gained, lost + gained + same) == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize(("lost", "gained", "count"), [(0.02, 0.01, 350), (0.05, 0.05, 350), (0.1, 0.02, 150)])
def test_intervals_cover_as_often_as_they_say(lost: float, gained: float, count: int) -> None:
    draws = np.random.default_rng(0).multinomial(count, [lost, gained, 1 - lost - gained], 4000)
    intervals = np.array([drop_interval(int(a), int(b), count) for a, b, _ in draws])
    bounds = np.array([drop_bound(int(a), int(b), count) for a, b, _ in draws])
    true = lost - gained
    assert 0.94 <= ((intervals[:, 0] <= true) & (true <= intervals[:, 1])).mean() <= 0.985
    assert 0.93 <= (true <= bounds).mean() <= 0.99


def test_bound_lies_between_the_drop_and_the_interval() -> None:
    low, high = drop_interval(7, 2, 350)
    assert low < 5 / 350 < drop_bound(7, 2, 350) < high
    assert drop_bound(7, 2, 350) == pytest.approx(drop_interval(7, 2, 350, 0.9)[1])
