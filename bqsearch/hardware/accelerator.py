"""A compressed network on a row-stationary accelerator: its footprint in DRAM, time and energy.

Convolutions, depthwise convolutions and dense layers run on the array, one after another, each under the mapping of
least energy. Weights cross from DRAM in the bits in which the plan codes them, with their tables, biases and channel
records; activations in the bits of their type.

All other operators are the host's; of them only their inputs and outputs, which cross to DRAM and back, are counted.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from bqsearch.compress import CompressedModel
from bqsearch.errors import UnsupportedError
from bqsearch.graph.ir import Graph, Op, Tensor
from bqsearch.graph.ops import SUPPORTED, Layer, activations, layers, operator_names, source
from bqsearch.hardware.dataflow import Axis, Chip, Convolution, Mapped, Mappings, mappings
from bqsearch.hardware.footprint import Flash, Ram, constant_bytes
from bqsearch.hardware.memory import ArenaPlan, greedy_arena
from bqsearch.hardware.moves import Activations
from bqsearch.hardware.schedule import Step
from bqsearch.hardware.target import Target
from bqsearch.hardware.timeline import Timeline, arena_timeline


@dataclass(frozen=True, kw_only=True, eq=False)
class Accelerator:
    """A network on an accelerator; what does not depend on the plan is worked out once.

    Attributes:
        graph: The uncompressed 8-bit network.
        target: An accelerator.
        chip: Of the target.
    """

    graph: Graph
    target: Target
    chip: Chip

    def mapped(self, model: CompressedModel) -> Mapping[int, Mapped]:
        """For each operator on the array its mapping."""
        return {op: found.best(self._weight_bits(model, op)) for op, found in self.mappings.items()}

    def latency(self, model: CompressedModel) -> float:
        """Seconds of one inference."""
        array = sum(
            float(mapped.movement.seconds(self.chip, self.target.frequency, self._weight_bits(model, op)))
            for op, mapped in self.mapped(model).items()
        )
        return array + self._host_bytes / self.chip.bandwidth

    def energy(self, model: CompressedModel) -> float:
        """Joules of one inference, DRAM's among them."""
        host = 8 * self._host_bytes / self.chip.word * self.chip.dram_access
        array = sum(
            float(mapped.movement.energy(self.chip, self._weight_bits(model, op)))
            for op, mapped in self.mapped(model).items()
        )
        return (host + array) * self.chip.mac

    def check(self) -> None:
        """Find all mappings, or tell before anything is searched that there is none.

        Raises:
            UnsupportedError: An operator has none.
        """
        _ = self.mappings

    @cached_property
    def mappings(self) -> Mapping[int, Mappings]:
        """For each operator on the array its best mappings.

        Raises:
            UnsupportedError: An operator has none.
        """
        searched: dict[Convolution, Mappings] = {}
        found = {}
        for index, op in enumerate(self.graph.ops):
            if SUPPORTED[op.code].weights is None:
                continue
            try:
                shape = convolution(self.graph, op)
                if shape not in searched:
                    searched[shape] = mappings(shape, self.chip)
            except UnsupportedError as error:
                name = operator_names(self.graph)[index]
                raise UnsupportedError(f"{name} has no mapping onto {self.target.title}: {error}") from error
            found[index] = searched[shape]
        return found

    def _weight_bits(self, model: CompressedModel, op: int) -> float:
        """All that a layer's filters bring from DRAM."""
        if op not in model.by_op:
            return 8.0 * sum(tensor.nbytes for tensor in _operands(self.graph, self.graph.ops[op])[1:])
        entry = model.by_op[op]
        bias = 0 if entry.layer.bias is None else self.graph.tensors[entry.layer.bias].nbytes
        return 8.0 * (entry.option.nbytes + bias + entry.layer.channels * self.target.channel_record)

    @cached_property
    def _host_bytes(self) -> int:
        ops = [op for op in self.graph.ops if SUPPORTED[op.code].work == "element"]
        written = sum(self.graph.tensors[i].nbytes for op in ops for i in op.outputs)
        return written + sum(tensor.nbytes for op in ops for tensor in activations(self.graph, op))


def convolution(graph: Graph, op: Op) -> Convolution:
    """The shape of an operator with weights.

    Raises:
        UnsupportedError: The array does not compute it.
    """
    if op.code == "TRANSPOSE_CONV":
        raise UnsupportedError("transposed convolutions do not run on the array")
    data, weights = _operands(graph, op)[:2]
    output = graph.tensors[op.outputs[0]]
    input_bits, output_bits = (8 * tensor.nbytes / tensor.size for tensor in (data, output))
    if op.code == "FULLY_CONNECTED":
        filters, channels = weights.shape
        point = Axis(size=1, taps=1, outputs=1)
        rows = output.size // filters
        return Convolution(
            batch=rows,
            channels=channels,
            filters=filters,
            height=point,
            width=point,
            input_bits=input_bits,
            output_bits=output_bits,
        )
    depthwise = op.code == "DEPTHWISE_CONV_2D"
    return Convolution(
        batch=data.shape[0],
        groups=data.shape[3] if depthwise else 1,
        channels=1 if depthwise else data.shape[3],
        filters=output.shape[3] // data.shape[3] if depthwise else output.shape[3],
        height=_axis(op, "H", data.shape[1], weights.shape[1], output.shape[1]),
        width=_axis(op, "W", data.shape[2], weights.shape[2], output.shape[2]),
        input_bits=input_bits,
        output_bits=output_bits,
    )


