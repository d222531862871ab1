"""The C decoders against the formats' specification, under the address and undefined-behavior sanitizers."""

import struct
import subprocess
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packing.tensors import MANY_CODEBOOKS, ONE_CODEBOOK, fibonacci, grouped, tensor

from bqsearch.errors import CodecError
from bqsearch.hardware.scratch import decoder_bytes
from bqsearch.packing.container import Coded
from bqsearch.packing.huffman import read_table
from bqsearch.packing.streams import STREAMS, decode, encode
from bqsearch.types import Bytes
from firmware.compilers import SANITIZED, SOURCE, compile_c, need_sanitizers

DRIVER = Path(__file__).with_name("decoder_driver.c")
DECODERS = [SOURCE / f"bq_{name}.c" for name in ("stream", "code", *STREAMS.codings)]
CODINGS = st.sampled_from(STREAMS.codings)
CHUNKS = st.sampled_from([1, 2, 3, 7, 64, 1000])
EXAMPLES = settings(max_examples=60, deadline=None)


@pytest.fixture(scope="module", params=["gcc", "clang"])
def driver(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = need_sanitizers(request.param)
    program = tmp_path_factory.mktemp(request.param) / "decode"
    compile_c(compiler, "-O1", *SANITIZED, DRIVER, *DECODERS, "-o", program)
    return program


def decoded_in_c(driver: Path, cases: Iterable[Coded], chunk: int, flip: int = 0) -> list[Bytes | None]:
    """What the runtime makes of each case: weights, or None where it refuses it."""
    cases = list(cases)
    asked = b"".join(_request(case, chunk, flip) for case in cases)
    done = subprocess.run([driver], input=asked, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    answers, at = [], 0
    for case in cases:
        weights = np.frombuffer(done.stdout, np.uint8, case.count, at + 1)
        answers.append(weights if done.stdout[at] == 0 else None)
        assert done.stdout[at] in (0, 1)
        at += 1 + case.count
    assert at == len(done.stdout)
    return answers


def _request(case: Coded, chunk: int, flip: int) -> bytes:
    head = (
        STREAMS.codings.index(case.coding),
        case.groups,
        case.inner,
        case.count,
        case.zero_byte,
        flip,
        decoder_bytes(case.coding, len(case.table)),
        chunk,
        len(case.table),
        len(case.stream),
    )
    return struct.pack("<10I", *head) + case.table + case.stream


def decoded(case: Coded) -> Bytes | None:
    """What the specification says of a case."""
    try:
        return decode(case)
    except CodecError:
        return None


def encoded(symbols, coding: str) -> Coded | None:
    try:
        return encode(symbols, coding)
    except CodecError:
        return None


@given(
    symbols=st.lists(ONE_CODEBOOK | MANY_CODEBOOKS, min_size=1, max_size=8),
    coding=CODINGS,
    chunk=CHUNKS,
    flip=st.sampled_from([0, 128]),
)
@EXAMPLES
def test_decoded_weights_are_those_that_were_coded(driver: Path, symbols, coding: str, chunk: int, flip: int) -> None:
    cases = [case for case in (encoded(one, coding) for one in symbols) if case is not None and case.count > 0]
    for case, found in zip(cases, decoded_in_c(driver, cases, chunk, flip), strict=True):
        assert found is not None
        assert np.array_equal(found ^ np.uint8(flip), decode(case))


@pytest.mark.parametrize("coding", STREAMS.codings)
@pytest.mark.parametrize("levels", [1, 2, 3, 5, 16, 17, 32, 100, 128])
def test_every_coding_at_many_level_counts(driver: Path, coding: str, levels: int) -> None:
    one = tensor(list(range(128 - levels // 2, 128 - levels // 2 + levels)), [3] * levels, 1)
    many = grouped(groups=6, inner=9, weights=6 * 9 * 4, symbols=levels, zero=0, seed=levels)
    cases = [encode(symbols, coding) for symbols in (one, many)]
    for chunk in (1, 9, 64):
        for case, found in zip(cases, decoded_in_c(driver, cases, chunk), strict=True):
            assert np.array_equal(found, decode(case))


@pytest.mark.parametrize("coding", ["huffman", "sparse"])
def test_codewords_of_15_bits(driver: Path, coding: str) -> None:
    case = encode(tensor(list(range(120, 138)), fibonacci(18)[::-1], 3), coding)
    _, values = read_table(case.table)
    assert (values or case.table)[0] == 15
    (found,) = decoded_in_c(driver, [case], 11)
    assert np.array_equal(found, decode(case))


def damaged(case: Coded, table: list[tuple[int, int]], stream: list[tuple[int, int]], cut: int, count: int) -> Coded:
    def changed(content: bytes, changes: list[tuple[int, int]]) -> bytes:
        made = bytearray(content)
        for place, value in changes:
            if made:
                made[place % len(made)] = value
        return bytes(made)

    stream_bytes = changed(case.stream, stream)
    return replace(
        case,
        table=changed(case.table, table),
        stream=stream_bytes[: len(stream_bytes) - cut] if cut >= 0 else stream_bytes + bytes(-cut),
        count=max(1, case.count + count),
    )


CHANGES = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=3)


@given(
    symbols=st.lists(ONE_CODEBOOK | MANY_CODEBOOKS, min_size=1, max_size=8),
    coding=CODINGS,
    chunk=CHUNKS,
    table=CHANGES,
    stream=CHANGES,
    cut=st.integers(-2, 5),
    count=st.integers(-9, 9),
)
@EXAMPLES
def test_damaged_streams_are_refused_and_read_nothing_outside(
    driver: Path, symbols, coding: str, chunk: int, table, stream, cut: int, count: int
) -> None:
    """Refused just where the specification does, and otherwise decoded as it says."""
    sound = [case for case in (encoded(one, coding) for one in symbols) if case is not None]
    cases = [damaged(case, table, stream, min(cut, len(case.stream)), count) for case in sound]
    for case, found in zip(cases, decoded_in_c(driver, cases, chunk), strict=True):
        expected = decoded(case)
        assert (found is None) == (expected is None)
        assert found is None or np.array_equal(found, expected)


@given(
    coding=CODINGS,
    table=st.binary(max_size=80),
    stream=st.binary(max_size=80),
    groups=st.integers(1, 5),
    inner=st.integers(1, 9),
    count=st.integers(1, 200),
)
@EXAMPLES
def test_any_bytes_are_safe(
    driver: Path, coding: str, table: bytes, stream: bytes, groups: int, inner: int, count: int
) -> None:
    case = Coded(coding=coding, count=count, groups=groups, inner=inner, zero_byte=128, table=table, stream=stream)
    (found,) = decoded_in_c(driver, [case], 16)
    expected = decoded(case)
    assert (found is None) == (expected is None)
    assert found is None or np.array_equal(found, expected)
