"""Expected drops: luck is taken out where trials scatter as inputs alone make them, and nothing where they differ."""

import numpy as np
import pytest

from bqsearch.search.expected import expected_drops
from bqsearch.types import Floats


def expected(predicted: Floats, drops: Floats, errors: Floats, reach: float = 3.0) -> Floats:
    return expected_drops(predicted, drops, errors, reach)[0]


def test_drops_that_grow_with_the_prediction_stay() -> None:
    predicted = np.array([0.3, 0.1, 0.2])
    drops = np.array([2.0, 0.5, 0.5])
    np.testing.assert_allclose(expected(predicted, drops, np.full(3, 0.4)), drops, atol=1e-5)


def test_a_lucky_one_is_drawn_to_those_like_it() -> None:
    """By hand: 1, 0 and 2 in a row of predictions pool the first two at 0.5; all scatter less than their errors."""
    found = expected(np.array([0.1, 0.2, 0.3]), np.array([1.0, 0.0, 2.0]), np.ones(3))
    np.testing.assert_allclose(found, [0.5, 0.5, 2.0], atol=1e-5)


def test_a_small_error_of_its_own_gives_a_lucky_one_no_weight() -> None:
    predicted, drops, errors = np.array([0.1, 0.2, 0.3]), np.array([1.0, 0.0, 2.0]), np.array([0.9, 0.1, 0.9])
    found, spread = expected_drops(predicted, drops, errors, 3.0)
    assert found[0] >= 0.5
    np.testing.assert_allclose(spread, [0.5, 0.5, 0.9])


def test_trials_of_one_prediction_are_expected_to_lose_the_same() -> None:
    found = expected(np.array([0.1, 0.2, 0.2, 0.2]), np.array([0.0, 3.0, 0.0, 0.0]), np.full(4, 2.0))
    np.testing.assert_allclose(found, [0, 1, 1, 1])


def test_no_network_is_expected_to_gain() -> None:
    found = expected(np.array([0.1, 0.2]), np.array([-0.5, -0.2]), np.ones(2))
    np.testing.assert_allclose(found, 0, atol=1e-5)


def test_the_luckiest_of_many_lose_what_is_expected_of_them() -> None:
    """A tenth of 100 trials that lost least, 200 times over: their own drops promise a point too much."""
    rng = np.random.default_rng(0)
    raw, shrunk = [], []
    for _ in range(200):
        predicted = rng.uniform(0, 1, 100)
        true = predicted * 2
        drops = true + 0.7 * rng.standard_normal(100)
        lucky = np.argsort(drops)[:10]
        raw.append((drops - true)[lucky].mean())
        shrunk.append((expected(predicted, drops, np.full(100, 0.7)) - true)[lucky].mean())
    assert np.mean(raw) < -0.7
    assert abs(np.mean(shrunk)) < 0.12


def test_where_the_prediction_says_nothing_drops_speak_for_themselves() -> None:
    rng = np.random.default_rng(0)
    drops = rng.uniform(0, 2.9, 100)
    found = expected(rng.uniform(0, 1, 100), drops, np.full(100, 0.05))
    np.testing.assert_allclose(found, drops, atol=0.02)


def test_networks_that_break_down_do_not_tell_of_those_that_do_not() -> None:
    """Far out, drops of 40 and 90 alternate; near, trials scatter as their errors say."""
    near, far = np.arange(1, 51) / 100, 1 + np.arange(1, 51) / 100
    drops = np.concatenate([np.tile([0.0, 1.0], 25), np.tile([40.0, 90.0], 25)])
    found = expected(np.concatenate([near, far]), drops, np.full(100, 0.6))
    np.testing.assert_allclose(found[1:49], 0.5, atol=0.03)


def test_a_plan_that_changes_nothing_has_no_error_and_no_drop() -> None:
    found = expected(np.array([0.0, 0.1]), np.array([0.0, 1.0]), np.array([0.0, 1.0]))
    assert found == pytest.approx([0, 1], abs=1e-5)
