"""Flash is the file's size to the byte, and RAM is the interpreter's arena, for whatever plan."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bqsearch.bank.build import OptionBank, build
from bqsearch.bank.layer import KEEP
from bqsearch.bank.weights import Moments
from bqsearch.compress import CompressedModel, compress
from bqsearch.exporters.tflm import export
from bqsearch.graph import passes
from bqsearch.graph.decode import DECODE
from bqsearch.graph.ir import Graph
from bqsearch.graph.ops import layers
from bqsearch.hardware import offline, target
from bqsearch.hardware.micro import MicroFootprint, raw_file
from bqsearch.hardware.tflm import BOARD, WHEEL, loading, tail
from bqsearch.importers.tflite import load
from bqsearch.packing.decode_op import DECODE_OPERATOR, KINDS
from bqsearch.plan import Choice, Method, Prune
from bqsearch.runtime import tflm
from decoding import need_tflm
from networks import Builder, newer_network, small_int8_network

TARGET = target.load("nrf52840")
ROUNDING, SHAPES = 16, 16  # bytes


def one_layer() -> Graph:
    net = Builder("int8", 2)
    source = net.activation("x", (1, 24))
    return net.build([source], [net.dense("dense", source, 9)])


def two_layers() -> Graph:
    """With a RESHAPE, whose constant has a one-dimensional shape."""
    net = Builder("int8", 3)
    image = net.activation("image", (1, 5, 5, 2))
    flat = net.reshape("flat", net.conv("conv", image, 3, size=3), (1, 75))
    return net.build([image], [net.dense("dense", flat, 4)])


def without_bias() -> Graph:
    graph = two_layers()
    return replace(graph, ops=tuple(replace(op, inputs=op.inputs[:2]) for op in graph.ops))


def sharing() -> Graph:
    """Four layers, of which the first two read the same weights."""
    net = Builder("int8", 4)
    source = net.activation("x", (1, 8))
    made = [source]
    for name in "abcd":
        made.append(net.dense(name, made[-1], 8))
    net.ops[1] = replace(net.ops[1], inputs=(net.ops[1].inputs[0], *net.ops[0].inputs[1:]))
    return net.build([source], [made[-1]])


def twins() -> Graph:
    """Layers of equal weights in tensors of their own, which a file without decoders could hold once."""
    net = Builder("int8", 5)
    source = net.activation("x", (1, 16))
    outputs = [net.dense(name, source, 16) for name in "abc"]
    for op in net.ops[1:]:
        for left, right in zip(net.ops[0].inputs[1:], op.inputs[1:], strict=True):
            net.tensors[right] = replace(net.tensors[left], data=net.tensors[left].data.copy(), name=f"{right}")
    return net.build([source], [net.add("sum", net.add("some", outputs[0], outputs[1]), outputs[2])])


def many_layers() -> Graph:
    """Thirty layers of three kinds."""
    net = Builder("int8", 6)
    image = made = net.activation("image", (1, 4, 4, 3))
    for index in range(14):
        made = net.conv(f"conv_{index}", net.depthwise(f"depthwise_{index}", made), 3 + index % 5)
    dense = net.dense("last", net.dense("first", net.mean("mean", made), 12), 10)
    return net.build([image], [net.softmax("scores", dense)])


def branching() -> Graph:
    """Branches of unequal needs, whose order matters, and which order is best depends on what is decoded."""
    net = Builder("int8", 7)
    image = net.activation("image", (1, 8, 8, 2))
    ends = []
    for name, wide in (("a", 24), ("b", 6), ("c", 40)):
        made = net.conv(f"{name}_wide", image, wide)
        made = net.conv(f"{name}_deep", made, 9, size=3, stride=2)
        ends.append(net.conv(f"{name}_last", made, 4, stride=2))
    summed = net.add("sum", net.add("some", ends[0], ends[1]), ends[2])
    flat = net.reshape("flat", summed, (1, 2 * 2 * 4))
    return net.build([image], [net.dense("dense", flat, 5)])


MAKES = [branching, one_layer, two_layers, without_bias, sharing, twins, many_layers, small_int8_network, newer_network]
Make = Callable[[], Graph]


@cache
def prepared(make: Make) -> tuple[Graph, OptionBank, MicroFootprint]:
    graph = passes.prune(make())
    return graph, bank_of(graph), MicroFootprint(graph=graph, target=TARGET)


def bank_of(graph: Graph) -> OptionBank:
    flat = {
        x.name: Moments(mean=np.zeros((1,) * len(x.shape)), variance=np.ones((1,) * len(x.shape)))
        for x in layers(graph)
    }
    prunes = [Prune(rule="std", amount=75)]
    return build(graph, flat, ["kmeans", "kmeans_channel"], DECODE_OPERATOR, Method(), prunes)


def model_of(make: Make, choices: Mapping[str, Choice]) -> CompressedModel:
    graph, bank, _ = prepared(make)
    return compress(graph, bank, bank.plan(choices))


@st.composite
def plans(draw: st.DrawFn, makes: tuple[Make, ...] = tuple(MAKES)) -> tuple[Make, dict[str, Choice]]:
    """Any choice for some of the layers, none or all; the others stay raw."""
    make = draw(st.sampled_from(makes))
    _, bank, _ = prepared(make)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    share = draw(st.sampled_from([0.0, 0.2, 0.5, 0.8, 1.0, 1.0]))
    choices = {}
    for name, entry in bank.by_name.items():
        offered = [c for c, _, _ in entry.choices() if c.coding != "raw" or rng.random() < 0.2]
        if offered and rng.random() < share:
            choices[name] = offered[rng.integers(len(offered))]
    return make, choices


def kinds_of(model: CompressedModel) -> dict[int, int]:
    return {e.layer.weights: KINDS[e.option.choice.coding] for e in model.layers if e.option.choice.coding != "raw"}


def decoders(content: bytes) -> int:
    model = schema.Model.GetRootAs(content)
    graph = model.Subgraphs(0)
    codes = [model.OperatorCodes(graph.Operators(i).OpcodeIndex()) for i in range(graph.OperatorsLength())]
    return sum(code.CustomCode() == DECODE.encode() for code in codes)


def coded(model: CompressedModel) -> list[str]:
    return [entry.option.choice.coding for entry in model.layers if entry.option.choice.coding != "raw"]


@given(plans())
@settings(deadline=None, max_examples=150)
def test_flash_is_the_length_of_the_file(made: tuple[Make, dict[str, Choice]]) -> None:
    make, choices = made
    _, _, footprint = prepared(make)
    model = model_of(make, choices)
    content = export(model)
    assert footprint.file_bytes(model) == len(content)
    flash = footprint.flash(model)
    assert flash.total == len(content) + TARGET.code
    streams = [entry.coded for entry in model.layers]
    assert flash.weights == sum(len(c.stream) for c in streams)
    assert flash.tables == sum(len(c.table) for c in streams)
    assert flash.weights + flash.tables + flash.biases + flash.requantization + flash.records == len(content)
    assert flash.records > 0
    assert decoders(content) == len(coded(model))


@pytest.mark.parametrize("make", MAKES)
def test_the_ends_of_a_plan(make: Make) -> None:
    """Nothing coded, each layer alone, all but one and all of them; every coding."""
    graph, bank, footprint = prepared(make)
    codable = [name for name, entry in bank.by_name.items() if len(entry.codings) > 1]
    alone = [[name] for name in codable]
    but_one = [[other for other in codable if other != name] for name in codable]
    for coding in DECODE_OPERATOR.codings:
        choice = Choice(scheme="kmeans", levels=5, coding=coding)
        for names in ([], codable, *alone[:4], *but_one[:4]):
            model = model_of(make, dict.fromkeys(names, choice))
            assert footprint.file_bytes(model) == len(export(model)), (coding, names)
    baseline = compress(graph, bank, bank.baseline)
    plan = footprint.arena({}).plan
    as_given = plan.offsets is None and [op.outputs for op in plan.graph.ops] == [op.outputs for op in graph.ops]
    assert (export(baseline) == raw_file(graph)) == as_given


@pytest.mark.parametrize("name", ["kws_ds_cnn", "hello_world", "person_detect"])
def test_flash_is_the_length_of_real_files(shared_models: Path, name: str) -> None:
    graph = passes.integer_io(load(shared_models / f"{name}_int8.tflite"))
    bank, footprint = bank_of(graph), MicroFootprint(graph=graph, target=TARGET)
    rng = np.random.default_rng(0)
    for share in (0, 0.1, 0.5, 0.9, 1, 1):
        choices = {}
        for layer, entry in bank.by_name.items():
            offered = [c for c, _, _ in entry.choices() if c.coding != "raw"]
            if rng.random() < share:
                choices[layer] = offered[rng.integers(len(offered))]
        model = compress(graph, bank, bank.plan(choices))
        assert footprint.file_bytes(model) == len(export(model))


@given(plans())
@settings(deadline=None, max_examples=60)
def test_ram_is_the_planned_head_and_the_larger_of_tail_and_loading(made: tuple[Make, dict[str, Choice]]) -> None:
    make, choices = made
    _, _, footprint = prepared(make)
    model = model_of(make, choices)
    kinds, ram = kinds_of(model), footprint.ram(model)
    file = footprint.arena(kinds).plan.graph
    head = footprint.arena(kinds).plan.head
    lasting, needed = tail(file, BOARD), loading(file, BOARD)
    assert ram.activations == footprint.activations == footprint.arena({}).plan.head
    assert ram.activations + ram.decode_buffer == head
    assert (ram.decode_buffer == 0) if not kinds else (ram.decode_buffer >= 0)
    assert ram.static == TARGET.static_ram + max(lasting, needed - head)
    assert ram.stack == TARGET.stack
    assert ram.total == max(head + lasting, needed) + TARGET.static_ram + TARGET.stack


@pytest.mark.parametrize("make", [one_layer, sharing, branching, many_layers, newer_network])
def test_ram_is_what_the_interpreter_takes(make: Make) -> None:
    need_tflm()
    _, bank, footprint = prepared(make)
    rng = np.random.default_rng(1)
    choices = {}
    for name, entry in bank.by_name.items():
        offered = [c for c, _, _ in entry.choices() if c.coding != "raw"]
        if offered and rng.random() < 0.8:
            choices[name] = offered[rng.integers(len(offered))]
    model = model_of(make, choices)
    kinds, ram = kinds_of(model), footprint.ram(model)
    assert kinds
    told = tflm.allocations(export(model))
    assert told.head == ram.activations + ram.decode_buffer
    planned = footprint.arena(kinds).plan.graph
    assert told.tail == tail(planned, WHEEL) > tail(planned, BOARD)


@given(plans())
@settings(deadline=None, max_examples=80)
def test_no_plan_goes_below_the_least_ram_of_its_choices(made: tuple[Make, dict[str, Choice]]) -> None:
    make, choices = made
    _, _, footprint = prepared(make)
    model = model_of(make, choices)
    total = footprint.ram(model).total
    for entry in model.layers:
        option = entry.option
        assert footprint.least_ram(entry.layer, option.choice.coding, option.table_bytes) <= total
    assert footprint.lower_bound <= footprint.activations


def test_the_least_ram_is_tight_where_one_layer_is_all() -> None:
    _, bank, footprint = prepared(one_layer)
    entry = bank.by_name["dense"]
    for coding in ("raw", "packed", "huffman", "mask"):
        choice = Choice(scheme="kmeans", levels=4, coding=coding)
        model = model_of(one_layer, {"dense": choice})
        least = footprint.least_ram(entry.layer, coding, model.layers[0].option.table_bytes)
        assert least == footprint.ram(model).total - 16  # what padding may save
    raw, packed = (footprint.least_ram(entry.layer, coding, 0) for coding in ("raw", "packed"))
    assert packed - raw >= 24 * 9  # the decoded weights


@given(plans((small_int8_network, newer_network, many_layers, sharing, branching)), st.integers(0, 2**32))
@settings(deadline=None, max_examples=80)
def test_what_is_stored_is_what_a_choice_adds_to_the_file(made: tuple[Make, dict[str, Choice]], seed: int) -> None:
    """Where another layer is coded already, and another one stays raw: up to padding, and shapes that are there."""
    make, choices = made
    _, bank, footprint = prepared(make)
    rng = np.random.default_rng(seed)
    free = [name for name, entry in bank.by_name.items() if len(entry.codings) > 1]
    rng.shuffle(free)
    first, moved, *rest = free
    others = {name: choice for name, choice in choices.items() if name in rest[1:]}
    others[first] = Choice(scheme="kmeans", levels=4, coding="packed")
    offered = [c for c, _, _ in bank.by_name[moved].choices() if c.coding != "raw"]
    choice = offered[rng.integers(len(offered))]
    before, after = model_of(make, others), model_of(make, {**others, moved: choice})
    option = bank.by_name[moved].option(choice)
    stored = footprint.stored(choice.coding, option.stream_bytes, option.table_bytes)
    added = stored - footprint.stored("raw", bank.by_name[moved].layer.size, 0)
    real = footprint.file_bytes(after) - footprint.file_bytes(before)
    places = [footprint.arena(kinds_of(model)).plan.offsets for model in (before, after)]
    assume((places[0] is None) == (places[1] is None))  # a memory plan comes or goes with other layers too
    more = ROUNDING if places[1] is not None else 0
    assert real - ROUNDING - more < added < real + SHAPES + ROUNDING


def test_a_raw_layer_is_stored_with_its_length_and_padding() -> None:
    _, _, footprint = prepared(small_int8_network)
    assert [footprint.stored("raw", n, 0) for n in (1, 12, 13, 28, 29)] == [16, 16, 32, 32, 48]
    record = footprint.stored("packed", 12, 12) - 2 * 16 - 2 * 8
    assert 0 < record < 200
    assert footprint.stored("huffman", 12, 13) == footprint.stored("packed", 12, 12) + 16


def test_the_peak_is_where_most_stands() -> None:
    _, bank, footprint = prepared(small_int8_network)
    assert footprint.ram(model_of(small_int8_network, {})).peak == "pointwise"  # three activations of 256 B
    packed = Choice(scheme="kmeans", levels=4, coding="packed")
    assert footprint.ram(model_of(small_int8_network, {"stem": packed})).peak == "stem"
    assert set(bank.by_name) == {"stem", "depthwise", "pointwise", "dense"}


def test_what_is_coded_is_what_the_file_holds() -> None:
    packed = Choice(scheme="kmeans", levels=4, coding="packed")
    model = model_of(small_int8_network, {"stem": packed, "dense": packed})
    content = export(model)
    by_name = {entry.layer.name: entry for entry in model.layers}
    for name in ("stem", "dense"):
        assert by_name[name].coded.stream in content
        assert by_name[name].coded.table in content
        assert by_name[name].weights.tobytes() not in content
    for name in ("depthwise", "pointwise"):
        assert by_name[name].option.choice == KEEP
        assert by_name[name].weights.tobytes() in content


@pytest.mark.parametrize(("make", "written"), [(two_layers, True), (branching, False)])
def test_a_better_head_is_in_the_file(make: Make, written: bool) -> None:
    """As places, or only as an order of the operators; and the interpreter alone would take more."""
    need_tflm()
    graph, _, footprint = prepared(make)
    model = model_of(make, {})
    assert (offline.METADATA.encode() in export(model)) == written
    assert offline.METADATA.encode() not in raw_file(graph)
    assert footprint.file_bytes(model) == len(export(model))
    assert (len(export(model)) > len(raw_file(graph))) == written
    told, plain = tflm.allocations(export(model)), tflm.allocations(raw_file(graph))
    assert told.head == footprint.activations < plain.head


def tangled(seed: int) -> Graph:
    """Random branches over 6 x 6 activations, joined at the end."""
    net, rng = Builder("int8", seed), np.random.default_rng(seed)
    made = [net.activation("x", (1, 6, 6, int(rng.integers(1, 9))))]
    for index in range(int(rng.integers(4, 10))):
        source, name = made[rng.integers(len(made))], f"n{index}"
        twins = [t for t in made if net.tensors[t].shape == net.tensors[source].shape]
        kind = rng.choice(["conv", "conv", "depthwise", "add"])
        if kind == "conv":
            made.append(net.conv(name, source, int(rng.integers(1, 60)), size=int(rng.choice([1, 3]))))
        elif kind == "depthwise":
            made.append(net.depthwise(name, source))
        else:
            made.append(net.add(name, source, twins[rng.integers(len(twins))]))
    unread = [op.outputs[0] for op in net.ops if not any(op.outputs[0] in other.inputs for other in net.ops)]
    ends = [net.dense(f"dense_{t}", net.mean(f"mean_{t}", t), 6) for t in unread]
    while len(ends) > 1:
        ends = [net.add(f"sum_{len(ends)}", *ends[:2]), *ends[2:]]
    return net.build(made[:1], ends)


def tangled_models(seed: int) -> Iterator[tuple[MicroFootprint, CompressedModel]]:
    """Plans of the network that code few or many layers."""
    graph = passes.prune(tangled(seed))
    bank, footprint = bank_of(graph), MicroFootprint(graph=graph, target=TARGET)
    rng = np.random.default_rng(seed)
    packed = Choice(scheme="kmeans", levels=4, coding="packed")
    for share in (0.2, 0.5, 0.9, 1.0, 0.3, 0.7):
        yield footprint, compress(graph, bank, bank.plan({n: packed for n in bank.by_name if rng.random() < share}))


@pytest.mark.parametrize("seed", range(12))
def test_tangled_networks_have_the_stated_flash_and_head(seed: int) -> None:
    for footprint, model in tangled_models(seed):
        assert footprint.file_bytes(model) == len(export(model))
        assert footprint.ram(model).decode_buffer >= 0
        assert footprint.arena(kinds_of(model)).plan.lower_bound <= footprint.arena(kinds_of(model)).plan.head


@pytest.mark.parametrize("seed", [9, 28, 91])
def test_no_plan_of_a_tangled_network_goes_below_the_least_ram(seed: int) -> None:
    for footprint, model in tangled_models(seed):
        for entry in model.layers:
            least = footprint.least_ram(entry.layer, entry.option.choice.coding, entry.option.table_bytes)
            assert least <= footprint.ram(model).total
