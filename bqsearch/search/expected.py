"""Expected drops: what trials lost, with the luck taken out that choosing among many of them picks.

The one of many trials that lost least on the search split was partly lucky there. What it is expected to lose
elsewhere is nearer to what trials like it lost. So each drop is shrunk toward a fit to all of them, monotone in the
error of their outputs, which has much less luck in it than the class that is largest, and nothing at none: isotonic
regression (Barlow et al., "Statistical Inference under Order Restrictions", 1972), and the positive-part James-Stein
estimator, with as much shrinkage as the scatter around the fit is explained by the number of inputs (Efron & Morris,
"Stein's estimation rule and its competitors", JASA 68, 1973). A trial's own margin says little of its error either:
one that got nothing wrong has the smallest. So margins are those of the fit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from bqsearch.search.quality import CONFIDENCE
from bqsearch.search.record import ERROR, Record
from bqsearch.types import Floats

_DIGITS = 9  # of a percentage point, so that trials of one pool are equal
_LEAST = 1e-6  # percentage points of error; a plan that changes nothing has none


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a trial's network is expected to lose on inputs like those of the search split.

    Attributes:
        drop: Percentage points.
        bound: One-sided upper 95 % bound of it.
    """

    drop: float
    bound: float


def estimates(records: Sequence[Record], max_drop: float) -> Mapping[int, Estimate]:
    """Of each trial that was run to its end, by its number.

    Args:
        records: All trials.
        max_drop: Allowed drop, percentage points.
    """
    run = {n: record for n, record in enumerate(records) if record.values is not None and not record.given_up}
    if not run:
        return {}
    sigmas = NormalDist().inv_cdf(CONFIDENCE)
    drops = np.array([record.constraints["drop"] + max_drop for record in run.values()])
    bounds = np.array([record.drop_bound for record in run.values()], np.float64)
    expected, errors = expected_drops(
        outputs=np.array([record.metrics[ERROR] for record in run.values()]),
        drops=drops,
        errors=np.maximum(bounds - drops, 0) / sigmas,
        reach=reach(max_drop),
    )
    told = zip(run, np.round(expected, _DIGITS).tolist(), (sigmas * errors).tolist(), strict=True)
    return {n: Estimate(drop=drop, bound=drop + margin) for n, drop, margin in told}


def reach(max_drop: float) -> float:
    """Percentage points up to which drops tell how far trials scatter.

    Beyond, networks break down each in its own way.
    """
    return 2 * max_drop + 1


def expected_drops(outputs: Floats, drops: Floats, errors: Floats, reach: float) -> tuple[Floats, Floats]:
    """Drops without the luck of the search split, and how sure they are.

    Args:
        outputs: `(n,)` errors of the outputs, 0 or more.
        drops: `(n,)` drops on the search split, percentage points.
        errors: `(n,)` standard errors of the drops, 0 or more.
        reach: Fitted drops up to here tell how far trials scatter; beyond, networks break down each in its own way.

    Returns:
        `(n,)` drops and `(n,)` standard errors, percentage points.
    """
    fitted = np.maximum(_rising(outputs, drops), 0)
    spread = np.maximum(_rising(outputs, errors), _LEAST)
    near = fitted <= reach
    scatter = float(np.mean(((drops - fitted)[near] / spread[near]) ** 2)) if near.any() else 0.0
    believed = max(0.0, 1 - 1 / scatter) if scatter > 0 else 0.0
    return fitted + believed * (drops - fitted), spread


def _rising(places: Floats, values: Floats) -> Floats:
    """The function of the place that never falls and is nearest in squared error, at each place, `(n,)`."""
    from scipy.optimize import isotonic_regression  # type: ignore[import-untyped]

    _, inverse, counts = np.unique(places, return_inverse=True, return_counts=True)
    means = np.bincount(inverse, values) / counts
    return np.asarray(isotonic_regression(means, weights=counts).x, np.float64)[inverse]
