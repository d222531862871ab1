"""Tallies that are worked out together have the bytes that they have alone, and those of the streams."""

import numpy as np
import pytest

from bank.samples import LAYERS, NETWORKS, bank_of
from bqsearch.bank.codebooks import Codebooks
from bqsearch.bank.coding import LayerCoding, joined, part, unknown_gaps
from bqsearch.packing.container import UNAVAILABLE, Symbols, gap_counts
from bqsearch.packing.containers import CONTAINERS
from bqsearch.types import Bytes

CASES = [(network, layer, container) for network in NETWORKS for layer in LAYERS for container in CONTAINERS]


def coding_of(network: str, layer: str, container: str) -> LayerCoding:
    return bank_of(network, container).by_name[layer]._coding


def varied(coding: LayerCoding, count: int) -> list[Bytes]:
    """Codes of few values and of many, with few zeros and with many."""
    shape, zero = coding.weights.codes.shape, coding.weights.zero
    made = []
    for seed in range(count):
        rng = np.random.default_rng(seed)
        codes = rng.choice(rng.choice(256, 1 + 3**seed % 80, replace=False), shape)
        made.append(np.where(rng.random(shape) < rng.random(), zero, codes).astype(np.uint8))
    return made


def symbols_of(coding: LayerCoding, codes: Bytes, channels: bool) -> Symbols:
    rows = codes if channels else codes.reshape(1, -1)
    held = np.stack([np.bincount(row, minlength=256) for row in rows]).astype(np.int64)
    return coding.symbols(Codebooks.of(held, coding.weights.zero, pruned=channels), codes)


@pytest.mark.parametrize(("network", "layer", "container"), CASES)
def test_sizes_are_those_of_the_streams_in_any_company(network: str, layer: str, container: str) -> None:
    coding = coding_of(network, layer, container)
    many = [symbols_of(coding, codes, channels) for channels in (True, False) for codes in varied(coding, 5)]
    together = coding.sizes([coding.tally(symbols) for symbols in many])
    assert len(together) == len(many)
    for symbols, sizes in zip(many, together, strict=True):
        alone = coding.container.sizes(coding.tally(symbols))
        for name in coding.codings:
            nbytes = int(sizes.bytes_of(name)[0])
            assert nbytes == alone.bytes_of(name)[0]
            if nbytes < UNAVAILABLE:
                coded = coding.container.encode(symbols, name)
                assert (len(coded.stream), len(coded.table)) == (sizes.stream[name][0], sizes.table[name][0])
                assert np.array_equal(coding.container.decode(coded), symbols.raw_bytes)


@pytest.mark.parametrize(("network", "layer", "container"), CASES)
def test_symbols_stand_in_the_order_of_the_stream(network: str, layer: str, container: str) -> None:
    coding = coding_of(network, layer, container)
    weights = coding.weights
    axis = weights.layer.channel_axis
    for channels in (True, False):
        for codes in varied(coding, 4):
            symbols = symbols_of(coding, codes, channels)
            flat = codes if coding.container.by_channel else weights.restore(codes)
            assert np.array_equal(symbols.raw_bytes, flat.reshape(-1))
            assert symbols.zero_byte == weights.zero
            assert symbols.groups == (weights.layer.channels if channels else 1)
            if coding.container.by_channel or axis == 0:
                assert symbols.inner == weights.layer.size // weights.layer.channels
            else:
                assert symbols.inner == 1


def test_gaps_are_counted_where_zeros_are_many() -> None:
    coding = coding_of("uint8", "pointwise", "bqsearch")
    size, zero = coding.weights.layer.size, coding.weights.zero
    for zeros in (size // 2 - 1, size // 2):
        codes = np.full(size, zero + 1, np.uint8)
        codes[:zeros] = zero
        symbols = symbols_of(coding, codes.reshape(coding.weights.codes.shape), channels=False)
        counted = coding.tally(symbols).gaps
        assert counted is not None
        expected = gap_counts(codes != zero) if zeros >= size / 2 else unknown_gaps(1)
        assert np.array_equal(counted, expected)
        available = coding.sizes([coding.tally(symbols)])[0].stream["sparse"][0] < UNAVAILABLE
        assert available == (zeros >= size / 2)


def test_joined_tallies_come_apart_again() -> None:
    coding = coding_of("int8 per channel", "dense", "bqsearch")
    many = [coding.tally(symbols_of(coding, codes, channels=False)) for codes in varied(coding, 5)]
    whole = joined([joined(many[:2]), *many[2:]])
    assert len(whole.counts) == len(whole.zero) == 5
    sizes = coding.container.sizes(whole)
    for row, tally in enumerate(many):
        assert np.array_equal(whole.counts[row, : tally.counts.shape[1]], tally.counts[0])
        assert not whole.counts[row, tally.counts.shape[1] :].any()
        alone, own = coding.container.sizes(tally), part(sizes, slice(row, row + 1))
        assert (own.stream, own.table) == (alone.stream, alone.table)
    assert coding.sizes([]) == []
