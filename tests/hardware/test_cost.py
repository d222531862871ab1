"""The cost model against figures worked out by hand, for a network of two layers on a board made up for it."""

from dataclasses import replace

import numpy as np
import pytest

from bqsearch.bank import Moments, OptionBank, build
from bqsearch.compress import CompressedModel, compress
from bqsearch.graph.ir import Graph
from bqsearch.graph.ops import layers
from bqsearch.hardware.cost import CostModel
from bqsearch.hardware.target import Target, load
from bqsearch.plan import Choice
from networks import Builder

CYCLES = {
    "mac_conv": 8.0,
    "mac_depthwise": 18.0,
    "mac_dense": 7.0,
    "element": 5.0,
    "operator": 100.0,
    "decode_raw": 1.0,
    "decode_packed": 2.0,
    "decode_huffman": 3.0,
    "flash_read": 10.0,
}
RAW, PACKED, HUFFMAN = 0, 1, 2


def board(decode_buffer: str = "filter") -> Target:
    fields = {"frequency": 1e6, "ram": 4096, "flash": 65536, "code": 1000, "static_ram": 100, "stack": 200}
    records = {"operator_record": 64, "channel_record": 5, "cycles": CYCLES, "power": 0.5, "sources": {}}
    return Target(name="toy", title="Toy", core="toy", decode_buffer=decode_buffer, **fields, **records)


@pytest.fixture(scope="module")
def graph() -> Graph:
    """4x4x1 -> conv 3x3, 2 channels -> flat -> dense 3 -> softmax: 288 + 96 MACs, 18 + 96 weights."""
    net = Builder("int8", seed=1)
    image = net.activation("image", (1, 4, 4, 1))
    flat = net.reshape("flat", net.conv("net/conv", image, 2, size=3), (1, 32))
    return net.build([image], [net.softmax("scores", net.dense("net/dense", flat, 3))])


@pytest.fixture(scope="module")
def bank(graph: Graph) -> OptionBank:
    ones = {layer.name: (1,) * len(layer.shape) for layer in layers(graph)}
    return build(graph, {n: Moments(mean=np.zeros(s), variance=np.ones(s)) for n, s in ones.items()}, ["kmeans"])


def model(graph: Graph, bank: OptionBank, conv: str = "keep-256-raw", dense: str = "keep-256-raw") -> CompressedModel:
    names = list(bank.by_name)
    assert names == ["conv", "dense"]
    return compress(graph, bank, bank.plan({"conv": Choice.parse(conv), "dense": Choice.parse(dense)}))


def test_flash_of_raw_weights(graph: Graph, bank: OptionBank) -> None:
    flash = CostModel(graph=graph, target=board()).flash(model(graph, bank))
    assert (flash.weights, flash.tables, flash.biases) == (18 + 96, 0, 4 * 5)
    assert (flash.requantization, flash.records, flash.code) == (5 * 5, 4 * 64, 1000)
    assert flash.total == 1415


