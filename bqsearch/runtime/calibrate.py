"""What calibration inputs show of a network: moments of every layer's input, and how errors reach the output."""

from collections.abc import Mapping

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from bqsearch.bank import Moments, OptionBank
from bqsearch.compress import compress
from bqsearch.graph import passes
from bqsearch.graph.ir import Graph
from bqsearch.graph.ops import Layer, layers, source
from bqsearch.plan import Choice
from bqsearch.runtime.litert import Runner, fitting_batch, fitting_threads
from bqsearch.types import Array, Floats, Shape

PROBE_LEVELS = 8  # coarse enough that the error stands out of the runtime's rounding
_CHUNK = 32  # inputs whose activations are held at a time


def moments(graph: Graph, inputs: Array) -> dict[str, Moments]:
    """Means and variances of each layer's input, by layer name.

    Args:
        graph: 8-bit network.
        inputs: `(n, ...)` codes of the network's input.
    """
    found = layers(graph)
    sources = {layer.name: source(graph.ops[layer.op]) for layer in found}
    maps = _input_maps(graph, tuple(dict.fromkeys(sources.values())), inputs)
    return {layer.name: _tap_moments(graph, layer, *maps[sources[layer.name]]) for layer in found}


def sensitivity(graph: Graph, bank: OptionBank, inputs: Array) -> dict[str, float]:
    """For each layer: mean squared error of the logits for a unit of the layer's distortion.

    Each layer alone is put to `PROBE_LEVELS` k-means levels (or the coarsest scheme that the bank has) and run.
    """
    runner = logits_runner(graph, bank, len(inputs))
    reference = real_outputs(graph, runner.run(inputs)[0])
    found = {}
    for entry in bank.layers:
        choice = _probe(bank, entry.layer.name)
        if choice is None:
            continue
        model = compress(graph, bank, bank.plan({entry.layer.name: choice}))
        outputs = real_outputs(graph, runner.run(inputs, model.constants)[0])
        distortion = entry.option(choice).distortion
        if distortion > 0:
            found[entry.layer.name] = float(np.mean((outputs - reference) ** 2)) / distortion
    floor = min((v for v in found.values() if v > 0), default=1.0)
    return {name: max(value, floor) for name, value in found.items()}


def logits_runner(graph: Graph, bank: OptionBank, count: int) -> Runner:
    """A runner of the network without its softmax, ready for `count` inputs under the bank's plans."""
    variable = [t for e in bank.layers for t in (e.layer.weights, e.layer.bias) if t is not None]
    return Runner(passes.logits(graph), tuple(variable), fitting_batch(graph, count), fitting_threads(graph, count))


def real_outputs(graph: Graph, codes: Array) -> Floats:
    """The logits' real values, `(n, ...)` float64."""
    quantization = passes.logits(graph).output.quantization
    if quantization is None:
        return codes.astype(np.float64)
    return (codes.astype(np.float64) - quantization.zero_points[0]) * float(quantization.scales[0])


def _probe(bank: OptionBank, name: str) -> Choice | None:
    schemes = [s for s in bank.by_name[name].schemes if s != "keep"]
    if not schemes:
        return None
    return Choice(scheme="kmeans" if "kmeans" in schemes else schemes[0], levels=PROBE_LEVELS, coding="raw")


def _input_maps(graph: Graph, tensors: tuple[int, ...], inputs: Array) -> Mapping[int, tuple[Floats, Floats]]:
    """For each activation: the mean over images of its values and of their squares, zero point taken off."""
    exposed = passes.expose(graph, tensors)
    positions = {t: exposed.outputs.index(t) for t in tensors if t in exposed.outputs}
    batch = min(_CHUNK, fitting_batch(graph, len(inputs)))
    runner = Runner(exposed, batch=batch, threads=fitting_threads(graph, len(inputs)))
    sums = {t: [np.zeros(graph.tensors[t].shape[1:]), np.zeros(graph.tensors[t].shape[1:])] for t in tensors}
    for start in range(0, len(inputs), _CHUNK):
        chunk = inputs[start : start + _CHUNK]
        outputs = runner.run(chunk)
        for tensor in tensors:
            codes = outputs[positions[tensor]] if tensor in positions else chunk
            values = codes.astype(np.float64) - _zero_point(graph, tensor)
            sums[tensor][0] += values.sum(axis=0)
            sums[tensor][1] += (values**2).sum(axis=0)
    return {t: (first / len(inputs), second / len(inputs)) for t, (first, second) in sums.items()}


def _zero_point(graph: Graph, tensor: int) -> int:
    quantization = graph.tensors[tensor].quantization
    return 0 if quantization is None else int(quantization.zero_points[0])


def _tap_moments(graph: Graph, layer: Layer, mean: Floats, square: Floats) -> Moments:
    """Moments by weight position, from an input map's."""
    first, second = (_taps(graph, layer, values) for values in (mean, square))
    return Moments(mean=first, variance=np.maximum(second - first**2, 0.0))


def _taps(graph: Graph, layer: Layer, values: Floats) -> Floats:
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
