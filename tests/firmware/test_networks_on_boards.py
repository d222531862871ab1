"""Emitted networks on emulated boards: what they compute is what they compute on this computer, bit for bit."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bqsearch.errors import BoardError
from bqsearch.exporters.firmware import export
from bqsearch.firmware import host, toolchain
from bqsearch.firmware import map as linker
from bqsearch.firmware.board import STM32F405, Board
from bqsearch.firmware.emit import emit_graph
from bqsearch.firmware.emulator import Outcome, run
from bqsearch.firmware.map import Image
from bqsearch.graph.ir import Graph
from bqsearch.graph.ops import layers
from bqsearch.hardware import target, work
from bqsearch.hardware.memory import plan_arenas
from bqsearch.hardware.schedule import Schedule
from bqsearch.hardware.scratch import decoder_bytes
from bqsearch.packing.container import Coded
from bqsearch.packing.streams import STREAMS
from firmware.coding import coded_as, with_levels
from firmware.reference import any_inputs
from firmware.sample import EMULATED, need
from networks import small_int8_network, small_uint8_network

DECODERS = {f"bq_{coding}" for coding in STREAMS.codings}
ON_BOARDS = pytest.mark.parametrize("board", EMULATED, ids=lambda board: board.name)


_BYTEWISE = """
#include <stddef.h>

void *memset(void *to, int byte, size_t count); /* the C library's own ones make use of misaligned accesses */
void *memcpy(void *restrict to, const void *restrict from, size_t count);

void *memset(void *to, int byte, size_t count)
{
    for (uint8_t *at = to; count != 0; --count) {
        *at++ = (uint8_t)byte;
    }
    return to;
}

