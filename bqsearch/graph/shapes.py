"""The shapes that operators give their outputs, by TFLite's rules. TensorFlow Lite Micro believes a file's shapes
without a look at them, so a file whose shapes do not follow from its operators would overwrite memory there."""

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any, TypeAlias

from ai_edge_litert import schema_py_generated as schema

from bqsearch.errors import ModelError, UnsupportedError
from bqsearch.graph.ir import Op, Tensor
from bqsearch.graph.ops import SUPPORTED
from bqsearch.types import Shape

_Rule: TypeAlias = Callable[[Op, Sequence[Tensor]], Sequence[Shape]]


def check(op: Op, tensors: Sequence[Tensor]) -> None:
    """Check that an operator's inputs go together and that its outputs have the shapes that follow from them.

    Args:
        op: Its required inputs are there.
        tensors: The graph's.

    Raises:
        ModelError: They do not; the message is the reason alone, for the caller knows the operator's place.
        UnsupportedError: They would, in a form that bqsearch does not support.
    """
    if SUPPORTED[op.code].opaque:
        return
    expected = infer(op, tensors)
    if len(expected) != len(op.outputs):
        raise ModelError(f"has {len(op.outputs)} outputs; {len(expected)} follow from its inputs")
    for output, shape in zip(op.outputs, expected, strict=True):
        found = tensors[output]
        if found.shape != tuple(shape):
            raise ModelError(
                f"writes tensor {found.name!r} of shape {found.shape}, but shape {tuple(shape)} follows from its inputs"
            )


def infer(op: Op, tensors: Sequence[Tensor]) -> Sequence[Shape]:
    """The output shapes of an operator that is not opaque. Raises as `check` does."""
    return _RULES[op.code](op, [tensors[i] for i in op.inputs if i >= 0])


def _require(condition: bool, reason: str) -> None:
    if not condition:
        raise ModelError(reason)


def _constant(tensor: Tensor, role: str) -> list[int]:
    """The values of a constant index tensor, flat."""
    if tensor.data is None:
        raise UnsupportedError(f"has {role} computed at run time (tensor {tensor.name!r})")
    _require(tensor.dtype in ("int32", "int64"), f"has {role} of type {tensor.dtype}, not int32")
    _require(tensor.size <= 64, f"has {role} of {tensor.size} values")
    return [int(v) for v in tensor.data.reshape(-1)]


def _axis(axis: int, rank: int) -> int:
    _require(-rank <= axis < rank, f"names axis {axis} of {rank} dimensions")
    return axis % rank


def _same(op: Op, inputs: Sequence[Tensor]) -> list[Shape]:
    del op
    return [inputs[0].shape]


def _rows(op: Op, inputs: Sequence[Tensor]) -> list[Shape]:
    """What works along the last dimension needs one."""
    _require(len(inputs[0].shape) > 0, "reads a scalar, but works along a dimension")
    return _same(op, inputs)


def _broadcast(op: Op, inputs: Sequence[Tensor]) -> list[Shape]:
    del op
    left, right = inputs[0].shape, inputs[1].shape
    rank = max(len(left), len(right))
    pairs = zip((1,) * (rank - len(left)) + left, (1,) * (rank - len(right)) + right, strict=True)
    found = [(a, b) for a, b in pairs]
    _require(all(a == b or 1 in (a, b) for a, b in found), f"reads shapes {left} and {right}, which do not go together")
    return [tuple(max(pair) for pair in found)]


def _prelu(op: Op, inputs: Sequence[Tensor]) -> list[Shape]:
    found = _broadcast(op, inputs)
    _require(found[0] == inputs[0].shape, f"has slopes of shape {inputs[1].shape} for an input of {inputs[0].shape}")
    return found


