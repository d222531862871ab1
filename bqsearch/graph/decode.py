"""Graphs whose constants are decoded at run time: TensorFlow Lite Micro's operator `TFLM_DECODE`.

The operator stands before the reader of the constants that it decodes. Its inputs come in pairs, the coded bytes and
the ancillary bytes that say how to decode them; each pair has one output, an activation of the constant's shape, type
and quantization.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from bqsearch.graph.ir import Graph, Op, Tensor
from bqsearch.graph.passes import prune

DECODE = "TFLM_DECODE"


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """A constant in coded form.

    Attributes:
        stream: The coded elements.
        ancillary: Header and tables.
    """

    stream: bytes
    ancillary: bytes


def insert_decode(graph: Graph, encoded: Mapping[int, Encoded]) -> Graph:
    """The same network with a decoder before each reader of the constants in `encoded`, by tensor index.

    A constant that several operators read is decoded before each of them, since what is decoded stands in RAM until the
    next operator only.
    """
    tensors = list(graph.tensors)
    pairs = {}
    for tensor, content in encoded.items():
        pairs[tensor] = (len(tensors), len(tensors) + 1)
        tensors += [_constant(content.stream), _constant(content.ancillary)]
    ops: list[Op] = []
    for op in graph.ops:
        coded = [t for t in dict.fromkeys(op.inputs) if t in encoded]
        if coded:
            decoded = {tensor: len(tensors) + position for position, tensor in enumerate(coded)}
            tensors += [replace(graph.tensors[t], data=None) for t in coded]
            inputs = tuple(index for t in coded for index in pairs[t])
            ops.append(Op(code=DECODE, inputs=inputs, outputs=tuple(decoded.values()), options={}))
            op = replace(op, inputs=tuple(decoded.get(t, t) for t in op.inputs))
        ops.append(op)
    return prune(replace(graph, tensors=tuple(tensors), ops=tuple(ops)))


def _constant(content: bytes) -> Tensor:
    return Tensor(name="", shape=(len(content),), dtype="uint8", data=np.frombuffer(content, np.uint8))
