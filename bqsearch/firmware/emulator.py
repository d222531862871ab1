"""Firmware run on this computer: in QEMU, or as a program of its own. The UART is a pair of pipes, never a port.

Under `-icount shift=0` QEMU executes an instruction each nanosecond of its own time, so that counts of instructions are
the same from run to run.
"""

import os
import selectors
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO

import numpy as np

from bqsearch.errors import BoardError
from bqsearch.firmware import protocol
from bqsearch.firmware.board import Board
from bqsearch.firmware.protocol import BYE, INFER, INFO, Frame, Inference, Info
from bqsearch.firmware.toolchain import Program, find
from bqsearch.types import Array, Bytes, Ints

PATIENCE = 60.0  # seconds without a byte
_CHUNK = 1 << 16
_ENDED = "the program ended"
_LAST_WORDS = 2.0  # seconds that a program may take to end once its pipes are closed
_SHOWN_BYTES = 32
_SHOWN_LINES = 8

OnDone = Callable[[int], None]


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """What firmware did with some inputs.

    Attributes:
        info: What it says of itself.
        outputs: `(n, output bytes)` uint8.
        instructions: `(n,)` int64, of each inference; zeros where nothing counts them.
        stack_peak: Most bytes of stack used; 0 where the system gives it.
    """

    info: Info
    outputs: Bytes
    instructions: Ints
    stack_peak: int


class Device:
    """Running firmware at the other end of two pipes.

    Args:
        process: With pipes for standard input and output.
        log: Its standard error.
        patience: Seconds that it may stay silent.
    """

    def __init__(self, process: subprocess.Popen[bytes], log: IO[bytes], patience: float) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process, self._log, self._patience = process, log, patience
        self._to, self._from = process.stdin.fileno(), process.stdout.fileno()
        self._received = bytearray()
        os.set_blocking(self._to, False)

    def greeting(self) -> Info:
        """What the firmware says of itself when it starts.

        Raises:
            BoardError: No sound answer came in time; the message has the log.
        """
        with self._story():
            return protocol.read_info(self._answer(INFO, b""))

    def describe(self) -> Info:
        """The same, asked for. Raises `BoardError` as `greeting` does."""
        with self._story():
            return protocol.read_info(self._ask(INFO, b""))

    def infer(self, values: bytes, info: Info) -> Inference:
        """Run the network on an input of as many bytes as `info` says. Raises `BoardError` as `greeting` does."""
        with self._story():
            return protocol.read_inference(self._ask(INFER, values), info)

    def bye(self) -> None:
        """End the firmware. Raises `BoardError` as `greeting` does."""
        with self._story():
            self._ask(BYE, b"")

    def _ask(self, command: int, payload: bytes) -> bytes:
        return self._answer(command, protocol.pack(Frame(command=command, payload=payload)))

    def _answer(self, command: int, request: bytes) -> bytes:
        """Send a request and wait for the frame that follows."""
        while (found := protocol.unpack(self._received)) is None:
            request = self._exchange(request)
        frame, length = found
        del self._received[:length]
        return protocol.answer(frame, command)

    def _exchange(self, request: bytes) -> bytes:
        """Send and receive what the pipes have room for; what is still to be sent."""
        with selectors.DefaultSelector() as ends:
            ends.register(self._from, selectors.EVENT_READ)
            if request:
                ends.register(self._to, selectors.EVENT_WRITE)
            ready = {key.fd for key, _ in ends.select(self._patience)}
        if not ready:
            raise BoardError(f"no answer after {self._patience:g} s")
        if self._from in ready:
            received = os.read(self._from, _CHUNK)
            if not received:
                raise BoardError(_ENDED)
            self._received += received
        return request[os.write(self._to, request) :] if self._to in ready else request

    @contextmanager
    def _story(self) -> Iterator[None]:
        """Errors with what was received and what the program printed."""
        try:
            yield
        except (BoardError, BrokenPipeError) as error:
            what = _ENDED if isinstance(error, BrokenPipeError) else str(error)
            raise BoardError("; ".join([what, *self._log_lines(what == _ENDED)])) from None

    def _log_lines(self, ended: bool) -> Iterator[str]:
        if self._received:
            shown = self._received[:_SHOWN_BYTES].hex(" ")
            yield f"{len(self._received)} B received that make no frame: {shown}"
        if ended:
            with suppress(subprocess.TimeoutExpired):  # its pipes are closed, and it is about to end
                status = self._process.wait(_LAST_WORDS)
                yield f"signal {-status}" if status < 0 else f"status {status}"
        self._log.seek(0)
        printed = self._log.read().decode("utf-8", "replace").strip().splitlines()
        yield from printed[:_SHOWN_LINES] or ["it printed nothing"]


@contextmanager
def started(program: Program, patience: float = PATIENCE) -> Iterator[Device]:
    """A program while it runs; it is killed at the end, whatever happens.

    Args:
        program: What was built.
        patience: Seconds that it may stay silent.

    Raises:
        ToolError: The emulator is not installed.
    """
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(
            _command(program),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            bufsize=0,
            start_new_session=True,  # Ctrl-C is for this process, which then ends the other
        ) as process,
    ):
        try:
            yield Device(process, log, patience)
        finally:
            process.kill()


def find_emulator(board: Board) -> str:
    """The path of the emulator of a board that has one. Raises `ToolError` if it is not installed."""
    assert board.emulator is not None
    return find(board.emulator.command, [board.emulator.package], f"running firmware for {board.title}")


def run(program: Program, inputs: Array, on_done: OnDone | None = None, patience: float = PATIENCE) -> Outcome:
    """Run a program on inputs.

    Args:
        program: What was built.
        inputs: `(n, ...)` codes of the network's own dtype.
        on_done: Told how many more inputs have been run.
        patience: Seconds that it may stay silent.

    Raises:
        ToolError: The emulator is not installed.
        BoardError: The inputs have the wrong size, an inference failed, or no sound answer came in time.
    """
    with started(program, patience) as device:
        info = device.greeting()
        answers = []
        for values in inputs:
            answers.append(_infer(device, info, values))
            if on_done is not None:
                on_done(1)
        device.bye()
    return Outcome(
        info=info,
        outputs=np.frombuffer(b"".join(a.output for a in answers), np.uint8).reshape(len(answers), info.output_bytes),
        instructions=np.array([a.instructions for a in answers], np.int64),
        stack_peak=max((a.stack_peak for a in answers), default=0),
    )


def _infer(device: Device, info: Info, values: Array) -> Inference:
    if values.nbytes != info.input_bytes:
        raise BoardError(f"the network's input has {info.input_bytes} B, not {values.nbytes}")
    answer = device.infer(values.tobytes(), info)
    if answer.status != protocol.OK:
        raise BoardError(f"the network ended with status {answer.status}")
    return answer


def _command(program: Program) -> list[str]:
    """What starts a program; the kernel ends it with this process, even if that is killed."""
    leash = [find("setpriv", ["util-linux"], "running firmware"), "--pdeathsig", "KILL"]
    return [*leash, *_emulated(program.board, str(program.path))]


def _emulated(board: Board, path: str) -> list[str]:
    if board.emulator is None:
        return [path]
    qemu = find_emulator(board)
    uart = ["-chardev", "stdio,id=uart,signal=off", "-serial", "chardev:uart"]
    return [qemu, "-machine", board.emulator.machine, "-kernel", path, "-icount", "shift=0", "-nodefaults",
            "-display", "none", *uart]  # fmt: skip
