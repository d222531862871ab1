"""Firmware on emulated boards and on this computer: what it computes, counts and says, and what ends it."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from bqsearch.errors import BoardError, ToolError
from bqsearch.exporters.firmware import export, model_hash
from bqsearch.firmware import emulator
from bqsearch.firmware.board import BOARDS, HIFIVE1, HOST, STM32F405, Board
from bqsearch.firmware.emulator import run, started
from bqsearch.firmware.toolchain import Program, build
from firmware.sample import COUNTED, EMULATED, NOPS, SIZE, built, inputs_of, need, network, sums

ALL = pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
ON_BOARDS = pytest.mark.parametrize("board", EMULATED, ids=lambda board: board.name)
RAM_BEGINS = {"hifive1": 0x80000000, "hifive1_revb": 0x80000000, "stm32f405": 0x20000000}
RAM = {"hifive1": 16384, "hifive1_revb": 16384, "stm32f405": 131072}


@ALL
def test_outputs_are_the_networks(board: Board, tmp_path: Path) -> None:
    inputs, done = inputs_of(10), []
    outcome = run(built(board, tmp_path), inputs, done.append)
    np.testing.assert_array_equal(outcome.outputs, sums(inputs))
    assert done == [1] * 10
    assert (outcome.info.arena, outcome.info.input_bytes, outcome.info.output_bytes) == (2 * SIZE, SIZE, SIZE)
    assert outcome.info.model_hash == model_hash(network())


@ALL
def test_no_inputs_give_no_outputs(board: Board, tmp_path: Path) -> None:
    outcome = run(built(board, tmp_path), inputs_of(0))
    assert (outcome.outputs.shape, outcome.instructions.shape, outcome.stack_peak) == ((0, SIZE), (0,), 0)


@ON_BOARDS
def test_instructions_are_counted_to_the_last_one(board: Board, tmp_path: Path) -> None:
    """A turn of the loop is `NOPS` instructions and what counts the turns, always the same."""
    inputs = np.zeros((6, SIZE), np.uint8)
    inputs[:, 0] = [1, 2, 3, 3, 7, 255]
    program = built(board, tmp_path, network(COUNTED))
    counts = run(program, inputs).instructions
    turn = counts[1] - counts[0]
    assert NOPS < turn <= NOPS + 4
    np.testing.assert_array_equal(counts - counts[0], (inputs[:, 0].astype(np.int64) - 1) * turn)
    np.testing.assert_array_equal(run(program, inputs).instructions, counts)


@pytest.mark.parametrize("board", [HIFIVE1, STM32F405], ids=lambda board: board.name)
def test_more_instructions_are_counted_than_32_bits_hold(board: Board, tmp_path: Path) -> None:
    inside = """
        for (uint32_t i = arena[0] * UINT32_C(1000000); i != 0; --i) {
            __asm__ volatile(".rept 20\\n nop\\n .endr");
        }
        return BQ_OK;
    """
    inputs = np.zeros((2, SIZE), np.uint8)
    inputs[:, 0] = [1, 200]
    one, many = run(built(board, tmp_path, network(inside)), inputs).instructions
    assert many > 2**32
    assert many - one == 199 * 22_000_000


@ON_BOARDS
def test_the_stacks_peak_grows_by_what_the_network_takes(board: Board, tmp_path: Path) -> None:
    taking = "volatile uint8_t taken[{}]; taken[0] = total; return taken[0] == total ? BQ_OK : BQ_BAD_STREAM;"
    peaks = []
    for size in (512, 1536):
        outcome = run(built(board, tmp_path / str(size), network(taking.format(size))), inputs_of(2))
        peaks.append(outcome.stack_peak)
        assert outcome.info.stack == RAM[board.name] - 2 * SIZE
    assert 512 < peaks[0] < 1024
    assert peaks[1] - peaks[0] == 1024


@ON_BOARDS
def test_a_stack_that_filled_its_memory_is_an_error(board: Board, tmp_path: Path) -> None:
    model = network("*(volatile uint32_t *)stack_bottom = 1; return BQ_OK;", "extern uint32_t stack_bottom[];")
    with pytest.raises(BoardError, match=rf"the stack filled all of its {RAM[board.name] - 2 * SIZE} B"):
        run(built(board, tmp_path, model), inputs_of(1))


@ON_BOARDS
def test_a_fault_is_told_with_its_place(board: Board, tmp_path: Path) -> None:
    program = built(board, tmp_path, network("return *(volatile uint32_t *)0xf0000000 != 0 ? BQ_OK : BQ_BAD_STREAM;"))
    with pytest.raises(
        BoardError, match=r"the processor met a fault at 0x(20|08)\w{6}, cause 0x\w+; it printed nothing"
    ):
        run(program, inputs_of(1))


@ON_BOARDS
def test_data_is_copied_to_ram_and_the_rest_is_cleared(
    board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though RAM is full of something else when the board starts."""
    before = "static uint8_t filled[] = {7, 8, 9}; static uint8_t cleared[3];"
    inside = (
        "filled[total % 3]++; cleared[1]++; arena[op->output] = (uint8_t)(filled[2] * 16 + cleared[1]); return BQ_OK;"
    )
    program = built(board, tmp_path, network(inside, before))
    (tmp_path / "noise").write_bytes(bytes([0xD3]) * 4096)
    start = emulator._command(program)
    noise = f"loader,file={tmp_path / 'noise'},addr=0x{RAM_BEGINS[board.name]:x},force-raw=on"
    monkeypatch.setattr(emulator, "_command", lambda program: [*start, "-device", noise])
    inputs = np.full((2, SIZE), 2, np.uint8)  # their sum is 128: the remainder is 2
    outcome = run(program, inputs)
    assert outcome.outputs[:, 0].tolist() == [0xA1, 0xB2]
    assert 0 < outcome.stack_peak < 512


