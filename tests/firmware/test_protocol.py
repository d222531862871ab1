"""Frames: by hand, at random, and as `boards/main.c` understands them."""

import contextlib
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bqsearch.errors import BoardError
from bqsearch.exporters.firmware import export
from bqsearch.firmware import protocol
from bqsearch.firmware.board import HOST
from bqsearch.firmware.protocol import BYE, INFER, INFO, Frame, Info
from firmware.compilers import SANITIZED, STRICT, need_sanitizers
from firmware.sample import SIZE, network

FRAMES = st.builds(Frame, command=st.integers(0, 255), payload=st.binary(max_size=200))
TOLD = Info(arena=2 * SIZE, input_bytes=SIZE, output_bytes=SIZE, stack=0, model_hash=0)


def test_a_frame_by_hand() -> None:
    assert protocol.pack(Frame(command=3, payload=b"")).hex() == "b5 03 00000000 cd8d8281".replace(" ", "")
    assert protocol.pack(Frame(command=2, payload=b"ab"))[:8].hex() == "b5 02 02000000 6162".replace(" ", "")


@given(frame=FRAMES, behind=st.binary(max_size=20), cut=st.integers(0, 300))
def test_a_frame_comes_back_once_it_is_whole(frame: Frame, behind: bytes, cut: int) -> None:
    packed = protocol.pack(frame)
    assert protocol.unpack(bytearray(packed + behind)) == (frame, len(packed))
    assert protocol.unpack(packed[: min(cut, len(packed) - 1)]) is None


@given(frame=FRAMES, bit=st.integers(0, 10_000))
def test_no_damaged_frame_passes(frame: Frame, bit: int) -> None:
    damaged = bytearray(protocol.pack(frame))
    damaged[bit // 8 % len(damaged)] ^= 1 << bit % 8
    with contextlib.suppress(BoardError):
        assert protocol.unpack(damaged) is None


def test_what_is_no_frame_is_refused() -> None:
    with pytest.raises(BoardError, match="begins with 0xb5, not 0x00"):
        protocol.unpack(b"\0")
    with pytest.raises(BoardError, match="at most 16777216 B, not 16777217"):
        protocol.unpack(bytes.fromhex("b58101000001"))


@pytest.mark.parametrize(
    ("command", "payload", "message"),
    [
        (0xFE, "01000000", "refused: unknown command"),
        (0xFE, "07000000", "refused: reason 7"),
        (0xFF, "0500000010004020", "fault at 0x20400010, cause 0x5"),
        (0xFF, "05", "0x02 was answered by 0xff with 1 B"),
        (0x81, "", "0x02 was answered by 0x81 with 0 B"),
    ],
)
def test_answers_that_are_none(command: int, payload: str, message: str) -> None:
    with pytest.raises(BoardError, match=message):
        protocol.answer(Frame(command=command, payload=bytes.fromhex(payload)), INFER)


def test_answers_of_the_wrong_length() -> None:
    with pytest.raises(BoardError, match="in 24 B, not 23"):
        protocol.read_info(bytes(23))
    with pytest.raises(BoardError, match="16 B at least, not 15"):
        protocol.read_inference(bytes(15), TOLD)
    with pytest.raises(BoardError, match="status 0 came with 5 B of output; the network has 64"):
        protocol.read_inference(bytes(16 + 5), TOLD)
    with pytest.raises(BoardError, match="status 1 came with 64 B"):
        protocol.read_inference(b"\1" + bytes(15 + 64), TOLD)


@pytest.fixture(scope="module", params=["gcc", "clang"])
def firmware(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example for this computer, with all warnings and sanitizers."""
    compiler = need_sanitizers(request.param)
    folder = tmp_path_factory.mktemp(request.param)
    export(folder, network(), HOST)
    files = ["main.c", "model.c", "runtime/bq.c", "boards/host/board.c"]
    command = [compiler, *STRICT, *SANITIZED, "-I.", "-Iruntime", "-Iboards", *files, "-o", "firmware"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "firmware"


def frames_of(firmware: Path, sent: bytes) -> list[Frame]:
    """All that the firmware answers until its standard input ends."""
    done = subprocess.run([firmware], input=sent, capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")
    frames, rest = [], done.stdout
    while rest:
        found = protocol.unpack(rest)
        assert found is not None
        frames.append(found[0])
        rest = rest[found[1] :]
    return frames


def test_a_conversation(firmware: Path) -> None:
    asked = [
        Frame(command=INFO, payload=b""),
        Frame(command=INFER, payload=b"\2" * SIZE),
        Frame(command=BYE, payload=b""),
    ]
    hello, info, inference, bye = frames_of(firmware, b"".join(map(protocol.pack, asked)))
    assert hello == info
    assert protocol.read_info(protocol.answer(info, INFO)).arena == 2 * SIZE
    told = protocol.read_inference(protocol.answer(inference, INFER), TOLD)
    assert told.output == bytes(range(2, 2 * SIZE + 1, 2))
    assert protocol.answer(bye, BYE) == b""


def test_nothing_is_heard_behind_a_bye(firmware: Path) -> None:
    asked = [Frame(command=BYE, payload=b""), Frame(command=INFO, payload=b"")]
    assert [frame.command for frame in frames_of(firmware, b"".join(map(protocol.pack, asked)))] == [0x81, 0x83]


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (protocol.pack(Frame(command=4, payload=b"")), "unknown command"),
        (protocol.pack(Frame(command=0, payload=b"")), "unknown command"),
        (protocol.pack(Frame(command=INFER, payload=bytes(SIZE + 1))), "wrong length"),
        (protocol.pack(Frame(command=INFO, payload=bytes(1))), "wrong length"),
        (protocol.pack(Frame(command=INFER, payload=bytes(SIZE)))[:-1] + b"\0", "wrong CRC-32"),
    ],
)
def test_requests_that_make_no_sense(firmware: Path, sent: bytes, reason: str) -> None:
    answered = frames_of(firmware, sent + protocol.pack(Frame(command=INFO, payload=b"")))
    assert [frame.command for frame in answered] == [0x81, 0xFE, 0x81]
    with pytest.raises(BoardError, match=f"the request was refused: {reason}"):
        protocol.answer(answered[1], INFER)


@settings(max_examples=60, deadline=None)
@given(pieces=st.lists(st.one_of(st.binary(max_size=90), FRAMES.map(protocol.pack), st.just(b"\xb5")), max_size=6))
def test_whatever_is_sent_the_answers_are_frames(firmware: Path, pieces: list[bytes]) -> None:
    assert frames_of(firmware, b"".join(pieces))[0].command == 0x81
