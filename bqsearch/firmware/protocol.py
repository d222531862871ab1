"""The frames that a host and `boards/main.c` exchange; all numbers are little-endian.

magic 0xb5 | command 1 B | length of the payload 4 B | payload | CRC-32 of all but the magic 4 B
"""

import struct
import zlib
from dataclasses import dataclass

from bqsearch.errors import BoardError

MAGIC = 0xB5
INFO, INFER, BYE = 1, 2, 3
ANSWER = 0x80  # is added to a request's command
REFUSED, FAULT = 0xFE, 0xFF
OK = 0
_HEADER = struct.Struct("<BBI")
_CRC = struct.Struct("<I")
_INFO = struct.Struct("<IIIIQ")
_INFERENCE = struct.Struct("<IQI")
_LONGEST = 1 << 24  # bytes of payload: more is no answer but noise
_REASONS = {1: "unknown command", 2: "wrong length", 3: "wrong CRC-32"}


@dataclass(frozen=True, kw_only=True)
class Frame:
    """A message.

    Attributes:
        command: What it is about.
        payload: What it says.
    """

    command: int
    payload: bytes


@dataclass(frozen=True, kw_only=True)
class Info:
    """What firmware says of itself.

    Attributes:
        arena: Bytes of RAM for activations and scratch.
        input_bytes: Of the network's input.
        output_bytes: Of its output.
        stack: Bytes of RAM that the stack may take; 0 where the system gives it.
        model_hash: Of the network.
    """

    arena: int
    input_bytes: int
    output_bytes: int
    stack: int
    model_hash: int


@dataclass(frozen=True, kw_only=True)
class Inference:
    """One run of the network.

    Attributes:
        status: `OK`, or what the runtime says went wrong.
        output: Empty if something did.
        instructions: That it took; 0 where nothing counts them.
        stack_peak: Most bytes of stack used since the start; 0 where the system gives it.
    """

    status: int
    output: bytes
    instructions: int
    stack_peak: int


def pack(frame: Frame) -> bytes:
    """The bytes of a frame."""
    message = _HEADER.pack(MAGIC, frame.command, len(frame.payload)) + frame.payload
    return message + _CRC.pack(zlib.crc32(message[1:]))


def unpack(received: bytes | bytearray) -> tuple[Frame, int] | None:
    """The frame at the beginning of what was received, and its length in bytes; None if more must come.

    Raises:
        BoardError: What was received is not the beginning of a frame, or its CRC is wrong.
    """
    if received and received[0] != MAGIC:
        raise BoardError(f"a frame begins with 0x{MAGIC:02x}, not 0x{received[0]:02x}")
    if len(received) < _HEADER.size:
        return None
    _, command, length = _HEADER.unpack_from(received)
    if length > _LONGEST:
        raise BoardError(f"a frame holds at most {_LONGEST} B, not {length}")
    end = _HEADER.size + length
    if len(received) < end + _CRC.size:
        return None
    computed, (crc,) = zlib.crc32(received[1:end]), _CRC.unpack_from(received, end)
    if computed != crc:
        raise BoardError(f"the CRC-32 of a frame of {length} B is 0x{computed:08x}, not 0x{crc:08x} as it says")
    return Frame(command=command, payload=bytes(received[_HEADER.size : end])), end + _CRC.size


def answer(frame: Frame, command: int) -> bytes:
    """The payload of the answer to a request.

    Raises:
        BoardError: The board refused the request, met a fault, or answers another one.
    """
    if frame.command == command + ANSWER:
        return frame.payload
    if frame.command == REFUSED and len(frame.payload) == 4:
        (reason,) = struct.unpack("<I", frame.payload)
        raise BoardError(f"the request was refused: {_REASONS.get(reason, f'reason {reason}')}")
    if frame.command == FAULT and len(frame.payload) == 8:
        cause, address = struct.unpack("<II", frame.payload)
        raise BoardError(f"the processor met a fault at 0x{address:08x}, cause 0x{cause:x}")
    raise BoardError(f"command 0x{command:02x} was answered by 0x{frame.command:02x} with {len(frame.payload)} B")


def read_info(payload: bytes) -> Info:
    """From an answer to `INFO`. Raises `BoardError` if it is malformed."""
    if len(payload) != _INFO.size:
        raise BoardError(f"firmware describes itself in {_INFO.size} B, not {len(payload)}")
    names = ("arena", "input_bytes", "output_bytes", "stack", "model_hash")
    return Info(**dict(zip(names, _INFO.unpack(payload), strict=True)))


def read_inference(payload: bytes, info: Info) -> Inference:
    """From an answer to `INFER`.

    Raises:
        BoardError: It is malformed, or the stack has grown into other memory.
    """
    if len(payload) < _INFERENCE.size:
        raise BoardError(f"an inference's answer has {_INFERENCE.size} B at least, not {len(payload)}")
    status, instructions, stack_peak = _INFERENCE.unpack_from(payload)
    output = payload[_INFERENCE.size :]
    if len(output) != (info.output_bytes if status == OK else 0):
        raise BoardError(f"status {status} came with {len(output)} B of output; the network has {info.output_bytes}")
    if info.stack and stack_peak >= info.stack:
        raise BoardError(f"the stack filled all of its {info.stack} B: it has overwritten what lies below")
    return Inference(status=status, output=output, instructions=instructions, stack_peak=stack_peak)
