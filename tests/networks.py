"""Small networks made in code: deterministic by seed, shaped like real ones, and run by LiteRT as they are."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from bqsearch.graph import passes
from bqsearch.graph.flatbuffer import serialize
from bqsearch.graph.ir import Graph, Op, Quantization, Tensor
from bqsearch.graph.ops import SUPPORTED

SAME, VALID = schema.Padding.SAME, schema.Padding.VALID
LINEAR, RELU = schema.ActivationFunctionType.NONE, schema.ActivationFunctionType.RELU
REACH = 4.0  # activations lie in [-REACH, REACH], or in [0, REACH] behind a RELU
_LOWEST = {"int8": -128, "uint8": 0}
_VERSIONS = {  # the lowest that LiteRT takes with 8-bit codes
    "float32": {},
    "uint8": {},
    "int8": {
        **dict.fromkeys(("ADD", "LEAKY_RELU", "MEAN", "PAD", "SOFTMAX", "SPLIT", "STRIDED_SLICE"), 2),
        **dict.fromkeys(("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"), 2),
        **dict.fromkeys(("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV"), 3),
        "FULLY_CONNECTED": 4,
    },
}

Array: TypeAlias = NDArray[Any]


class Builder:
    """Appends operators; each method returns the index of the tensor that it makes.

    Args:
        dtype: `"int8"` (weights per channel), `"uint8"` (per tensor) or `"float32"`.
        seed: Of weights and biases.
    """

    def __init__(self, dtype: str, seed: int = 0) -> None:
        self.dtype, self.rng = dtype, np.random.default_rng(seed)
        self.tensors: list[Tensor] = []
        self.ops: list[Op] = []

    def build(self, inputs: Sequence[int], outputs: Sequence[int]) -> Graph:
        """The network so far."""
        ends = {"inputs": tuple(inputs), "outputs": tuple(outputs)}
        return Graph(name="main", tensors=tuple(self.tensors), ops=tuple(self.ops), **ends)

    def tensor(self, name: str, shape: Sequence[int], dtype: str, **fields: Any) -> int:
        """Any tensor."""
        self.tensors.append(Tensor(name=name, shape=tuple(shape), dtype=dtype, **fields))
        return len(self.tensors) - 1

    def constant(self, name: str, data: Array, quantization: Quantization | None = None) -> int:
        """A constant tensor."""
        return self.tensor(name, data.shape, str(data.dtype), data=data, quantization=quantization)

    def activation(self, name: str, shape: Sequence[int], low: float = -REACH, high: float = REACH) -> int:
        """An activation of real values from `low` to `high`."""
        return self.tensor(name, shape, self.dtype, quantization=self._range(low, high))

    def op(self, code: str, inputs: Sequence[int], output: int, options_type: str = "", **options: Any) -> int:
        """Any operator, its options at the schema's defaults but for these."""
        defaults = vars(getattr(schema, f"{options_type}T")()) if options_type else {}
        self.ops.append(
            Op(
                code=code,
                inputs=tuple(inputs),
                outputs=(output,),
                options={**defaults, **options},
                options_type=options_type,
                version=_VERSIONS[self.dtype].get(code, 1),
            )
        )
        return output

    def conv(self, name: str, source: int, channels: int, size: int = 1, stride: int = 1, **options: Any) -> int:
        """A `size` x `size` convolution with random weights; SAME padding and RELU unless said otherwise."""
        shape = (channels, size, size, self.tensors[source].shape[3])
        return self._convolution(name, source, "CONV_2D", shape, 0, stride, options)

    def depthwise(self, name: str, source: int, size: int = 3, stride: int = 1, **options: Any) -> int:
        """A depthwise convolution, of multiplier 1 unless said otherwise."""
        options = {"depthMultiplier": 1, **options}
        shape = (1, size, size, self.tensors[source].shape[3] * options["depthMultiplier"])
        return self._convolution(name, source, "DEPTHWISE_CONV_2D", shape, 3, stride, options)

    def dense(self, name: str, source: int, channels: int) -> int:
        """A fully connected layer."""
        features = self.tensors[source].shape[-1]
        weights, bias = self.weights(name, source, (channels, features), 0, features)
        output = self.activation(f"{name}/out", (1, channels), -2 * REACH, 2 * REACH)
        return self.op("FULLY_CONNECTED", (source, weights, bias), output, "FullyConnectedOptions")

    def transpose_conv(
        self, name: str, source: int, channels: int, size: int = 3, stride: int = 2, padding: int = SAME
    ) -> int:
        """A transposed convolution with a bias, to the sides that Keras gives it."""
        _, *sides, depth = self.tensors[source].shape
        weights, bias = self.weights(name, source, (channels, size, size, depth), 0, size * size * depth)
        more = max(size - stride, 0) if padding == VALID else 0
        shape = (1, *(side * stride + more for side in sides), channels)
        inputs = (self.constant(f"{name}/shape", np.array(shape, np.int32)), weights, source, bias)
        options = {"padding": padding, "strideH": stride, "strideW": stride}
        return self.op(
            "TRANSPOSE_CONV", inputs, self.activation(f"{name}/out", shape), "TransposeConvOptions", **options
        )

    def like(self, code: str, name: str, source: int, shape: Sequence[int], *inputs: int, **options: Any) -> int:
        """An operator that moves or keeps codes: its output of `shape` has the scale of `source`, its first input."""
        output = self.tensor(name, shape, self.dtype, quantization=self.tensors[source].quantization)
        return self.op(code, (source, *inputs), output, SUPPORTED[code].options, **options)

    def ints(self, *values: Any) -> int:
        """A constant of int32."""
        return self.constant(f"ints_{len(self.tensors)}", np.array(values, np.int32))

    def split(self, name: str, source: int, axis: int, parts: int) -> tuple[int, ...]:
        """Equal parts along an axis."""
        shape = list(self.tensors[source].shape)
        shape[axis] //= parts
        quantization = self.tensors[source].quantization
        made = tuple(self.tensor(f"{name}/{i}", shape, self.dtype, quantization=quantization) for i in range(parts))
        at = self.constant(f"{name}/axis", np.array(axis, np.int32))
        self.op("SPLIT", (at, source), made[0], "SplitOptions", numSplits=parts)
        self.ops[-1] = replace(self.ops[-1], outputs=made)
        return made

    def weights(self, name: str, source: int, shape: Sequence[int], axis: int, fan_in: int) -> tuple[int, int]:
        """Random weights and biases of a layer that reads `source`: their tensors."""
        channels = shape[axis]
        gains = self.rng.uniform(0.5, 1.5, [channels if i == axis else 1 for i in range(len(shape))])
        real = self.rng.normal(0, np.sqrt(2 / fan_in), shape) * gains
        offset = self.rng.normal(0, 0.1, channels)
        if self.dtype == "float32":
            kernel = self.constant(f"{name}/kernel", real.astype(np.float32))
            return kernel, self.constant(f"{name}/bias", offset.astype(np.float32))
        quantization = self._weight_quantization(real, axis)
        kernel = self.constant(f"{name}/kernel", _codes(real, quantization, self.dtype), quantization)
        scales = quantization.scales * self._scale(source)
        of_bias = Quantization(scales=scales, zero_points=np.zeros(len(scales), np.int64))
        return kernel, self.constant(f"{name}/bias", np.rint(offset / scales).astype(np.int32), of_bias)

    def add(self, name: str, left: int, right: int) -> int:
        """The sum of two activations."""
        output = self.activation(name, self.tensors[left].shape, -1.5 * REACH, 1.5 * REACH)
        return self.op("ADD", (left, right), output, "AddOptions")

    def mean(self, name: str, source: int, axes: Sequence[int] = (1, 2)) -> int:
        """The mean over axes, which go."""
        shape = [d for i, d in enumerate(self.tensors[source].shape) if i not in axes]
        output = self.tensor(name, shape, self.dtype, quantization=self.tensors[source].quantization)
        return self.op(
            "MEAN", (source, self.constant(f"{name}/axes", np.array(axes, np.int32))), output, "ReducerOptions"
        )

    def pad(self, name: str, source: int, margins: Sequence[Sequence[int]]) -> int:
        """Zeros around an activation."""
        shape = [d + sum(m) for d, m in zip(self.tensors[source].shape, margins, strict=True)]
        output = self.tensor(name, shape, self.dtype, quantization=self.tensors[source].quantization)
        return self.op(
            "PAD", (source, self.constant(f"{name}/margins", np.array(margins, np.int32))), output, "PadOptions"
        )

    def reshape(self, name: str, source: int, shape: Sequence[int]) -> int:
        """The same elements in another shape, which is held both as a constant and as an option."""
        output = self.tensor(name, shape, self.dtype, quantization=self.tensors[source].quantization)
        target = self.constant(f"{name}/shape", np.array(shape, np.int32))
        return self.op("RESHAPE", (source, target), output, "ReshapeOptions", newShape=tuple(shape))

    def softmax(self, name: str, source: int) -> int:
        """Softmax, with the output scale that TFLite asks for."""
        output = self.activation(name, self.tensors[source].shape, 0.0, 255 / 256)
        return self.op("SOFTMAX", (source,), output, "SoftmaxOptions", beta=1.0)

    def _convolution(
        self, name: str, source: int, code: str, shape: tuple[int, ...], axis: int, stride: int, options: dict[str, Any]
    ) -> int:
        settings = {"padding": SAME, "fusedActivationFunction": RELU, "strideH": stride, "strideW": stride, **options}
        fan_in = int(np.prod(shape)) // shape[axis]
        weights, bias = self.weights(name, source, shape, axis, fan_in)
        reach = [size if settings["padding"] == VALID else 1 for size in shape[1:3]]
        sides = [-(-(d - r + 1) // stride) for d, r in zip(self.tensors[source].shape[1:3], reach, strict=True)]
        low = 0.0 if settings["fusedActivationFunction"] == RELU else -REACH
        output = self.activation(f"{name}/out", (1, *sides, shape[axis]), low)
        options_type = "Conv2DOptions" if code == "CONV_2D" else "DepthwiseConv2DOptions"
        return self.op(code, (source, weights, bias), output, options_type, **settings)

    def _range(self, low: float, high: float) -> Quantization | None:
        if self.dtype == "float32":
            return None
        scale = np.float32((high - low) / 255)
        zero = np.clip(np.rint(-low / scale), 0, 255) + _LOWEST[self.dtype]
        return Quantization(scales=np.array([scale]), zero_points=np.array([zero], np.int64))

    def _weight_quantization(self, real: Array, axis: int) -> Quantization:
        if self.dtype == "uint8":
            low, high = min(real.min(), 0.0), max(real.max(), 0.0)
            scale = np.float32((high - low) / 255)
            return Quantization(scales=np.array([scale]), zero_points=np.array([np.rint(-low / scale)], np.int64))
        others = tuple(i for i in range(real.ndim) if i != axis)
        scales = (np.abs(real).max(axis=others) / 127).astype(np.float32)
        return Quantization(scales=scales, zero_points=np.zeros(len(scales), np.int64), axis=axis)

    def _scale(self, tensor: int) -> np.float32:
        quantization = self.tensors[tensor].quantization
        assert quantization is not None
        return quantization.scales[0]


def _codes(real: Array, quantization: Quantization, dtype: str) -> Array:
    shape = [-1 if i == quantization.axis else 1 for i in range(real.ndim)]
    codes = np.rint(real / quantization.scales.reshape(shape)) + quantization.zero_points.reshape(shape)
    limits = np.iinfo(dtype)
    return np.clip(codes, limits.min, limits.max).astype(dtype)


def _small_network(dtype: str, seed: int) -> Graph:
    """8x8x3 -> conv stride 2 -> depthwise -> pointwise + residual -> mean -> dense -> softmax over 10 classes."""
    net = Builder(dtype, seed)
    image = net.activation("image", (1, 8, 8, 3), -1.0, 1.0)
    stem = net.conv("net/stem", image, 16, size=3, stride=2)
    depthwise = net.depthwise("net/depthwise", stem)
    pointwise = net.conv("net/pointwise", depthwise, 16, fusedActivationFunction=LINEAR)
    summed = net.add("net/sum", stem, pointwise)
    logits = net.dense("net/dense", net.mean("net/mean", summed), 10)
    return net.build([image], [net.softmax("net/softmax", logits)])


def small_int8_network(seed: int = 0) -> Graph:
    """int8, weights per channel."""
    return _small_network("int8", seed)


def small_uint8_network(seed: int = 0) -> Graph:
    """uint8, weights per tensor and with a zero point, as older converters write."""
    return _small_network("uint8", seed)


def small_float_network(seed: int = 0) -> Graph:
    """float32."""
    return _small_network("float32", seed)


def newer_network(dtype: str = "int8", seed: int = 0) -> Graph:
    """Every operator that small networks lack: down, apart, up again with skips, and a dense layer."""
    net = Builder(dtype, seed)
    image = net.activation("image", (1, 8, 8, 4), -1.0, 1.0)
    left, right = net.split("net/split", image, 3, 2)
    down = net.conv("net/down", left, 8, size=3, stride=2, fusedActivationFunction=LINEAR)
    leaky = net.like("LEAKY_RELU", "net/leaky", down, (1, 4, 4, 8), alpha=0.125)
    up = net.transpose_conv("net/up", leaky, 6, size=3)
    grown = net.conv("net/grown", right, 6, fusedActivationFunction=LINEAR)
    both = net.op("CONCATENATION", (up, grown), net.activation("both", (1, 8, 8, 12)), "ConcatenationOptions", axis=-1)
    bounds = [net.ints(0, 1, 1, 0), net.ints(0, 7, 7, 0), net.ints(1, 1, 1, 1)]
    cropped = net.like("STRIDED_SLICE", "net/crop", both, (1, 6, 6, 12), *bounds, beginMask=9, endMask=9)
    scaled = net.like("RESIZE_NEAREST_NEIGHBOR", "net/near", cropped, (1, 12, 12, 12), net.ints(12, 12))
    smooth = net.like("RESIZE_BILINEAR", "net/smooth", scaled, (1, 4, 4, 12), net.ints(4, 4), halfPixelCenters=True)
    last = net.transpose_conv("net/last", smooth, 5, size=2, stride=3, padding=VALID)
    logits = net.dense("net/dense", net.mean("net/mean", last), 10)
    return net.build([image], [net.softmax("net/softmax", logits)])


def random_inputs(graph: Graph, count: int, seed: int = 0) -> Array:
    """`(count, ...)` noisy plains of different colours, so that the network does not see all of them as one class."""
    rng, shape = np.random.default_rng(seed), graph.input.shape[1:]
    colours = rng.uniform(-0.8, 0.8, (count, *[1] * (len(shape) - 1), shape[-1]))
    real = np.clip(colours + rng.normal(0, 0.3, (count, *shape)), -1, 1)
    if graph.input.dtype == "float32":
        return real.astype(np.float32)
    limits = np.iinfo(graph.input.dtype)
    return np.clip(np.rint(real * 127.5) + (limits.min + limits.max + 1) // 2, limits.min, limits.max).astype(
        graph.input.dtype
    )


def activation_values(graph: Graph, tensor: int, inputs: Array) -> Array:
    """An activation's codes as LiteRT computes them, less the zero point."""
    zero = int(graph.tensors[tensor].quantization.zero_points[0])
    exposed = passes.expose(graph, (tensor,))
    made = Interpreter(model_content=serialize(exposed))
    made.allocate_tensors()
    position = exposed.outputs.index(tensor) if tensor in exposed.outputs else None
    values = []
    for value in inputs:
        made.set_tensor(made.get_input_details()[0]["index"], value[None])
        made.invoke()
        values.append(value if position is None else made.get_tensor(made.get_output_details()[position]["index"])[0])
    return np.stack(values).astype(np.float64) - zero


def random_network(seed: int, operators: int = 8) -> Graph:
    """Convolutions, blocks, poolings, sums, views and branches in a random order over a small image."""
    rng = np.random.default_rng(seed)
    net = Builder("int8", seed)
    sides = [int(side) for side in rng.integers(1, 10, 2)]
    made = [net.activation("image", (1, *sides, int(rng.integers(1, 5))))]
    if rng.random() < 0.2:
        made.append(net.activation("second", net.tensors[made[0]].shape))
    inputs = list(made)
    while len(net.ops) < operators:
        near = [tensor for tensor in made if len(net.tensors[tensor].shape) == 4]
        source = near[-1] if rng.random() < 0.8 else int(rng.choice(near))
        made += _random_operators(net, rng, source, made, f"op{len(net.ops)}")
    outputs = [made[-1], *(tensor for tensor in made[len(inputs) : -1] if rng.random() < 0.05)]
    return net.build(inputs, outputs)


def _random_operators(net: Builder, rng: np.random.Generator, source: int, made: list[int], name: str) -> list[int]:
    """One operator or block that reads `source`: what it makes."""
    shape = net.tensors[source].shape
    low = min(shape[1:3])
    window = {
        "size": int(rng.integers(1, min(low, 3) + 1)),
        "stride": int(rng.integers(1, 4)),
        "padding": [SAME, VALID][rng.integers(2)],
    }
    if window["padding"] == SAME:
        window["size"] = int(rng.integers(1, 5))
        window["dilationHFactor"] = window["dilationWFactor"] = int(rng.choice([1, 1, 1, 2]))
    channels = int(rng.integers(1, 9))
    equal = [tensor for tensor in made if net.tensors[tensor].shape == shape]
    beside = [tensor for tensor in made if net.tensors[tensor].shape[:3] == shape[:3] and tensor != source]
    kind = rng.choice(
        ["conv", "depthwise", "block", "block", "pool", "element", "add", "view", "concatenation", "split"]
    )
    if kind == "conv":
        return [net.conv(name, source, channels, **window)]
    if kind == "depthwise":
        return [net.depthwise(name, source, **window)]
    if kind == "block":
        inner = net.conv(f"{name}/expand", source, channels) if rng.random() < 0.7 else source
        inner = net.depthwise(f"{name}/depthwise", inner, **window)
        keeps = net.tensors[inner].shape[:3] == shape[:3] and rng.random() < 0.7
        last = net.conv(f"{name}/project", inner, shape[3] if keeps else channels) if rng.random() < 0.7 else inner
        return [net.add(f"{name}/sum", source, last)] if net.tensors[last].shape == shape and keeps else [last]
    if kind == "pool":
        options = {"padding": SAME, "strideH": window["stride"], "strideW": 1, "filterHeight": 3, "filterWidth": 2}
        pooled = (1, -(-shape[1] // window["stride"]), *shape[2:])
        return [net.like(str(rng.choice(["MAX_POOL_2D", "AVERAGE_POOL_2D"])), name, source, pooled, **options)]
    if kind == "add":
        return [net.add(name, source, int(rng.choice(equal)))]
    if kind == "view":
        return [net.reshape(name, source, (1, shape[2], shape[1], shape[3]))]
    if kind == "concatenation" and beside:
        other = int(rng.choice(beside))
        joined = net.activation(name, (*shape[:3], shape[3] + net.tensors[other].shape[3]))
        return [net.op("CONCATENATION", (source, other), joined, "ConcatenationOptions", axis=-1)]
    if kind == "split" and shape[3] % 2 == 0:
        return list(net.split(name, source, 3, 2))
    return [net.like(str(rng.choice(["RELU", "LOGISTIC"])), name, source, shape)]


def litert_outputs(content: bytes, inputs: Array) -> Array:
    """The first output of LiteRT itself on a file, one input at a time, stacked."""
    made = Interpreter(model_content=content)
    made.allocate_tensors()
    source, sink = made.get_input_details()[0]["index"], made.get_output_details()[0]["index"]
    outputs = []
    for value in inputs:
        made.set_tensor(source, value[None])
        made.invoke()
        outputs.append(made.get_tensor(sink)[0])
    return np.stack(outputs)
