"""The child process of `bqsearch.runtime.tflm`: one interpreter, inputs in, outputs out.

    python -m bqsearch.runtime.tflm_child run|allocations

Standard input brings arrays: the model's bytes, then chunks of inputs. `run` answers each chunk with an array of
outputs on standard output; `allocations` prints the arena's use on standard error. What the interpreter's native code
prints goes to standard error. An array travels as 8 bytes of length, little-endian, and its `.npy` form.
"""

import io
import os
import struct
import sys
from typing import IO

import numpy as np

from bqsearch.types import Array

ARENA = 1 << 28  # bytes on offer; the interpreter touches only what it needs


def main(command: str, requests: IO[bytes], answers: IO[bytes]) -> None:
    """Serve one parent until it closes its end."""
    from tflite_micro.python.tflite_micro.runtime import Interpreter

    model = receive(requests)
    assert model is not None
    interpreter = Interpreter.from_bytes(model.tobytes(), arena_size=ARENA)
    if command == "allocations":
        interpreter.print_allocations()
        return
    shape = interpreter.get_input_details(0)["shape"]
    while (inputs := receive(requests)) is not None:
        outputs = []
        for values in inputs:
            interpreter.set_input(values.reshape(shape), 0)
            interpreter.invoke()
            outputs.append(interpreter.get_output(0).copy())
        send(answers, np.concatenate(outputs))


def send(stream: IO[bytes], array: Array) -> None:
    """Write an array."""
    packed = io.BytesIO()
    np.save(packed, array, allow_pickle=False)
    stream.write(struct.pack("<Q", packed.tell()))
    stream.write(packed.getbuffer())
    stream.flush()


def receive(stream: IO[bytes]) -> Array | None:
    """Read the next array; None if the other end is closed."""
    length = stream.read(8)
    if len(length) < 8:
        return None
    content: Array = np.load(io.BytesIO(stream.read(struct.unpack("<Q", length)[0])), allow_pickle=False)
    return content


if __name__ == "__main__":
    reply = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    main(sys.argv[1], sys.stdin.buffer, reply)
