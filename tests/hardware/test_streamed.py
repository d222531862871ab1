"""The footprint under bqsearch's own runtime, by hand, for a network of two layers on a board made up for it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bqsearch.bank.build import OptionBank, build
from bqsearch.bank.weights import Moments
from bqsearch.compress import CompressedModel, compress
from bqsearch.graph.ir import Graph
from bqsearch.graph.ops import layers
from bqsearch.hardware.memory import plan_arena
from bqsearch.hardware.streamed import StreamedFootprint, scratch_bytes
from bqsearch.hardware.target import Target
from bqsearch.packing.streams import STREAMS
from bqsearch.plan import Choice, Method, Prune
from networks import Builder, newer_network, small_int8_network, small_uint8_network

BOARD = Target(
    name="toy",
    title="Toy",
    core="toy",
    runtime="bqsearch",
    frequency=1e6,
    ram=4096,
    flash=65536,
    code=1000,
    static_ram=100,
    stack=200,
    operator_record=64,
    channel_record=5,
    cycles={},
    power=0.5,
    sources={},
)


def bank_of(graph: Graph) -> OptionBank:
    flat = {x.name: Moments(mean=np.zeros((1, 1)), variance=np.ones((1, 1))) for x in layers(graph)}
    prunes = [Prune(rule="std", amount=75)]
    return build(graph, flat, ["kmeans", "kmeans_channel"], STREAMS, Method(), prunes)


def two_layers() -> Graph:
    """4x4x1 -> conv 3x3, 2 channels -> flat -> dense 3 -> softmax: 288 + 96 MACs, 18 + 96 weights."""
    net = Builder("int8", seed=1)
    image = net.activation("image", (1, 4, 4, 1))
    flat = net.reshape("flat", net.conv("net/conv", image, 2, size=3), (1, 32))
    return net.build([image], [net.softmax("scores", net.dense("net/dense", flat, 3))])


GRAPH = two_layers()
BANK = bank_of(GRAPH)
BANKS = {make: bank_of(make()) for make in (small_int8_network, small_uint8_network, newer_network)}
OWN = StreamedFootprint(graph=GRAPH, target=BOARD)


def model(conv: str = "keep-256-raw", dense: str = "keep-256-raw") -> CompressedModel:
    assert list(BANK.by_name) == ["conv", "dense"]
    return compress(GRAPH, BANK, BANK.plan({"conv": Choice.parse(conv), "dense": Choice.parse(dense)}))


def test_flash_of_raw_weights() -> None:
    flash = OWN.flash(model())
    assert (flash.weights, flash.tables, flash.biases) == (18 + 96, 0, 4 * 5)
    assert (flash.requantization, flash.records, flash.code) == (5 * 5, 4 * 64, 1000)
    assert flash.total == 1415


def test_flash_of_packed_weights() -> None:
    flash = OWN.flash(model(dense="kmeans-4-packed"))
    assert (flash.weights, flash.tables) == (18 + 96 * 2 // 8, 4)
    assert flash.total == 1415 - 96 + 24 + 4


def test_flash_of_huffman_is_the_length_of_the_streams() -> None:
    candidate = model(conv="kmeans-3-huffman", dense="kmeans-8-huffman")
    flash = OWN.flash(candidate)
    assert flash.weights == sum(len(entry.coded.stream) for entry in candidate.layers)
    assert flash.tables == sum(len(entry.coded.table) for entry in candidate.layers)
    assert flash.weights < 114


@pytest.mark.parametrize("dense", ["keep-256-raw", "kmeans-16-packed", "kmeans-16-huffman"])
def test_flash_parts_sum_to_the_total_and_what_is_stored_is_the_difference(dense: str) -> None:
    flash = OWN.flash(model(dense=dense))
    parts = (flash.weights, flash.tables, flash.biases, flash.requantization, flash.records, flash.code)
    assert flash.total == sum(parts)
    choice = Choice.parse(dense)
    option = BANK.by_name["dense"].option(choice)
    stored = OWN.stored(choice.coding, option.stream_bytes, option.table_bytes)
    assert stored == option.nbytes
    assert flash.total - OWN.flash(model()).total == stored - OWN.stored("raw", 96, 0)


def test_ram_is_for_a_filter_at_a_time() -> None:
    """The convolution needs 16 + 32 bytes of activations, nine weights of a filter, and the codebook."""
    raw = OWN.ram(model())
    assert (raw.activations, raw.decode_buffer, raw.stack, raw.static) == (48, 9, 200, 100)
    assert (raw.total, raw.peak) == (357, "conv")
    packed = OWN.ram(model(conv="kmeans-3-packed", dense="kmeans-4-packed"))
    assert (packed.decode_buffer, packed.total) == (9 + 3, 360)


def test_scratch_is_a_filter_and_its_table() -> None:
    net = Builder("int8")
    image = net.activation("image", (1, 4, 4, 2))
    conv = net.conv("conv", image, 3, size=3)
    depthwise = net.depthwise("depthwise", conv)
    dense = net.dense("dense", net.reshape("flat", depthwise, (1, 48)), 5)
    found = layers(net.build([image], [dense]))
    assert [scratch_bytes(layer, 7) for layer in found] == [18 + 7, 9 + 7, 7]
    assert [scratch_bytes(layer, 0) for layer in found] == [18, 9, 0]


@pytest.mark.parametrize("make", BANKS)
@given(seed=st.integers(0, 2**32))
@settings(deadline=None, max_examples=15)
def test_the_largest_of_the_least_is_the_whole(make, seed: int) -> None:
    graph = make()
    bank, own = BANKS[make], StreamedFootprint(graph=graph, target=BOARD)
    rng = np.random.default_rng(seed)
    choices = {}
    for name, entry in bank.by_name.items():
        offered = entry.choices()
        choices[name] = offered[rng.integers(len(offered))][0]
    candidate = compress(graph, bank, bank.plan(choices))
    least = [own.least_ram(e.layer, e.option.choice.coding, e.option.table_bytes) for e in candidate.layers]
    ram = own.ram(candidate)
    assert ram.total == max(*least, own.activations + BOARD.stack + BOARD.static_ram)
    assert ram.activations == own.activations == plan_arena(graph).nbytes >= own.lower_bound
    assert ram.decode_buffer >= 0
