"""Codes and histograms."""

import numpy as np
import pytest

from bqsearch.errors import ModelError
from bqsearch.quantizers.base import CODES, LEVELS, Histogram, nearest_codes, offset_codes, restore_codes, worded
from bqsearch.quantizers.kmeans import QUANTIZER
from bqsearch.testing.quantizers import histogram_of, stacked


def test_codes_are_counted_from_the_lowest() -> None:
    assert offset_codes(np.array([-128, -1, 0, 127], np.int8)).tolist() == [0, 127, 128, 255]
    assert offset_codes(np.array([0, 127, 255], np.uint8)).tolist() == [0, 127, 255]


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_every_code_comes_back(dtype: str) -> None:
    limits = np.iinfo(dtype)
    codes = np.arange(limits.min, limits.max + 1).astype(dtype).reshape(16, 16)
    offsets = offset_codes(codes)
    assert offsets.reshape(-1).tolist() == list(range(256))
    assert restore_codes(offsets, dtype).dtype == codes.dtype
    assert np.array_equal(restore_codes(offsets, dtype), codes)


def test_used_codes_are_those_that_occur() -> None:
    used = histogram_of(np.array([9, 3, 9, 250], np.uint8)).used
    assert used.shape == (1, CODES)
    assert np.flatnonzero(used).tolist() == [3, 9, 250]


def test_real_values_are_steps_from_the_zero_code() -> None:
    values = histogram_of(np.array([9], np.uint8), zero=100, scale=0.5).values
    assert values.shape == (1, CODES)
    assert values[0, [0, 100, 101, 255]].tolist() == [-50.0, 0.0, 0.5, 77.5]


@pytest.mark.parametrize(
    ("levels", "words"),
    [
        ((256,), "256"),
        ((2, 3), "2 to 3"),
        (LEVELS, "2 to 128"),
        ((5, 9, 17, 33, 65), "5, 9, 17, 33, 65"),
        ((2, 4, 8, 16, 32, 64, 128), "2, 4, 8, 16, 32, 64, 128"),
        (range(3, 128, 2), "3, 5, ..., 127"),
    ],
)
def test_level_counts_are_named_with_their_gaps(levels: tuple[int, ...], words: str) -> None:
    assert worded(levels) == words


def test_nearest_codes() -> None:
    histogram = stacked([histogram_of(np.array([9], np.uint8), zero=100, scale=scale) for scale in (0.5, 2.0, 0.0)])
    values = np.zeros((3, 1, CODES))
    values[:, 0, :4] = [0.0, 0.7, -1e9, 1e9]
    codes = nearest_codes(values, histogram)
    assert codes.dtype == np.uint8
    assert codes[:, 0, :4].tolist() == [[100, 101, 0, 255], [100, 100, 0, 255], [100, 101, 0, 255]]


def test_importance_is_summed_by_code() -> None:
    histogram = histogram_of(np.array([4, 4, 6], np.uint8), np.array([0.5, 2.0, 3.0]))
    assert isinstance(histogram, Histogram)
    assert (histogram.counts[0, 4], histogram.importance[0, 4], histogram.importance[0, 6]) == (2, 2.5, 3.0)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1.0])
@pytest.mark.parametrize(("what", "cure"), [("importance", "calibration data"), ("scale", "quantization parameters")])
def test_what_no_error_can_be_measured_with_is_refused(bad: float, what: str, cure: str) -> None:
    fields = {"importance": np.ones((2, CODES)), "scale": np.ones(2)}
    place = (1, 7) if what == "importance" else (1,)
    fields[what][place] = bad
    with pytest.raises(ModelError, match=f"{what}.* is {bad} at .*{cure}"):
        Histogram(counts=np.ones((2, CODES), np.int64), zero=128, **fields)


def test_no_scheme_has_a_price_unless_it_says_so() -> None:
    histogram = stacked([histogram_of(np.array([4], np.uint8))] * 3)
    assert np.array_equal(QUANTIZER.priced_fit(histogram)[1], np.zeros((3, len(LEVELS))))
