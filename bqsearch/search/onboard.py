"""Checks of a point's firmware: built with the board's compiler, run on its emulator, compared with this computer's.

A missing compiler or emulator fails nothing: its checks are skipped by name, with what to install.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bqsearch.compress import CompressedModel
from bqsearch.errors import BoardError, BqsearchError, OutputError, ToolError
from bqsearch.firmware import emulator, host, toolchain
from bqsearch.firmware import map as linker
from bqsearch.firmware.board import Board
from bqsearch.firmware.emit import emit
from bqsearch.firmware.map import SECTIONS
from bqsearch.firmware.toolchain import Program
from bqsearch.hardware.footprint import Flash, Ram
from bqsearch.hardware.schedule import Schedule
from bqsearch.search.check import Check
from bqsearch.types import Array

LINKER, STATIC, OUTPUTS, TIME, STACK = "linker", "static", "outputs", "instructions", "stack"
_ALL = (LINKER, STATIC, OUTPUTS, TIME, STACK)
_NEAR = 0.1  # of the instructions that are counted: how far the prediction may be off
_ROOM = 256  # bytes of stack kept free that need not be used


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """What the cost model says of a point.

    Attributes:
        flash: By part.
        ram: By part.
        instructions: Of an inference.
        compiler: Whose code that is for, as it names itself.
    """

    flash: Flash
    ram: Ram
    instructions: float
    compiler: str

    @property
    def static(self) -> int:
        """RAM without the stack, bytes."""
        return self.ram.total - self.ram.stack


def check(
    board: Board,
    folder: Path,
    model: CompressedModel,
    schedule: Schedule,
    predicted: Predicted,
    inputs: Array,
    out: Path,
) -> Iterator[Check]:
    """Build and run a point's firmware.

    Args:
        board: What it is for.
        folder: Where it lies.
        model: The point.
        schedule: How it is executed.
        predicted: What the cost model says of it.
        inputs: `(n, ...)` codes to run.
        out: Folder for what is built; object files that points share stay in it.
    """
    if board.emulator is None:
        reason = "skipped: bqsearch has start-up code and an emulator for its own boards only"
        yield from (Check(name=name, passed=None, detail=reason) for name in _ALL)
        return
    try:
        toolchain.find_compiler(board.compiler, f"building firmware for {board.title}")
    except ToolError as error:
        yield from (_skipped(name, error) for name in _ALL)
        return
    try:
        program = toolchain.build(board, folder, out / "program", cache=out)
        image = linker.read(program.path.read_bytes())
    except ToolError as error:
        yield Check(name=LINKER, passed=False, detail=str(error))
        return
    compiler = toolchain.version(board.compiler)
    other = f"predicted for {predicted.compiler}, not for {compiler}: " if compiler != predicted.compiler else ""
    sizes = ", ".join(f"{name} {image.size(name):,} B" for name in SECTIONS)
    flash, static = predicted.flash.total, predicted.static
    yield Check(
        name=LINKER,
        passed=True if image.flash == flash else None if other else False,
        detail=f"{other}{sizes}; flash {image.flash:,} B, {flash:,} B predicted",
        predicted=flash,
        measured=image.flash,
    )
    yield Check(
        name=STATIC,
        passed=image.ram == static,
        detail=f"RAM without stack {image.ram:,} B, {static:,} B predicted",
        predicted=static,
        measured=image.ram,
    )
    yield from _run(program, model, schedule, predicted, inputs)


def _run(
    program: Program, model: CompressedModel, schedule: Schedule, predicted: Predicted, inputs: Array
) -> Iterator[Check]:
    try:
        emulator.find_emulator(program.board)
        built = host.build(model.graph, emit(model, schedule))
    except (ToolError, OutputError) as error:
        yield from (_skipped(name, error) for name in (OUTPUTS, TIME, STACK))
        return
    try:
        outcome = emulator.run(program, inputs)
    except (ToolError, BoardError) as error:
        yield Check(name=OUTPUTS, passed=False, detail=str(error))
        return
    wanted = built.run(inputs).reshape(len(inputs), -1).view(np.uint8)
    same = int((outcome.outputs == wanted).all(axis=1).sum())
    yield Check(
        name=OUTPUTS,
        passed=same == len(inputs),
        detail=f"{same:,} of {len(inputs):,} on the emulated board bit for bit as here",
        predicted=len(inputs),
        measured=same,
    )
    own = predicted.compiler == toolchain.version(program.board.compiler)
    counted = float(outcome.instructions.mean())
    off = predicted.instructions / counted - 1
    yield Check(
        name=TIME,
        passed=True if abs(off) <= _NEAR else False if own else None,
        detail=f"{counted:,.0f} an inference, {predicted.instructions:,.0f} predicted ({100 * off:+.1f} %)",
        predicted=round(predicted.instructions),
        measured=round(counted),
    )
    yield Check(
        name=STACK,
        passed=0 <= predicted.ram.stack - outcome.stack_peak <= _ROOM,
        detail=f"{outcome.stack_peak:,} B at its peak, {predicted.ram.stack:,} B kept free",
        predicted=predicted.ram.stack,
        measured=outcome.stack_peak,
    )


def _skipped(name: str, error: BqsearchError) -> Check:
    return Check(name=name, passed=None, detail=f"skipped: {error}")
