"""The options tables of the operators that are supported: numbers and vectors of numbers, field by field.

The fields have the names, the order and the defaults of TFLite's schema, so that the serializer can write them back.
"""

from typing import Any

from bqsearch.errors import UnsupportedError
from bqsearch.importers.reader import Table

_ACTIVATION = ("fusedActivationFunction", "b", 0)
_STRIDES = (("strideW", "i", 0), ("strideH", "i", 0))
_DILATIONS = (("dilationWFactor", "i", 1), ("dilationHFactor", "i", 1))
_BIAS_TYPE = ("quantizedBiasType", "b", 0)
_PADDING = ("padding", "b", 0)
_BETWEEN_PIXELS = (("alignCorners", "?", False), ("halfPixelCenters", "?", False))

# `struct` formats, "ints" for a vector of int32, "bytes" for one that must be left out, "" for a field that is no more.
FIELDS: dict[str, tuple[tuple[str, str, Any], ...]] = {
    "AbsOptions": (),
    "AddOptions": (_ACTIVATION, ("potScaleInt16", "?", True)),
    "ArgMaxOptions": (("outputType", "b", 0),),
    "ArgMinOptions": (("outputType", "b", 0),),
    "BatchToSpaceNDOptions": (),
    "CastOptions": (("inDataType", "b", 0), ("outDataType", "b", 0)),
    "ConcatenationOptions": (("axis", "i", 0), _ACTIVATION),
    "Conv2DOptions": (_PADDING, *_STRIDES, _ACTIVATION, *_DILATIONS, _BIAS_TYPE),
    "CosOptions": (),
    "DepthToSpaceOptions": (("blockSize", "i", 0),),
    "DepthwiseConv2DOptions": (_PADDING, *_STRIDES, ("depthMultiplier", "i", 0), _ACTIVATION, *_DILATIONS),
    "DequantizeOptions": (),
    "DivOptions": (_ACTIVATION,),
    "ExpOptions": (),
    "ExpandDimsOptions": (),
    "FloorDivOptions": (),
    "FullyConnectedOptions": (
        _ACTIVATION,
        ("weightsFormat", "b", 0),
        ("keepNumDims", "?", False),
        ("asymmetricQuantizeInputs", "?", False),
        _BIAS_TYPE,
        ("quantSpec", "bytes", None),
    ),
    "GatherOptions": (("axis", "i", 0), ("batchDims", "i", 0)),
    "GeluOptions": (("approximate", "?", False),),
    "HardSwishOptions": (),
    "L2NormOptions": (_ACTIVATION,),
    "LeakyReluOptions": (("alpha", "f", 0.0),),
    "LocalResponseNormalizationOptions": (
        ("radius", "i", 0),
        ("bias", "f", 0.0),
        ("alpha", "f", 0.0),
        ("beta", "f", 0.0),
    ),
    "LogSoftmaxOptions": (),
    "MaximumMinimumOptions": (),
    "MirrorPadOptions": (("mode", "b", 0),),
    "MulOptions": (_ACTIVATION,),
    "NegOptions": (),
    "PackOptions": (("valuesCount", "i", 0), ("axis", "i", 0)),
    "PadOptions": (),
    "PadV2Options": (),
    "Pool2DOptions": (_PADDING, *_STRIDES, ("filterWidth", "i", 0), ("filterHeight", "i", 0), _ACTIVATION),
    "PowOptions": (),
    "QuantizeOptions": (),
    "ReducerOptions": (("keepDims", "?", False),),
    "ReshapeOptions": (("newShape", "ints", None),),
    "ResizeBilinearOptions": (("", "", None), ("", "", None), *_BETWEEN_PIXELS),
    "ResizeNearestNeighborOptions": _BETWEEN_PIXELS,
    "ReverseV2Options": (),
    "SliceOptions": (),
    "SoftmaxOptions": (("beta", "f", 0.0),),
    "SpaceToBatchNDOptions": (),
    "SpaceToDepthOptions": (("blockSize", "i", 0),),
    "SplitOptions": (("numSplits", "i", 0),),
    "SplitVOptions": (("numSplits", "i", 0),),
    "SquareOptions": (),
    "SquaredDifferenceOptions": (),
    "SqueezeOptions": (("squeezeDims", "ints", None),),
    "StridedSliceOptions": (
        ("beginMask", "i", 0),
        ("endMask", "i", 0),
        ("ellipsisMask", "i", 0),
        ("newAxisMask", "i", 0),
        ("shrinkAxisMask", "i", 0),
        ("offset", "?", False),
    ),
    "SubOptions": (_ACTIVATION, ("potScaleInt16", "?", True)),
    "TileOptions": (),
    "TransposeConvOptions": (_PADDING, *_STRIDES, _ACTIVATION, _BIAS_TYPE),
    "TransposeOptions": (),
    "UnpackOptions": (("num", "i", 0), ("axis", "i", 0)),
}


def read(table: Table, options_type: str, where: str) -> dict[str, Any]:
    """The fields of an options table as plain hashable values; `where` names the operator in errors.

    Raises:
        ModelError: The table reaches beyond the file.
        UnsupportedError: It holds a table of its own.
    """
    fields = enumerate(FIELDS[options_type])
    return {name: _value(table, slot, name, kind, default, where) for slot, (name, kind, default) in fields if name}


def _value(table: Table, slot: int, name: str, kind: str, default: Any, where: str) -> Any:
    if kind == "bytes":
        if table.has(slot):
            raise UnsupportedError(f"{where} has {name} in its options, which bqsearch does not support")
        return default
    if kind == "ints":
        found = table.vector(slot, "<i4")
        return default if found is None else tuple(found.tolist())
    value = table.scalar(slot, kind, default)
    return value + 0.0 if kind == "f" else value  # -0.0 is 0.0 then: the writer takes it for the default and omits it
