"""Networks with few different weights, and those weights in TensorFlow Lite Micro's coded forms."""

from collections.abc import Mapping

import numpy as np
import pytest

from bqsearch.errors import MissingExtraError
from bqsearch.graph.decode import Encoded
from bqsearch.graph.ir import Graph
from bqsearch.graph.ops import layers
from bqsearch.packing import decode_op
from bqsearch.packing.container import Symbols
from bqsearch.runtime import tflm

ZERO = 128  # the code 0, counted from -128


def need_tflm() -> None:
    """Skip where the interpreter's wheel is missing."""
    try:
        tflm.require()
    except MissingExtraError as missing:
        pytest.skip(str(missing))


def weights(graph: Graph) -> list[int]:
    """The tensors of all layers' weights, each once."""
    return list(dict.fromkeys(layer.weights for layer in layers(graph)))


def coarse(graph: Graph, levels: int = 16) -> Graph:
    """The network with int8 weights of so many levels at most, zero among them."""
    step = 256 // levels
    return graph.with_data({t: (graph.tensors[t].data // step * step).astype(np.int8) for t in weights(graph)})


def encode(graph: Graph, codings: Mapping[int, str]) -> dict[int, Encoded]:
    """Constants in coded form, by tensor index: `"packed"`, `"huffman"` or `"mask"`."""
    encoded = {}
    for tensor, coding in codings.items():
        codes = graph.tensors[tensor].data.reshape(-1).view(np.uint8) ^ np.uint8(128)
        values, indices = np.unique(codes, return_inverse=True)
        zero = int(np.searchsorted(values, ZERO)) if ZERO in values else -1
        whole = Symbols(indices=indices.astype(np.uint8), values=values[None], zero=zero, zero_byte=ZERO, inner=1)
        coded = decode_op.encode(whole, coding)
        encoded[tensor] = Encoded(stream=coded.stream, ancillary=coded.table)
    return encoded
