"""Every registered scheme keeps the contract, and no scheme compiles anew for another tensor or level count."""

from importlib import import_module

import numpy as np
import pytest

from bqsearch import registry
from bqsearch.quantizers.base import CODES, LEVELS, Histogram, Quantizer
from bqsearch.testing.quantizers import check_quantizer, histogram_of, sample_tensors, stacked
from bqsearch.types import Bytes, Floats

SCHEMES = registry.names("scheme")
SIGNED = (5, 9, 17, 33, 65)  # two signs of 2^b magnitudes, and one value more
OFFERED = {
    "binary": (2,),
    "binquant": LEVELS,
    "binquant_optimal": LEVELS,
    "entropy": LEVELS,
    "fixed_point": (2, 4, 8, 16, 32, 64, 128),
    "keep": (256,),
    "kmeans": LEVELS,
    "kmeans_channel": tuple(range(2, 17)),
    "log2": tuple(range(2, 32)),
    "log2_dlq": SIGNED,
    "log2_iot": SIGNED,
    "ternary": (3,),
    "uniform": LEVELS,
    "uniform_symmetric": tuple(range(3, 128, 2)),
}


def test_the_schemes_that_ship() -> None:
    assert list(OFFERED) == SCHEMES
    assert tuple(range(2, 129)) == LEVELS


@pytest.mark.parametrize("name", SCHEMES)
def test_contract(name: str) -> None:
    check_quantizer(registry.load("scheme", name))


@pytest.mark.parametrize("name", SCHEMES)
def test_level_counts(name: str) -> None:
    assert registry.load("scheme", name).levels == OFFERED[name]


def test_schemes_with_a_codebook_for_each_channel() -> None:
    assert [s for s in SCHEMES if registry.load("scheme", s).per_channel] == ["binary", "kmeans_channel", "ternary"]


@pytest.mark.parametrize("name", SCHEMES)
def test_a_kernel_is_compiled_once(name: str) -> None:
    """All level counts come from one trace, and so do tensors of one weight and of a million, one group and many."""
    rng = np.random.default_rng(0)
    quantizer = registry.load("scheme", name)
    for size in (1, 9, 640, 1_000_000):
        codes = rng.integers(0, 256, size).astype(np.uint8)
        quantizer.fit(histogram_of(codes, rng.uniform(0, 1, size), zero=size % 200, scale=1 / size))
    for groups in (3, 4, 5):
        quantizer.fit(stacked([histogram_of(codes[: 99 * (i + 1)]) for i in range(groups)]))
    kernels = [k for k in vars(import_module(type(quantizer).__module__)).values() if hasattr(k, "trace_count")]
    assert all(kernel.trace_count() <= 1 for kernel in kernels)
    assert not kernels or any(kernel.trace_count() == 1 for kernel in kernels)


def test_keep_is_the_identity() -> None:
    tables = registry.load("scheme", "keep").fit(stacked([histogram_of(np.array([4], np.uint8))] * 2))
    assert tables.tolist() == [[list(range(256))]] * 2


IDENTITY = np.arange(CODES, dtype=np.uint8)


class Broken(Quantizer):
    """Keeps the contract, until a subclass breaks it."""

    levels = (CODES,)

    def fit(self, histogram: Histogram) -> Bytes:
        return np.tile(IDENTITY, (len(histogram.counts), len(self.levels), 1))


class TooManyLevels(Broken):
    """The identity, whatever was asked for."""

    levels = LEVELS


class Forgetful(Broken):
    """The second fit is another one."""

    fits = 0

    def fit(self, histogram: Histogram) -> Bytes:
        self.fits += 1
        return np.full((len(histogram.counts), 1, CODES), self.fits % CODES, np.uint8)


class OneTable(Broken):
    """Forgets the groups."""

    def fit(self, histogram: Histogram) -> Bytes:
        del histogram
        return IDENTITY[None, None]


class Envious(Broken):
    """Looks at the other groups."""

    def fit(self, histogram: Histogram) -> Bytes:
        return np.full((len(histogram.counts), 1, CODES), len(histogram.counts), np.uint8)


class Unordered(Broken):
    """Offers levels in no order."""

    levels = (4, 2)


class Priceless(Broken):
    """A price that is no number."""

    def priced_fit(self, histogram: Histogram) -> tuple[Bytes, Floats]:
        return self.fit(histogram), np.full((len(histogram.counts), 1), np.nan)


class Undecided(Broken):
    """Other tables where prices are asked for, too."""

    def priced_fit(self, histogram: Histogram) -> tuple[Bytes, Floats]:
        return self.fit(histogram)[..., ::-1], np.zeros((len(histogram.counts), 1))


@pytest.mark.parametrize(
    ("broken", "fault"),
    [
        (TooManyLevels(), "values for 2 levels"),
        (Forgetful(), "gave two fits"),
        (OneTable(), "several groups: shape"),
        (Envious(), "fit depends on the others"),
        (Unordered(), "do not ascend"),
        (Undecided(), "gave two fits"),
        (Priceless(), "a price is negative or not finite"),
    ],
)
def test_the_suite_finds_what_is_broken(broken: Quantizer, fault: str) -> None:
    with pytest.raises(AssertionError, match=fault):
        check_quantizer(broken)


def test_the_suite_passes_what_is_not() -> None:
    check_quantizer(Broken())


def test_the_suites_samples_hold_degenerate_tensors() -> None:
    sizes = {len(np.unique(codes)) for codes in sample_tensors(0).values()}
    assert {1, 2, 4} <= sizes
