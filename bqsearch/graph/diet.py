"""Graph -> Graph rewrites that make the file smaller and change nothing that is computed."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from bqsearch.graph.ir import Graph, Op, Tensor
from bqsearch.graph.ops import SUPPORTED
from bqsearch.types import Array

_CODED = ("int8", "uint8", "int16")
_BIAS_TOLERANCE = 0.02  # of the output's scale: what TensorFlow Lite Micro's FULLY_CONNECTED lets a bias scale be off


def diet(graph: Graph) -> Graph:
    """Without names, second copies of constants, and quantization or options that no runtime reads."""
    biases = set(_biases(graph))
    first: dict[tuple[str, bytes], Array] = {}
    tensors = []
    for index, tensor in enumerate(graph.tensors):
        kept = tensor.dtype in _CODED or index in biases or tensor.data is None
        quantization = tensor.quantization if kept else None
        tensors.append(replace(tensor, name="", quantization=quantization, data=_interned(tensor, first)))
    ops = tuple(_without_second_shape(graph, op) for op in graph.ops)
    return replace(graph, name="", tensors=tuple(tensors), ops=ops)


def without_bias_quantization(graph: Graph) -> Graph:
    """Without the biases' scales, where TensorFlow Lite Micro takes the product of input's and weights' in their place.

    LiteRT reads them. Micro's FULLY_CONNECTED compares them with the product, and takes their absence for a scale of 0.
    """
    changes: dict[int, Tensor] = {}
    for index, readers in _biases(graph).items():
        if all(op.code != "FULLY_CONNECTED" or _negligible(graph, op) for op in readers):
            changes[index] = replace(graph.tensors[index], quantization=None)
    return graph.with_tensors(changes)


def unshared(graph: Graph, tensors: Iterable[int]) -> Graph:
    """These constants as arrays of their own, so that a file holds each by itself and one can be overwritten."""
    owned = {i: graph.tensors[i].data for i in tensors}
    return graph.with_data({i: data.view() for i, data in owned.items() if data is not None})


def _biases(graph: Graph) -> Mapping[int, list[Op]]:
    """The layers' constant biases and their readers."""
    found: dict[int, list[Op]] = {}
    for op in graph.ops:
        kind = SUPPORTED.get(op.code)
        if kind is not None and kind.bias is not None and len(op.inputs) > kind.bias:
            index = op.inputs[kind.bias]
            if index >= 0 and graph.tensors[index].data is not None:
                found.setdefault(index, []).append(op)
    return found


def _negligible(graph: Graph, op: Op) -> bool:
    tensors = [graph.tensors[i].quantization for i in (op.inputs[0], op.inputs[1], op.outputs[0])]
    if any(q is None for q in tensors):
        return False
    inputs, weights, outputs = (float(q.scales[0]) for q in tensors if q is not None)
    return inputs * weights <= 0.99 * _BIAS_TOLERANCE * outputs


def _interned(tensor: Tensor, first: dict[tuple[str, bytes], Array]) -> Array | None:
    """The first constant of this content, if it has this tensor's shape: the serializer writes one array once."""
    if tensor.data is None:
        return None
    known = first.setdefault((tensor.dtype, tensor.data.tobytes()), tensor.data)
    return known if known.shape == tensor.shape else tensor.data


def _without_second_shape(graph: Graph, op: Op) -> Op:
    """RESHAPE's option, where the shape is a constant input too, which every runtime prefers."""
    constant = len(op.inputs) > 1 and op.inputs[1] >= 0 and graph.tensors[op.inputs[1]].data is not None
    if op.code == "RESHAPE" and constant and graph.tensors[op.inputs[1]].dtype == "int32":
        return replace(op, options={}, options_type="")
    return op
