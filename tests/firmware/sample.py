"""A network of one operator, written by hand: running sums of its input; and what is needed to build and run it."""

from pathlib import Path

import numpy as np
import pytest

from bqsearch.errors import ToolError
from bqsearch.exporters.firmware import export
from bqsearch.firmware import toolchain
from bqsearch.firmware.board import BOARDS, Board
from bqsearch.firmware.emit import ModelSource
from bqsearch.firmware.toolchain import Program
from bqsearch.types import Bytes

SIZE = 64  # bytes of input and of output
EMULATED = [board for board in BOARDS.values() if board.emulator is not None]
NOPS = 40
_SOURCE = """
#include "bq.h"
#include "model.h"

typedef struct {
    bq_kernel run;
    uint32_t output;
    uint32_t count;
} sum_record;

/* What a test adds. */
BEFORE

static bq_status sum(const void *record, uint8_t *arena)
{
    const sum_record *op = record;
    uint8_t total = 0;
    for (uint32_t i = 0; i < op->count; ++i) {
        total = (uint8_t)(total + arena[i]);
        arena[op->output + i] = total;
    }
    INSIDE
}

static const sum_record record = {sum, BQ_INPUT_BYTES, BQ_INPUT_BYTES};
static const void *const records[] = {&record};
static uint32_t arena[(BQ_INPUT_BYTES + BQ_OUTPUT_BYTES) / 4];
const bq_network bq_model = {
    .records = records,
    .record_count = 1,
    .arena_bytes = sizeof arena,
    .input = 0,
    .input_bytes = BQ_INPUT_BYTES,
    .output = BQ_INPUT_BYTES,
    .output_bytes = BQ_OUTPUT_BYTES,
    .arena = (uint8_t *)arena,
};
"""
COUNTED = f"""
    for (uint8_t i = arena[0]; i != 0; --i) {{
        __asm__ volatile(".rept {NOPS}\\n nop\\n .endr");
    }}
    return BQ_OK;
"""


def network(inside: str = "return BQ_OK;", before: str = "", size: int = SIZE) -> ModelSource:
    """The network, with C at the end of the operator and before it."""
    header = f"#define BQ_INPUT_BYTES {size}\n#define BQ_OUTPUT_BYTES {size}\n"
    return ModelSource(header=header, source=_SOURCE.replace("INSIDE", inside).replace("BEFORE", before))


def sums(inputs: Bytes) -> Bytes:
    """What the network makes of `(n, SIZE)` uint8 inputs."""
    return np.cumsum(inputs, axis=1, dtype=np.uint8)


def inputs_of(count: int) -> Bytes:
    """`(count, SIZE)` random uint8 inputs, always the same."""
    return np.random.default_rng(0).integers(0, 256, (count, SIZE)).astype(np.uint8)


def need(board: Board) -> None:
    """Skip where the board's compiler or emulator is missing."""
    try:
        toolchain.find("setpriv", ["util-linux"], board.title)
        toolchain.find_compiler(board.compiler, board.title)
        if board.emulator is not None:
            toolchain.find(board.emulator.command, [board.emulator.package], board.title)
    except ToolError as missing:
        pytest.skip(str(missing))


def need_program(name: str) -> str:
    """The path of a program; skip where it is missing."""
    try:
        return toolchain.find(name, [name], "the test")
    except ToolError as missing:
        pytest.skip(str(missing))


def exported(folder: Path, board: Board, model: ModelSource | None = None) -> None:
    """The network's folder, of the runtime only what it uses, so that it is built fast."""
    export(folder, model or network(), board)
    for path in (folder / "runtime").glob("*.c"):
        if path.name != "bq.c":
            path.unlink()


def built(board: Board, folder: Path, model: ModelSource | None = None, *, optimizing: str = "-O2") -> Program:
    """The network's program; skip where the board's tools are missing."""
    need(board)
    exported(folder, board, model)
    return toolchain.build(board, folder, folder / "build" / board.name, optimizing=optimizing)
