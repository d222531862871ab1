"""Layers as the C runtime has them: their weight streams and how their accumulators become codes."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from bqsearch.bank.weights import by_channel
from bqsearch.errors import UnsupportedError
from bqsearch.firmware.arithmetic import multiplier_of
from bqsearch.firmware.quantized import activation_range, scale_of, zero_of
from bqsearch.graph.ir import Graph, Op, Tensor
from bqsearch.graph.ops import Layer, layers
from bqsearch.hardware.work import Stream
from bqsearch.packing.container import Coded
from bqsearch.quantizers.arithmetic import Arithmetic, arithmetic
from bqsearch.quantizers.base import offset_codes
from bqsearch.types import Array, Bytes, Ints


@dataclass(frozen=True, kw_only=True, eq=False)
class FirmwareLayer:
    """One layer.

    Attributes:
        graph: The network, with the weights that its streams decode to.
        layer: Which layer.
        coded: Its weights as they lie in flash.
    """

    graph: Graph
    layer: Layer
    coded: Coded

    @property
    def op(self) -> Op:
        """The operator."""
        return self.graph.ops[self.layer.op]

    @property
    def source(self) -> Tensor:
        """What it reads."""
        return self.graph.tensors[self.op.inputs[0]]

    @property
    def output(self) -> Tensor:
        """What it writes."""
        return self.graph.tensors[self.op.outputs[0]]

    @property
    def weights(self) -> Tensor:
        """The weights' tensor."""
        return self.graph.tensors[self.layer.weights]

    @property
    def weight_zero(self) -> int:
        """The code of a weight of 0."""
        assert self.weights.quantization is not None
        return int(self.weights.quantization.zero_points[0])

    @cached_property
    def steps(self) -> Ints:
        """`(channels, columns)` weights less their zero point."""
        assert self.weights.data is not None
        return by_channel(self.weights.data.astype(np.int64), self.layer) - self.weight_zero

    @cached_property
    def bias(self) -> Ints:
        """`(channels,)` int32: the biases less the input's zero point times the sum of the channel's weights.

        A tap that lies on the padding then counts as an input of the zero point, and no tap needs it taken off.
        """
        stored = None if self.layer.bias is None else self.graph.tensors[self.layer.bias].data
        bias = np.zeros(self.layer.channels, np.int64) if stored is None else stored.astype(np.int64).reshape(-1)
        whole = bias - zero_of(self.source) * self.steps.sum(axis=1)
        return whole.astype(np.int32).astype(np.int64)

    @cached_property
    def multipliers(self) -> list[tuple[int, int]]:
        """Multiplier and shift: of each channel, or one for all."""
        assert self.weights.quantization is not None
        scales, source, output = self.weights.quantization.scales, scale_of(self.source), scale_of(self.output)
        if self.layer.operator == "FULLY_CONNECTED" or self.weights.dtype == "uint8":
            products = [float(np.float32(source) * np.float32(scale)) for scale in scales]
        else:
            products = [source * float(scale) for scale in scales]
        return [multiplier_of(product / output) for product in products]

    @property
    def limits(self) -> tuple[int, int]:
        """Lowest and highest code of the output."""
        return activation_range(self.op, self.output)

    @cached_property
    def arithmetic(self) -> Arithmetic:
        """How the runtime computes with its weights."""
        return arithmetic(self.steps, self.coded.coding)

    @cached_property
    def stream(self) -> Stream:
        """Its weights, as far as their decoding takes time."""
        return Stream(
            coding=self.coded.coding,
            arithmetic=self.arithmetic,
            stream_bytes=len(self.coded.stream),
            table_bytes=len(self.coded.table),
            kept=int(np.count_nonzero(self.steps)),
        )

    def check(self) -> None:
        """Check that there are kernels for it.

        Raises:
            UnsupportedError: There are none.
        """
        what = f"{self.layer.operator} ({self.layer.name})"
        kinds = {self.source.dtype, self.output.dtype, self.weights.dtype}
        if kinds not in ({"int8"}, {"uint8"}):
            raise UnsupportedError(f"{what} has types {', '.join(sorted(kinds))}: the C runtime has int8 and uint8")
        quantization = self.weights.quantization
        if quantization is None or len(np.unique(quantization.zero_points)) != 1:
            raise UnsupportedError(f"{what} has weights without one zero point, which the C runtime does not have")
        if self.weights.dtype == "int8" and self.weight_zero != 0:
            raise UnsupportedError(f"{what} has int8 weights with a zero point, which the C runtime does not have")


def raw_weights(graph: Graph, layer: Layer) -> Coded:
    """A layer's weights as they are."""
    data = graph.tensors[layer.weights].data
    assert data is not None
    return Coded(
        coding="raw",
        count=layer.size,
        groups=1,
        inner=layer.size,
        zero_byte=0,
        table=b"",
        stream=_stream(data, layer).tobytes(),
    )


def _stream(data: Array, layer: Layer) -> Bytes:
    return by_channel(offset_codes(np.ascontiguousarray(data)), layer).reshape(-1)


def firmware_layers(graph: Graph, coded: Mapping[int, Coded]) -> dict[int, FirmwareLayer]:
    """All layers by the index of their operator; weights that are not coded are raw."""
    found = layers(graph)
    return {
        layer.op: FirmwareLayer(graph=graph, layer=layer, coded=coded.get(layer.op) or raw_weights(graph, layer))
        for layer in found
    }