@ALL
def test_a_status_of_the_runtime_is_an_error(board: Board, tmp_path: Path) -> None:
    program = built(board, tmp_path, network("return arena[0] == 9 ? BQ_BAD_STREAM : BQ_OK;"))
    assert run(program, np.zeros((1, SIZE), np.uint8)).outputs.shape == (1, SIZE)
    with pytest.raises(BoardError, match="the network ended with status 1"):
        run(program, np.full((1, SIZE), 9, np.uint8))


@ALL
def test_firmware_that_hangs_is_ended_and_named(board: Board, tmp_path: Path) -> None:
    program = built(board, tmp_path, network("while (op->count) { *(volatile uint8_t *)arena = total; } return BQ_OK;"))
    begin = time.monotonic()
    with started(program, patience=1.0) as device:
        info, process = device.greeting(), device._process
        with pytest.raises(BoardError, match=r"no answer after 1 s; it printed nothing"):
            device.infer(bytes(SIZE), info)
    assert process.returncode == -9
    assert time.monotonic() - begin < 20


@ALL
def test_an_error_of_the_caller_ends_the_program(board: Board, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), started(built(board, tmp_path)) as device:  # noqa: PT012
        process = device._process
        device.greeting()
        raise KeyboardInterrupt
    assert process.returncode == -9


@ALL
def test_the_program_ends_with_a_caller_that_is_killed(board: Board, tmp_path: Path) -> None:
    program = built(board, tmp_path)
    caller = f"""
import os, sys
from pathlib import Path
from bqsearch.firmware.board import BOARDS
from bqsearch.firmware.emulator import started
from bqsearch.firmware.toolchain import Program
with started(Program(board=BOARDS[{board.name!r}], path=Path({str(program.path)!r}), map=Path())) as device:
    device.greeting()
    print(device._process.pid, flush=True)
    os.kill(os.getpid(), 9)
"""
    done = subprocess.run([sys.executable, "-c", caller], capture_output=True, text=True)
    assert done.returncode == -9
    _wait_for_the_end_of(int(done.stdout))


def _wait_for_the_end_of(pid: int) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return
        if state == "Z":  # ended; nobody here is its parent
            return
        time.sleep(0.05)
    os.kill(pid, 9)
    pytest.fail(f"process {pid} outlived its caller")


@ALL
def test_a_request_that_is_refused_does_no_harm(board: Board, tmp_path: Path) -> None:
    with started(built(board, tmp_path)) as device:
        info = device.greeting()
        with pytest.raises(BoardError, match="the request was refused: wrong length"):
            device.infer(bytes(5), info)
        assert device.describe() == info
        assert device.infer(b"\1" * SIZE, info).output == bytes(range(1, SIZE + 1))


def test_an_input_of_another_size_is_never_sent(tmp_path: Path) -> None:
    with pytest.raises(BoardError, match=f"the network's input has {SIZE} B, not 63"):
        run(built(HOST, tmp_path), np.zeros((1, 63), np.uint8))


def test_a_program_that_ends_says_so_with_its_log(tmp_path: Path) -> None:
    program = built(
        HOST, tmp_path, network('(void)fputs("no more", stderr); exit(3);', "#include <stdio.h>\n#include <stdlib.h>")
    )
    with pytest.raises(BoardError, match="the program ended; status 3; no more"):
        run(program, inputs_of(1))


def test_noise_is_no_frame(tmp_path: Path) -> None:
    need(HOST)
    program = tmp_path / "noise"
    program.write_text("#!/bin/sh\nprintf 'hello\\265\\201'\nsleep 60\n")
    program.chmod(0o755)
    with pytest.raises(BoardError, match="a frame begins with 0xb5, not 0x68; 7 B received that make no frame: 68 65"):
        run(Program(board=HOST, path=program, map=tmp_path), inputs_of(1))


def test_an_emulator_that_refuses_to_start_says_why(tmp_path: Path) -> None:
    built(HIFIVE1, tmp_path)
    missing = Program(board=HIFIVE1, path=tmp_path / "missing.elf", map=tmp_path)
    with pytest.raises(BoardError, match=r"the program ended; .*missing\.elf"):
        run(missing, inputs_of(1))


def test_a_missing_emulator_is_named_with_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "setpriv").write_text("#!/bin/sh\n")
    (tmp_path / "setpriv").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match=r"needs qemu-system-riscv32, .*: apt-get install qemu-system-misc"):
        run(Program(board=HIFIVE1, path=tmp_path, map=tmp_path), inputs_of(1))


def test_inputs_and_outputs_longer_than_a_pipe_arrive(tmp_path: Path) -> None:
    need(HOST)
    size = 300_000
    export(tmp_path, network(size=size), HOST)
    inputs = np.random.default_rng(1).integers(0, 256, (1, size)).astype(np.uint8)
    np.testing.assert_array_equal(run(build(HOST, tmp_path, tmp_path / "build"), inputs).outputs, sums(inputs))
