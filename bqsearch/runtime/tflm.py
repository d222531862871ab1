"""TensorFlow Lite Micro on this machine: the interpreter that runs on boards, from its Python wheel.

A failed check inside the interpreter aborts its process, so it runs in child processes (`bqsearch.runtime.tflm_child`).
"""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np

from bqsearch.errors import MissingExtraError, ModelError
from bqsearch.runtime.tflm_child import receive, send
from bqsearch.types import Array

_CHUNK = 16  # inputs between two reports of progress

OnDone = Callable[[int], None]


@dataclass(frozen=True, kw_only=True)
class Allocations:
    """What the interpreter takes of its arena, bytes, with this machine's 8-byte pointers.

    Attributes:
        head: Activations, decoded weights and scratch.
        tail: What lasts: structures, kernels' data, tensor records.
    """

    head: int
    tail: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.head + self.tail


def require() -> None:
    """Check that the wheel is there.

    Raises:
        MissingExtraError: It is not.
    """
    if find_spec("tflite_micro") is None:
        raise MissingExtraError("tflite-micro", "tflm", "a board that runs TensorFlow Lite Micro")


def run(model: bytes, inputs: Array, on_done: OnDone | None = None) -> Array:
    """The first output for `(n, ...)` inputs of the network's own dtype, `(n, ...)`; the inputs share all cores.

    Args:
        model: A .tflite file with one input.
        inputs: Codes.
        on_done: Told how many more inputs have been run, from any thread.

    Raises:
        MissingExtraError: The wheel is not installed.
        ModelError: The interpreter refuses the model, or its process ended abnormally.
    """
    require()
    shares = np.array_split(inputs, max(1, min(os.cpu_count() or 1, len(inputs))))
    with ThreadPoolExecutor(len(shares)) as pool:
        return np.concatenate(list(pool.map(lambda share: _run_share(model, share, on_done), shares)))


def allocations(model: bytes) -> Allocations:
    """What `print_allocations` reports. Raises as `run` does."""
    require()
    _, printed = _child("allocations", model, [])
    found = {part: re.search(rf"Arena allocation {part} (\d+) bytes", printed) for part in ("head", "tail")}
    if not all(found.values()):
        raise ModelError(f"TensorFlow Lite Micro reported no allocations: {_reason(printed)}")
    return Allocations(**{part: int(match[1]) for part, match in found.items() if match})


def _run_share(model: bytes, inputs: Array, on_done: OnDone | None) -> Array:
    chunks = [inputs[start : start + _CHUNK] for start in range(0, len(inputs), _CHUNK)]
    outputs, _ = _child("run", model, chunks, on_done)
    return np.concatenate(outputs)


def _child(
    command: str, model: bytes, chunks: Iterable[Array], on_done: OnDone | None = None
) -> tuple[list[Array], str]:
    """A child's answers, one for each chunk, and what the interpreter printed."""
    argv = [sys.executable, "-m", "bqsearch.runtime.tflm_child", command]
    answers: list[Array] = []
    with tempfile.TemporaryFile() as printed:
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=printed) as child:
            try:
                answers.extend(_converse(child, model, chunks, on_done))
            except BrokenPipeError:
                pass  # the child is gone; what it printed says why
            except BaseException:
                child.kill()
                raise
        printed.seek(0)
        text = printed.read().decode("utf-8", "replace")
    if child.returncode != 0:
        ended = f"signal {-child.returncode}" if child.returncode < 0 else f"status {child.returncode}"
        raise ModelError(f"TensorFlow Lite Micro cannot run this model ({ended}): {_reason(text)}")
    return answers, text


def _converse(
    child: subprocess.Popen[bytes], model: bytes, chunks: Iterable[Array], on_done: OnDone | None
) -> Iterator[Array]:
    assert child.stdin is not None
    assert child.stdout is not None
    send(child.stdin, np.frombuffer(model, np.uint8))
    for chunk in chunks:
        send(child.stdin, chunk)
        answer = receive(child.stdout)
        if answer is None:
            return
        yield answer
        if on_done is not None:
            on_done(len(chunk))


def _reason(printed: str) -> str:
    """What the interpreter said, without Python's traceback."""
    said = [line.strip() for line in printed.partition("Traceback")[0].splitlines() if line.strip()]
    raised = [line.strip() for line in printed.splitlines() if line.strip()]
    return "; ".join(said[-2:] or raised[-1:]) or "it printed nothing"
