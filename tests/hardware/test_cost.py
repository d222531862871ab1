"""The cost model against figures worked out by hand, for a network of two layers on a board made up for it."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from bqsearch.bank.build import OptionBank, build
from bqsearch.bank.weights import Moments
from bqsearch.compress import CompressedModel, compress
from bqsearch.graph.ir import Graph
from bqsearch.graph.ops import layers
from bqsearch.hardware import target
from bqsearch.hardware.cost import CostModel
from bqsearch.hardware.micro import MicroFootprint
from bqsearch.hardware.streamed import StreamedFootprint
from bqsearch.hardware.target import Target
from bqsearch.packing.containers import CONTAINERS
from bqsearch.plan import Choice, Method
from networks import Builder

CYCLES = {
    "bqsearch": {"instruction": 2.0, "product": 3.0, "flash_read": 10.0},
    "tflm": {
        "mac_conv": 8.0,
        "mac_depthwise": 18.0,
        "mac_dense": 7.0,
        "element": 5.0,
        "operator": 100.0,
        "decode_packed": 2.0,
        "decode_huffman": 3.0,
        "decode_mask": 4.0,
        "flash_read": 10.0,
    },
}


def board(runtime: str = "bqsearch") -> Target:
    fields = {"frequency": 1e6, "ram": 4096, "flash": 65536, "static_ram": 100, "stack": 200}
    record = {
        "bqsearch": {"code": 0, "code_table": "fe310", "channel_record": 5},
        "tflm": {"code": 1000, "code_table": "", "channel_record": 0},
    }
    rest = {"cycles": CYCLES[runtime], "power": 0.5, "sources": {}}
    return Target(name="toy", title="Toy", core="toy", runtime=runtime, **fields, **record[runtime], **rest)


@pytest.fixture(scope="module")
def graph() -> Graph:
    """4x4x1 -> conv 3x3, 2 channels -> flat -> dense 3 -> softmax: 288 + 96 MACs, 18 + 96 weights."""
    net = Builder("int8", seed=1)
    image = net.activation("image", (1, 4, 4, 1))
    flat = net.reshape("flat", net.conv("net/conv", image, 2, size=3), (1, 32))
    return net.build([image], [net.softmax("scores", net.dense("net/dense", flat, 3))])


@pytest.fixture(scope="module")
def bank(graph: Graph) -> OptionBank:
    return bank_of(graph)


@pytest.fixture(scope="module")
def micro_bank(graph: Graph) -> OptionBank:
    return bank_of(graph, "tflm")


def bank_of(graph: Graph, runtime: str = "bqsearch", schemes: Sequence[str] = ("kmeans",)) -> OptionBank:
    ones = {layer.name: (1,) * len(layer.shape) for layer in layers(graph)}
    moments = {n: Moments(mean=np.zeros(s), variance=np.ones(s)) for n, s in ones.items()}
    return build(graph, moments, schemes, CONTAINERS[runtime], Method())


def model(graph: Graph, bank: OptionBank, conv: str = "keep-256-raw", dense: str = "keep-256-raw") -> CompressedModel:
    names = list(bank.by_name)
    assert names == ["conv", "dense"]
    return compress(graph, bank, bank.plan({"conv": Choice.parse(conv), "dense": Choice.parse(dense)}))


@pytest.mark.parametrize(("runtime", "kind"), [("bqsearch", StreamedFootprint), ("tflm", MicroFootprint)])
def test_flash_and_ram_are_those_of_the_boards_runtime(graph: Graph, runtime: str, kind: type) -> None:
    cost, bank = CostModel(graph=graph, target=board(runtime)), bank_of(graph, runtime)
    candidate = model(graph, bank, conv="kmeans-3-huffman", dense="kmeans-4-packed")
    own = kind(graph=graph, target=board(runtime))
    assert type(cost.footprint) is kind
    assert cost.footprint is cost.footprint
    assert cost.flash(candidate) == own.flash(candidate)
    assert cost.ram(candidate) == own.ram(candidate)
    assert cost.ram(candidate).total == own.ram(candidate).total > 300


RECORDS = 104 + 88 + 28 + 3 * 4 + 32  # a convolution, a dense layer, softmax, where they lie, and the network's


def test_cycles_are_those_of_instructions_products_and_reading_flash(graph: Graph, bank: OptionBank) -> None:
    cost, candidate = CostModel(graph=graph, target=board()), model(graph, bank)
    fetched = 18 + 96 + 20 + 25 + RECORDS
    assert cost.instructions(candidate) > 500
    assert cost.cycles(candidate) == pytest.approx(2 * cost.instructions(candidate) + 3 * (288 + 96) + 10 * fetched)


def test_coded_weights_take_less_reading_and_more_instructions(graph: Graph, bank: OptionBank) -> None:
    cost = CostModel(graph=graph, target=board())
    raw, packed = model(graph, bank), model(graph, bank, dense="kmeans-4-packed")
    more = cost.instructions(packed) - cost.instructions(raw)
    assert more > 0
    assert cost.cycles(packed) - cost.cycles(raw) == pytest.approx(2 * more - 10 * (96 - 24 - 4))


def test_weights_in_ram_are_decoded_and_not_fetched(graph: Graph, bank: OptionBank) -> None:
    cost = CostModel(graph=graph, target=board())
    flash, ram = (model(graph, bank, dense=f"kmeans-4-packed{end}") for end in ("", "-ram"))
    assert cost.instructions(ram) == cost.instructions(flash)
    assert cost.cycles(ram) == pytest.approx(cost.cycles(flash) - (24 + 4) * 10)
    assert cost.fetching(ram) == cost.fetching(flash) == {0: 18 * 10, 2: (24 + 4) * 10}
    assert cost.flash(ram) == cost.flash(flash)


def test_shifts_take_no_products(graph: Graph) -> None:
    powers = bank_of(graph, schemes=("log2",))
    cost = CostModel(graph=graph, target=board())
    raw, shifted = model(graph, powers), model(graph, powers, dense="log2-5-packed")
    fewer = (cost.cycles(raw) - cost.cycles(shifted)) + 2 * (cost.instructions(shifted) - cost.instructions(raw))
    assert fewer == pytest.approx(3 * 96 + 10 * (96 - shifted.layers[1].option.nbytes))


def test_raw_weights_cost_nothing_more_where_kernels_read_them_in_place(graph: Graph, micro_bank: OptionBank) -> None:
    """And there are no channel records to fetch; a packed table has a header."""
    cost = CostModel(graph=graph, target=board("tflm"))
    raw = cost.cycles(model(graph, micro_bank))
    assert raw == 288 * 8 + 96 * 7 + 3 * 5 + 4 * 100 + 20 * 10
    packed = cost.cycles(model(graph, micro_bank, dense="kmeans-4-packed"))
    assert packed == raw + 96 * 2 + (24 + 16 + 4) * 10
    masked = model(graph, micro_bank, dense="kmeans-4-mask")
    assert cost.cycles(masked) == raw + 96 * 4 + masked.layers[1].coded.nbytes * 10


def test_time_and_energy_follow_from_cycles(graph: Graph, bank: OptionBank) -> None:
    cost, candidate = CostModel(graph=graph, target=board()), model(graph, bank)
    assert cost.latency(candidate) == pytest.approx(cost.cycles(candidate) / 1e6, rel=1e-12)
    assert cost.energy(candidate) == pytest.approx(cost.cycles(candidate) / 1e6 * 0.5, rel=1e-12)
    fast = CostModel(graph=graph, target=replace(board(), frequency=2e6))
    assert fast.latency(candidate) == pytest.approx(cost.latency(candidate) / 2, rel=1e-12)


def test_depthwise_multiplies_by_its_own_rate() -> None:
    net = Builder("int8")
    image = net.activation("image", (1, 4, 4, 2))
    graph = net.build([image], [net.depthwise("depthwise", image)])
    bank = bank_of(graph, "tflm")
    cycles = CostModel(graph=graph, target=board("tflm")).cycles(compress(graph, bank, bank.baseline))
    assert cycles == 4 * 4 * 2 * 9 * 18 + 100 + 8 * 10


def test_strips_decode_and_fetch_again() -> None:
    """8x8x4 -> conv 1x1 to 32 -> conv 1x1 to 4: with little room the wide tensor's rows are made in strips."""
    net = Builder("int8")
    image = net.activation("image", (1, 8, 8, 4))
    graph = net.build([image], [net.conv("b", net.conv("a", image, 32), 4)])
    bank = bank_of(graph)
    candidate = compress(graph, bank, bank.baseline)
    ample, tight = (CostModel(graph=graph, target=board(), room=room) for room in (None, 0))
    times = tight.footprint.decodes(candidate)
    assert set(ample.footprint.decodes(candidate).values()) == {1}
    assert max(times.values()) > 1
    weights, channels = (128, 128), (32, 4)
    once = [w + c * (4 + 5) for w, c in zip(weights, channels, strict=True)]
    again = 10 * sum((times[op] - 1) * nbytes for op, nbytes in enumerate(once))
    more = tight.instructions(candidate) - ample.instructions(candidate)
    assert more > 0
    assert tight.cycles(candidate) - ample.cycles(candidate) == pytest.approx(again + 2 * more)
    assert tight.ram(candidate).total < ample.ram(candidate).total


@pytest.mark.parametrize("name", [name for name in target.names() if target.load(name).chip is None])
def test_real_boards_are_slower_the_more_there_is_to_decode(graph: Graph, name: str) -> None:
    cost = CostModel(graph=graph, target=target.load(name))
    bank = bank_of(graph, cost.target.runtime)
    raw, packed, huffman = (
        model(graph, bank, dense=choice) for choice in ("keep-256-raw", "kmeans-16-packed", "kmeans-16-huffman")
    )
    if cost.target.runtime == "tflm":
        assert cost.cycles(raw) < cost.cycles(packed)
    assert 0 < cost.cycles(packed) < cost.cycles(huffman)
    for candidate in (raw, packed, huffman):
        assert cost.ram(candidate).total < cost.target.ram
        assert cost.flash(candidate).total < cost.target.flash
