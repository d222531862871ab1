"""Fronts against brute force."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bqsearch.search.pareto import undominated

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
