"""Expected improvements, against draws of what a trial may lose."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bqsearch.search.hypervolume import hypervolume
from bqsearch.search.improvement import Losses, improvement

LARGEST, FLOOR = 100.0, -1.0
DRAWS = 20_000
RARE = 200 / DRAWS  # what a draw that is not among them may add at most, in the mean


@st.composite
def fronts(draw: st.DrawFn) -> np.ndarray:
    """Bytes rise, excess falls."""
    count = draw(st.integers(0, 4))
    sizes = sorted(draw(st.lists(st.floats(5, 95), min_size=count, max_size=count, unique=True)))
    excess = sorted(draw(st.lists(st.floats(-1.5, 0), min_size=count, max_size=count, unique=True)), reverse=True)
    return np.array([*zip(sizes, excess, strict=True)]).reshape(-1, 2)


@given(fronts(), st.floats(1, 120), st.floats(-100, 100), st.floats(0.1, 20), st.floats(1e-9, 2))
def test_nothing_is_expected_to_take_away(
    front: np.ndarray, size: float, mean: float, spread: float, allowed: float
) -> None:
    found = improvement(front, LARGEST, np.array([size]), np.array([mean]), np.array([spread]), -allowed)
    assert np.isfinite(found).all()
    assert (found >= 0).all()


@given(fronts(), st.floats(1, 120), st.floats(-2, 2), st.floats(0.1, 1))
def test_improvement_is_the_mean_of_what_draws_add(front: np.ndarray, size: float, mean: float, spread: float) -> None:
    found = improvement(front, LARGEST, np.array([size]), np.array([mean]), np.array([spread]), FLOOR)
    drawn = np.random.default_rng(0).normal(mean, spread, 200)
    exact = improvement(front, LARGEST, np.full(200, size), drawn, np.full(200, 1e-9), FLOOR)
    for excess, added in zip(drawn, exact, strict=True):
        assert added == pytest.approx(grown(front, size, float(excess)), abs=1e-6)
    many = np.random.default_rng(1).normal(mean, spread, DRAWS)
    added = improvement(front, LARGEST, np.full(DRAWS, size), many, np.full(DRAWS, 1e-9), FLOOR)
    assert found[0] == pytest.approx(added.mean(), abs=6 * added.std() / np.sqrt(DRAWS) + 5 * RARE)


def grown(front: np.ndarray, size: float, excess: float) -> float:
    """The hypervolume that a point adds."""
    reference = np.array([LARGEST, 0.0])
    floored = np.maximum(front, [0, FLOOR])
    after = np.vstack([floored, [size, max(excess, FLOOR)]])
    return hypervolume(after, reference) - hypervolume(floored, reference)


def test_losses_rise_with_the_error() -> None:
    errors = np.array([0.1, 0.4, 0.2, 0.3])
    mean, deviation = Losses.of(errors, np.array([0.0, 3.0, 2.0, 1.0])).at(np.array([0.0, 0.1, 0.25, 0.35, 9.0]))
    assert mean == pytest.approx([0.0, 0.0, 1.5, 2.25, 3.0])
    assert deviation == pytest.approx([0.1, 0.1, np.sqrt(0.25 / 2), np.sqrt(0.5 / 3), np.sqrt(0.5 / 4)])


def test_one_trial_is_enough_to_guess() -> None:
    mean, deviation = Losses.of(np.array([0.1]), np.array([1.0])).at(np.array([0.0, 1.0]))
    assert mean.tolist() == [1.0, 1.0]
    assert deviation.tolist() == [0.1, 0.1]
