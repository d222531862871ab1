"""Codes, codebooks and histograms."""

import numpy as np
import pytest

from bqsearch.quantizers.base import CODES, Codebook, Histogram, offset_codes, restore_codes
from bqsearch.testing.quantizers import histogram_of


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


def test_used_codes_ascend() -> None:
    assert histogram_of(np.array([9, 3, 9, 250], np.uint8)).used.tolist() == [3, 9, 250]


def test_a_codebook_holds_only_what_occurs() -> None:
    table = np.arange(CODES, dtype=np.uint8) // 100 * 100  # 0, 100, 200
    counts = np.bincount([5, 7, 230], minlength=CODES)
    codebook = Codebook.of(table, counts)
    assert codebook.values.tolist() == [0, 200]
    weights = np.array([[-128 + 5], [-128 + 230]], np.int8)
    assert codebook.encode(weights).tolist() == [[0], [1]]
    assert codebook.decode(np.array([[0], [1]], np.uint8), "int8").tolist() == [[-128], [72]]


def test_importance_is_summed_by_code() -> None:
    histogram = histogram_of(np.array([4, 4, 6], np.uint8), np.array([0.5, 2.0, 3.0]))
    assert isinstance(histogram, Histogram)
    assert (histogram.counts[4], histogram.importance[4], histogram.importance[6]) == (2, 2.5, 3.0)
