"""Error-compensating assignment of weights to given levels: the error of each is made up for by those that follow.

Optimal Brain Quantization in the order-free form of GPTQ (Frantar, Ashkboos, Hoefler & Alistarh, ICLR 2023). With the
inputs' covariance H = V diag(growth) V', V upper triangular with a unit diagonal, the errors e = w - q of a channel's
weights add to the output's squared error

    e H e' = sum over columns j of  growth_j * (t_j - q_j)^2,    t_j = w_j + sum over i < j of e_i V_ij.

No column's t depends on those behind it, so each in turn is put to the level nearest to its t: for lattices this is
Babai's nearest plane algorithm (Chen et al., "The geometry of LLM quantization", arXiv:2507.18553), and the steps are
those of GPTQ, whose Cholesky factor of the inverse of H is the inverse of V, rows scaled. Levels here are any codebook;
where a bit of code has a price, the level is that of least

    growth_j * (t_j - q)^2 + price * bits(q).

Columns go in the order of falling variance.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol

import numpy as np

from bqsearch.errors import ModelError
from bqsearch.threads import one_thread
from bqsearch.types import Array, Bytes, Floats, Ints

_BLOCK = 16  # columns whose errors reach the rest in one product
_ROWS = 2048  # channels of codebooks that are assigned in step: so that NumPy's calls cost little, and fit a cache
_DAMPING = 0.2  # of the mean variance; the paper has 0.01, which fits the noise of few images
_WIDTHS = (16, 32, 64, 128, 256)  # that codebooks are filled up to, whatever company they are in
_HALF_CODES = 512  # between codes, nearest levels change at whole and half codes only


@dataclass(frozen=True, kw_only=True, eq=False)
class Factor:
    """A covariance, prepared.

    Attributes:
        order: `(1 or channels, columns)` the order in which columns are assigned; all else is in that order.
        upper: `(columns, columns, 1 or channels)`: V.
        growth: `(columns, 1 or channels)`.
        damping: `(1 or channels,)` what was added to all variances before.
    """

    order: Ints
    upper: Floats
    growth: Floats
    damping: Floats


@dataclass(frozen=True, kw_only=True, eq=False)
class Levels:
    """What weights may become.

    Attributes:
        values: `(1 or channels, k)` codes, in any order.
        bits: `(k,)` length of each level's code.
        price: `(channels,)` squared code steps at an input of unit variance that a bit is worth.
        kept: `(channels, columns)` bool: weights that are not kept become zero; None keeps all.
    """

    values: Bytes
    bits: Floats
    price: Floats
    kept: Array | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Assigned:
    """What weights became.

    Attributes:
        codes: `(channels, columns)`.
        lost: `(channels,)` squared error of each channel's output.
    """

    codes: Bytes
    lost: Floats


def factorize(covariance: Floats) -> Factor:
    """Prepare a positive semidefinite covariance, `(columns, columns)` or `(channels, columns, columns)`.

    Raises:
        ModelError: It is infinite or not a number.
    """
    if not np.isfinite(covariance).all():
        raise ModelError("a covariance of inputs is infinite or not a number: look for such values in the data")
    stacked = covariance if covariance.ndim == 3 else covariance[None]
    order = np.argsort(-np.diagonal(stacked, axis1=1, axis2=2), axis=1, kind="stable")
    backwards = order[:, ::-1]
    rows = np.take_along_axis(stacked, backwards[:, :, None], axis=1)
    with one_thread():
        lower, damping = _cholesky(np.take_along_axis(rows, backwards[:, None, :], axis=2))
    upper = lower[:, ::-1, ::-1]  # H = R R', R upper triangular
    roots = np.diagonal(upper, axis1=1, axis2=2)
    return Factor(
        order=order,
        upper=np.ascontiguousarray(np.moveaxis(upper / roots[:, None, :], 0, -1)),
        growth=np.ascontiguousarray((roots**2).T),
        damping=damping,
    )


def _cholesky(matrices: Floats) -> tuple[Floats, Floats]:
    """Lower factors of `(n, columns, columns)` damped covariances, and the dampings, `(n,)`.

    More damping where rounding has taken so much off a variance that the least is not enough.
    """
    mean = np.diagonal(matrices, axis1=1, axis2=2).mean(axis=1)
    damping: Floats = np.where(mean > 0, _DAMPING * mean, 1.0)
    while True:
        damped = matrices + damping[:, None, None] * np.eye(matrices.shape[1])
        try:
            return np.linalg.cholesky(damped).astype(np.float64), damping
        except np.linalg.LinAlgError:
            damping = np.where([_is_definite(matrix) for matrix in damped], damping, 10 * damping)


def _is_definite(matrix: Floats) -> bool:
    try:
        np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        return False
    return True


def compensate(weights: Floats, factor: Factor, codebooks: Sequence[Levels], zero: int = 0) -> list[Assigned]:
    """Assign weights to the levels of each of many codebooks, whose results do not depend on each other.

    Args:
        weights: `(channels, columns)` in code steps.
        factor: Of the inputs' covariance.
        codebooks: What they may become.
        zero: The code of a weight of 0.
    """
    made: dict[int, Assigned] = {}
    places = sorted(range(len(codebooks)), key=lambda i: _kind(codebooks[i]))
    most = max(_ROWS // len(weights), 1)
    for _, alike in groupby(places, key=lambda i: _kind(codebooks[i])):
        group = list(alike)
        for start in range(0, len(group), most):
            batch = group[start : start + most]
            with one_thread():
                assigned = _assign(weights, factor, [codebooks[i] for i in batch], zero)
            made.update(zip(batch, assigned, strict=True))
    return [made[i] for i in range(len(codebooks))]


def _kind(levels: Levels) -> tuple[bool, int, int]:
    """What those that are assigned in step agree in: whether bits have a price, the groups, and the room for levels."""
    priced = bool(levels.price.any())
    return priced, len(levels.values), next(w for w in _WIDTHS if w >= levels.values.shape[1]) if priced else 0


class _Pick(Protocol):
    """The best level for `(books, channels)` weights of one column."""

    def __call__(self, moved: Floats, column: int) -> Bytes: ...


def _assign(weights: Floats, factor: Factor, codebooks: Sequence[Levels], zero: int) -> list[Assigned]:
    """Codebooks of a kind, in step."""
    order = np.broadcast_to(factor.order, weights.shape)
    target = np.ascontiguousarray(np.take_along_axis(weights, order, axis=1).T)
    pick: _Pick = _Cheapest(codebooks, factor) if codebooks[0].price.any() else _Nearest(codebooks)
    codes = np.empty((len(codebooks), *target.shape), np.uint8)
    lost = _walk(target, factor, pick, _pruned(codebooks, order), zero, codes)
    return [Assigned(codes=_restored(own, order), lost=error) for own, error in zip(codes, lost, strict=True)]


def _walk(target: Floats, factor: Factor, pick: _Pick, pruned: Array | None, zero: int, codes: Bytes) -> Floats:
    """Fill `codes`, `(books, columns, channels)`, column by column in the factor's order; errors of the outputs.

    Each book has matrix products of its own, of the same shape in any company, so that all are rounded alike.
    """
    errors, lost = np.empty(codes.shape), np.zeros((len(codes), codes.shape[2]))
    count, shared = len(target), factor.upper.shape[2] == 1
    block = _BLOCK if shared else count
    for start in range(0, count, block):
        end = min(start + block, count)
        moved = np.repeat(target[None, start:end], len(codes), axis=0)
        if start:
            moved += np.matmul(factor.upper[:start, start:end, 0].T, errors[:, :start])
        for column in range(start, end):
            found = pick(moved[:, column - start], column)
            if pruned is not None:
                found[pruned[:, column]] = zero
            codes[:, column], errors[:, column] = found, target[column] - found
            moved[:, column - start + 1 :] += factor.upper[column, column + 1 : end] * errors[:, column, None]
        lost += (factor.growth[start:end] * (moved - codes[:, start:end]) ** 2).sum(axis=1)
    return np.maximum(lost - factor.damping * (errors**2).sum(axis=1), 0.0)


def _pruned(codebooks: Sequence[Levels], order: Ints) -> Array | None:
    """Which weights become zero."""
    if all(levels.kept is None for levels in codebooks):
        return None
    every = np.ones(order.shape, bool)
    masks = [every if levels.kept is None else np.take_along_axis(levels.kept, order, axis=1) for levels in codebooks]
    return ~np.stack([mask.T for mask in masks])


def _restored(codes: Bytes, order: Ints) -> Bytes:
    made = np.empty(order.shape, np.uint8)
    np.put_along_axis(made, order, codes.T, axis=1)
    return made


class _Nearest:
    """The nearest level, the lower one on a tie: looked up by half codes, rounded up."""

    def __init__(self, codebooks: Sequence[Levels]) -> None:
        self._tables = np.concatenate([_nearest_table(levels.values) for levels in codebooks]).reshape(-1)
        self._starts = _starts(codebooks, _HALF_CODES)

    def __call__(self, moved: Floats, column: int) -> Bytes:
        del column
        halves = np.clip(np.ceil(2 * moved), 1, _HALF_CODES).astype(np.int64)
        return self._tables[self._starts + halves - 1]


def _nearest_table(values: Bytes) -> Bytes:
    """Entry h of each row is its level nearest to weights above h / 2 and up to (h + 1) / 2, `(groups, 512)`."""
    ascending = np.sort(values, axis=1)
    middles = (ascending[:, 1:].astype(np.int64) + ascending[:, :-1]) / 2
    reached = np.arange(1, _HALF_CODES + 1) / 2
    apart = _HALF_CODES * np.arange(len(values))[:, None]  # so that one search serves all rows
    places = np.searchsorted((middles + apart).reshape(-1), reached + apart)
    return np.take_along_axis(ascending, places - middles.shape[1] * np.arange(len(values))[:, None], axis=1)


class _Cheapest:
    """The level of least error plus price; of `(t - q)^2` no more is worked out than what depends on q."""

    def __init__(self, codebooks: Sequence[Levels], factor: Factor) -> None:
        _, groups, width = _kind(codebooks[0])
        filled = [np.minimum(np.arange(width), levels.values.shape[1] - 1) for levels in codebooks]
        books = [levels.values[:, places] for levels, places in zip(codebooks, filled, strict=True)]
        values = np.stack(books).astype(np.float64)
        bits = np.stack([levels.bits[places] for levels, places in zip(codebooks, filled, strict=True)])[:, None]
        self._values = np.concatenate(books).reshape(-1)
        self._starts = _starts(codebooks, width)
        self._facts = np.stack([values**2, np.broadcast_to(bits, values.shape), -2 * values], axis=2)
        self._prices = np.stack([levels.price for levels in codebooks])
        self._growth = factor.growth
        self._scales = np.ones((*self._prices.shape, 3))
        self._shape = (len(codebooks), groups, -1, 3)

    def __call__(self, moved: Floats, column: int) -> Bytes:
        self._scales[:, :, 1], self._scales[:, :, 2] = self._prices / self._growth[column], moved
        cost = np.matmul(self._scales.reshape(self._shape), self._facts)
        return self._values[self._starts + np.argmin(cost, axis=3).reshape(moved.shape)]


def _starts(codebooks: Sequence[Levels], width: int) -> Ints:
    """Where each channel's entries begin in tables of all books' groups, `(books, channels)`."""
    groups, channels = len(codebooks[0].values), len(codebooks[0].price)
    own = np.arange(channels) if groups > 1 else np.zeros(channels, np.int64)
    return width * (groups * np.arange(len(codebooks))[:, None] + own)
