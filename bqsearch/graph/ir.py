"""Graph, Op and Tensor: one TFLite subgraph as immutable values."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bqsearch.types import Array, Ints, Shape


@dataclass(frozen=True, kw_only=True, eq=False)
class Quantization:
    """Affine quantization, `real = scale * (code - zero_point)`.

    Attributes:
        scales: `(n,)` float32; n is 1 (per tensor) or the size of dimension `axis` (per channel).
        zero_points: `(n,)` int64.
        axis: The quantized dimension.
    """

    scales: NDArray[np.float32]
    zero_points: Ints
    axis: int = 0

    @property
    def per_channel(self) -> bool:
        """Whether each channel has a scale of its own."""
        return len(self.scales) > 1


@dataclass(frozen=True, kw_only=True, eq=False)
class Tensor:
    """One tensor: a constant if it has data, else an activation.

    Attributes:
        name: As in the file; need not be unique.
        shape: Static dimensions, none of them negative.
        dtype: NumPy name, `"int8"`.
        quantization: How codes become real values; None for real and index tensors.
        data: The constant's values, of `shape` and `dtype`.
    """

    name: str
    shape: Shape
    dtype: str
    quantization: Quantization | None = None
    data: Array | None = None

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the elements."""
        return self.size * np.dtype(self.dtype).itemsize


@dataclass(frozen=True, kw_only=True, eq=False)
class Op:
    """One operator.

    Attributes:
        code: TFLite's name, `"CONV_2D"`.
        inputs: Tensor indices; -1 where an optional input is left out.
        outputs: Tensor indices.
        options: The builtin options' fields, named as in TFLite's schema.
        options_type: Name of the options table, `"Conv2DOptions"`; empty if there is none.
        version: Of the operator's definition.
    """

    code: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, Any]
    options_type: str = ""
    version: int = 1


@dataclass(frozen=True, kw_only=True, eq=False)
class Graph:
    """A network: operators in execution order over a list of tensors.

    Attributes:
        name: The subgraph's name.
        tensors: Operators and graph refer to them by index.
        ops: In an order in which each input is there before it is read.
        inputs: Tensor indices of the network's inputs.
        outputs: Tensor indices of the network's outputs.
    """

    name: str
    tensors: tuple[Tensor, ...]
    ops: tuple[Op, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    @property
    def input(self) -> Tensor:
        """The first input."""
        return self.tensors[self.inputs[0]]

    @property
    def output(self) -> Tensor:
        """The first output."""
        return self.tensors[self.outputs[0]]

    @cached_property
    def consumers(self) -> Mapping[int, tuple[int, ...]]:
        """For each tensor that is read: the indices of the operators that read it, in order."""
        readers: dict[int, list[int]] = {}
        for index, op in enumerate(self.ops):
            for tensor in dict.fromkeys(op.inputs):
                readers.setdefault(tensor, []).append(index)
        return {tensor: tuple(ops) for tensor, ops in readers.items()}

    @cached_property
    def producers(self) -> Mapping[int, int]:
        """For each tensor that an operator writes: that operator's index."""
        return {tensor: index for index, op in enumerate(self.ops) for tensor in op.outputs}

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over structure and constants; names do not enter it."""
        digest = hashlib.sha256(repr((self.inputs, self.outputs)).encode())
        for tensor in self.tensors:
            digest.update(repr((tensor.shape, tensor.dtype)).encode())
            if tensor.quantization is not None:
                digest.update(repr(tensor.quantization.axis).encode())
                digest.update(tensor.quantization.scales.tobytes() + tensor.quantization.zero_points.tobytes())
            if tensor.data is not None:
                digest.update(np.ascontiguousarray(tensor.data).tobytes())
        for op in self.ops:
            digest.update(repr((op.code, op.inputs, op.outputs, sorted(op.options.items()))).encode())
        return digest.hexdigest()

    def with_tensors(self, changes: Mapping[int, Tensor]) -> "Graph":
        """The same graph with some tensors replaced."""
        return replace(self, tensors=tuple(changes.get(i, t) for i, t in enumerate(self.tensors)))

    def with_data(self, data: Mapping[int, Array]) -> "Graph":
        """The same graph with some constants' values replaced; shape and dtype must stay."""
        return self.with_tensors({index: replace(self.tensors[index], data=values) for index, values in data.items()})
