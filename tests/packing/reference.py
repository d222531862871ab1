"""Every coding's decoder once more: bit by bit, as the formats are documented, and with no line of the decoders'."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from bqsearch.packing.container import Coded

SIGN = 128  # TensorFlow Lite Micro has int8 codes where raw bytes are counted from the lowest
ESCAPE = 63  # the gap symbol without a weight


class Refused(Exception):  # noqa: N818 - an outcome, no fault
    """The bytes are not those of any tensor."""


def weights(container: str, coded: Coded) -> list[int] | None:
    """The raw bytes of all weights; None where they are to be refused."""
    try:
        refuse(coded.count < 0 or min(coded.groups, coded.inner) < 1 or not 0 <= coded.zero_byte <= 255)
        return READERS[container][coded.coding](coded)
    except Refused:
        return None


def huffman(table: bytes, stream: bytes, count: int) -> list[int] | None:
    """The values of a Huffman stream with one codebook; None where it is to be refused."""
    fields = {"coding": "huffman", "groups": 1, "inner": 1, "zero_byte": 0}
    return weights("bqsearch", Coded(**fields, count=count, table=table, stream=stream))


def most_huffman(table: bytes, stream: bytes) -> int:
    """The most weights that a Huffman stream may be read as; 0 where it is always to be refused."""
    counts = range(8 * len(stream), 0, -1)
    return next((count for count in counts if huffman(table, stream, count) is not None), 0)


def refuse(wrong: bool) -> None:
    if wrong:
        raise Refused


def bits_of(data: bytes) -> str:
    return "".join(f"{byte:08b}" for byte in data)


def book_of(coded: Coded, place: int) -> int:
    """Which codebook a weight has."""
    return place // coded.inner % coded.groups


def codebooks(coded: Coded, values: bytes) -> list[bytes]:
    """The values of each group, one group behind the other."""
    refuse(len(values) % coded.groups > 0)
    each = len(values) // coded.groups
    refuse(each > 256)
    return [values[group * each : (group + 1) * each] for group in range(coded.groups)]


def indices(stream: bytes, count: int, width: int) -> list[int]:
    """So many of so many bits each, and nothing behind them but what fills a byte."""
    refuse(len(stream) != (count * width + 7) // 8)
    bits = bits_of(stream)
    return [int(bits[i * width : (i + 1) * width] or "0", 2) for i in range(count)]


def width_of(symbols: int) -> int:
    return next(width for width in range(9) if 2**width >= symbols)


def values_at(coded: Coded, books: Sequence[bytes], places: Sequence[int], found: Sequence[int]) -> list[int]:
    """What indices stand for at places."""
    refuse(any(index >= len(books[0]) for index in found))
    return [books[book_of(coded, place)][index] for place, index in zip(places, found, strict=True)]


def scattered(coded: Coded, places: Sequence[int], values: Sequence[int]) -> list[int]:
    """Values at places, and zeros everywhere else."""
    at = dict(zip(places, values, strict=True))
    return [at.get(place, coded.zero_byte) for place in range(coded.count)]


def raw(coded: Coded) -> list[int]:
    refuse(len(coded.table) > 0 or len(coded.stream) != coded.count)
    return list(coded.stream)


def packed(coded: Coded) -> list[int]:
    books = codebooks(coded, coded.table)
    found = indices(coded.stream, coded.count, width_of(len(books[0])))
    return values_at(coded, books, range(coded.count), found)


def mask(coded: Coded) -> list[int]:
    books, split = codebooks(coded, coded.table), (coded.count + 7) // 8
    places = [i for i, flag in enumerate(indices(coded.stream[:split], coded.count, 1)) if flag]
    found = indices(coded.stream[split:], len(places), width_of(len(books[0])))
    return scattered(coded, places, values_at(coded, books, places, found))


def canonical(counts: Sequence[int]) -> list[str]:
    """Codewords, of which there are so many of each length: RFC 1951, section 3.2.2."""
    code, words = 0, []
    for length, count in enumerate(counts, 1):
        code <<= 1
        words += [f"{code + i:0{length}b}" for i in range(count)]
        code += count
    return words


def huffman_table(table: bytes, groups: int) -> tuple[dict[str, int], list[bytes], bytes]:
    """Ranks by codeword, codebooks in the order of ranks, and what is left behind the table."""
    refuse(len(table) < 1 or table[0] > 15 or len(table) < 1 + table[0])
    end = 1 + table[0]
    counts = list(table[1:end])
    used = sum(count * 2 ** (15 - length) for length, count in enumerate(counts, 1))
    refuse(used != {0: 0, 1: 2**14}.get(sum(counts), 2**15))
    each = sum(counts)
    refuse(each > 256 or len(table) < end + groups * each)
    books = [table[end + group * each : end + (group + 1) * each] for group in range(groups)]
    ranks = {word: rank for rank, word in enumerate(canonical(counts))}
    return ranks, books, table[end + groups * each :]


class Bits:
    """A stream that is read codeword by codeword."""

    def __init__(self, stream: bytes) -> None:
        self.left: Iterator[str] = iter(bits_of(stream))

    def next(self, ranks: Mapping[str, int]) -> int:
        word = ""
        while word not in ranks:
            bit = next(self.left, None)
            refuse(bit is None or len(word) == 15)
            word += bit
        return ranks[word]

    def close(self) -> None:
        refuse(len(list(self.left)) > 7)


def huffman_coded(coded: Coded) -> list[int]:
    ranks, books, rest = huffman_table(coded.table, coded.groups)
    refuse(len(rest) > 0)
    stream = Bits(coded.stream)
    found = [stream.next(ranks) for _ in range(coded.count)]
    stream.close()
    return values_at(coded, books, range(coded.count), found)


def sparse(coded: Coded) -> list[int]:
    gap_ranks, (gaps,), rest = huffman_table(coded.table, 1)
    ranks, books, rest = huffman_table(rest, coded.groups)
    refuse(len(rest) > 0 or max(gaps, default=0) > ESCAPE)
    stream, place, places, found = Bits(coded.stream), 0, [], []
    while place < coded.count:
        gap = gaps[stream.next(gap_ranks)]
        place += gap
        refuse(place > coded.count)
        if gap < ESCAPE and place < coded.count:
            places.append(place)
            found.append(stream.next(ranks))
            place += 1
    stream.close()
    return scattered(coded, places, values_at(coded, books, places, found))


def tflm_raw(coded: Coded) -> list[int]:
    return [byte ^ SIGN for byte in raw(coded)]


def tflm_body(coded: Coded, kind: int) -> bytes:
    """What stands behind the header."""
    refuse(len(coded.table) < 16 or coded.table[:2] != bytes([kind, 1]))
    return coded.table[16:]


def tflm_packed(coded: Coded) -> list[int]:
    books = codebooks(coded, tflm_body(coded, 0))
    axis, width, stride = coded.table[5] >> 4, coded.table[5] & 7, coded.table[6]
    by_channel = (3 if coded.inner == 1 else 0, len(books[0]))
    refuse((axis, stride) != ((15, 0) if coded.groups == 1 else by_channel))
    found = indices(coded.stream, coded.count, width)
    return [value ^ SIGN for value in values_at(coded, books, range(coded.count), found)]


def tflm_mask(coded: Coded) -> list[int]:
    kept = tflm_body(coded, 2)
    places = [i for i, flag in enumerate(indices(coded.stream, coded.count, 1)) if flag]
    refuse(len(places) != len(kept))
    return scattered(coded, places, [value ^ SIGN for value in kept])


def tflm_huffman(coded: Coded) -> list[int]:
    """An entry says a symbol and the bits that it takes of the window, or the next table's window and its distance."""
    body, bits, at, values = tflm_body(coded, 1), bits_of(coded.stream), 0, []
    refuse(len(body) % 2 > 0 or len(coded.stream) % 4 > 0 or coded.groups > 1 or coded.count > len(bits))
    for _ in range(coded.count):
        table, width = 0, (coded.table[5] >> 4) + 1
        while True:
            refuse(at + width > len(bits))
            place = table + int(bits[at : at + width], 2)
            refuse(2 * place >= len(body))
            entry = body[2 * place] + 256 * body[2 * place + 1]
            taken = entry >> 11 & 15
            if entry >> 15:
                values.append(entry & 255)
                at += taken
                break
            at, table, width = at + width, place + (entry & 2047), taken + 1
    refuse(len(bits) - at >= 14 + 32)
    return [value ^ SIGN for value in values]


READERS: Mapping[str, Mapping[str, Callable[[Coded], list[int]]]] = {
    "bqsearch": {"raw": raw, "packed": packed, "huffman": huffman_coded, "mask": mask, "sparse": sparse},
    "tflm": {"raw": tflm_raw, "packed": tflm_packed, "huffman": tflm_huffman, "mask": tflm_mask},
}
