"""Float network -> int8 network, by Google's ai-edge-quantizer: per-channel weights, per-tensor activations."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from bqsearch.errors import ModelError, UnsupportedError
from bqsearch.graph import passes
from bqsearch.graph.flatbuffer import SIGNATURE, serialize
from bqsearch.graph.ir import Graph
from bqsearch.graph.ops import layers, source
from bqsearch.importers.tflite import parse
from bqsearch.quiet import silent_stderr
from bqsearch.types import Array

Ranges = dict[str, dict[str, Any]]  # "min" and "max" by tensor name


def _ranges(content: bytearray, batches: Iterable[Mapping[str, Array]]) -> Iterator[Ranges]:
    """Each tensor's range for one input after the other."""
    from ai_edge_quantizer import calibrator, recipe, recipe_manager

    manager = recipe_manager.RecipeManager()
    manager.load_quantization_recipe(recipe.static_wi8_ai8())
    worker = calibrator.Calibrator(content, num_threads=1)
    for batch in batches:
        worker.calibrate({SIGNATURE: [batch]}, manager)
        yield worker.get_model_qsvs()
        worker.reset_model_qsvs()


def _extremes(measured: Iterable[Ranges]) -> Ranges:
    """Each tensor's range over all inputs; the quantizer's own moving average would clip what few inputs reach."""
    merged: Ranges = {}
    for ranges in measured:
        for name, found in ranges.items():
            known = merged.setdefault(name, dict(found))
            known["min"] = np.minimum(known["min"], found["min"])
            known["max"] = np.maximum(known["max"], found["max"])
    return merged


def is_float(graph: Graph) -> bool:
    """Whether no layer's weights are 8-bit codes yet."""
    return not any(t.data is not None and t.dtype in ("int8", "uint8") and t.quantization for t in graph.tensors)


def check_integer(graph: Graph) -> None:
    """Check that every layer computes in 8-bit integers.

    Raises:
        UnsupportedError: A layer's activations, weights or bias have another type: hybrid (dynamic-range) or 16-bit.
    """
    for layer in layers(graph):
        op = graph.ops[layer.op]
        ends = {
            graph.tensors[source(op)].dtype,
            graph.tensors[op.outputs[0]].dtype,
            graph.tensors[layer.weights].dtype,
        }
        bias = "int32" if layer.bias is None else graph.tensors[layer.bias].dtype
        if not ends <= {"int8", "uint8"} or bias != "int32":
            hybrid = " (hybrid, also called dynamic-range, quantization)" if "float32" in ends else ""
            mixed = f"{', '.join(sorted(ends))} with a bias of {bias}{hybrid}"
            raise UnsupportedError(
                f"layer {layer.name!r} ({layer.operator}) mixes {mixed}: "
                f"bqsearch needs 8-bit inputs, outputs and weights with int32 biases; give it the model with float "
                f"weights, or one that is quantized to int8 throughout"
            )


def quantize(graph: Graph, samples: Array) -> Graph:
    """Post-training static quantization, integers in and out.

    Args:
        graph: A float32 network with one input.
        samples: `(n, ...)` float32 real inputs to calibrate activations with.

    Raises:
        UnsupportedError: The quantizer left weights in float.
        ModelError: A constant is NaN or infinite, or the quantizer failed.
    """
    _check_finite(graph)
    from ai_edge_quantizer import quantizer, recipe

    content = bytearray(serialize(passes.fold_float16(graph), signature=True))
    logging.getLogger("absl").setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()), silent_stderr(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            worker = quantizer.Quantizer(content, recipe.static_wi8_ai8())
            shape = (1, *graph.input.shape[1:])
            batches = [{"input_0": sample.reshape(shape).astype(np.float32)} for sample in samples]
            measured = _extremes(_ranges(content, batches))
            result = worker.quantize(measured).quantized_model
    except Exception as error:  # its own checks are few: it fails in many ways
        raise ModelError(f"ai-edge-quantizer cannot quantize this model to int8: {error}") from error
    quantized = passes.integer_io(parse(bytes(result), "the quantized model"))
    if is_float(quantized) or quantized.input.dtype == "float32":
        raise UnsupportedError("ai-edge-quantizer left the model in float: it supports none of its operators")
    return quantized


def _check_finite(graph: Graph) -> None:
    for tensor in graph.tensors:
        if tensor.data is not None and tensor.data.dtype.kind == "f" and not np.isfinite(tensor.data).all():
            raise ModelError(
                f"the constant {tensor.name!r} of the float model holds NaN or infinite values: no range of codes can "
                f"hold them; look for what spoiled it in training"
            )
