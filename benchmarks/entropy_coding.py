"""Whether rANS would pay beside Huffman codes: `python benchmarks/entropy_coding.py [FOLDER]`.

For each model, weights coded with k-means codebooks of 4 to 32 levels, tables included, in bytes: Shannon's bound of
order 0 (which has no tables), canonical Huffman codes, the smallest of bqsearch's own codings for each layer, and rANS
(Duda, arXiv:1311.2540), really encoded and decoded. Gains are what rANS saves if each layer takes what is smallest,
first before and then after the code of its decoder is counted.

The rANS coder here is a byte-wise one with a state of 24 bits. Its table: log2 of the sum of the frequencies, the
number of symbols, each frequency less 1 in as many bits as the first byte says, and the values; for each layer the sum
from 2**4 to 2**12 that is smallest in all. Streams begin with the state, 3 bytes.

Its decoder in C (check the table, add up frequencies, find a symbol, refill the state, all reads checked) takes 272
bytes for a Cortex-M4 and 308 for a Cortex-M0+ (arm-none-eabi-gcc -Os -mthumb), besides 2 bytes of RAM for each symbol.
"""

import argparse
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bqsearch.graph.ir import Graph
from bqsearch.graph.ops import layers
from bqsearch.importers.tflite import load
from bqsearch.packing.container import Tally, gap_counts
from bqsearch.packing.entropy import shannon_bytes
from bqsearch.packing.streams import STREAMS
from paste import markdown

MODELS = (
    *("kws_ds_cnn_int8", "resnet8_int8", "person_detect_int8", "vww_96_int8", "anomaly_autoencoder_int8"),
    *("lenet_300_100_int8", "micro_speech_int8", "mobilenet_v1_0.25_128_uint8", "squeezenet_v1.1_int8"),
    *("mobilenet_v2_1.0_224_uint8", "inception_v1_int8"),
)
LEVELS = (4, 8, 16, 32)
DECODER = 272  # bytes of code, see above
WORTH = 3.0  # percent of flash for which rANS would be added
LOWEST = 1 << 16  # states stay from here to 256 times this
CHECKED = 50_000  # symbols of a stream that are decoded again, in pure Python

Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Row:
    """Bytes of a model's weights, layer by layer: `(layers,)` each."""

    shannon: Ints
    huffman: Ints
    best: Ints
    rans: Ints

    @property
    def gain(self) -> float:
        """Percent that rANS saves where it is the smallest, without its decoder."""
        return 100 * (1 - np.minimum(self.best, self.rans).sum() / self.best.sum())

    @property
    def net(self) -> float:
        """Percent that it saves in all."""
        with_rans = np.minimum(self.best, self.rans).sum() + DECODER
        return 100 * (1 - with_rans / self.best.sum())


def main() -> None:
    """Print the table and what follows from it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = Path(os.environ.get("BQSEARCH_MODELS", "../shared/models"))
    parser.add_argument("models", type=Path, nargs="?", default=default, help="folder of .tflite files")
    folder = parser.parse_args().models
    headings = ["model", "levels", "Shannon", "Huffman", "best", "rANS", "rANS/Huffman %", "gain %", "with decoder %"]
    cells, nets = [], []
    for name, levels, row in _rows(folder):
        totals = [int(part.sum()) for part in (row.shannon, row.huffman, row.best, row.rans)]
        alone = 100 * (1 - totals[3] / totals[1])
        cells.append([f"`{name}`", f"{levels}", *(f"{total:,}" for total in totals)])
        cells[-1] += [f"{gain:+.2f}" for gain in (alone, row.gain, row.net)]
        nets.append(row.net)
    print(markdown(headings, cells))
    if nets:
        _conclude(nets)


def _conclude(nets: list[float]) -> None:
    median, reached = np.median(nets), sum(net >= WORTH for net in nets)
    verdict = "worth adding" if median >= WORTH else "not worth adding"
    print(
        f"\nWith its decoder rANS saves {median:+.2f} % of the weights in the median, {max(nets):+.2f} % at most, and"
        f" {WORTH:g} % or more in {reached} of {len(nets)} cases: {verdict}."
    )


def _rows(folder: Path) -> Iterator[tuple[str, int, Row]]:
    for name in MODELS:
        path = folder / f"{name}.tflite"
        if not path.exists():
            print(f"skipped: {path} is not there")
            continue
        graph = load(path)
        for levels in LEVELS:
            yield name, levels, _row(graph, levels)


def _row(graph: Graph, levels: int) -> Row:
    coded = [_layer_bytes(*_coded(graph, layer.weights, levels, layer.channel_axis)) for layer in layers(graph)]
    shannon, huffman, best, rans = np.array(coded, np.int64).T
    return Row(shannon=shannon, huffman=huffman, best=best, rans=rans)


def _coded(graph: Graph, tensor: int, levels: int, channel_axis: int) -> tuple[Ints, int]:
    """Indices of the weights, channel by channel, in a codebook whose symbols all occur; and zero's symbol."""
    of = graph.tensors[tensor]
    raw = np.moveaxis(of.data, channel_axis, 0).reshape(-1).astype(np.int64)
    raw -= int(np.iinfo(of.data.dtype).min)
    counts = np.bincount(raw, minlength=256)
    zero = int(of.quantization.zero_points[0]) - int(np.iinfo(of.data.dtype).min)
    nearest = _assignment(counts, levels, zero)
    used, indices = np.unique(nearest[raw], return_inverse=True)
    found = np.flatnonzero(used == nearest[zero])
    return indices.astype(np.int64), int(found[0]) if len(found) else -1