def _window(size: int, filtered: int, stride: int, dilation: int, padding: int) -> int:
    """How many places a filter has along a dimension; below 1 where it does not fit."""
    if padding == schema.Padding.SAME:
        return -(-size // stride)
    return (size - (filtered - 1) * dilation - 1 + stride) // stride


def _windows(shape: Shape, filters: Shape, options: Mapping[str, Any]) -> Shape:
    """Output height and width of a filter of some height and width over an NHWC shape."""
    padding = options["padding"]
    strides = options["strideH"], options["strideW"]
    dilations = options.get("dilationHFactor", 1), options.get("dilationWFactor", 1)
    _require(padding in (schema.Padding.SAME, schema.Padding.VALID), f"has padding {padding}: 0 is SAME, 1 is VALID")
    _require(min(*strides, *dilations) >= 1, f"has strides {strides} and dilations {dilations}; they must be 1 or more")
    _require(min(filters) >= 1, f"has a filter of {filters}")
    sides = tuple(_window(*side, padding) for side in zip(shape[1:3], filters, strides, dilations, strict=True))
    _require(min(sides) >= 1, f"has a filter of {filters}, which does not fit into an input of {shape}")
    return sides


def _images(tensor: Tensor) -> Shape:
    """The NHWC shape of what must be one."""
    _require(len(tensor.shape) == 4, f"needs an input with 4 dimensions, not {tensor.shape}")
    return tensor.shape


def _filters(tensor: Tensor, rank: int = 4) -> Shape:
    _require(len(tensor.shape) == rank, f"needs weights with {rank} dimensions, not {tensor.shape}")
    return tensor.shape


def _convolution(op: Op, inputs: Sequence[Tensor]) -> list[Shape]:
    shape, filters = _images(inputs[0]), _filters(inputs[1])
    if shape[3] != filters[3]:
        raise UnsupportedError(
            f"is a grouped convolution ({shape[3]} input channels, filters of {filters[3]}), "
            f"which bqsearch does not support"
        )
    return [(shape[0], *_windows(shape, filters[1:3], op.options), filters[0])]


def _depthwise(op: Op, inputs: Sequence[Tensor]) -> list[Shape]:
    shape, filters = _images(inputs[0]), _filters(inputs[1])
    multiplier = op.options["depthMultiplier"]
    _require(
        filters[0] == 1 and filters[3] == shape[3] * multiplier,
        f"has weights of shape {filters} for {shape[3]} input channels with a multiplier of {multiplier}",
    )
    return [(shape[0], *_windows(shape, filters[1:3], op.options), filters[3])]


def _transpose_convolution(op: Op, inputs: Sequence[Tensor]) -> list[Shape]:
    shape, filters = _images(inputs[2]), _filters(inputs[1])
    wanted = tuple(_constant(inputs[0], "an output shape"))
    _require(
        len(wanted) == 4 and min(wanted) > 0 and (wanted[0], wanted[3], shape[3]) == (shape[0], filters[0], filters[3]),
        f"makes shape {wanted} out of {shape} with weights of shape {filters}",
    )
    back = _windows(wanted, filters[1:3], op.options)
    _require(back == shape[1:3], f"makes {wanted[1:3]} out of {shape[1:3]}, but a convolution would make {back} of it")
    return [wanted]


def _dense(op: Op, inputs: Sequence[Tensor]) -> list[Shape]:
    source, (units, features) = inputs[0], _filters(inputs[1], 2)
    if op.options.get("weightsFormat", 0) != 0:
        raise UnsupportedError("has weights in a shuffled format, which bqsearch does not support")
    kept = op.options.get("keepNumDims", False)
    last = source.shape[-1] if kept and source.shape else source.size
    _require(
        len(source.shape) > 0 and last % features == 0 and (not kept or last == features),
        f"reads shape {source.shape} with weights of shape {inputs[1].shape}",
    )
    return [(*source.shape[:-1], units) if kept else (source.size // features, units)]


def _pool(op: Op, inputs: Sequence[Tensor]) -> list[Shape]:
    shape = _images(inputs[0])
    filters = op.options["filterHeight"], op.options["filterWidth"]
    return [(shape[0], *_windows(shape, filters, op.options), shape[3])]


def _concatenation(op: Op, inputs: Sequence[Tensor]) -> list[Shape]:
    shapes = [tensor.shape for tensor in inputs]
    axis = _axis(op.options["axis"], len(shapes[0]))
    rests = {shape[:axis] + shape[axis + 1 :] for shape in shapes}
    _require(
        len(rests) == 1 and len({len(s) for s in shapes}) == 1, f"reads shapes {shapes[:8]}, which do not go together"
    )
    return [(*shapes[0][:axis], sum(shape[axis] for shape in shapes), *shapes[0][axis + 1 :])]


def _mean(op: Op, inputs: Sequence[Tensor]) -> list[Shape]:
    shape = inputs[0].shape
    axes = {_axis(a, len(shape)) for a in _constant(inputs[1], "axes")}
    if op.options.get("keepDims", False):
        return [tuple(1 if i in axes else d for i, d in enumerate(shape))]
    return [tuple(d for i, d in enumerate(shape) if i not in axes)]


def _pad(op: Op, inputs: Sequence[Tensor]) -> list[Shape]:
    del op
    shape, margins = inputs[0].shape, inputs[1]
    _require(
        margins.shape == (len(shape), 2),
        f"reads shapes {shape} and {margins.shape} (margins), which do not go together",
    )
    flat = _constant(margins, "margins")
    _require(not flat or min(flat) >= 0, f"has negative margins {flat}")
    return [tuple(d + flat[2 * i] + flat[2 * i + 1] for i, d in enumerate(shape))]


def _reshape(op: Op, inputs: Sequence[Tensor]) -> list[Shape]:
    """The new shape is a constant vector; else, in older files, an option."""
    wanted = op.options.get("newShape")
    if len(inputs) > 1 and (wanted is None or len(inputs[1].shape) == 1):
        wanted = _constant(inputs[1], "a shape")
    _require(wanted is not None, "has no new shape")
    return [_filled(tuple(wanted or ()), inputs[0])]


def _filled(wanted: Shape, source: Tensor) -> Shape:
    """A shape in which one -1 stands for what is left over."""
    known = prod(d for d in wanted if d != -1)
    fits = all(d >= -1 for d in wanted) and wanted.count(-1) <= 1 and len(wanted) <= 8 and known > 0
    if fits and -1 in wanted:
        wanted = tuple(source.size // known if d == -1 else d for d in wanted)
    _require(fits and prod(wanted) == source.size, f"turns shape {source.shape} into {wanted[:9]}")
    return wanted


def _squeeze(op: Op, inputs: Sequence[Tensor]) -> list[Shape]:
    shape = inputs[0].shape
    named = {_axis(a, len(shape)) for a in op.options["squeezeDims"] or ()}
    gone = named or {i for i, d in enumerate(shape) if d == 1}
    _require(all(shape[i] == 1 for i in gone), f"squeezes dimensions {sorted(named)} of shape {shape}")
    return [tuple(d for i, d in enumerate(shape) if i not in gone)]


def _resize(op: Op, inputs: Sequence[Tensor]) -> list[Shape]:
    del op
    shape, size = _images(inputs[0]), _constant(inputs[1], "a size")
    _require(len(size) == 2 and min(size) > 0, f"has size {size}: a height and a width are needed")
    return [(shape[0], size[0], size[1], shape[3])]


def _split(op: Op, inputs: Sequence[Tensor]) -> list[Shape]:
    named, shape, parts = _constant(inputs[0], "an axis"), inputs[1].shape, op.options["numSplits"]
    _require(len(named) == 1, f"has {len(named)} axes")
    axis = _axis(named[0], len(shape))
    _require(parts == len(op.outputs), f"has {len(op.outputs)} outputs, but splits into {parts} parts")
    _require(shape[axis] % parts == 0, f"splits dimension {axis} of shape {shape} into {parts} parts")
    return [(*shape[:axis], shape[axis] // parts, *shape[axis + 1 :])] * parts


def _strided_slice(op: Op, inputs: Sequence[Tensor]) -> list[Shape]:
    masks = op.options
    if masks["ellipsisMask"] or masks["newAxisMask"] or masks["offset"]:
        raise UnsupportedError("has an ellipsis, a new axis or an offset, which TensorFlow Lite Micro does not support")
    shape, (begin, end, strides) = inputs[0].shape, (_constant(t, "bounds") for t in inputs[1:4])
    _require(
        len(begin) == len(end) == len(strides) <= len(shape) and 0 not in strides,
        f"slices shape {shape} from {begin} to {end} by {strides}",
    )
    kept = []
    for axis, size in enumerate(shape):
        if axis >= len(begin):
            kept.append(size)
        elif masks["shrinkAxisMask"] >> axis & 1:
            _require(-size <= begin[axis] < size, f"takes element {begin[axis]} of dimension {axis} of shape {shape}")
        else:
            first = None if masks["beginMask"] >> axis & 1 else begin[axis]
            last = None if masks["endMask"] >> axis & 1 else end[axis]
            kept.append(len(range(*slice(first, last, strides[axis]).indices(size))))
    return [tuple(kept)]


_RULES: dict[str, _Rule] = {
    "ADD": _broadcast,
    "AVERAGE_POOL_2D": _pool,
    "CONCATENATION": _concatenation,
    "CONV_2D": _convolution,
    "DEPTHWISE_CONV_2D": _depthwise,
    "DEQUANTIZE": _same,
    "FULLY_CONNECTED": _dense,
    "HARD_SWISH": _same,
    "LEAKY_RELU": _same,
    "LOGISTIC": _same,
    "LOG_SOFTMAX": _rows,
    "MAX_POOL_2D": _pool,
    "MEAN": _mean,
    "MUL": _broadcast,
    "PAD": _pad,
    "PRELU": _prelu,
    "QUANTIZE": _same,
    "RELU": _same,
    "RELU6": _same,
    "RESHAPE": _reshape,
    "RESIZE_BILINEAR": _resize,
    "RESIZE_NEAREST_NEIGHBOR": _resize,
    "RSQRT": _same,
    "SOFTMAX": _rows,
    "SPLIT": _split,
    "SQUEEZE": _squeeze,
    "STRIDED_SLICE": _strided_slice,
    "SUB": _broadcast,
    "TANH": _same,
    "TRANSPOSE_CONV": _transpose_convolution,
}
