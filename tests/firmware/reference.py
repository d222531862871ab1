"""What the C runtime must compute: TensorFlow Lite Micro's outputs, or TensorFlow Lite's for uint8."""

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from bqsearch.graph.flatbuffer import serialize
from bqsearch.graph.ir import Graph
from bqsearch.runtime import tflm
from bqsearch.types import Array


def expected(graph: Graph, inputs: Array) -> Array:
    """The network's outputs, by the reference for its type."""
    model = serialize(graph)
    return tflm.run(model, inputs) if graph.input.dtype == "int8" else _litert(model, inputs)


def _litert(model: bytes, inputs: Array) -> Array:
    resolver = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(model_content=model, experimental_op_resolver_type=resolver)
    interpreter.allocate_tensors()
    (source,), (output,) = interpreter.get_input_details(), interpreter.get_output_details()
    outputs = []
    for value in inputs:
        interpreter.set_tensor(source["index"], value[None])
        interpreter.invoke()
        outputs.append(interpreter.get_tensor(output["index"])[0])
    return np.stack(outputs)


def any_inputs(graph: Graph, count: int, seed: int = 0) -> Array:
    """`(count, ...)` codes of the whole range, the ends among them."""
    limits, shape = np.iinfo(graph.input.dtype), graph.input.shape[1:]
    return np.random.default_rng(seed).integers(limits.min, limits.max + 1, (count, *shape)).astype(graph.input.dtype)
