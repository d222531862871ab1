"""Kinship: plans share what they lose as far as they share what distorts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bqsearch.search.kinship import _OWN, Kinship

LAYERS = 6


def plans(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rungs of which many are the same, and errors that follow from layer and rung."""
    rng = np.random.default_rng(seed)
    rungs = rng.integers(0, 3, (count, LAYERS))
    return rungs, rng.uniform(0.1, 2, (LAYERS, 3))[np.arange(LAYERS), rungs]


def test_a_plan_like_a_trial_deviates_like_it_and_one_unlike_all_is_unknown() -> None:
    rungs, errors = np.array([[0, 0, 0], [1, 1, 1]]), np.array([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]])
    kinship = Kinship.of(rungs, errors, np.array([2.0, -1.0]))
    mean, deviation = kinship.deviations(rungs, errors)
    assert mean == pytest.approx([2 / (1 + _OWN), -1 / (1 + _OWN)])
    assert (deviation < 0.4).all()
    mean, deviation = kinship.deviations(np.array([[2, 2, 2]]), np.array([[1.0, 1.0, 1.0]]))
    assert mean == pytest.approx([0.0])
    assert deviation == pytest.approx([1.0])


def test_more_is_shared_where_more_is_distorted() -> None:
    trial = np.array([[0, 0]]), np.array([[9.0, 1.0]])
    kinship = Kinship.of(*trial, np.array([1.0]))
    mean, deviation = kinship.deviations(np.array([[0, 1], [1, 0]]), np.array([[9.0, 1.0], [9.0, 1.0]]))
    assert mean[0] > 5 * mean[1] > 0
    assert deviation[0] < deviation[1] < 1


@given(st.integers(1, 12), st.integers(0, 99))
def test_it_is_the_gaussian_process_of_what_layers_add(count: int, seed: int) -> None:
    """Deviations as sums of independent parts, one for each layer's rung: their regression by definition."""
    rungs, errors = plans(count + 5, seed)
    share = np.sqrt(errors / errors.sum(axis=1, keepdims=True))
    parts = np.zeros((count + 5, LAYERS, 3))
    parts[np.arange(count + 5)[:, None], np.arange(LAYERS), rungs] = share
    covariance = parts.reshape(count + 5, -1) @ parts.reshape(count + 5, -1).T
    told = np.random.default_rng(seed + 1).standard_normal(count)
    known = covariance[:count, :count] + _OWN * np.eye(count)
    across = covariance[count:, :count]
    mean, deviation = Kinship.of(rungs[:count], errors[:count], told).deviations(rungs[count:], errors[count:])
    assert mean == pytest.approx(across @ np.linalg.solve(known, told), abs=1e-9)
    exact = 1 - np.einsum("ij,ji->i", across, np.linalg.solve(known, across.T))
    assert deviation**2 == pytest.approx(np.maximum(exact, 0.05), abs=1e-9)


def test_layers_that_distort_nothing_say_nothing() -> None:
    kinship = Kinship.of(np.zeros((2, 3), np.int64), np.zeros((2, 3)), np.array([1.0, 2.0]))
    mean, deviation = kinship.deviations(np.zeros((1, 3), np.int64), np.zeros((1, 3)))
    assert (mean[0], deviation[0]) == (0.0, 1.0)
