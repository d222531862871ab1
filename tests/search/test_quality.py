"""Qualities: intervals against published figures, SciPy, another way of computing, and simulation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bqsearch.search.quality import (
    ACCURACY,
    CONFIDENCE,
    FIDELITY,
    bonett_price_interval,
    quality_of,
    student_interval,
    wilson_interval,
)
from bqsearch.types import Floats


@pytest.mark.parametrize(
    ("objectives", "name"),
    [
        (("accuracy", "flash"), "accuracy"),
        (("flash", "fidelity"), "fidelity"),
        (("fidelity", "accuracy", "flash"), "accuracy"),
        (("latency", "flash"), "accuracy"),
    ],
)
def test_fidelity_is_the_quality_only_without_accuracy(objectives: tuple[str, ...], name: str) -> None:
    assert quality_of(objectives).name == name


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


def test_bonett_price_interval_by_hand() -> None:
    """12 lost, 4 gained of 100: 8/102 -+ 1.959964 * sqrt((18/102 - (8/102)^2) / 102)."""
    assert bonett_price_interval(12, 4, 100) == pytest.approx((-0.001659, 0.158522), abs=2e-6)


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 300))
def test_bonett_price_interval_is_that_of_a_sample_with_two_more(lost: int, gained: int, same: int) -> None:
    """One more lost and one more gained: mean and deviation of what is then -1, 0 or 1 for each input."""
    sample = np.array([1.0] * (lost + 1) + [-1.0] * (gained + 1) + [0.0] * same)
    half = 1.959963984540054 * sample.std() / np.sqrt(len(sample))
    wanted = sample.mean() - half, sample.mean() + half
    assert bonett_price_interval(lost, gained, lost + gained + same) == pytest.approx(wanted, abs=1e-12)


def paired(lost: int, gained: int, count: int) -> Floats:
    return np.array([1.0] * lost + [-1.0] * gained + [0.0] * (count - lost - gained))


@given(st.integers(0, 30), st.integers(0, 30), st.integers(1, 100))
def test_accuracys_intervals_are_those_of_its_counts(lost: int, gained: int, same: int) -> None:
    count = lost + gained + same
    drops = np.random.default_rng(0).permutation(paired(lost, gained, count))
    assert ACCURACY.drop_interval(drops, CONFIDENCE) == bonett_price_interval(lost, gained, count)
    assert ACCURACY.drop_bound(drops) == bonett_price_interval(lost, gained, count, 0.9)[1]
    right = (drops >= 0).astype(float)
    assert ACCURACY.interval(right, 0.99) == wilson_interval(count - gained, count, 0.99)


@pytest.mark.parametrize(("lost", "gained", "count"), [(0.02, 0.01, 350), (0.05, 0.05, 350), (0.1, 0.02, 150)])
def test_accuracys_intervals_cover_as_often_as_they_say(lost: float, gained: float, count: int) -> None:
    draws = np.random.default_rng(0).multinomial(count, [lost, gained, 1 - lost - gained], 4000)
    drops = [paired(int(a), int(b), count) for a, b, _ in draws]
    check_cover(np.array([ACCURACY.drop_interval(d, CONFIDENCE) for d in drops]), lost - gained)
    assert 0.93 <= np.mean([lost - gained <= ACCURACY.drop_bound(d) for d in drops]) <= 0.99


def check_cover(intervals: Floats, true: float) -> None:
    assert 0.94 <= ((intervals[:, 0] <= true) & (true <= intervals[:, 1])).mean() <= 0.985


@given(st.lists(st.floats(-10, 1), min_size=2, max_size=50))
def test_student_interval_is_scipys(values: list[float]) -> None:
    drawn = np.array(values)
    if drawn.std() < 1e-9:
        assert student_interval(drawn) == pytest.approx((drawn.mean(), drawn.mean()), abs=1e-6)
        return
    wanted = stats.ttest_1samp(drawn, 0.0).confidence_interval(0.95)
    assert student_interval(drawn) == pytest.approx((wanted.low, wanted.high), rel=1e-9, abs=1e-12)


def test_student_interval_by_hand() -> None:
    """Student's own sleep data (Biometrika 6, 1908): ten paired differences, 1.58 and 0.70 to 2.46."""
    drops = np.array([1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4])
    assert student_interval(drops) == pytest.approx((0.7001, 2.4599), abs=5e-5)


def test_fidelitys_bound_covers_as_often_as_it_says() -> None:
    drops = np.random.default_rng(0).chisquare(30, (4000, 60)) / 3000
    check_cover(np.array([FIDELITY.drop_interval(d, CONFIDENCE) for d in drops]), 0.01)
    assert 0.93 <= np.mean([FIDELITY.drop_bound(d) >= 0.01 for d in drops]) <= 0.97


def test_fidelitys_intervals_end_where_fidelity_does() -> None:
    scores = np.array([1.0, 1.0, 0.7])
    assert FIDELITY.interval(scores, CONFIDENCE)[1] == 1.0
    assert FIDELITY.drop_interval(1 - scores, CONFIDENCE)[0] == 0.0
    assert FIDELITY.interval(np.ones(5), CONFIDENCE) == (1.0, 1.0)


@pytest.mark.parametrize("quality", [ACCURACY, FIDELITY])
def test_the_bound_lies_between_the_drop_and_the_interval(quality: object) -> None:
    drops = paired(7, 2, 350)
    low, high = quality.drop_interval(drops, CONFIDENCE)
    assert low < drops.mean() < quality.drop_bound(drops) < high
