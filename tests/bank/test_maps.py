"""What a histogram says of a scheme's maps is what the mapped weights show."""

import numpy as np
import pytest

from bank.samples import LAYERS, NETWORKS, PRUNES, SCHEMES, bank_of
from bqsearch import registry
from bqsearch.bank.coding import LayerCoding
from bqsearch.bank.maps import codebooks, fit, mapped, occurrences, weigh
from bqsearch.packing.containers import CONTAINERS

CASES = [(network, container) for network in NETWORKS for container in CONTAINERS]


def coding_of(network: str, layer: str, container: str) -> LayerCoding:
    return bank_of(network, container).by_name[layer]._coding


@pytest.mark.parametrize(("network", "container"), CASES)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_bytes_and_distortion_are_those_of_the_mapped_weights(network: str, container: str, scheme: str) -> None:
    rng = np.random.default_rng(0)
    for number, name in enumerate(LAYERS):
        coding = coding_of(network, name, container)
        weights = coding.weights
        kept = None if number % 2 else weights.mask(PRUNES[number % 3])
        maps = fit(registry.load("scheme", scheme), weights, kept, weighted=number > 1)
        (rows,) = weigh(coding, [maps])
        for row in rng.choice(len(maps.levels), min(len(maps.levels), 6), replace=False):
            tables = maps.tables[:, row]
            codes = mapped(weights, tables, kept)
            sizes = coding.container.sizes(coding.tally(coding.symbols(codebooks(weights, tables, kept), codes)))
            for one in coding.codings:
                assert rows.sizes.stream[one][row] == sizes.stream[one][0]
                assert rows.sizes.bytes_of(one)[row] == sizes.bytes_of(one)[0]
            assert rows.distortion[row] == pytest.approx(weights.distortion(codes, False), rel=1e-9, abs=1e-6)


def test_maps_are_weighed_alike_in_any_company() -> None:
    for container in CONTAINERS:
        coding = coding_of("int8 per channel", "stem", container)
        masks = [None, *(coding.weights.mask(prune) for prune in PRUNES)]
        many = [fit(registry.load("scheme", s), coding.weights, kept, True) for s in SCHEMES for kept in masks]
        for maps, rows in zip(many, weigh(coding, many), strict=True):
            (alone,) = weigh(coding, [maps])
            assert rows.maps is maps
            assert np.array_equal(rows.distortion, alone.distortion)
            for name in coding.codings:
                assert np.array_equal(rows.sizes.bytes_of(name), alone.sizes.bytes_of(name))
    assert weigh(coding, []) == []


def test_pruned_weights_become_zero_and_the_others_what_the_map_says() -> None:
    for name in LAYERS:
        weights = coding_of("uint8", name, "bqsearch").weights
        kept = weights.mask(PRUNES[0])
        single = np.random.default_rng(0).integers(0, 256, (1, 256)).astype(np.uint8)
        own = np.random.default_rng(1).integers(0, 256, (len(weights.codes), 256)).astype(np.uint8)
        for tables in (single, own):
            found = mapped(weights, tables, kept)
            for channel, column in np.ndindex(*weights.codes.shape):
                table = tables[channel if len(tables) > 1 else 0]
                expected = table[weights.codes[channel, column]] if kept[channel, column] else weights.zero
                assert found[channel, column] == expected
            assert np.array_equal(mapped(weights, tables, None)[kept], found[kept])


def test_codebooks_have_the_values_that_occur() -> None:
    weights = coding_of("int8 per channel", "pointwise", "bqsearch").weights
    kept = weights.mask(PRUNES[1])
    for quantizer in (registry.load("scheme", "kmeans"), registry.load("scheme", "kmeans_channel")):
        maps = fit(quantizer, weights, kept, weighted=True)
        for row in (0, 5, 14):
            books = codebooks(weights, maps.tables[:, row], kept)
            codes = mapped(weights, maps.tables[:, row], kept)
            assert books.zero >= 0
            groups = [codes] if len(books.values) == 1 else list(codes)
            for values, group in zip(books.values, groups, strict=True):
                assert set(np.unique(group)) <= set(values) <= {*np.unique(group), weights.zero}
    counts = occurrences(weights, len(weights.codes), kept)
    assert counts.sum() == kept.sum()
    assert np.array_equal(counts.sum(axis=0), occurrences(weights, 1, kept)[0])
