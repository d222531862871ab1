"""The assignment is that of Optimal Brain Quantization step by step, and pays."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_info, threadpool_limits  # type: ignore[import-untyped]

from bqsearch.errors import ModelError
from bqsearch.quantizers import compensate as module
from bqsearch.quantizers.compensate import Assigned, Levels, compensate, factorize
from bqsearch.types import Array, Bytes, Floats

DAMPING = module._DAMPING


def problem(seed: int, channels: int = 6, columns: int = 40, samples: int = 60) -> tuple[Floats, Floats]:
    """Integer weights, and the covariance of strongly correlated inputs of very different variances."""
    rng = np.random.default_rng(seed)
    weights = np.clip(np.rint(rng.normal(128, 25, (channels, columns))), 0, 255)
    return weights, covariance_of(correlated(rng, samples, columns))


def correlated(rng: np.random.Generator, samples: int, columns: int) -> Floats:
    common = rng.normal(size=(samples, 3)) @ rng.normal(size=(3, columns))
    return (common + 0.3 * rng.normal(size=(samples, columns))) * rng.uniform(0.2, 3.0, columns)


def covariance_of(inputs: Floats) -> Floats:
    centered = inputs - inputs.mean(axis=-2, keepdims=True)
    return np.swapaxes(centered, -1, -2) @ centered / inputs.shape[-2]


def levels_of(
    seed: int, channels: int, count: int, price: float = 0.0, groups: int = 1, kept: Array | None = None
) -> Levels:
    rng = np.random.default_rng(seed)
    books = [np.sort(rng.choice(np.arange(40, 216), count, replace=False)) for _ in range(groups)]
    shares = rng.dirichlet(np.ones(count))
    return Levels(
        values=np.array(books, np.uint8),
        bits=-np.log2(shares),
        price=price * rng.uniform(0.5, 2.0, channels),
        kept=kept,
    )


def naive(weights: Floats, covariance: Floats, levels: Levels, zero: int = 0) -> Bytes:
    """Channel by channel with the whole inverse, one row and column of which go at each step (Frantar et al., 2022)."""
    codes = np.empty(weights.shape, np.uint8)
    for channel, row in enumerate(weights):
        own = covariance if covariance.ndim == 2 else covariance[channel]
        book = levels.values[channel if len(levels.values) > 1 else 0].astype(np.float64)
        variance = np.diagonal(own)
        damping = DAMPING * variance.mean() if variance.mean() > 0 else 1.0
        inverse, moved = np.linalg.inv(own + damping * np.eye(len(own))), row.copy()
        for column in np.argsort(-variance, kind="stable"):
            growth = 1 / inverse[column, column]
            cost = growth * (moved[column] - book) ** 2 + levels.price[channel] * levels.bits
            found = book[np.argmin(cost)]
            if levels.kept is not None and not levels.kept[channel, column]:
                found = zero
            codes[channel, column] = found
            moved -= (moved[column] - found) * growth * inverse[column]
            inverse = inverse - growth * np.outer(inverse[:, column], inverse[column])
            inverse[column, column] = 1.0  # done with: never read again, and the rest of its row is zero
    return codes


def alone(weights: Floats, covariance: Floats, levels: Levels, zero: int = 0) -> Assigned:
    return compensate(weights, factorize(covariance), [levels], zero)[0]


def nearest(weights: Floats, levels: Levels) -> Bytes:
    distance = np.abs(weights[:, :, None] - levels.values[:, None, :])
    places = np.argmin(distance, axis=2)
    return np.take_along_axis(np.broadcast_to(levels.values, (len(weights), levels.values.shape[1])), places, axis=1)


def lost(weights: Floats, codes: Bytes, covariance: Floats) -> Floats:
    errors = weights - codes
    return np.array([e @ (covariance if covariance.ndim == 2 else covariance[c]) @ e for c, e in enumerate(errors)])


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    shape=st.tuples(st.integers(1, 4), st.integers(1, 9)),
    count=st.integers(1, 6),
    price=st.sampled_from([0.0, 0.5, 20.0, 1000.0]),
    own_books=st.booleans(),
    own_inputs=st.booleans(),
    pruned=st.booleans(),
    samples=st.integers(2, 30),
)
def test_the_codes_are_those_of_the_textbook(
    seed: int,
    shape: tuple[int, int],
    count: int,
    price: float,
    own_books: bool,
    own_inputs: bool,
    pruned: bool,
    samples: int,
) -> None:
    rng = np.random.default_rng(seed)
    weights = rng.uniform(40, 216, shape)  # real ones, so that rounding decides between no two levels
    seen = correlated(rng, samples * shape[0], shape[1])
    covariance = covariance_of(seen.reshape(shape[0], samples, shape[1]) if own_inputs else seen)
    kept = rng.random(shape) < 0.6 if pruned else None
    levels = levels_of(seed, shape[0], count, price, shape[0] if own_books else 1, kept)
    made = alone(weights, covariance, levels, zero=90)
    assert made.codes.dtype == np.uint8
    assert made.codes.tolist() == naive(weights, covariance, levels, zero=90).tolist()
    assert made.lost == pytest.approx(lost(weights, made.codes, covariance), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("columns", [1, 15, 16, 17, 33, 64])
@pytest.mark.parametrize("price", [0.0, 30.0])
def test_blocks_of_columns_make_no_difference(columns: int, price: float) -> None:
    weights, covariance = problem(1, channels=5, columns=columns)
    weights = weights + np.random.default_rng(2).uniform(-0.4, 0.4, weights.shape)
    levels = levels_of(3, 5, 7, price)
    assert np.array_equal(alone(weights, covariance, levels).codes, naive(weights, covariance, levels))


@pytest.mark.parametrize("count", [2, 4, 16])
def test_less_is_lost_than_with_the_nearest_levels(count: int) -> None:
    before, after = [], []
    for seed in range(20):
        weights, covariance = problem(seed)
        levels = levels_of(seed, len(weights), count)
        made = alone(weights, covariance, levels)
        before.append(lost(weights, nearest(weights, levels), covariance))
        after.append(made.lost)
    assert np.mean(after) < 0.7 * np.mean(before)
    assert np.mean(np.array(after) < np.array(before)) > 0.8


def test_the_dearer_a_bit_the_fewer_bits_and_the_more_is_lost() -> None:
    weights, covariance = problem(4, channels=30)
    factor, base = factorize(covariance), replace(levels_of(4, 30, 12), price=np.ones(30))
    prices = np.array([0.0, 1.0, 10.0, 100.0, 1000.0, 1e9])
    made = compensate(weights, factor, [replace(base, price=np.full(30, price)) for price in prices])
    ranks = np.zeros(256, int)
    ranks[base.values[0]] = np.arange(12)
    bits = [base.bits[ranks[one.codes]].sum() for one in made]
    assert bits == sorted(bits, reverse=True)
    assert [one.lost.sum() for one in made] == sorted(one.lost.sum() for one in made)
    assert np.unique(made[-1].codes).tolist() == [base.values[0, np.argmin(base.bits)]]


def test_a_price_of_nothing_is_the_nearest_level() -> None:
    """Looked up or with all costs worked out."""
    weights, covariance = problem(5)
    weights = weights + np.random.default_rng(5).uniform(-0.4, 0.4, weights.shape)
    free = levels_of(5, len(weights), 9)
    nearly_free = replace(free, price=np.full(len(weights), 1e-12))
    assert np.array_equal(alone(weights, covariance, free).codes, alone(weights, covariance, nearly_free).codes)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.integers(1, 256), groups=st.sampled_from([1, 5]))
def test_uncorrelated_inputs_leave_the_nearest_level_the_lower_one_on_a_tie(seed: int, count: int, groups: int) -> None:
    rng = np.random.default_rng(seed)
    books = np.array([np.sort(rng.choice(256, count, replace=False)) for _ in range(groups)], np.uint8)
    weights = rng.integers(-40, 600, (5, 8)) / 2
    for covariance in (np.eye(8), np.diag(rng.uniform(0, 5, 8)), np.zeros((8, 8)), np.zeros((5, 8, 8))):
        levels = Levels(values=rng.permuted(books, axis=1), bits=np.zeros(count), price=np.zeros(5))
        ascending = replace(levels, values=books)
        assert np.array_equal(alone(weights, covariance, levels).codes, nearest(weights, ascending))


def test_a_price_takes_the_inputs_variance_into_account() -> None:
    """Where an input hardly varies, a shorter code is worth a greater error."""
    levels = Levels(values=np.array([[100, 110]], np.uint8), bits=np.array([1.0, 5.0]), price=np.array([10.0]))
    made = alone(np.array([[108.0, 108.0]]), np.diag([4.0, 0.05]), levels)
    assert made.codes.tolist() == [[110, 100]]


def test_pruned_weights_are_zero_and_the_others_make_up_for_it() -> None:
    rng = np.random.default_rng(6)
    weights, covariance = problem(6)
    kept = rng.random(weights.shape) < 0.5
    levels = levels_of(6, len(weights), 32, kept=kept)
    made = alone(weights, covariance, levels, zero=128)
    assert (made.codes[~kept] == 128).all()
    assert np.isin(made.codes[kept], levels.values).all()
    plain = np.where(kept, nearest(weights, levels), 128).astype(np.uint8)
    assert made.lost.sum() < 0.5 * lost(weights, plain, covariance).sum()


def test_all_weights_may_be_pruned_or_none() -> None:
    weights, covariance = problem(7)
    levels = levels_of(7, len(weights), 5)
    none, every = (replace(levels, kept=np.full(weights.shape, keep)) for keep in (False, True))
    assert (alone(weights, covariance, none, zero=7).codes == 7).all()
    assert np.array_equal(alone(weights, covariance, every).codes, alone(weights, covariance, levels).codes)


def test_each_channel_keeps_to_its_own_codebook() -> None:
    weights, covariance = problem(8)
    levels = levels_of(8, len(weights), 6, groups=len(weights))
    made = alone(weights, covariance, levels)
    for channel, codes in enumerate(made.codes):
        own = replace(levels, values=levels.values[channel : channel + 1], price=np.zeros(1))
        expected = alone(weights[channel : channel + 1], covariance, own)
        assert np.isin(codes, levels.values[channel]).all()
        assert np.array_equal(codes, expected.codes[0])


@pytest.mark.parametrize("price", [0.0, 25.0])
def test_inputs_for_each_channel_are_channels_one_by_one(price: float) -> None:
    rng = np.random.default_rng(9)
    weights = rng.uniform(40, 216, (7, 9))
    covariance = covariance_of(np.stack([correlated(rng, 40, 9) for _ in range(7)]))
    levels = levels_of(9, 7, 5, price)
    made = alone(weights, covariance, levels)
    for channel in range(7):
        own = replace(levels, price=levels.price[channel : channel + 1])
        single = alone(weights[channel : channel + 1], covariance[channel], own)
        assert np.array_equal(made.codes[channel], single.codes[0])
        assert made.lost[channel] == pytest.approx(single.lost[0])


def many_levels(channels: int, columns: int) -> list[Levels]:
    rng = np.random.default_rng(10)
    kept = rng.random((channels, columns)) < 0.7
    return [
        levels_of(seed, channels, count, price, groups, mask)
        for seed, count in enumerate((1, 2, 3, 16, 17, 40, 90))
        for price in (0.0, 4.0)
        for groups in (1, channels)
        for mask in (None, kept)
    ]


@pytest.mark.parametrize("shape", [(3, 50), (40, 50), (2100, 3)])
@pytest.mark.parametrize("own_inputs", [False, True])
def test_the_result_is_bit_for_bit_the_same_in_any_company(shape: tuple[int, int], own_inputs: bool) -> None:
    """Files are made again from plans, one choice at a time."""
    rng = np.random.default_rng(11)
    weights = np.rint(rng.normal(128, 30, shape))
    channels, columns = shape
    covariance = covariance_of(correlated(rng, 90, columns))
    if own_inputs:
        covariance = covariance * rng.uniform(0.5, 2, (channels, 1, 1))
    factor, many = factorize(covariance), many_levels(*shape)
    together = compensate(weights, factor, many, zero=128)
    assert len(together) == len(many)
    for place in range(0, len(many), 5):
        (single,) = compensate(weights, factor, [many[place]], zero=128)
        assert np.array_equal(single.codes, together[place].codes)
        assert np.array_equal(single.lost, together[place].lost)
    backwards = compensate(weights, factor, many[::-1], zero=128)[::-1]
    assert all(np.array_equal(a.codes, b.codes) for a, b in zip(together, backwards, strict=True))


def test_the_result_does_not_depend_on_threads() -> None:
    weights, covariance = problem(12, channels=64, columns=400, samples=900)
    levels = [levels_of(12, 64, 20), levels_of(13, 64, 60, 5.0)]
    made = []
    for threads in (1, 2, 4):
        with threadpool_limits(limits=threads, user_api="blas"):
            made.append(compensate(weights, factorize(covariance), levels))
    assert all(np.array_equal(one.codes, other.codes) for one, other in zip(made[0], made[1], strict=True))
    assert all(np.array_equal(one.lost, other.lost) for one, other in zip(made[0], made[2], strict=True))


def test_no_codebooks_are_nothing() -> None:
    weights, covariance = problem(13)
    assert compensate(weights, factorize(covariance), []) == []


SINGULAR = {
    "all zero": np.zeros((4, 4)),
    "one input varies": np.diag([0.0, 9.0, 0.0, 0.0]),
    "all inputs alike": np.full((4, 4), 5.0),
    "two inputs alike": np.array([[2.0, 2, 0, 1], [2, 2, 0, 1], [0, 0, 3, 0], [1, 1, 0, 4]]),
    "tiny": np.full((4, 4), 1e-290),
    "huge": np.full((4, 4), 1e12),
    "rounded below zero": np.diag([-1e-9, -3e-9, 2e-9, 0.0]),
    "more rounded off than is left": np.diag([-0.5, 1.0, 0.0, 0.0]) + 1e-3,
    "singular but for rounding": np.array([[1.0, 1, 0, 0], [1, 1 - 2e-16, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]),
    "less than nothing": -np.eye(4) - 3.0,
    "not of any inputs": np.array([[1.0, 2, 2, 2], [2, 1, 2, 2], [2, 2, 1, 2], [2, 2, 2, 1]]),
}


@pytest.mark.parametrize("price", [0.0, 3.0])
@pytest.mark.parametrize("name", SINGULAR)
def test_any_covariance_gives_a_defined_result(name: str, price: float) -> None:
    weights = np.array([[100.0, 120, 140, 160], [128, 128, 128, 128]])
    covariance = SINGULAR[name]
    levels = levels_of(14, 2, 5, price)
    for given_as in (covariance, np.stack([covariance, np.eye(4)])):
        factor = factorize(given_as)
        assert all(np.isfinite(part).all() for part in (factor.upper, factor.growth, factor.damping))
        assert (factor.growth > 0).all()
        made = compensate(weights, factor, [levels])[0]
        assert np.isin(made.codes, levels.values).all()
        assert np.isfinite(made.lost).all()
        assert (made.lost >= 0).all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_covariance_that_is_no_number_is_refused(value: float) -> None:
    covariance = np.eye(3)
    covariance[0, 1] = value
    for bad in (covariance, np.stack([np.eye(3), covariance])):
        with pytest.raises(ModelError, match="infinite or not a number"):
            factorize(bad)


def test_one_bad_covariance_leaves_the_other_channels_alone() -> None:
    rng = np.random.default_rng(15)
    good = covariance_of(correlated(rng, 30, 4))
    factor = factorize(np.stack([good, SINGULAR["not of any inputs"], good]))
    expected = factorize(good)
    for channel in (0, 2):
        assert np.array_equal(factor.upper[:, :, channel], expected.upper[:, :, 0])
        assert factor.damping[channel] == expected.damping[0]
    assert factor.damping[1] > DAMPING


def test_inputs_that_are_alike_share_an_error() -> None:
    """Two weights of one input: what the first lacks, the second has too much."""
    levels = Levels(values=np.arange(0, 256, 10, dtype=np.uint8)[None], bits=np.zeros(26), price=np.zeros(1))
    made = alone(np.array([[104.0, 104.0]]), np.full((2, 2), 50.0), levels)
    assert made.codes.tolist() == [[100, 110]]
    assert made.lost[0] == pytest.approx(50 * 2**2)


@pytest.mark.parametrize("own_inputs", [False, True])
def test_a_factor_is_the_damped_covariance(own_inputs: bool) -> None:
    rng = np.random.default_rng(16)
    covariance = covariance_of(correlated(rng, 50, 12))
    factor = factorize(np.stack([covariance, 2 * np.eye(12)]) if own_inputs else covariance)
    upper, order = factor.upper[:, :, 0], factor.order[0]
    assert np.array_equal(upper, np.triu(upper))
    assert np.diagonal(upper) == pytest.approx(np.ones(12))
    assert np.diagonal(covariance)[order].tolist() == sorted(np.diagonal(covariance), reverse=True)
    damped = covariance + DAMPING * np.diagonal(covariance).mean() * np.eye(12)
    assert upper * factor.growth[:, 0] @ upper.T == pytest.approx(damped[np.ix_(order, order)])


def test_the_threads_of_others_are_left_as_they_were() -> None:
    with threadpool_limits(limits=2, user_api="blas"):
        before = threadpool_info()
        compensate(*problem(17)[:1], factorize(problem(17)[1]), [levels_of(17, 6, 4)])
        assert threadpool_info() == before
