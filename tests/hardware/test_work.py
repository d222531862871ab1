"""Units of work by hand, and the instructions that they foretell beside those that the emulated board counts."""

import numpy as np
import pytest

from bqsearch.errors import ToolError
from bqsearch.exporters.firmware import export
from bqsearch.firmware import emulator, toolchain
from bqsearch.firmware.board import HIFIVE1, STM32F405
from bqsearch.firmware.emit import emit_graph
from bqsearch.firmware.layers import firmware_layers
from bqsearch.graph.ir import Graph
from bqsearch.graph.ops import layers
from bqsearch.hardware import linked, work
from bqsearch.hardware.schedule import Schedule
from bqsearch.hardware.work import Instructions, Stream, Window, Work
from bqsearch.packing.container import Coded
from bqsearch.packing.streams import STREAMS
from firmware.coding import coded_as, with_levels
from firmware.plans import Group, plan
from networks import SAME, VALID, Builder

WITHIN = 0.1  # of what is counted
RAW = Stream(coding="raw", arithmetic="multiply", stream_bytes=0, table_bytes=0, kept=0)


def window(size: int, stride: int, side: int, *, same: bool = True) -> Window:
    made = -(-side // stride) if same else (side - size) // stride + 1
    return Window(
        size=(size, size), stride=(stride, stride), dilation=(1, 1), read=(side, side), made=(made, made), same=same
    )


def test_windows_by_hand() -> None:
    filtered = window(3, 1, 6)
    assert (filtered.reach, filtered.padding) == ((3, 3), (1, 1))
    assert [filtered.inside(0, row) for row in range(6)] == [2, 3, 3, 3, 3, 2]
    assert filtered.lines == 16
    assert filtered.columns == (2, 2, 4)  # two pairs between the first and the last code, which see two columns each
    assert window(3, 2, 7, same=False).columns == (1, 1, 3)
    assert window(2, 2, 8).padding == (0, 0)


def test_a_convolution_by_hand() -> None:
    """3x3 over 6x6x2, SAME, 5 filters."""
    net = Builder("int8")
    source = net.activation("x", (1, 6, 6, 2))
    graph = net.build([source], [net.conv("c", source, 5, 3)])
    counts = Work(graph=graph).counts(plan(graph), {0: RAW})
    assert counts["channel_s8"] == 5
    assert counts["pair.mac_s8"] == 5 * 16 * 2 * 2 * 4  # filters, lines, pairs, codes of a pair, of 6 taps in a line 4
    assert counts["pair.rest_s8"] == 5 * 16 * 2 * 2 * 2
    assert counts["conv.single_s8"] == 5 * 6 * 2
    assert counts["dot.mac_s8"] == 5 * 16 * 4 * 2
    macs = sum(counts[f"{unit}_s8"] for unit in ("pair.mac", "pair.rest", "dot.mac", "conv.outside"))
    assert macs == 6 * 6 * 5 * 18 - 5 * 2 * 6 * 5  # lines over the padding count once for the six codes of a row
    assert counts["raw.weight"] == 5 * 18


def test_strips_decode_again_and_make_rows_once() -> None:
    net = Builder("int8")
    source = net.activation("x", (1, 8, 8, 4))
    last = net.conv("p", net.depthwise("d", net.conv("e", source, 12)), 6)
    graph = net.build([source], [last])
    streams = dict.fromkeys(range(3), RAW)
    whole, strips = (
        Work(graph=graph).counts(plan(graph, groups=[Group(ops=(0, 1, 2), kind="strips", rows=rows)]), streams)
        for rows in (8, 2)
    )
    assert strips["raw.weight"] == 4 * whole["raw.weight"] == 4 * (48 + 108 + 72)
    assert strips["window.nine_s8"] == whole["window.nine_s8"] == 8 * 8 * 12
    made = "pair.line_s8"
    assert strips[made] == whole[made]  # rows that strips share are carried over
    assert (whole["chain.moved_s8"], strips["chain.moved_s8"]) == (0, 12 * 3 * 2 * 2)


def test_products_are_macs_but_for_shifts() -> None:
    net = Builder("int8")
    source = net.activation("x", (1, 4, 4, 2))
    last = net.dense("f", net.reshape("r", net.conv("c", source, 3, 3), (1, 48)), 5)
    graph = net.build([source], [last])
    shift = Stream(coding="packed", arithmetic="shift", stream_bytes=9, table_bytes=4, kept=9)
    assert Work(graph=graph).products(plan(graph), {0: RAW, 2: RAW}) == 16 * 3 * 18 + 48 * 5
    assert Work(graph=graph).products(plan(graph), {0: RAW, 2: shift}) == 16 * 3 * 18


def test_chains_multiply_by_any_weight() -> None:
    net = Builder("int8")
    source = net.activation("x", (1, 8, 8, 4))
    last = net.conv("p", net.depthwise("d", net.conv("e", source, 12)), 6)
    graph = net.build([source], [last])
    shift = Stream(coding="packed", arithmetic="shift", stream_bytes=9, table_bytes=4, kept=9)
    chained = plan(graph, groups=[Group(ops=(0, 1, 2), kind="strips", rows=2)])
    assert Work(graph=graph).products(plan(graph), dict.fromkeys(range(3), shift)) == 0
    assert Work(graph=graph).products(chained, dict.fromkeys(range(3), shift)) == 64 * (12 * 4 + 12 * 9 + 6 * 12)


@pytest.mark.parametrize("name", linked.names())
def test_every_table_of_code_has_instructions_of_the_same_compiler(name: str) -> None:
    units, stack = work.load(name).units, work.load(name).stack
    assert all(count >= 0 for count in units.values())
    assert stack["other"] < stack["dense"] < stack["depthwise"] < stack["conv"] < 1024
    assert stack["chain"] < 1024
    assert 2 < units["pair.mac_s8"] < 8
    assert units["huffman.weight"] > units["nibbles.weight"] > units["raw.weight"]


def cases() -> dict[str, tuple[Graph, str, str, list[Group]]]:
    """Layers of shapes that the fit has not seen: network, kind of weights, coding, steps."""
    found: dict[str, tuple[Graph, str, str, list[Group]]] = {}
    for dtype in ("int8", "uint8"):
        net = Builder(dtype, 5)
        source = net.activation("x", (1, 11, 10, 6))
        filtered = net.conv("c", source, 13, 3, padding=VALID)
        found[f"conv {dtype}"] = net.build([source], [filtered]), "few", "huffman", []
        net = Builder(dtype, 6)
        source = net.activation("x", (1, 9, 9, 16))
        last = net.conv("p", net.depthwise("d", net.conv("e", source, 40), 3, 2), 14)
        strips = [Group(ops=(0, 1, 2), kind="strips", rows=2)]
        found[f"chain {dtype}"] = net.build([source], [last]), "coarse", "packed", strips
        net = Builder(dtype, 9)
        source = net.activation("x", (1, 8, 9, 12))
        last = net.conv("p", net.depthwise("d", source, 3), 14)
        strips = [Group(ops=(0, 1), kind="strips", rows=3)]
        found[f"narrow chain {dtype}"] = net.build([source], [last]), "few", "mask", strips
        net = Builder(dtype, 7)
        source = net.activation("x", (1, 333))
        last = net.softmax("s", net.dense("f", source, 21))
        found[f"dense {dtype}"] = net.build([source], [last]), "sparse", "sparse", []
        net = Builder(dtype, 8)
        source = net.activation("x", (1, 12, 7, 9))
        options = {"padding": SAME, "strideH": 2, "strideW": 2, "filterHeight": 2, "filterWidth": 2}
        pooled = net.like("AVERAGE_POOL_2D", "a", net.depthwise("d", source, 5), (1, 6, 4, 9), **options)
        found[f"pool {dtype}"] = net.build([source], [pooled]), "any", "raw", []
    return found


CASES = cases()


@pytest.mark.parametrize("board", [HIFIVE1, STM32F405], ids=lambda board: board.name)
@pytest.mark.parametrize("name", CASES)
def test_instructions_are_foretold(tmp_path_factory: pytest.TempPathFactory, board, name: str) -> None:
    graph, kind, coding, groups = CASES[name]
    assert coding in STREAMS.codings
    ops = [layer.op for layer in layers(graph)]
    graph = with_levels(graph, dict.fromkeys(ops, kind))
    coded = coded_as(graph, dict.fromkeys(ops, coding))
    schedule = plan(graph, coded, groups)
    counted = counted_on(board, graph, coded, schedule, tmp_path_factory)
    units = work.load({"hifive1": "fe310"}.get(board.name, board.name)).units
    streams = {op: layer.stream for op, layer in firmware_layers(graph, coded).items()}
    counts = Work(graph=graph).counts(schedule, streams)
    foretold = Instructions(work=Work(graph=graph), units=units)
    assert foretold.count(schedule, streams) == pytest.approx(sum(units[unit] * n for unit, n in counts.items()))
    assert foretold.count(schedule, streams) == pytest.approx(counted, rel=WITHIN)  # from what is known now


def counted_on(board, graph: Graph, coded: dict[int, Coded], schedule: Schedule, folders) -> int:
    """Instructions of an inference in QEMU."""
    folder = folders.mktemp("firmware")
    inputs = np.random.default_rng(0).integers(0, 128, graph.input.shape).astype(graph.input.dtype)
    export(folder, emit_graph(graph, coded, schedule), board)
    try:
        emulator.find_emulator(board)
        program = toolchain.build(board, folder, folder / "build", cache=folders.getbasetemp() / "objects")
    except ToolError as error:
        pytest.skip(str(error))
    return int(emulator.run(program, inputs).instructions[0])