void *memcpy(void *restrict to, const void *restrict from, size_t count)
{
    const uint8_t *source = from;
    for (uint8_t *at = to; count != 0; --count) {
        *at++ = *source++;
    }
    return to;
}
"""


def planned(graph: Graph, coded: Mapping[int, Coded], board: Board) -> Schedule:
    """The schedule for a board."""
    chosen = target.load(board.name)
    tables = {op: decoder_bytes(c.coding, len(c.table)) for op, c in coded.items()}
    room = chosen.ram - work.load(chosen.code_table).deepest(graph) - chosen.stack - chosen.static_ram
    return plan_arenas(graph, room).within(room, tables).schedule(tables)


def compared(
    graph: Graph, board: Board, folder: Path, cache: Path, coding: str = "raw", in_ram: tuple[int, ...] = ()
) -> tuple[Outcome, Image, Schedule]:
    """Run the network on the board and on this computer."""
    need(board)
    coded = coded_as(graph, {layer.op: coding for layer in layers(graph)})
    schedule = planned(graph, coded, board)
    model = emit_graph(graph, coded, schedule, in_ram)
    export(folder, model, board)
    program = toolchain.build(board, folder, folder / "build", cache=cache)
    inputs = any_inputs(graph, 3)
    outcome = run(program, inputs)
    wanted = host.build(graph, model, cache).run(inputs)
    np.testing.assert_array_equal(outcome.outputs, wanted.reshape(len(inputs), -1).view(np.uint8))
    assert len(np.unique(outcome.outputs, axis=0)) == len(inputs)
    return outcome, linker.read(program.path.read_bytes()), schedule


@ON_BOARDS
def test_networks_compute_on_boards_what_they_do_here(board: Board, tmp_path: Path, cache: Path) -> None:
    for graph in (small_int8_network(), small_uint8_network()):
        outcome, image, schedule = compared(graph, board, tmp_path / graph.input.dtype, cache)
        assert outcome.info.arena == schedule.nbytes
        assert image.ram == -(-schedule.nbytes // 4) * 4
        chosen = target.load(board.name)
        kept = work.load(chosen.code_table).deepest(graph) + chosen.stack
        assert kept - 256 <= outcome.stack_peak <= kept
        assert (outcome.instructions > 0).all()


@pytest.mark.parametrize("coding", STREAMS.codings)
def test_coded_weights_are_decoded_on_the_board(coding: str, tmp_path: Path, cache: Path) -> None:
    graph = small_int8_network()
    graph = with_levels(graph, {layer.op: "few" for layer in layers(graph)})
    outcome, image, _ = compared(graph, EMULATED[0], tmp_path, cache, coding)
    plain = host.build(graph, emit_graph(graph, {}, planned(graph, {}, EMULATED[0])), cache).run(any_inputs(graph, 3))
    np.testing.assert_array_equal(outcome.outputs, plain.reshape(3, -1).view(np.uint8))
    assert {symbol.name for symbol in image.symbols} & DECODERS == {f"bq_{coding}"}


@ON_BOARDS
def test_weights_that_lie_in_ram_are_copied_there(board: Board, tmp_path: Path, cache: Path) -> None:
    graph = small_int8_network()
    chosen = layers(graph)[0]
    stays, moved = (
        compared(graph, board, tmp_path / str(len(in_ram)), cache, in_ram=in_ram)[1] for in_ram in ((), (chosen.op,))
    )
    assert stays.size(".data") == 0
    assert moved.size(".data") == -(-graph.tensors[chosen.weights].nbytes // 4) * 4
    assert moved.ram - stays.ram == moved.size(".data")


def test_object_files_of_the_runtime_are_made_once(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board, graph = EMULATED[0], small_int8_network()
    compared(graph, board, tmp_path / "first", cache)
    compiled, run_tool = [], toolchain.run

    def spy(command: Sequence[str], where: Path) -> str:
        if "-c" in command:
            compiled.append(command[command.index("-c") + 1])
        return run_tool(command, where)

    monkeypatch.setattr(toolchain, "run", spy)
    compared(graph, board, tmp_path / "second", cache)
    assert compiled == ["main.c", "model.c"]


@pytest.mark.parametrize("coding", ["raw", "huffman"])
def test_no_access_is_misaligned(coding: str, tmp_path: Path, cache: Path) -> None:
    """The FE310 traps misaligned loads and stores, which QEMU lets pass; a Cortex-M4 can be told to trap them."""
    graph = small_int8_network()
    graph = with_levels(graph, {layer.op: "few" for layer in layers(graph)})
    coded = coded_as(graph, {layer.op: coding for layer in layers(graph)})
    board = replace(STM32F405, flags=(*STM32F405.flags, "-mno-unaligned-access", "-fno-tree-loop-distribute-patterns"))
    need(board)
    export(tmp_path, emit_graph(graph, coded, planned(graph, coded, board)), board)
    driver, model = tmp_path / "boards" / "stm32f405" / "board.c", tmp_path / "model.c"
    model.write_text(model.read_text("utf-8") + _BYTEWISE)
    _append_to_start(driver, "REGISTER(0xe000ed14) |= UINT32_C(1) << 3; /* CCR.UNALIGN_TRP */")
    _append_to_start(driver, '__asm__ volatile("dsb\\n isb");')
    inputs = any_inputs(graph, 1)
    outputs = run(toolchain.build(board, tmp_path, tmp_path / "build"), inputs).outputs
    np.testing.assert_array_equal(outputs, compared(graph, STM32F405, tmp_path / "usual", cache)[0].outputs[:1])
    _append_to_start(driver, '__asm__ volatile("ldr r3, [%0]" : : "r"(0x20000001) : "r3");')
    with pytest.raises(BoardError, match="cause 0x1000000"):
        run(toolchain.build(board, tmp_path, tmp_path / "build"), inputs)


def _append_to_start(driver: Path, line: str) -> None:
    text, behind = driver.read_text("utf-8"), "}\n\nuint8_t board_read"
    assert behind in text
    driver.write_text(text.replace(behind, f"    {line}\n{behind}"))