def _assignment(counts: Ints, levels: int, zero: int) -> Ints:
    """The nearest of `levels` means for each of 256 codes, by Lloyd's iteration from quantiles; one mean is zero."""
    values = np.flatnonzero(counts)
    ranks = (np.arange(levels) + 0.5) / levels * counts.sum()
    means = np.unique(np.searchsorted(np.cumsum(counts), ranks)).astype(float)
    for _ in range(50):
        means[np.argmin(np.abs(means - zero))] = zero
        nearest = np.argmin(np.abs(values[:, None] - means), axis=1)
        weight = np.bincount(nearest, counts[values], len(means))
        sums = np.bincount(nearest, counts[values] * values, len(means))
        means = np.where(weight > 0, sums / np.maximum(weight, 1), means)
    means[np.argmin(np.abs(means - zero))] = zero
    return np.argmin(np.abs(np.arange(256)[:, None] - means), axis=1)


def _layer_bytes(indices: Ints, zero: int) -> tuple[int, int, int, int]:
    counts = np.bincount(indices)[None]
    tally = Tally(counts=counts, zero=np.array([zero]), gaps=gap_counts(indices != zero))
    sizes = STREAMS.sizes(tally)
    best = min(int(sizes.bytes_of(coding)[0]) for coding in STREAMS.codings)
    bound = int(np.ceil(shannon_bytes(counts)[0]))
    return bound, int(sizes.bytes_of("huffman")[0]), best, _rans_bytes(indices, counts[0])


def _rans_bytes(indices: Ints, counts: Ints) -> int:
    """Table and stream of a layer, for the sum of frequencies that makes them smallest; the stream is real."""
    symbols, ways = len(counts), []
    for bits in range(4, 13):
        if symbols <= 1 << bits:
            frequencies = _frequencies(counts, bits)
            coded = -(counts * np.log2(frequencies / (1 << bits))).sum() / 8
            ways.append((2 - (-symbols * bits // 8) + symbols + coded, bits, frequencies))
    _, bits, frequencies = min(ways, key=lambda way: way[0])
    stream = rans_encode(indices, frequencies, bits)
    checked = min(len(indices), CHECKED)
    if rans_decode(stream, frequencies, bits, checked) != indices[:checked].tolist():
        raise SystemExit("rANS does not come back")
    return 2 - (-symbols * bits // 8) + symbols + len(stream)


def _frequencies(counts: Ints, bits: int) -> Ints:
    """Frequencies of 1 or more that sum to `2**bits`, changed one by one where it costs the fewest bits."""
    total = 1 << bits
    found = np.maximum(np.round(counts * total / counts.sum()), 1).astype(np.int64)
    while found.sum() != total:
        step = 1 if found.sum() < total else -1
        costs = np.where(found + step > 0, counts * np.log2(found / np.maximum(found + step, 1)), np.inf)
        found[np.argmin(costs)] += step
    return found


def rans_encode(indices: Ints, frequencies: Ints, bits: int) -> bytes:
    """The state, most significant byte first, and the bytes that a decoder refills it with."""
    sizes, starts = frequencies.tolist(), (np.cumsum(frequencies) - frequencies).tolist()
    state, out = LOWEST, bytearray()
    for index in reversed(indices.tolist()):
        size = sizes[index]
        while state >= (LOWEST >> bits << 8) * size:
            out.append(state & 255)
            state >>= 8
        state = (state // size << bits) + state % size + starts[index]
    return state.to_bytes(3, "big") + bytes(reversed(out))


def rans_decode(stream: bytes, frequencies: Ints, bits: int, count: int) -> list[int]:
    """The first `count` indices."""
    sizes, starts = frequencies.tolist(), (np.cumsum(frequencies) - frequencies).tolist()
    symbols = np.repeat(np.arange(len(frequencies)), frequencies).tolist()
    state, position, mask, found = int.from_bytes(stream[:3], "big"), 3, (1 << bits) - 1, []
    for _ in range(count):
        symbol = symbols[state & mask]
        state = sizes[symbol] * (state >> bits) + (state & mask) - starts[symbol]
        while state < LOWEST:
            state = state << 8 | stream[position]
            position += 1
        found.append(symbol)
    return found


if __name__ == "__main__":
    main()
