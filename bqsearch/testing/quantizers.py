"""What every quantizer must keep: `check_quantizer(QUANTIZER)` in a test is all that a new one needs."""

import numpy as np

from bqsearch.quantizers.base import CODES, Histogram, Quantizer
from bqsearch.types import Bytes, Floats

ZERO = 128  # of int8


def check_quantizer(quantizer: Quantizer, seed: int = 0) -> None:
    """Assert the contract of a quantizer: on ordinary and degenerate tensors, for one group and for many."""
    check_levels(quantizer)
    single = {name: histogram_of(codes) for name, codes in sample_tensors(seed).items()}
    for name, histogram in single.items():
        check_fit(quantizer, histogram, name)
    check_groups(quantizer, list(single.values()))
    bell = single["bell"]
    check_fit(quantizer, unimportant(bell), "no weight is important")
    for zero in (0, 100, 255):
        moved = Histogram(counts=bell.counts, importance=bell.importance, zero=zero, scale=bell.scale * 10)
        check_fit(quantizer, moved, f"code {zero} is zero")


def check_levels(quantizer: Quantizer) -> None:
    """Assert that level counts ascend, from 1 to 256."""
    levels = quantizer.levels
    assert levels == tuple(sorted(set(levels))), f"levels {levels} do not ascend"
    assert levels, "no levels"
    assert 1 <= levels[0] <= levels[-1] <= CODES, f"levels {levels} are not 1 to {CODES}"


def check_fit(quantizer: Quantizer, histogram: Histogram, name: str) -> None:
    """Assert shape, type, number of levels and prices of a fit, and that it repeats exactly."""
    tables, prices = quantizer.priced_fit(histogram)
    check_tables(quantizer, tables, histogram, name)
    check_prices(quantizer, prices, histogram, name)
    again = Histogram(
        counts=histogram.counts, importance=histogram.importance, zero=histogram.zero, scale=histogram.scale
    )
    assert np.array_equal(tables, quantizer.fit(again)), f"{name}: the same histogram gave two fits"
    assert np.array_equal(prices, quantizer.priced_fit(again)[1]), f"{name}: the same histogram gave two prices"


def check_tables(quantizer: Quantizer, tables: Bytes, histogram: Histogram, name: str) -> None:
    """Assert shape, type and number of levels of a fit."""
    assert tables.shape == (len(histogram.counts), len(quantizer.levels), CODES), f"{name}: shape {tables.shape}"
    assert tables.dtype == np.uint8, f"{name}: dtype {tables.dtype}"
    for group, used in zip(tables, histogram.used, strict=True):
        for levels, table in zip(quantizer.levels, group, strict=True):
            distinct = len(np.unique(table[used]))
            assert distinct <= levels, f"{name}: {distinct} values for {levels} levels"


def check_prices(quantizer: Quantizer, prices: Floats, histogram: Histogram, name: str) -> None:
    """Assert shape, type and range of prices."""
    assert prices.shape == (len(histogram.counts), len(quantizer.levels)), f"{name}: shape {prices.shape} of prices"
    assert prices.dtype == np.float64, f"{name}: dtype {prices.dtype} of prices"
    assert ((prices >= 0) & (prices < np.inf)).all(), f"{name}: a price is negative or not finite"


def check_groups(quantizer: Quantizer, parts: list[Histogram]) -> None:
    """Assert that each group's fit is the same alone and among others, and that an empty one disturbs nobody."""
    empty = histogram_of(np.zeros(0, np.uint8))
    whole = stacked([empty, *parts, empty])
    check_fit(quantizer, whole, "several groups")
    alone = np.concatenate([quantizer.fit(part) for part in parts])
    assert np.array_equal(quantizer.fit(whole)[1:-1], alone), "a group's fit depends on the others"
    alone = np.concatenate([quantizer.priced_fit(part)[1] for part in parts])
    assert np.array_equal(quantizer.priced_fit(whole)[1][1:-1], alone), "a group's prices depend on the others"


def histogram_of(codes: Bytes, importance: Floats | None = None, zero: int = ZERO, scale: float = 0.01) -> Histogram:
    """The histogram of one group of flat codes, each weight as important as the others unless said otherwise."""
    counts = np.bincount(codes, minlength=CODES).astype(np.int64)
    weighed = counts if importance is None else np.bincount(codes, weights=importance, minlength=CODES)
    return Histogram(
        counts=counts[None], importance=weighed[None].astype(np.float64), zero=zero, scale=np.array([scale])
    )


def weighted_errors(quantizer: Quantizer, histogram: Histogram) -> Floats:
    """What the tables of the first group cost, `(len(levels),)`."""
    moved = quantizer.fit(histogram)[0].astype(np.float64) - np.arange(CODES)
    return moved**2 @ histogram.importance[0]


def stacked(parts: list[Histogram]) -> Histogram:
    """The groups of several histograms of the same zero."""
    return Histogram(
        counts=np.concatenate([part.counts for part in parts]),
        importance=np.concatenate([part.importance for part in parts]),
        zero=parts[0].zero,
        scale=np.concatenate([part.scale for part in parts]),
    )


def unimportant(histogram: Histogram) -> Histogram:
    """The same weights, of no importance."""
    nothing = np.zeros_like(histogram.importance)
    return Histogram(counts=histogram.counts, importance=nothing, zero=histogram.zero, scale=histogram.scale)


def sample_tensors(seed: int) -> dict[str, Bytes]:
    """Ordinary and degenerate tensors, as flat codes counted from the type's lowest."""
    rng = np.random.default_rng(seed)
    bell = np.clip(np.rint(rng.normal(128, 30, 5000)), 0, 255)
    return {
        "bell": bell.astype(np.uint8),
        "flat": rng.integers(0, CODES, 3000).astype(np.uint8),
        "one weight": np.array([7], np.uint8),
        "all equal": np.full(100, 255, np.uint8),
        "all zero": np.full(9, ZERO, np.uint8),
        "two values": np.array([0, 255] * 50, np.uint8),
        "fewer values than levels": rng.choice(np.array([3, 40, 41, 200], np.uint8), 500),
        "skewed": np.minimum(rng.geometric(0.2, 2000), 255).astype(np.uint8),
    }
