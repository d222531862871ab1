"""What every container promises: stated bytes are real bytes, every coding comes back, and damage is refused."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bqsearch.errors import CodecError
from bqsearch.packing.container import UNAVAILABLE, Coded, Container
from bqsearch.packing.containers import CONTAINERS
from bqsearch.plan import CODINGS
from bqsearch.types import Bytes, Ints

MOST = {"bqsearch": {"packed": 128, "huffman": 255}, "tflm": {"packed": 128}}  # symbols; 256 where nothing is said
CASES = [(container, coding) for container in CONTAINERS.values() for coding in container.codings]
NAMES = [f"{container.name}-{coding}" for container, coding in CASES]

Tensor = tuple[Bytes, Bytes]


def tensor(values: list[int], counts: list[int], seed: int) -> Tensor:
    """Ascending codebook and shuffled indices into it, each of which occurs."""
    codebook = np.array(sorted(values), np.uint8)
    indices = np.repeat(np.arange(len(codebook)), counts[: len(codebook)]).astype(np.uint8)
    np.random.default_rng(seed).shuffle(indices)
    return codebook, indices


def fibonacci(symbols: int) -> list[int]:
    """Counts whose code is as deep as can be: one bit deeper for each symbol."""
    counts = [1, 1]
    while len(counts) < symbols:
        counts.append(counts[-1] + counts[-2])
    return counts[:symbols]


def spread(symbols: int, counts: list[int]) -> Tensor:
    """So many values over all of a byte, zero (128) among them."""
    values = {(128 + i * (256 // symbols)) % 256 for i in range(symbols)}
    return tensor(sorted(values), counts, 3)


FLAT = spread(256, [1] * 256)
DEEP = spread(20, fibonacci(20))
TENSORS = st.builds(
    tensor,
    st.lists(st.integers(0, 255), min_size=1, max_size=256, unique=True),
    st.lists(st.integers(1, 3) | st.integers(1, 60), min_size=256, max_size=256),
    st.integers(0, 2**32),
) | st.builds(
    tensor,
    st.lists(st.integers(0, 255), min_size=1, max_size=16, unique=True),
    st.permutations(fibonacci(16)),
    st.integers(0, 2**32),
)


def counts_of(made: Tensor) -> Ints:
    codebook, indices = made
    return np.bincount(codebook[indices], minlength=256)[None].astype(np.int64)


def available(container: Container, symbols: int, coding: str) -> bool:
    return symbols <= MOST[container.name].get(coding, 256)


def check(container: Container, coding: str, made: Tensor, zero: int) -> None:
    codebook, indices = made
    stated = container.sizes(counts_of(made), zero)
    if not available(container, len(codebook), coding):
        assert stated.bytes_of(coding)[0] == UNAVAILABLE
        return
    coded = container.encode(indices, codebook, coding, zero)
    assert (len(coded.stream), len(coded.table)) == (stated.stream[coding][0], stated.table[coding][0])
    assert coded.nbytes == stated.bytes_of(coding)[0]
    assert (coded.coding, coded.count) == (coding, len(indices))
    assert stated.symbols.tolist() == [len(codebook)]
    decoded = container.decode(coded, zero)
    assert decoded.dtype == np.uint8
    assert np.array_equal(decoded, codebook[indices])


@pytest.mark.parametrize(("container", "coding"), CASES, ids=NAMES)
@example(FLAT, 128)
@example(DEEP, 128)
@example(spread(1, [100]), 128)
@example(spread(1, [1]), 0)
@given(TENSORS, st.integers(0, 255))
@settings(deadline=None, max_examples=40)
def test_stated_bytes_are_real_and_every_coding_comes_back(
    container: Container, coding: str, made: Tensor, zero: int
) -> None:
    check(container, coding, made, zero)


@pytest.mark.parametrize("symbols", [1, 2, 3, 127, 128, 129, 255, 256])
@pytest.mark.parametrize(("container", "coding"), CASES, ids=NAMES)
def test_where_a_coding_ends(container: Container, coding: str, symbols: int) -> None:
    check(container, coding, tensor(list(range(symbols)), [2] * 256, 0), 128)


@given(st.lists(TENSORS, min_size=2, max_size=4), st.integers(0, 255))
@settings(deadline=None, max_examples=30)
@pytest.mark.parametrize("container", CONTAINERS.values(), ids=CONTAINERS)
def test_rows_are_stated_as_if_each_were_alone(container: Container, made: list[Tensor], zero: int) -> None:
    together = container.sizes(np.concatenate([counts_of(one) for one in made]), zero)
    for row, one in enumerate(made):
        alone = container.sizes(counts_of(one), zero)
        assert alone.symbols[0] == together.symbols[row]
        for coding in container.codings:
            assert alone.stream[coding][0] == together.stream[coding][row]
            assert alone.table[coding][0] == together.table[coding][row]


@pytest.mark.parametrize(("container", "coding"), CASES, ids=NAMES)
def test_an_empty_tensor(container: Container, coding: str) -> None:
    empty = np.zeros(0, np.uint8)
    coded = container.encode(empty, empty, coding, 128)
    assert coded.nbytes == container.sizes(np.zeros((1, 256), np.int64), 128).bytes_of(coding)[0]
    assert container.decode(coded, 128).shape == (0,)


def test_every_coding_of_a_plan_is_some_containers() -> None:
    assert {coding for container in CONTAINERS.values() for coding in container.codings} == set(CODINGS)
    assert list(CONTAINERS) == ["bqsearch", "tflm"]
    assert all(name == container.name for name, container in CONTAINERS.items())
    for container in CONTAINERS.values():
        stated = container.sizes(counts_of(FLAT), 128)
        assert set(stated.stream) == set(stated.table) == set(container.codings)


SMALL = tensor([5, 6, 90, 128, 255], [30, 9, 4, 2, 1], 1)
LONG = tensor(list(range(120, 133)), fibonacci(13), 1)


@pytest.mark.parametrize(("container", "coding"), CASES, ids=NAMES)
@given(
    st.sampled_from([SMALL, LONG]),
    st.lists(st.tuples(st.booleans(), st.integers(0, 2000), st.integers(0, 255)), max_size=4),
    st.tuples(st.integers(0, 30), st.integers(0, 30)),
    st.tuples(st.binary(max_size=5), st.binary(max_size=5)),
    st.sampled_from([-46, -1, 0, 0, 0, 1, 5000]),
)
@settings(deadline=None, max_examples=150)
def test_flipped_lost_and_added_bytes_decode_or_are_refused(
    container: Container,
    coding: str,
    made: Tensor,
    flips: list[tuple[bool, int, int]],
    lost: tuple[int, int],
    added: tuple[bytes, bytes],
    more: int,
) -> None:
    codebook, indices = made
    coded = container.encode(indices, codebook, coding, 128)
    parts = [bytearray(coded.table), bytearray(coded.stream)]
    for in_table, at, byte in flips:
        part = parts[not in_table]
        if part:
            part[at % len(part)] = byte
    table, stream = (bytes(p[: max(len(p) - n, 0)]) + a for p, n, a in zip(parts, lost, added, strict=True))
    damaged = Coded(coding=coding, count=max(coded.count + more, 0), table=table, stream=stream)
    try:
        decoded = container.decode(damaged, 128)
    except CodecError:
        return
    assert decoded.shape == (damaged.count,)


@pytest.mark.parametrize("made", [SMALL, LONG], ids=["small", "long"])
@pytest.mark.parametrize(("container", "coding"), CASES, ids=NAMES)
def test_a_stream_that_is_too_short_is_refused(container: Container, coding: str, made: Tensor) -> None:
    codebook, indices = made
    coded = container.encode(indices, codebook, coding, 128)
    for stream in (b"", coded.stream[:-1], coded.stream[: len(coded.stream) // 8 * 4]):
        with pytest.raises(CodecError):
            container.decode(replace(coded, stream=stream), 128)


@pytest.mark.parametrize(("container", "coding"), CASES, ids=NAMES)
def test_another_codings_bytes_are_refused(container: Container, coding: str) -> None:
    codebook, indices = SMALL
    coded = container.encode(indices, codebook, coding, 128)
    with pytest.raises(CodecError):
        container.decode(replace(coded, coding="zip"), 128)
    if coded.table:
        with pytest.raises(CodecError):
            container.decode(replace(coded, coding="raw"), 128)
