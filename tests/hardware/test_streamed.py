"""The footprint under bqsearch's own runtime, by hand, for a network of two layers on a board made up for it."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bqsearch.bank.build import OptionBank, build
from bqsearch.bank.weights import Moments
from bqsearch.compress import CompressedModel, compress
from bqsearch.graph.ir import Graph
from bqsearch.graph.ops import layers
from bqsearch.hardware import linked, work
from bqsearch.hardware.scratch import decoder_bytes
from bqsearch.hardware.streamed import Planner, StreamedFootprint
from bqsearch.hardware.target import Target
from bqsearch.packing.streams import STREAMS
from bqsearch.plan import Choice, Method, Prune
from bqsearch.testing.schedules import check_schedule
from networks import Builder, newer_network, small_int8_network, small_uint8_network

BOARD = Target(
    name="toy",
    title="Toy",
    core="toy",
    runtime="bqsearch",
    frequency=1e6,
    ram=4096,
    flash=65536,
    code=0,
    code_table="fe310",
    static_ram=100,
    stack=200,
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


TABLE = linked.load("fe310")
KERNELS = {"bq_conv_s8", "bq_dense_s8", "bq_softmax_s8"}
CODE = TABLE.nbytes(KERNELS | {"bq_raw"})
RAW = 114 + 20 + 28 + 266 + CODE


def test_decoders_add_up_to_the_code_that_a_plan_links() -> None:
    raw = OWN.flash(model()).code
    packed = OWN.flash(model("kmeans-16-packed", "kmeans-16-packed")).code
    both = OWN.flash(model("kmeans-16-packed", "kmeans-16-huffman")).code
    assert packed - raw == OWN.decoder_code({"packed"}) - OWN.decoder_code({"raw"})
    assert both - raw == OWN.decoder_code({"packed", "huffman"}) - OWN.decoder_code({"raw"})
    assert OWN.decoder_code({"huffman"}) > OWN.decoder_code({"packed"}) > OWN.decoder_code(()) == 0


def test_flash_of_raw_weights() -> None:
    flash = OWN.flash(model())
    assert (flash.weights, flash.tables, flash.biases) == (18 + 96, 0, 4 * 5)
    assert flash.requantization == (2 * 4 + 4) + (3 * 4 + 4)  # shifts take a byte each, and end at a multiple of 4
    records = 104 + 88 + 28 + 3 * 4 + 32  # a convolution, a dense layer, softmax, where they lie, and the network's
    assert flash.records == records + 2  # behind 18 weights
    assert flash.code == CODE
    assert flash.total == RAW


def test_flash_of_packed_weights() -> None:
    flash = OWN.flash(model(dense="kmeans-4-packed"))
    assert (flash.weights, flash.tables) == (18 + 96 * 2 // 8, 4)
    both = TABLE.nbytes(KERNELS | {"bq_raw", "bq_packed"})
    assert flash.total == RAW - 96 + 24 + 4 + both - CODE
    assert both > CODE


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
    assert option.nbytes <= stored < option.nbytes + 8
    assert stored % 4 == 0
    raw = OWN.flash(model())
    assert flash.total - flash.code - (raw.total - raw.code) == stored - OWN.stored("raw", 96, 0)


def up(nbytes: int) -> int:
    """The arena ends at a multiple of 4."""
    return -(-nbytes // 4) * 4


def test_the_stack_is_that_of_the_deepest_kernel_and_a_margin() -> None:
    depths = work.load("fe310").stack
    assert OWN.stack == BOARD.stack + max(depths["conv"], depths["dense"], depths["other"])
    flat = layers_only_dense()
    assert StreamedFootprint(graph=flat, target=BOARD).stack == BOARD.stack + depths["dense"] < OWN.stack
    blocks = StreamedFootprint(graph=small_int8_network(), target=BOARD)
    assert blocks.stack == BOARD.stack + max(depths.values())


def layers_only_dense() -> Graph:
    net = Builder("int8", seed=1)
    source = net.activation("x", (1, 16))
    return net.build([source], [net.dense("b", net.dense("a", source, 8), 4)])


def test_ram_is_for_a_filter_at_a_time() -> None:
    """The dense layer needs 32 + 3 bytes of activations and a filter of 32 weights; the convolution 16 + 32 and 9."""
    raw = OWN.ram(model())
    assert (raw.activations, raw.decode_buffer, raw.stack, raw.static) == (67, 0, OWN.stack, 101)
    assert (raw.total, raw.peak) == (168 + OWN.stack, "dense")
    packed = OWN.ram(model(conv="kmeans-3-packed", dense="kmeans-4-packed"))
    assert (packed.activations, packed.decode_buffer) == (67, 1 + 4)  # padding, and the table
    assert packed.total == 172 + OWN.stack


def test_weights_in_ram_take_their_bytes_there_and_in_flash() -> None:
    """18 raw weights take 20 bytes of RAM, 24 bytes of indices with a codebook of 4 take 28."""
    flash, one = model(dense="kmeans-4-packed"), model("keep-256-raw-ram", "kmeans-4-packed")
    both = model("keep-256-raw-ram", "kmeans-4-packed-ram")
    assert [OWN.ram(m).weights for m in (flash, one, both)] == [0, 20, 20 + 24 + 4]
    assert [OWN.ram(m).total - OWN.ram(flash).total for m in (one, both)] == [20, 48]
    assert OWN.flash(flash) == OWN.flash(one) == OWN.flash(both)
    assert OWN.schedule(both) == OWN.schedule(flash)


def test_weights_in_ram_leave_less_room_for_the_arena() -> None:
    """With them, what was the plan of least work no longer fits."""
    graph = small_int8_network()
    bank, least = BANKS[small_int8_network], footprint_of(small_int8_network, 0)
    raw = compress(graph, bank, bank.plan({}))
    quick = footprint_of(small_int8_network, None)
    arena = quick.schedule(raw).nbytes
    assert least.schedule(raw).nbytes < arena
    tight = StreamedFootprint(graph=graph, target=BOARD, room=arena + quick.stack + BOARD.static_ram)
    assert tight.schedule(raw) == quick.schedule(raw)
    moved = compress(graph, bank, bank.plan({name: Choice.parse("keep-256-raw-ram") for name in bank.by_name}))
    assert tight.schedule(moved).nbytes < arena


def test_a_huffman_decoder_has_a_lookup_table_in_ram() -> None:
    candidate = model(conv="kmeans-3-huffman")
    table = len(candidate.layers[0].coded.table)
    ram = OWN.ram(candidate)
    assert (ram.peak, ram.total) == ("conv", 100 + OWN.stack + up(OWN.schedule(candidate).nbytes))
    assert ram.total >= 100 + OWN.stack + 16 + 32 + 9 + 256 + table


@pytest.mark.parametrize("room", [None, 0, 340, 500])
@pytest.mark.parametrize("make", BANKS)
@given(seed=st.integers(0, 2**32))
@settings(deadline=None, max_examples=15)
def test_ram_is_that_of_the_schedule_and_not_below_any_layers(make, seed: int, room: int | None) -> None:
    graph = make()
    bank, own = BANKS[make], footprint_of(make, room)
    rng = np.random.default_rng(seed)
    choices = {}
    for name, entry in bank.by_name.items():
        offered = entry.choices()
        choices[name] = offered[rng.integers(len(offered))][0]
    candidate = compress(graph, bank, bank.plan(choices))
    least = [own.least_ram(e.layer, e.option.choice.coding, e.option.table_bytes) for e in candidate.layers]
    ram, schedule = own.ram(candidate), own.schedule(candidate)
    assert ram.total == up(schedule.nbytes) + own.stack + BOARD.static_ram >= max(least)
    assert own.lower_bound <= ram.activations
    assert ram.decode_buffer >= 0
    assert own.decodes(candidate) == schedule.decodes
    tables = {e.layer.op: decoder_bytes(e.option.choice.coding, len(e.coded.table)) for e in candidate.layers}
    check_schedule(graph, schedule, tables)


@cache
def footprint_of(make, room: int | None) -> StreamedFootprint:
    return StreamedFootprint(graph=make(), target=BOARD, room=room)


@pytest.mark.parametrize("make", BANKS)
def test_one_coded_layer_takes_what_was_said_where_little_room_is_wanted(make) -> None:
    """There is only the smallest plan then, so that the figure is exact."""
    graph, bank, own = make(), BANKS[make], footprint_of(make, 0)
    raw = own.ram(compress(graph, bank, bank.plan({}))).total
    assert raw == own.activations + own.stack + BOARD.static_ram
    for name, entry in bank.by_name.items():
        for choice, *_ in entry.choices()[::5]:
            total = own.ram(compress(graph, bank, bank.plan({name: choice}))).total
            assert total == own.least_ram(entry.layer, choice.coding, entry.table_bytes(choice))


def test_more_room_saves_work() -> None:
    make = small_int8_network
    graph, bank = make(), BANKS[make]
    candidate = compress(graph, bank, bank.plan({}))
    ample, tight = footprint_of(make, None), footprint_of(make, 0)
    assert ample.ram(candidate).total > tight.ram(candidate).total
    assert set(ample.decodes(candidate).values()) == {1}
    assert max(tight.decodes(candidate).values()) > 1
    exact = footprint_of(make, ample.ram(candidate).total)
    assert exact.ram(candidate) == ample.ram(candidate)
    assert footprint_of(make, ample.ram(candidate).total - 1).ram(candidate).total < ample.ram(candidate).total
    coded = compress(graph, bank, bank.plan(dict.fromkeys(bank.by_name, Choice.parse("kmeans-16-huffman"))))
    assert exact.ram(coded).total < ample.ram(coded).total
    assert exact.decodes(coded) == exact.schedule(coded).decodes != exact.decodes(candidate)


def test_thrift_repeats_little_for_less_ram() -> None:
    make = small_int8_network
    graph, bank = make(), BANKS[make]
    candidate = compress(graph, bank, bank.plan({}))
    weights = {layer.op: layer.size for layer in layers(graph)}
    total, least = sum(weights.values()), footprint_of(make, 0).ram(candidate).total
    found = []
    for thrift in (0.0, 0.02, 0.25, 99.0):
        own = StreamedFootprint(graph=graph, target=BOARD, thrift=thrift)
        kept = own.stack + BOARD.static_ram
        assert own.ram(candidate).total == kept + own.schedule(candidate).nbytes == kept + own.activations
        assert sum((n - 1) * weights.get(op, 0) for op, n in own.decodes(candidate).items()) <= thrift * total
        found.append(own.ram(candidate).total)
    assert found == sorted(found, reverse=True)
    assert found[0] == footprint_of(make, None).ram(candidate).total > found[-1] == least
    tight = StreamedFootprint(graph=graph, target=BOARD, room=least, thrift=0.02)
    assert tight.ram(candidate).total == least  # the limit comes first


@given(seed=st.integers(0, 2**32), thrift=st.sampled_from([0.05, 0.25, 9.0]))
@settings(deadline=None, max_examples=40)
def test_the_smallest_of_the_thrifty_plans_is_taken(seed: int, thrift: float) -> None:
    graph = small_int8_network()
    planner = PLANNERS.setdefault(thrift, Planner(graph=graph, room=1 << 20, thrift=thrift))
    rng = np.random.default_rng(seed)
    tables = {layer.op: int(rng.integers(0, 400)) for layer in layers(graph)}
    most = thrift * sum(layer.size for layer in layers(graph))
    modest = [plan for plan in planner.arenas.plans if plan.repeated <= most]
    wanted = min(modest, key=lambda plan: plan.with_tables(tables)[0])
    assert planner.plan(tables) is wanted


PLANNERS: dict[float, Planner] = {}
