"""A network on the accelerator: shapes from operators, figures worked out by hand, and what has no mapping."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from bqsearch.bank.build import OptionBank, build
from bqsearch.bank.weights import Moments
from bqsearch.compress import CompressedModel, compress
from bqsearch.errors import UnsupportedError
from bqsearch.graph.ir import Graph
from bqsearch.graph.ops import SUPPORTED, layers, macs
from bqsearch.hardware import target
from bqsearch.hardware.accelerator import DramFootprint, convolution
from bqsearch.hardware.cost import CostModel
from bqsearch.hardware.dataflow import Axis
from bqsearch.packing.containers import CONTAINERS
from bqsearch.plan import Choice, Method
from networks import SAME, VALID, Builder

EYERISS = target.load("eyeriss")


def network(dtype: str = "int8") -> Graph:
    """6x6x1 -> conv 3x3, 2 channels -> itself added -> flat -> dense 3 -> softmax."""
    net = Builder(dtype, seed=1)
    image = net.activation("image", (1, 6, 6, 1))
    made = net.conv("net/conv", image, 2, size=3, padding=VALID)
    flat = net.reshape("flat", net.add("sum", made, made), (1, 32))
    return net.build([image], [net.softmax("scores", net.dense("net/dense", flat, 3))])


def bank_of(graph: Graph) -> OptionBank:
    ones = {layer.name: (1,) * len(layer.shape) for layer in layers(graph)}
    moments = {n: Moments(mean=np.zeros(s), variance=np.ones(s)) for n, s in ones.items()}
    return build(graph, moments, ["kmeans"], CONTAINERS["row_stationary"], Method())


def model(graph: Graph, **choices: str) -> CompressedModel:
    bank = bank_of(graph)
    return compress(graph, bank, bank.plan({name: Choice.parse(text) for name, text in choices.items()}))


def raw(graph: Graph) -> CompressedModel:
    return model(graph, conv="keep-256-raw", dense="keep-256-raw")


def cost(graph: Graph) -> CostModel:
    return CostModel(graph=graph, target=EYERISS)


def one(make: Callable[[Builder, int], int], shape: tuple[int, ...] = (1, 7, 9, 4)) -> Graph:
    """A network of one operator."""
    net = Builder("int8")
    image = net.activation("image", shape)
    return net.build([image], [make(net, image)])


OPERATORS: dict[str, Callable[[Builder, int], int]] = {
    "pointwise": lambda net, image: net.conv("conv", image, 5),
    "valid": lambda net, image: net.conv("conv", image, 5, size=3, padding=VALID),
    "strided": lambda net, image: net.conv("conv", image, 5, size=3, stride=2),
    "depthwise": lambda net, image: net.depthwise("dw", image, stride=2),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_shapes_have_the_operators_macs_weights_and_outputs(name: str) -> None:
    graph = one(OPERATORS[name])
    shape, op = convolution(graph, graph.ops[0]), graph.ops[0]
    assert shape.macs == macs(graph, op)
    assert shape.weights == layers(graph)[0].size
    assert shape.outputs == graph.output.size
    assert shape.inputs == graph.input.size
    assert (shape.input_bits, shape.output_bits) == (8, 8)
    assert shape.groups == (4 if name == "depthwise" else 1)


def test_padding_is_placed_as_tensorflow_lite_does() -> None:
    graph = one(lambda net, image: net.conv("conv", image, 5, size=3, stride=2, padding=SAME), (1, 7, 10, 4))
    shape = convolution(graph, graph.ops[0])
    assert shape.height == Axis(size=7, taps=3, outputs=4, stride=2, margin=1)
    assert shape.width == Axis(size=10, taps=3, outputs=5, stride=2, margin=0)


def test_what_a_stride_skips_is_not_read() -> None:
    graph = one(lambda net, image: net.conv("conv", image, 5, size=1, stride=2))
    assert convolution(graph, graph.ops[0]).inputs == 4 * 5 * 4


def test_a_dense_layer_is_a_convolution_of_one_place() -> None:
    net = Builder("int8")
    row = net.activation("row", (1, 20))
    graph = net.build([row], [net.dense("dense", row, 6)])
    shape = convolution(graph, graph.ops[0])
    assert (shape.batch, shape.channels, shape.filters, shape.macs) == (1, 20, 6, 120)
    assert shape.height == shape.width == Axis(size=1, taps=1, outputs=1)


def test_transposed_convolutions_are_refused_by_name() -> None:
    graph = one(lambda net, image: net.transpose_conv("net/up", image, 3))
    assert cost(graph).accelerator is not None
    with pytest.raises(UnsupportedError, match=r"^up has no mapping onto Eyeriss .*: transposed convolutions do not"):
        cost(graph).accelerator.check()


def test_filters_larger_than_the_array_are_refused_by_name() -> None:
    graph = one(lambda net, image: net.conv("net/large", image, 3, size=13), (1, 15, 15, 1))
    with pytest.raises(UnsupportedError, match=r"^large has no mapping onto Eyeriss .*: filters of 13x13 over rows"):
        cost(graph).accelerator.check()


def test_flash_and_ram_are_the_dram_beside_it() -> None:
    graph = network()
    candidate = model(graph, conv="keep-256-raw", dense="kmeans-4-packed")
    footprint = cost(graph).footprint
    assert isinstance(footprint, DramFootprint)
    flash, ram = footprint.flash(candidate), footprint.ram(candidate)
    assert (flash.weights, flash.tables) == (18 + 24, 4)
    assert (flash.biases, flash.requantization, flash.records, flash.code) == (20, 25, 2 * 225, 0)
    assert (ram.total, ram.activations, ram.peak) == (68, 68, "conv")  # 36 read and 32 written
    assert footprint.lower_bound == footprint.activations == 68
    assert footprint.stored("packed", 24, 4) == 28
    assert footprint.least_ram(layers(graph)[1], "packed", 4) == 68
    assert footprint.decodes(candidate) == {0: 1, 3: 1}


def test_energy_and_latency_by_hand() -> None:
    """The convolution: 4 columns of elements for 4 output rows, 3 for the filter's, both filters in each element."""
    graph = network()
    candidate, model_ = raw(graph), cost(graph)
    chip = EYERISS.chip
    assert chip is not None
    conv_bits, dense_bits = 8 * (18 + 8 + 10), 8 * (96 + 12 + 15)
    conv_words = (conv_bits + 8 * (36 + 32)) / 16
    conv = 200 * conv_words + 288 + 6 * (18 + 36) + 2 * (18 * 4 + 72 + 32 * 2) + (288 * 2 + 2 * (288 - 96))
    found = model_.accelerator.mapped(candidate)
    assert float(found[0].movement.energy(chip, conv_bits)) == pytest.approx(conv)
    dense = found[3].movement
    dense_words = (dense_bits + 8 * (32 + 3)) / 16
    assert float(dense.dram_words(chip, dense_bits)) == dense_words
    host_bytes = 32 * 3 + 2 * 3  # the sum reads twice; softmax
    total = conv + float(dense.energy(chip, dense_bits)) + 200 * 8 * host_bytes / 16
    assert model_.energy(candidate) == pytest.approx(total * chip.mac)
    assert int(found[0].movement.cycles) == 4 * 3 * 2
    waits = (36 + 32 + 32 + 3 + host_bytes) / 480e6
    loads = max(24 / 200e6, 36 / 480e6) + max(int(dense.cycles) / 200e6, 123 / 480e6)
    assert model_.latency(candidate) == pytest.approx(loads + waits)
    assert model_.cycles(candidate) == pytest.approx(200e6 * (loads + waits))


