"""What every container promises: stated bytes are real bytes, every coding comes back, and damage is refused."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from packing import reference
from packing.tensors import (
    MANY_CODEBOOKS,
    ONE_CODEBOOK,
    ZERO,
    fibonacci,
    gaps_of,
    grouped,
    tally_of,
    tensor,
    weights_of,
)

from bqsearch.errors import CodecError
from bqsearch.packing.container import MAX_GAP, UNAVAILABLE, Coded, Container, Symbols, Tally, gap_counts, gap_symbols
from bqsearch.packing.containers import CONTAINERS
from bqsearch.plan import CODINGS

CASES = [(container, coding) for container in CONTAINERS.values() for coding in container.codings]
NAMES = [f"{container.name}-{coding}" for container, coding in CASES]
TENSORS = ONE_CODEBOOK | MANY_CODEBOOKS


def spread(symbols: int, counts: list[int]) -> Symbols:
    """So many values over all of a byte, zero (128) among them."""
    values = {(128 + i * (256 // symbols)) % 256 for i in range(symbols)}
    return tensor(sorted(values), counts, 3)


FLAT = spread(256, [1] * 256)
DEEP = spread(20, fibonacci(20))
EMPTY = tensor([], [], 0)
ALL_ZERO = tensor([ZERO], [500], 0)
EMPTY_GROUPS = grouped(groups=3, inner=4, weights=0, symbols=5, zero=1, seed=0)
ZERO_GROUPS = grouped(groups=3, inner=50, weights=150, symbols=5, zero=3, seed=0, share=1)
SPARSE_GROUPS = grouped(groups=4, inner=100, weights=400, symbols=6, zero=2, seed=0, share=0.97)
LAST_AXIS = grouped(groups=4, inner=1, weights=400, symbols=6, zero=-1, seed=0)


def available(container: Container, symbols: Symbols, coding: str) -> bool:
    """As the containers' documentation says."""
    groups, entries = len(symbols.values), int(symbols.indices.max(initial=0)) + 1
    used, count = len(set(symbols.indices.tolist())), len(symbols.indices)
    others = used - (symbols.zero in symbols.indices)
    if container.name == "tflm":
        packed = entries <= 128 and (groups == 1 or count > groups)
        return {"packed": packed, "huffman": groups == 1}.get(coding, True)
    sparse = others <= 255 and (symbols.zero >= 0 or groups == 1)  # the tallies of one codebook name the zero byte
    return {"packed": entries <= 128, "huffman": used <= 255, "sparse": sparse}.get(coding, True)


def check(container: Container, coding: str, made: Symbols) -> None:
    stated = container.sizes(tally_of(made))
    if not available(container, made, coding):
        assert stated.bytes_of(coding)[0] == UNAVAILABLE
        if coding != "sparse" or made.zero >= 0:
            with pytest.raises(CodecError):
                container.encode(made, coding)
        return
    coded = container.encode(made, coding)
    assert (len(coded.stream), len(coded.table)) == (stated.stream[coding][0], stated.table[coding][0])
    assert coded.nbytes == stated.bytes_of(coding)[0]
    assert (coded.coding, coded.count, coded.groups) == (coding, len(made.indices), len(made.values))
    assert (coded.inner, coded.zero_byte) == (made.inner, made.zero_byte)
    decoded = container.decode(coded)
    assert decoded.dtype == np.uint8
    assert decoded.tolist() == weights_of(made)


@pytest.mark.parametrize(("container", "coding"), CASES, ids=NAMES)
@example(FLAT)
@example(DEEP)
@example(EMPTY)
@example(ALL_ZERO)
@example(EMPTY_GROUPS)
@example(ZERO_GROUPS)
@example(SPARSE_GROUPS)
@example(LAST_AXIS)
@example(spread(1, [1]))
@given(TENSORS)
@settings(deadline=None, max_examples=40)
def test_stated_bytes_are_real_and_every_coding_comes_back(container: Container, coding: str, made: Symbols) -> None:
    check(container, coding, made)


@pytest.mark.parametrize("symbols", [1, 2, 3, 127, 128, 129, 255, 256])
@pytest.mark.parametrize(("container", "coding"), CASES, ids=NAMES)
def test_where_a_coding_ends(container: Container, coding: str, symbols: int) -> None:
    check(container, coding, tensor(list(range(symbols)), [2] * 256, 0))
    indices = np.tile(np.arange(symbols, dtype=np.uint8), 4)
    values = np.stack([np.arange(symbols), np.arange(symbols)[::-1]]).astype(np.uint8)
    check(container, coding, Symbols(indices=indices, values=values, zero=-1, zero_byte=ZERO, inner=symbols))


