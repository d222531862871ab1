"""One magnitude, the weighted mean, for both signs."""

import numpy as np
import pytest

from bqsearch.quantizers.binary import QUANTIZER, magnitudes
from bqsearch.testing.quantizers import histogram_of, stacked, unimportant

CODES = np.array([128 - 50, 128 - 10, 128, 128 + 4, 128 + 16], np.uint8)


def test_the_magnitude_is_the_mean() -> None:
    table = QUANTIZER.fit(histogram_of(CODES))[0, 0]
    assert table[CODES].tolist() == [112, 112, 144, 144, 144]  # (50 + 10 + 0 + 4 + 16) / 5; zero counts as positive


def test_the_mean_is_weighted_by_importance() -> None:
    histogram = histogram_of(CODES, np.array([0.0, 1.0, 0.0, 3.0, 0.0]))
    assert magnitudes(histogram).tolist() == [(10 + 3 * 4) / 4]


@pytest.mark.parametrize("seed", range(10))
def test_no_other_magnitude_does_better(seed: int) -> None:
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 256, 20).astype(np.uint8)
    importance = rng.exponential(1.0, 20)
    sign = np.where(codes >= 128, 1, -1)
    errors = [importance @ (codes - np.clip(128.0 + alpha * sign, 0, 255)) ** 2 for alpha in range(128)]
    table = QUANTIZER.fit(histogram_of(codes, importance))[0, 0]
    assert importance @ (codes - table[codes].astype(float)) ** 2 == pytest.approx(min(errors))


def test_each_channel_has_its_own_and_unimportant_weights_count_alike() -> None:
    parts = [histogram_of(CODES), histogram_of(CODES[:1]), unimportant(histogram_of(CODES)), histogram_of(CODES[:0])]
    assert magnitudes(stacked(parts)).tolist() == [16, 50, 16, 0]
