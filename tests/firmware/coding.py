"""Networks with few different weights, and their coded forms for the C runtime."""

import numpy as np

from bqsearch.bank.weights import by_channel
from bqsearch.graph.ir import Graph
from bqsearch.graph.ops import Layer, layers
from bqsearch.packing.container import Coded, Symbols
from bqsearch.packing.streams import encode
from bqsearch.quantizers.base import offset_codes
from bqsearch.types import Array, Ints

LEVELS = ("coarse", "few", "shift", "triple", "binary", "binary_channel", "sparse", "channel", "any")


def with_levels(graph: Graph, kinds: dict[int, str], seed: int = 0) -> Graph:
    """The network with weights of some kind, by operator."""
    rng = np.random.default_rng(seed)
    changed = {layer.weights: _changed(graph, layer, kinds[layer.op], rng) for layer in layers(graph)}
    return graph.with_data(changed)


def coded_as(graph: Graph, codings: dict[int, str], per_channel: frozenset[int] = frozenset()) -> dict[int, Coded]:
    """All layers' weights in coded form, by operator; a coding that cannot hold them becomes `packed` or `raw`."""
    found = {}
    for layer in layers(graph):
        symbols = _symbols(graph, layer, layer.op in per_channel)
        few = symbols.values.shape[1]
        coding = codings[layer.op]
        if (coding in ("packed",) and few > 128) or (coding in ("huffman", "mask", "sparse") and few > 255):
            coding = "raw"
        if coding == "sparse" and symbols.zero < 0:
            coding = "packed" if few <= 128 else "raw"
        if coding == "raw":
            symbols = _symbols(graph, layer, False)
        found[layer.op] = encode(symbols, coding)
    return found


def _symbols(graph: Graph, layer: Layer, per_channel: bool) -> Symbols:
    tensor = graph.tensors[layer.weights]
    codes = by_channel(offset_codes(np.ascontiguousarray(tensor.data)), layer)
    zero_byte = int(tensor.quantization.zero_points[0]) - int(np.iinfo(tensor.dtype).min)
    books = [np.unique(row) for row in (codes if per_channel else [codes])]
    width = max(len(book) for book in books)
    if per_channel and all(zero_byte in book for book in books):  # the same symbol in all groups
        books = [np.concatenate([[zero_byte], book[book != zero_byte]]) for book in books]
    values = np.array([np.pad(book, (0, width - len(book)), mode="edge") for book in books]).astype(np.uint8)
    places = [{int(v): i for i, v in reversed(list(enumerate(row)))} for row in values]
    indices = [places[c if per_channel else 0][int(v)] for c, row in enumerate(codes) for v in row]
    shared = np.flatnonzero((values == zero_byte).all(axis=0))
    return Symbols(
        indices=np.array(indices, np.uint8),
        values=values,
        zero=int(shared[0]) if len(shared) else -1,
        zero_byte=zero_byte,
        inner=codes.shape[1],
    )


def _changed(graph: Graph, layer: Layer, kind: str, rng: np.random.Generator) -> Array:
    tensor = graph.tensors[layer.weights]
    zero = int(tensor.quantization.zero_points[0])
    steps = by_channel(tensor.data.astype(np.int64), layer) - zero
    low, high = np.iinfo(tensor.dtype).min - zero, np.iinfo(tensor.dtype).max - zero
    changed = np.clip(_levels(steps, kind, rng), low, high) + zero
    axis = layer.channel_axis
    others = [d for i, d in enumerate(layer.shape) if i != axis]
    return np.moveaxis(changed.reshape(layer.channels, *others), 0, axis).astype(tensor.dtype)


def _levels(steps: Ints, kind: str, rng: np.random.Generator) -> Ints:
    signs = np.where(rng.random(steps.shape) < 0.5, -1, 1)
    rows = np.arange(len(steps))[:, None]
    made = {
        "coarse": steps // 16 * 16,
        "few": steps // 60 * 60,
        "shift": signs * 2 ** rng.integers(0, 6, steps.shape) * rng.integers(0, 2, steps.shape),
        "triple": signs * rng.choice([0, 1, 2, 3, 4, 6, 8, 12, 24, 32, 48], steps.shape),
        "binary": 20 * signs,
        "binary_channel": (5 + rows % 50) * signs,
        "sparse": steps * (rng.random(steps.shape) < 0.1),
        "channel": steps // 30 * 30 + rows % 7 * (steps % 2),
        "any": steps,
    }
    return made[kind].astype(np.int64)