def test_flash_of_packed_weights(graph: Graph, bank: OptionBank) -> None:
    flash = CostModel(graph=graph, target=board()).flash(model(graph, bank, dense="kmeans-4-packed"))
    assert (flash.weights, flash.tables) == (18 + 96 * 2 // 8, 4)
    assert flash.total == 1415 - 96 + 24 + 4


def test_flash_of_huffman_is_the_length_of_the_streams(graph: Graph, bank: OptionBank) -> None:
    candidate = model(graph, bank, conv="kmeans-3-huffman", dense="kmeans-8-huffman")
    flash = CostModel(graph=graph, target=board()).flash(candidate)
    assert flash.weights == sum(len(entry.coded.stream) for entry in candidate.layers)
    assert flash.tables == sum(len(entry.coded.table) for entry in candidate.layers)
    assert flash.weights < 114


@pytest.mark.parametrize("dense", ["keep-256-raw", "kmeans-16-packed", "kmeans-16-huffman"])
def test_flash_parts_sum_to_the_total(graph: Graph, bank: OptionBank, dense: str) -> None:
    flash = CostModel(graph=graph, target=board()).flash(model(graph, bank, dense=dense))
    parts = (flash.weights, flash.tables, flash.biases, flash.requantization, flash.records, flash.code)
    assert flash.total == sum(parts)


def test_ram_when_filters_are_decoded(graph: Graph, bank: OptionBank) -> None:
    """The convolution needs 16 + 32 bytes of activations, nine weights of a filter, and the codebook."""
    cost = CostModel(graph=graph, target=board("filter"))
    raw = cost.ram(model(graph, bank))
    assert (raw.activations, raw.decode_buffer, raw.stack, raw.static) == (48, 9, 200, 100)
    assert (raw.total, raw.peak) == (357, "conv")
    packed = cost.ram(model(graph, bank, conv="kmeans-3-packed", dense="kmeans-4-packed"))
    assert (packed.decode_buffer, packed.total) == (9 + 3, 360)


def test_ram_when_tensors_are_decoded(graph: Graph, bank: OptionBank) -> None:
    """Raw weights are read where they lie; a coded dense layer's 96 weights lie beside 32 + 3 bytes (36 aligned)."""
    cost = CostModel(graph=graph, target=board("tensor"))
    raw = cost.ram(model(graph, bank))
    assert (raw.activations, raw.decode_buffer, raw.peak) == (48, 0, "conv")
    conv = cost.ram(model(graph, bank, conv="kmeans-3-packed"))
    assert (conv.decode_buffer, conv.peak) == (18, "conv")
    dense = cost.ram(model(graph, bank, dense="kmeans-4-packed"))
    assert (dense.activations, dense.decode_buffer, dense.peak) == (48, 36 + 96 - 48, "dense")


def test_cycles_of_raw_weights(graph: Graph, bank: OptionBank) -> None:
    cost = CostModel(graph=graph, target=board())
    work = 288 * 8 + 96 * 7 + 3 * 5 + 4 * 100
    fetched = (18 + 96 + 20 + 25) * 10
    assert cost.cycles(model(graph, bank)) == work + fetched + 114 * 1 == 5095


def test_cycles_of_packed_weights(graph: Graph, bank: OptionBank) -> None:
    cost = CostModel(graph=graph, target=board())
    packed = cost.cycles(model(graph, bank, dense="kmeans-4-packed"))
    assert packed == 5095 - 96 * 1 - 96 * 10 + 96 * 2 + (24 + 4) * 10


def test_raw_weights_cost_nothing_more_where_kernels_read_them_in_place(graph: Graph, bank: OptionBank) -> None:
    cost = CostModel(graph=graph, target=board("tensor"))
    raw, packed = cost.cycles(model(graph, bank)), cost.cycles(model(graph, bank, dense="kmeans-4-packed"))
    assert raw == 5095 - 114 * 1 - (18 + 96) * 10
    assert packed == raw + 96 * 2 + (24 + 4) * 10


def test_time_and_energy_follow_from_cycles(graph: Graph, bank: OptionBank) -> None:
    cost, candidate = CostModel(graph=graph, target=board()), model(graph, bank)
    assert cost.latency(candidate) == pytest.approx(5095e-6, rel=1e-12)
    assert cost.energy(candidate) == pytest.approx(5095e-6 * 0.5, rel=1e-12)
    fast = CostModel(graph=graph, target=replace(board(), frequency=2e6))
    assert fast.latency(candidate) == pytest.approx(5095e-6 / 2, rel=1e-12)


def test_operators_have_names_for_people(graph: Graph) -> None:
    names = CostModel(graph=graph, target=board()).operator_names
    assert names == ("conv", "reshape (operator 1)", "dense", "softmax (operator 3)")


def test_depthwise_multiplies_by_its_own_rate() -> None:
    net = Builder("int8")
    image = net.activation("image", (1, 4, 4, 2))
    graph = net.build([image], [net.depthwise("depthwise", image)])
    (layer,) = layers(graph)
    shape = (1, 1, 1, 1)
    bank = build(graph, {layer.name: Moments(mean=np.zeros(shape), variance=np.ones(shape))}, [])
    cycles = CostModel(graph=graph, target=board()).cycles(compress(graph, bank, bank.baseline))
    assert cycles == 4 * 4 * 2 * 9 * 18 + 100 + (18 + 8 + 10) * 10 + 18 * 1


@pytest.mark.parametrize("name", ["hifive1", "nrf52840"])
def test_real_boards_are_slower_the_more_there_is_to_decode(graph: Graph, bank: OptionBank, name: str) -> None:
    cost = CostModel(graph=graph, target=load(name))
    assert cost.cycles(model(graph, bank)) > 0
    assert cost.ram(model(graph, bank)).total < cost.target.ram
