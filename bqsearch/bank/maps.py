"""Maps: what a scheme makes of each code, for all of its level counts at once; their bytes follow from a histogram."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from bqsearch.bank.codebooks import Codebooks
from bqsearch.bank.coding import LayerCoding, joined, unknown_gaps
from bqsearch.bank.weights import LayerWeights
from bqsearch.packing.container import Sizes, Tally, gap_counts
from bqsearch.quantizers.base import CODES, Quantizer
from bqsearch.types import Array, Bytes, Floats, Ints


@dataclass(frozen=True, kw_only=True, eq=False)
class Maps:
    """One scheme's maps for one layer, after one pruning: row r is for `levels[r]`.

    Attributes:
        levels: Level counts.
        tables: `(groups, n, 256)` uint8.
        prices: `(groups, n)` what a bit of code is worth, squared code steps times importance.
        kept: `(channels, columns)` bool: what pruning left; None for all.
    """

    levels: tuple[int, ...]
    tables: Bytes = field(repr=False)
    prices: Floats = field(repr=False)
    kept: Array | None = field(repr=False)


@dataclass(frozen=True, kw_only=True, eq=False)
class SchemeRows:
    """Maps, and what they cost and do.

    Attributes:
        maps: n of them.
        sizes: Exact bytes, `(n,)` each.
        distortion: `(n,)` float64, before sensitivity, as if inputs were uncorrelated.
    """

    maps: Maps
    sizes: Sizes = field(repr=False)
    distortion: Floats = field(repr=False)


def fit(quantizer: Quantizer, weights: LayerWeights, kept: Array | None, weighted: bool) -> Maps:
    """A scheme's maps.

    Args:
        quantizer: The scheme.
        weights: Of the layer.
        kept: `(channels, columns)` bool: what pruning left; None for all.
        weighted: Whether weights are as important as they are for the output, or all alike.
    """
    histogram = weights.histogram(quantizer.per_channel, weighted, kept)
    tables, prices = quantizer.priced_fit(histogram)
    return Maps(levels=quantizer.levels, tables=tables, prices=prices, kept=kept)


def weigh(coding: LayerCoding, many: Sequence[Maps]) -> list[SchemeRows]:
    """The bytes and distortion of maps."""
    found = [_by_tensor(coding, maps) if len(maps.tables) == 1 else _by_channel(coding, maps) for maps in many]
    sizes = coding.sizes([tally for tally, _ in found])
    return [
        SchemeRows(maps=maps, sizes=nbytes, distortion=lost)
        for maps, nbytes, (_, lost) in zip(many, sizes, found, strict=True)
    ]


def mapped(weights: LayerWeights, tables: Bytes, kept: Array | None) -> Bytes:
    """`(channels, columns)` codes under `(groups, 256)` maps, zero where weights were pruned."""
    codes = weights.codes
    found = tables[0][codes] if len(tables) == 1 else np.take_along_axis(tables, codes.astype(np.intp), axis=1)
    return found if kept is None else np.where(kept, found, np.uint8(weights.zero))


def codebooks(weights: LayerWeights, tables: Bytes, kept: Array | None) -> Codebooks:
    """The values that `(groups, 256)` maps give the codes that occur, and zero where weights were pruned."""
    held = _held(tables, occurrences(weights, len(tables), kept))
    if kept is not None:
        held[:, weights.zero] += (~kept).reshape(len(tables), -1).sum(axis=1)
    return Codebooks.of(held, weights.zero, pruned=kept is not None)


def occurrences(weights: LayerWeights, groups: int, kept: Array | None) -> Ints:
    """How often each code is kept, `(groups, 256)`."""
    keys = weights.codes.astype(np.int64) + (CODES * np.arange(groups)[:, None] if groups > 1 else 0)
    taken = keys.reshape(-1) if kept is None else keys[kept]
    return np.bincount(taken, minlength=CODES * groups).reshape(groups, CODES)


def _held(tables: Bytes, counts: Ints) -> Ints:
    """How often each value occurs under `(n, 256)` tables, by `(n or 1, 256)` occurrences of codes, `(n, 256)`."""
    keys = tables.astype(np.int64) + CODES * np.arange(len(tables))[:, None]
    spread = np.broadcast_to(counts, tables.shape)
    summed = np.bincount(keys.reshape(-1), weights=spread.reshape(-1), minlength=CODES * len(tables))
    return np.rint(summed).astype(np.int64).reshape(len(tables), CODES)


def _by_tensor(coding: LayerCoding, maps: Maps) -> tuple[Tally, Floats]:
    """Tally and distortion of maps for all weights, from histograms alone as far as zeros are few."""
    weights, tables, kept = coding.weights, maps.tables[0], maps.kept
    counts, importance = occurrences(weights, 1, kept)[0], weights.histogram(False, True, kept).importance[0]
    held, lost = _held(tables, counts), (tables.astype(np.float64) - np.arange(CODES)) ** 2 @ importance
    if kept is not None:
        held[:, weights.zero] += int((~kept).sum())
        lost = lost + weights.distortion(np.where(kept, weights.codes, np.uint8(weights.zero)), correlated=False)
    gaps = _gaps(coding, maps, counts > 0, held[:, weights.zero])
    symbols, zero = _compact(held, weights.zero)
    return Tally(counts=symbols, zero=zero, scaled=weights.per_channel, gaps=gaps), lost


def _compact(held: Ints, zero: int) -> tuple[Ints, Ints]:
    """`(n, 256)` counts of values as `(n, k)` counts of symbols, and the symbol of zero, -1 where there is none."""
    width = int((held > 0).sum(axis=1).max())
    first = np.argsort(held == 0, axis=1, kind="stable")[:, :width]
    place = np.where(held[:, zero] > 0, (held[:, :zero] > 0).sum(axis=1), -1)
    return np.take_along_axis(held, first, axis=1), place


def _gaps(coding: LayerCoding, maps: Maps, occurring: Array, zeros: Ints) -> Ints:
    """Gaps between weights that are not zero under maps, as far as these leave many `zeros`, `(n,)`.

    They depend on which of the `occurring` codes become zero, and that many maps have in common.
    """
    gaps, zero = unknown_gaps(len(zeros)), coding.weights.zero
    known: dict[bytes, Ints] = {}
    for row in np.flatnonzero(zeros >= coding.fewest_zeros):
        table = maps.tables[:, row]
        key = ((table[0] == zero) & occurring).tobytes()
        if key not in known:
            known[key] = gap_counts(coding.stream(mapped(coding.weights, table, maps.kept)) != zero)[0]
        gaps[row] = known[key]
    return gaps


def _by_channel(coding: LayerCoding, maps: Maps) -> tuple[Tally, Floats]:
    """Tally and distortion of maps for each channel, by trying them."""
    tallies, lost = [], []
    for row in range(len(maps.levels)):
        tables = maps.tables[:, row]
        codes = mapped(coding.weights, tables, maps.kept)
        tallies.append(coding.tally(coding.symbols(codebooks(coding.weights, tables, maps.kept), codes)))
        lost.append(coding.weights.distortion(codes, correlated=False))
    return joined(tallies), np.array(lost)
