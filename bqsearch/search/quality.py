"""Quality: what a compressed network is to keep, as a score of each input; and how sure one can be of its mean."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

import numpy as np

from bqsearch.measure import Scorer
from bqsearch.types import Floats

CONFIDENCE = 0.95

Interval = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Quality:
    """What limits and intervals speak of: the mean over a split of a score of each input, 1 at best.

    Attributes:
        name: Of the objective that maximizes it.
        summary: What it is, in a sentence for a report.
        intervals: How its intervals are made, in a sentence for a report.
        scores: Takes `(n, elements)` outputs for a split's inputs to `(n,)` scores.
        interval: Takes `(n,)` scores and a two-sided confidence to the interval of their mean.
        drop_interval: Takes `(n,)` drops, the baseline's score less the candidate's for the same input, and a two-sided
            confidence to the interval of their mean.
    """

    name: str
    summary: str
    intervals: str
    scores: Callable[[Scorer, Floats], Floats]
    interval: Callable[[Floats, float], Interval]
    drop_interval: Callable[[Floats, float], Interval]

    def drop_bound(self, drops: Floats) -> float:
        """One-sided upper bound of the mean of `(n,)` drops."""
        return self.drop_interval(drops, 2 * CONFIDENCE - 1)[1]


def quality_of(objectives: Sequence[str]) -> Quality:
    """The quality of a run with these objectives: fidelity if that is among them and accuracy is not."""
    return FIDELITY if "fidelity" in objectives and "accuracy" not in objectives else ACCURACY


def wilson_interval(correct: int, count: int, confidence: float = CONFIDENCE) -> Interval:
    """Score interval of a proportion (Wilson, JASA 22, 1927)."""
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share, extra = correct / count, z * z / count
    center = (share + extra / 2) / (1 + extra)
    half = z * sqrt(share * (1 - share) / count + extra / (4 * count)) / (1 + extra)
    return max(0.0, center - half), min(1.0, center + half)


def bonett_price_interval(lost: int, gained: int, count: int, confidence: float = CONFIDENCE) -> Interval:
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


def student_interval(values: Floats, confidence: float = CONFIDENCE) -> Interval:
    """Interval of the mean of `(n,)` values, two or more (Student, Biometrika 6, 1908); of paired differences too."""
    from scipy.special import stdtrit  # type: ignore[import-untyped]

    half = float(stdtrit(len(values) - 1, (1 + confidence) / 2)) * float(values.std(ddof=1)) / sqrt(len(values))
    mean = float(values.mean())
    return mean - half, mean + half


def _right(scorer: Scorer, outputs: Floats) -> Floats:
    return scorer.correct(outputs).astype(np.float64)


def _accuracy_interval(scores: Floats, confidence: float) -> Interval:
    return wilson_interval(int(scores.sum()), len(scores), confidence)


def _accuracy_drop_interval(drops: Floats, confidence: float) -> Interval:
    return bonett_price_interval(int((drops > 0).sum()), int((drops < 0).sum()), len(drops), confidence)


def _fidelity_interval(scores: Floats, confidence: float) -> Interval:
    low, high = student_interval(scores, confidence)
    return low, min(1.0, high)


def _fidelity_drop_interval(drops: Floats, confidence: float) -> Interval:
    low, high = student_interval(drops, confidence)
    return max(0.0, low), high


ACCURACY = Quality(
    name="accuracy",
    summary="Accuracy: the share of inputs classified right.",
    intervals="Intervals: 95 %; Wilson's for an accuracy, Bonett and Price's, paired with the baseline on the same "
    "samples, for a drop.",
    scores=_right,
    interval=_accuracy_interval,
    drop_interval=_accuracy_drop_interval,
)

FIDELITY = Quality(
    name="fidelity",
    summary="Fidelity: 1 - error / variance, the squared error of the outputs against those of the uncompressed 8-bit "
    "network and their variance. Labels are not read.",
    intervals="Intervals: 95 %; Student's for a fidelity and, paired with the baseline on the same samples, for a "
    "drop, with the variance of the baseline's outputs taken as known.",
    scores=Scorer.fidelities,
    interval=_fidelity_interval,
    drop_interval=_fidelity_drop_interval,
)