@given(TENSORS)
@settings(deadline=None, max_examples=60)
def test_the_number_of_symbols(made: Symbols) -> None:
    used = set(made.indices.tolist())
    expected = len(used) if len(made.values) == 1 else max(used, default=-1) + 1
    assert tally_of(made).symbols.tolist() == [expected]


def joined(tallies: list[Tally], groups: int) -> Tally:
    width = max(tally.counts.shape[1] for tally in tallies)
    counts = [np.pad(tally.counts, ((0, 0), (0, width - tally.counts.shape[1]))) for tally in tallies]
    gaps = np.concatenate([tally.gaps for tally in tallies])
    zero = np.concatenate([tally.zero for tally in tallies])
    return Tally(counts=np.concatenate(counts), zero=zero, groups=groups, gaps=gaps)


@given(st.lists(ONE_CODEBOOK, min_size=2, max_size=4) | st.lists(MANY_CODEBOOKS, min_size=2, max_size=4))
@settings(deadline=None, max_examples=40)
@pytest.mark.parametrize("container", CONTAINERS.values(), ids=CONTAINERS)
def test_rows_are_stated_as_if_each_were_alone(container: Container, made: list[Symbols]) -> None:
    groups = len(made[0].values)
    tallies = [replace(tally_of(one), groups=groups) for one in made]
    together = container.sizes(joined(tallies, groups))
    for row, tally in enumerate(tallies):
        alone = container.sizes(tally)
        for coding in container.codings:
            assert alone.stream[coding][0] == together.stream[coding][row]
            assert alone.table[coding][0] == together.table[coding][row]


def test_gaps_of_one_mask_serve_all_rows() -> None:
    tally = tally_of(SPARSE_GROUPS)
    many = Tally(counts=np.repeat(tally.counts, 3, axis=0), zero=np.array([2, -1, 2]), groups=4, gaps=tally.gaps)
    alone = CONTAINERS["bqsearch"].sizes(tally).bytes_of("sparse")[0]
    assert CONTAINERS["bqsearch"].sizes(many).bytes_of("sparse").tolist() == [alone, UNAVAILABLE, alone]


def test_sparse_needs_the_gaps_of_the_zeros_that_are_counted() -> None:
    streams, tally = CONTAINERS["bqsearch"], tally_of(SPARSE_GROUPS)
    assert streams.sizes(tally_of(SPARSE_GROUPS, known_gaps=False)).bytes_of("sparse").tolist() == [UNAVAILABLE]
    fewer = tally.counts.copy()
    fewer[0, [2, 0]] += [-1, 1]
    assert streams.sizes(replace(tally, counts=fewer)).bytes_of("sparse").tolist() == [UNAVAILABLE]


@pytest.mark.parametrize(
    ("zeros", "symbols"),
    [
        ("1", [0]),
        ("001", [2]),
        ("00", [2]),
        ("", []),
        ("0" * 62 + "1", [62]),
        ("0" * 63 + "1", [63, 0]),
        ("0" * 64 + "11", [63, 1, 0]),
        ("1" + "0" * 126, [0, 63, 63]),
        ("1" + "0" * 127, [0, 63, 63, 1]),
    ],
)
def test_gap_symbols_by_hand(zeros: str, symbols: list[int]) -> None:
    nonzero = np.array([digit == "1" for digit in zeros], bool)
    found, follows = gap_symbols(nonzero)
    assert found.tolist() == symbols
    assert follows.sum() == nonzero.sum()
    assert gap_counts(nonzero).tolist() == [[symbols.count(gap) for gap in range(MAX_GAP + 1)]]


@given(MANY_CODEBOOKS)
@settings(deadline=None, max_examples=60)
def test_gap_symbols_are_those_of_the_specification(made: Symbols) -> None:
    assert gap_symbols(made.indices != made.zero)[0].tolist() == gaps_of(made)


def test_every_coding_of_a_plan_is_some_containers() -> None:
    assert {coding for container in CONTAINERS.values() for coding in container.codings} == set(CODINGS)
    assert list(CONTAINERS) == ["bqsearch", "tflm", "row_stationary"]
    assert [container.name for container in CONTAINERS.values()] == ["bqsearch", "tflm", "bqsearch"]
    for container in CONTAINERS.values():
        stated = container.sizes(tally_of(FLAT))
        assert set(stated.stream) == set(stated.table) == set(container.codings)


