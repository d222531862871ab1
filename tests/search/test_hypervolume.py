"""The hypervolume against counting unit cells."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bqsearch.search.hypervolume import hypervolume

SIDE = 5


@st.composite
def corners_and_points(draw: st.DrawFn) -> tuple[tuple[int, ...], list[tuple[int, ...]]]:
    """Of one to four objectives; many points are dominated, twins, or on the corner's side and beyond it."""
    count = draw(st.integers(1, 4))
    point = st.tuples(*[st.integers(-1, SIDE + 1)] * count)
    return draw(st.tuples(*[st.integers(0, SIDE)] * count)), draw(st.lists(point, max_size=9))


@given(corners_and_points())
def test_whole_points_dominate_as_many_cells(told: tuple[tuple[int, ...], list[tuple[int, ...]]]) -> None:
    corner, points = told
    cells = product(*[range(-1, end) for end in corner])
    count = sum(any(all(p <= c for p, c in zip(point, cell, strict=True)) for point in points) for cell in cells)
    assert hypervolume(np.array(points, float).reshape(-1, len(corner)), np.array(corner, float)) == count


@pytest.mark.parametrize(("objectives", "count"), [(2, 300), (3, 100), (4, 40), (5, 25)])
def test_the_order_of_points_and_of_objectives_is_all_the_same(objectives: int, count: int) -> None:
    rng = np.random.default_rng(objectives)
    points, corner = rng.exponential(0.5, (count, objectives)), rng.uniform(0.5, 2.0, objectives)
    volume = hypervolume(points, corner)
    assert 0 < volume < np.prod(corner)
    assert hypervolume(rng.permutation(points), corner) == pytest.approx(volume, rel=1e-12)
    turned = rng.permutation(objectives)
    assert hypervolume(points[:, turned], corner[turned]) == pytest.approx(volume, rel=1e-12)


def test_three_boxes_by_hand() -> None:
    """Inclusion and exclusion: 16 cells each, 8 in both of any two, and the same 8 in all three."""
    points = np.array([[0.0, 2.0, 2.0], [2.0, 0.0, 2.0], [2.0, 2.0, 0.0]])
    boxes = np.array([4.0, 4.0, 4.0])
    assert hypervolume(points, boxes) == 3 * 16 - 3 * 8 + 8
    assert hypervolume(np.zeros((0, 3)), boxes) == 0
