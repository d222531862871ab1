"""Every registered scheme keeps the contract, and no scheme compiles anew for another tensor or level count."""

from importlib import import_module

import numpy as np
import pytest

from bqsearch import registry
from bqsearch.quantizers.base import CODES, LEVELS, Histogram, Quantizer
from bqsearch.testing.quantizers import check_quantizer, histogram_of, sample_tensors

SCHEMES = registry.names("scheme")


def test_the_schemes_that_ship() -> None:
    assert SCHEMES == ["binquant", "binquant_optimal", "keep", "kmeans", "uniform"]


@pytest.mark.parametrize("name", SCHEMES)
def test_contract(name: str) -> None:
    check_quantizer(registry.load("scheme", name))


@pytest.mark.parametrize("name", [s for s in SCHEMES if s != "keep"])
def test_fitted_schemes_offer_all_levels(name: str) -> None:
    assert registry.load("scheme", name).levels == LEVELS == tuple(range(2, 129))


@pytest.mark.parametrize("name", [s for s in SCHEMES if s != "keep"])
def test_a_kernel_is_compiled_once(name: str) -> None:
    """All level counts come from one trace, and so do tensors of one weight and of a million."""
    rng = np.random.default_rng(0)
    for size in (1, 9, 640, 1_000_000):
        codes = rng.integers(0, 256, size).astype(np.uint8)
        registry.load("scheme", name).fit(histogram_of(codes, rng.uniform(0, 1, size)))
    assert import_module(f"bqsearch.quantizers.{name}")._fit.trace_count() == 1


def test_keep_is_the_identity() -> None:
    (table,) = registry.load("scheme", "keep").fit(histogram_of(np.array([4], np.uint8)))
    assert table.tolist() == list(range(256))


class TooManyLevels(Quantizer):
    """Breaks the contract: the identity, whatever was asked for."""

    def fit(self, histogram: Histogram) -> np.ndarray:
        return np.tile(np.arange(CODES, dtype=np.uint8), (len(LEVELS), 1))


class Forgetful(Quantizer):
    """Breaks the contract: the second fit is another one."""

    fits = 0

    def fit(self, histogram: Histogram) -> np.ndarray:
        self.fits += 1
        return np.full((len(LEVELS), CODES), self.fits, np.uint8)


@pytest.mark.parametrize(
    ("broken", "fault"), [(TooManyLevels(), "values for 2 levels"), (Forgetful(), "gave two fits")]
)
def test_the_suite_finds_what_is_broken(broken: Quantizer, fault: str) -> None:
    with pytest.raises(AssertionError, match=fault):
        check_quantizer(broken)


def test_the_suites_samples_hold_degenerate_tensors() -> None:
    sizes = {len(np.unique(codes)) for codes in sample_tensors(0).values()}
    assert {1, 2, 4} <= sizes
