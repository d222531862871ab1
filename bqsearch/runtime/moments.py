"""What calibration inputs show of the inputs of every layer: means, variances and covariances."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from bqsearch.bank.weights import Moments
from bqsearch.graph import passes
from bqsearch.graph.ir import Graph
from bqsearch.graph.ops import Layer, layers, source
from bqsearch.runtime.litert import Runner, fitting_batch, fitting_threads
from bqsearch.types import Array, Floats, Shape

MAX_COLUMNS = 2048  # weights of an output channel up to which a covariance is taken: its inverse takes cubic time
POSITIONS = 64  # of a feature map that an image gives samples of a covariance at
_INDEPENDENT = 4  # of them count: neighbors show the same
_CHUNK = 32  # inputs whose activations are held at a time
_EXACT = 256  # samples whose products (at most 255 * 255 each) add up exactly in 32-bit floats, in any order


def moments(graph: Graph, inputs: Array, covariances: bool) -> dict[str, Moments]:
    """Moments of each layer's input, by layer name.

    Args:
        graph: 8-bit network.
        inputs: `(n, ...)` codes of the network's input.
        covariances: Whether those are taken too, where a layer is not too wide.
    """
    found = layers(graph)
    sources = {layer.name: source(graph.ops[layer.op]) for layer in found}
    sums = {t: _MapSums() for t in sources.values()}
    products = {layer.name: _Products(layer, i) for i, layer in enumerate(found) if covariances and _narrow(layer)}
    for chunk in maps_of(graph, tuple(sums), inputs):
        for tensor, codes in chunk.items():
            sums[tensor].add(codes.astype(np.float32) - zero_point(graph, tensor))
        for layer in found:
            if layer.name in products:
                tensor = sources[layer.name]
                products[layer.name].add(graph, chunk[tensor], zero_point(graph, tensor))
    made = {}
    for layer in found:
        mean, square = (taps_of(graph, layer, total / len(inputs)) for total in sums[sources[layer.name]].totals)
        covariance = products[layer.name].covariance() if layer.name in products else None
        made[layer.name] = Moments(mean=mean, variance=np.maximum(square - mean**2, 0.0), covariance=covariance)
    return made


def _narrow(layer: Layer) -> bool:
    columns = layer.size // layer.channels
    return layer.operator in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED") and columns <= MAX_COLUMNS


def maps_of(graph: Graph, tensors: tuple[int, ...], inputs: Array) -> Iterator[Mapping[int, Array]]:
    """Codes of these activations, `(chunk, ...)` each, chunk by chunk."""
    exposed = passes.expose(graph, tensors)
    positions = {t: exposed.outputs.index(t) for t in tensors if t in exposed.outputs}
    batch = min(_CHUNK, fitting_batch(graph, len(inputs)))
    runner = Runner(exposed, batch=batch, threads=fitting_threads(graph, len(inputs)))
    for start in range(0, len(inputs), _CHUNK):
        chunk = inputs[start : start + _CHUNK]
        outputs = runner.run(chunk)
        yield {t: outputs[positions[t]] if t in positions else chunk for t in tensors}


def zero_point(graph: Graph, tensor: int) -> int:
    """Of an activation; 0 where it is not quantized."""
    quantization = graph.tensors[tensor].quantization
    return 0 if quantization is None else int(quantization.zero_points[0])


@dataclass(kw_only=True)
class _MapSums:
    """Sums over images of a map's values and of their squares."""

    totals: tuple[Floats, Floats] = field(default_factory=lambda: (np.zeros(()), np.zeros(())))

    def add(self, values: Array) -> None:
        """Exact in 32 bits: a chunk's squares stay below 2^24."""
        first, second = self.totals
        self.totals = first + values.sum(axis=0).astype(np.float64), second + (values**2).sum(axis=0).astype(np.float64)


@dataclass
class _Products:
    """Sums over samples of what an output channel reads, and of its products."""

    layer: Layer
    number: int
    sums: Floats | float = 0.0
    products: Floats | float = 0.0
    samples: int = 0
    images: int = 0
    _rng: np.random.Generator = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._rng = np.random.default_rng(self.number)

    def add(self, graph: Graph, codes: Array, zero_point: int) -> None:
        """Samples of one chunk."""
        seen = patches(graph, self.layer, codes, self._rng).astype(np.float32) - np.float32(zero_point)
        for start in range(0, seen.shape[-2], _EXACT):
            block = seen[..., start : start + _EXACT, :]
            self.products = self.products + np.matmul(np.swapaxes(block, -1, -2), block).astype(np.float64)
            self.sums = self.sums + block.sum(axis=-2).astype(np.float64)
        self.samples += seen.shape[-2]
        self.images += len(codes)

    def covariance(self) -> Floats:
        """Shrunk towards its diagonal, as few samples ask for.

        With as many samples as columns the sample covariance fits noise as much as the inputs (Ledoit & Wolf, J.
        Multivariate Analysis 88/2, 2004); the weight of the diagonal is columns / (columns + independent samples).
        """
        sums = np.asarray(self.sums)
        covariance = (self.samples * self.products - sums[..., :, None] * sums[..., None, :]) / self.samples**2
        return shrunk(covariance, independent(self.images, self.samples))