def _operands(graph: Graph, op: Op) -> list[Tensor]:
    """What it works on, its weights and its bias."""
    kind = SUPPORTED[op.code]
    assert kind.weights is not None
    assert kind.bias is not None
    bias = op.inputs[kind.bias : kind.bias + 1]
    return [graph.tensors[i] for i in (source(op), op.inputs[kind.weights], *bias) if i >= 0]


def _axis(op: Op, side: str, size: int, taps: int, outputs: int) -> Axis:
    """Height ("H") or width ("W"). TFLite pads what the last place misses, the smaller half of it before."""
    stride, dilation = int(op.options[f"stride{side}"]), int(op.options.get(f"dilation{side}Factor", 1))
    missed = (outputs - 1) * stride + (taps - 1) * dilation + 1 - size
    return Axis(size=size, taps=taps, outputs=outputs, stride=stride, dilation=dilation, margin=max(missed, 0) // 2)


@dataclass(frozen=True, kw_only=True, eq=False)
class DramFootprint:
    """See `Footprint`. Nothing of a network stays on the chip, so flash and RAM are both the DRAM beside it: flash what
    its constants take, RAM what its activations take.

    Attributes:
        accelerator: The network on its accelerator.
    """

    accelerator: Accelerator
    provenance: ClassVar[str] = (
        "Flash and RAM: both lie in the DRAM beside the accelerator; weights, tables and biases to the byte, and "
        "activations whole, each layer's beside the next one's."
    )

    @property
    def activations(self) -> int:
        """Bytes of DRAM for activations."""
        return max((buffer.end for buffer in self._arena.buffers), default=0)

    @cached_property
    def lower_bound(self) -> int:
        """Most bytes of activations that stand at a time."""
        return max((sum(b.nbytes for b in standing) for standing in self._arena.live), default=0)

    def flash(self, model: CompressedModel) -> Flash:
        """Bytes of DRAM for constants."""
        graph, target = self.accelerator.graph, self.accelerator.target
        options = [entry.option for entry in model.layers]
        return Flash(
            weights=sum(o.stream_bytes for o in options),
            tables=sum(o.table_bytes for o in options),
            biases=constant_bytes(graph),
            requantization=sum(layer.channels for layer in layers(graph)) * target.channel_record,
            records=len(self.accelerator.mappings) * target.operator_record,
            code=0,
        )

    def ram(self, model: CompressedModel) -> Ram:
        """Bytes of DRAM for activations; the same for every plan."""
        del model
        return Ram(activations=self.activations, decode_buffer=0, weights=0, stack=0, static=0, peak=self._peak)

    def timeline(self, model: CompressedModel) -> Timeline:
        """What stands where in the DRAM for activations while the network runs; the same for every plan."""
        del model
        moves = self._arena.moves
        steps = [Step(kind=move.kind, ops=move.ops, rows=move.rows, scratch=()) for move in moves]
        return arena_timeline(self._arena, steps, self._fullest)

    def decodes(self, model: CompressedModel) -> Mapping[int, int]:
        """For each operator on the array how often its weights are fetched in an inference."""
        return {op: int(mapped.movement.weight_reads) for op, mapped in self.accelerator.mapped(model).items()}

    def stored(self, coding: str, stream_bytes: int, table_bytes: int) -> int:
        """Stream and table."""
        del coding
        return stream_bytes + table_bytes

    def decoder_code(self, codings: Collection[str]) -> int:
        """None: circuits decode."""
        del codings
        return 0

    def least_ram(self, layer: Layer, coding: str, table_bytes: int) -> int:
        """Bytes of activations: no layer's form changes them."""
        del layer, coding, table_bytes
        return self.activations

    @cached_property
    def _arena(self) -> ArenaPlan:
        return greedy_arena(Activations(graph=self.accelerator.graph))

    @cached_property
    def _fullest(self) -> int:
        """The step that sets the arena's size."""
        ends = [max((b.end for b in standing), default=0) for standing in self._arena.live]
        return ends.index(max(ends))

    @property
    def _peak(self) -> str:
        return operator_names(self.accelerator.graph)[self._arena.moves[self._fullest].ops[0]]
