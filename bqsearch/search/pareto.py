"""Which candidates are worth showing, and how sure one can be of their accuracy."""

from collections.abc import Sequence
from math import sqrt
from statistics import NormalDist

import numpy as np

from bqsearch.types import Floats, Ints

CONFIDENCE = 0.95


def undominated(values: Floats, directions: Sequence[str]) -> Ints:
    """Rows of `(n, m)` objective values that no other row beats; of equal rows the first. Ascending indices."""
    signs = np.array([-1.0 if direction == "maximize" else 1.0 for direction in directions])
    costs = np.asarray(values, np.float64).reshape(-1, len(signs)) * signs
    kept = []
    for index, row in enumerate(costs):
        no_worse = (costs <= row).all(axis=1)
        better = no_worse & (costs < row).any(axis=1)
        twin_before = no_worse[:index] & ~better[:index]
        if not better.any() and not twin_before.any():
            kept.append(index)
    return np.array(kept, np.int64)


def wilson_interval(correct: int, count: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Score interval of a proportion (Wilson, JASA 22, 1927)."""
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share, extra = correct / count, z * z / count
    center = (share + extra / 2) / (1 + extra)
    half = z * sqrt(share * (1 - share) / count + extra / (4 * count)) / (1 + extra)
    return max(0.0, center - half), min(1.0, center + half)


def drop_interval(lost: int, gained: int, count: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Interval of the accuracy lost, as a share, from paired outcomes on the same inputs.

    Bonett & Price, "Adjusted Wald confidence interval for a difference of binomial proportions based on paired data"
    (J. Educational and Behavioral Statistics 37, 2012).

    Args:
        lost: Inputs that only the baseline gets right.
        gained: Inputs that only the candidate gets right.
        count: All inputs.
        confidence: Two-sided.
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    first, second = (lost + 1) / (count + 2), (gained + 1) / (count + 2)
    half = z * sqrt((first + second - (first - second) ** 2) / (count + 2))
    return first - second - half, first - second + half


def drop_bound(lost: int, gained: int, count: int, confidence: float = CONFIDENCE) -> float:
    """One-sided upper bound of the accuracy lost, as a share."""
    return drop_interval(lost, gained, count, 2 * confidence - 1)[1]