def independent(images: int, samples: int) -> int:
    """How many of the samples of so many images count as independent."""
    return images * min(samples // images, _INDEPENDENT)


def shrunk(covariance: Floats, samples: int) -> Floats:
    """A covariance of so many independent samples, off its diagonal as much smaller as they are few."""
    columns = covariance.shape[-1]
    return np.where(np.eye(columns, dtype=bool), covariance, covariance * samples / (columns + samples))


def patches(graph: Graph, layer: Layer, codes: Array, rng: np.random.Generator) -> Array:
    """What output positions read of a map of codes.

    Args:
        graph: Where the layer is.
        layer: A convolution or dense layer.
        codes: `(images, ...)` its input.
        rng: Draws the positions.

    Returns:
        `(samples, columns)` codes; `(channels, samples, columns)` for a depthwise layer.
    """
    if layer.operator == "FULLY_CONNECTED":
        return codes.reshape(-1, layer.shape[1])
    taps = _sampled_taps(graph, layer, codes, rng)
    if layer.operator != "DEPTHWISE_CONV_2D":
        return taps.reshape(len(taps), -1)
    own = np.ascontiguousarray(np.moveaxis(taps, 2, 0))
    return np.repeat(own, layer.channels // len(own), axis=0)


def _sampled_taps(graph: Graph, layer: Layer, codes: Array, rng: np.random.Generator) -> Array:
    """`(samples, taps, input channels)` codes at `POSITIONS` output positions of each image, or at all."""
    op = graph.ops[layer.op]
    height, width = layer.shape[1:3]
    rows, columns = graph.tensors[op.outputs[0]].shape[1:3]
    margins = _margins(codes.shape[1:3], layer.shape, op.options, (rows, columns))
    padded = np.pad(codes, [(0, 0), *margins, (0, 0)], constant_values=zero_point(graph, source(op)))
    count = rows * columns
    places = np.arange(count) if count <= POSITIONS else np.sort(rng.choice(count, POSITIONS, replace=False))
    tops, lefts = places // columns * op.options["strideH"], places % columns * op.options["strideW"]
    down, right = op.options["dilationHFactor"], op.options["dilationWFactor"]
    taps = [padded[:, tops + i * down, lefts + j * right] for i in range(height) for j in range(width)]
    return np.stack(taps, axis=2).reshape(-1, height * width, codes.shape[3])


def taps_of(graph: Graph, layer: Layer, values: Floats) -> Floats:
    """What each weight meets on average, in a shape that broadcasts to the weights."""
    if layer.operator == "FULLY_CONNECTED":
        return values.reshape(-1, layer.shape[1]).mean(axis=0)[None]
    height, width = layer.shape[1:3]
    op = graph.ops[layer.op]
    rows, columns = graph.tensors[op.outputs[0]].shape[1:3]
    if layer.operator == "TRANSPOSE_CONV":
        return _spread_taps(values, layer.shape, op.options, (rows, columns))
    padded = _padded(values, layer.shape, op.options, (rows, columns))
    strides = op.options["strideH"], op.options["strideW"]
    dilations = op.options["dilationHFactor"], op.options["dilationWFactor"]
    taps = np.empty((height, width, values.shape[2]))
    for i in range(height):
        for j in range(width):
            top, left = i * dilations[0], j * dilations[1]
            seen = padded[top : top + rows * strides[0] : strides[0], left : left + columns * strides[1] : strides[1]]
            taps[i, j] = seen[:rows, :columns].mean(axis=(0, 1))
    if layer.operator == "DEPTHWISE_CONV_2D":
        taps = np.repeat(taps, layer.shape[3] // values.shape[2], axis=2)
    return taps[None]


def _spread_taps(values: Floats, shape: Shape, options: Mapping[str, int], outputs: tuple[int, int]) -> Floats:
    """What each weight of a transposed convolution adds to an output position on average, over its weight.

    Input position y stands behind output position `y * stride + tap - margin`; where that is none, or where no input
    stands behind an output, a weight meets nothing. So these are the mean over all inputs, times inputs for each
    output, less what the margins cut off.
    """
    margins = [before for before, _ in _margins(outputs, shape, options, values.shape[:2])]
    taps = np.empty(shape[1:])
    for i in range(shape[1]):
        down = _landed(values.shape[0], options["strideH"], i - margins[0], outputs[0])
        for j in range(shape[2]):
            right = _landed(values.shape[1], options["strideW"], j - margins[1], outputs[1])
            taps[i, j] = values[down][:, right].sum(axis=(0, 1)) / (outputs[0] * outputs[1])
    return taps[None]


def _landed(size: int, stride: int, offset: int, outputs: int) -> Array:
    """Which of `size` input positions reach an output through a tap at `offset`."""
    reached = np.arange(size) * stride + offset
    return (reached >= 0) & (reached < outputs)


def _padded(values: Floats, shape: Shape, options: Mapping[str, int], outputs: tuple[int, int]) -> Floats:
    """The input map with SAME padding's zeros around it, or as it is."""
    return np.pad(values, [*_margins(values.shape[:2], shape, options, outputs), (0, 0)])


def _margins(sides: Shape, shape: Shape, options: Mapping[str, int], places: Shape) -> list[tuple[int, int]]:
    """TFLite's padding before and behind `sides`, over which a filter of `shape` has `places`."""
    margins = []
    for axis, letter in enumerate("HW"):
        reach = (shape[1 + axis] - 1) * options.get(f"dilation{letter}Factor", 1) + 1
        total = max((places[axis] - 1) * options[f"stride{letter}"] + reach - sides[axis], 0)
        margins.append((total // 2, total - total // 2))
    return margins if options["padding"] == schema.Padding.SAME else [(0, 0), (0, 0)]
