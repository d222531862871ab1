"""What every quantizer must keep: `check_quantizer(QUANTIZER)` in a test is all that a new one needs."""

import numpy as np

from bqsearch.quantizers.base import CODES, Codebook, Histogram, Quantizer, offset_codes, restore_codes
from bqsearch.types import Bytes, Ints


def check_quantizer(quantizer: Quantizer, seed: int = 0) -> None:
    """Assert the contract of `Quantizer.fit` on ordinary and degenerate tensors, and that fits repeat exactly."""
    for name, codes in sample_tensors(seed).items():
        histogram = histogram_of(codes)
        tables = quantizer.fit(histogram)
        check_tables(quantizer, tables, histogram, name)
        assert np.array_equal(tables, quantizer.fit(histogram)), f"{name}: the same histogram gave two fits"
        for row in (0, len(tables) // 2, -1):
            check_codebook(tables[row], codes, name)


def check_tables(quantizer: Quantizer, tables: Bytes, histogram: Histogram, name: str) -> None:
    """Assert shape, type and number of levels of a fit."""
    assert tables.shape == (len(quantizer.levels), CODES), f"{name}: shape {tables.shape}"
    assert tables.dtype == np.uint8, f"{name}: dtype {tables.dtype}"
    used = histogram.used
    for levels, table in zip(quantizer.levels, tables, strict=True):
        distinct = len(np.unique(table[used]))
        assert distinct <= levels, f"{name}: {distinct} values for {levels} levels"


def check_codebook(table: Bytes, codes: Bytes, name: str) -> None:
    """Assert that encoding and decoding give what the table says."""
    codebook = Codebook.of(table, np.bincount(codes, minlength=CODES))
    signed = restore_codes(codes, "int8")
    decoded = codebook.decode(codebook.encode(signed), "int8")
    assert np.array_equal(offset_codes(decoded), table[codes]), f"{name}: decode(encode(codes)) is not the table's"
    assert (np.diff(codebook.values.astype(np.int64)) > 0).all(), f"{name}: codebook values do not ascend"


def histogram_of(codes: Bytes, importance: Ints | None = None) -> Histogram:
    """The histogram of flat codes, each weight as important as the others unless said otherwise."""
    counts = np.bincount(codes, minlength=CODES).astype(np.int64)
    weighed = counts if importance is None else np.bincount(codes, weights=importance, minlength=CODES)
    return Histogram(counts=counts, importance=weighed.astype(np.float64))


def sample_tensors(seed: int) -> dict[str, Bytes]:
    """Ordinary and degenerate tensors, as flat codes counted from the type's lowest."""
    rng = np.random.default_rng(seed)
    bell = np.clip(np.rint(rng.normal(128, 30, 5000)), 0, 255)
    return {
        "bell": bell.astype(np.uint8),
        "flat": rng.integers(0, CODES, 3000).astype(np.uint8),
        "one weight": np.array([7], np.uint8),
        "all equal": np.full(100, 255, np.uint8),
        "two values": np.array([0, 255] * 50, np.uint8),
        "fewer values than levels": rng.choice(np.array([3, 40, 41, 200], np.uint8), 500),
        "skewed": np.minimum(rng.geometric(0.2, 2000), 255).astype(np.uint8),
    }