def test_coded_weights_take_less_energy_and_no_more_time() -> None:
    graph = network()
    one_, other = raw(graph), model(graph, conv="keep-256-raw", dense="kmeans-4-packed")
    saved = (96 - 24 - 4) * 8 / 16 * 200 * EYERISS.chip.mac
    model_ = cost(graph)
    assert model_.energy(one_) - model_.energy(other) == pytest.approx(saved)
    assert model_.latency(other) < model_.latency(one_)


def test_uint8_costs_what_int8_does() -> None:
    signed, unsigned = network("int8"), network("uint8")
    assert cost(signed).energy(raw(signed)) == pytest.approx(cost(unsigned).energy(raw(unsigned)))


def test_every_weighted_operator_is_mapped_and_only_those() -> None:
    graph = network()
    found = cost(graph).accelerator.mappings
    assert set(found) == {i for i, op in enumerate(graph.ops) if SUPPORTED[op.code].weights is not None} == {0, 3}


def test_a_board_has_no_accelerator() -> None:
    assert CostModel(graph=network(), target=target.load("hifive1")).accelerator is None


def test_a_faster_link_shortens_and_a_dearer_mac_costs() -> None:
    graph = network()
    candidate, chip = raw(graph), EYERISS.chip
    assert chip is not None
    fast = replace(EYERISS, chip=replace(chip, bandwidth=2 * chip.bandwidth))
    dear = replace(EYERISS, chip=replace(chip, mac=2 * chip.mac))
    assert CostModel(graph=graph, target=fast).latency(candidate) < cost(graph).latency(candidate)
    assert CostModel(graph=graph, target=dear).energy(candidate) == pytest.approx(2 * cost(graph).energy(candidate))