SMALL = tensor([5, 6, 90, 128, 255], [30, 9, 4, 2, 1], 1)
LONG = tensor(list(range(120, 133)), fibonacci(13), 1)
GROUPS = grouped(groups=3, inner=20, weights=60, symbols=5, zero=1, seed=1)
DAMAGED = {"small": SMALL, "long": LONG, "groups": GROUPS, "sparse": SPARSE_GROUPS, "last axis": LAST_AXIS}


@pytest.mark.parametrize(("container", "coding"), CASES, ids=NAMES)
@given(
    st.sampled_from(sorted(DAMAGED)),
    st.lists(st.tuples(st.booleans(), st.integers(0, 2000), st.integers(0, 255)), max_size=4),
    st.just((0, 0)) | st.tuples(st.integers(0, 30), st.integers(0, 30)),
    st.just((b"", b"")) | st.tuples(st.binary(max_size=5), st.binary(max_size=5)),
    st.just(0) | st.sampled_from([-46, -1, 1, 5000]),
    st.sampled_from([(3, 20), (1, 46), (1, 1), (0, 0), (7, 2), (-1, 5), (10**6, 1)]),
)
@settings(deadline=None, max_examples=150)
def test_flipped_lost_and_added_bytes_decode_or_are_refused(
    container: Container,
    coding: str,
    name: str,
    flips: list[tuple[bool, int, int]],
    lost: tuple[int, int],
    added: tuple[bytes, bytes],
    more: int,
    record: tuple[int, int],
) -> None:
    made = DAMAGED[name]
    if not available(container, made, coding):
        return
    coded = container.encode(made, coding)
    parts = [bytearray(coded.table), bytearray(coded.stream)]
    for in_table, at, byte in flips:
        part = parts[not in_table]
        if part:
            part[at % len(part)] = byte
    table, stream = (bytes(p[: max(len(p) - n, 0)]) + a for p, n, a in zip(parts, lost, added, strict=True))
    damaged = replace(coded, count=coded.count + more, table=table, stream=stream)
    for one in (damaged, replace(damaged, groups=record[0], inner=record[1])):
        decodes_or_refuses(container, one)


def decodes_or_refuses(container: Container, coded: Coded) -> None:
    expected = reference.weights(container.name, coded)
    if expected is None:
        with pytest.raises(CodecError):
            container.decode(coded)
        return
    decoded = container.decode(coded)
    assert decoded.dtype == np.uint8
    assert decoded.tolist() == expected


@pytest.mark.parametrize(("container", "coding"), CASES, ids=NAMES)
@given(st.binary(max_size=60), st.binary(max_size=40), st.integers(0, 600) | st.none(), st.integers(1, 4))
@settings(deadline=None, max_examples=100)
def test_foreign_bytes_decode_or_are_refused(
    container: Container, coding: str, table: bytes, stream: bytes, count: int | None, groups: int
) -> None:
    kind = bytes([{"packed": 0, "huffman": 1, "mask": 2}.get(coding, 9), 1]) if container.name == "tflm" else b""
    fields = {"coding": coding, "groups": groups, "inner": 5, "zero_byte": 128, "table": kind + table, "stream": stream}
    for some in range(8 * len(stream) + 2) if count is None else [count]:
        decodes_or_refuses(container, Coded(**fields, count=some))


@pytest.mark.parametrize("name", DAMAGED)
@pytest.mark.parametrize(("container", "coding"), CASES, ids=NAMES)
def test_a_stream_of_another_length_is_refused(container: Container, coding: str, name: str) -> None:
    made = DAMAGED[name]
    if not available(container, made, coding):
        return
    coded = container.encode(made, coding)
    more = bytes(8)  # a word besides what TensorFlow Lite Micro's Huffman streams have to spare
    for stream in (b"", coded.stream[:-1], coded.stream[: len(coded.stream) // 8 * 4], coded.stream + more):
        with pytest.raises(CodecError):
            container.decode(replace(coded, stream=stream))


@pytest.mark.parametrize("record", [{"count": -1}, {"groups": 0}, {"inner": 0}, {"zero_byte": 256}])
@pytest.mark.parametrize(("container", "coding"), CASES, ids=NAMES)
def test_an_impossible_record_is_refused(container: Container, coding: str, record: dict[str, int]) -> None:
    with pytest.raises(CodecError, match="0 weights or more, 1 group or more"):
        container.decode(replace(container.encode(SMALL, coding), **record))


@pytest.mark.parametrize(("container", "coding"), CASES, ids=NAMES)
def test_another_codings_bytes_are_refused(container: Container, coding: str) -> None:
    coded = container.encode(SMALL, coding)
    with pytest.raises(CodecError):
        container.decode(replace(coded, coding="zip"))
    if coded.table:
        with pytest.raises(CodecError):
            container.decode(replace(coded, coding="raw"))
