"""The footprint under bqsearch's own runtime, which decodes weights while it computes.

Flash is exact in its streams, tables and biases; code and records are the target's allowances. RAM is a planned arena
plus the target's allowances.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from bqsearch.compress import CompressedModel
from bqsearch.graph.ir import Graph
from bqsearch.graph.ops import Layer, layers, operator_names
from bqsearch.hardware.footprint import Flash, Ram, constant_bytes
from bqsearch.hardware.memory import ArenaPlan, plan_arena
from bqsearch.hardware.target import Target


@dataclass(frozen=True, kw_only=True, eq=False)
class StreamedFootprint:
    """See `Footprint`.

    Attributes:
        graph: The uncompressed 8-bit network.
        target: The board.
    """

    graph: Graph
    target: Target
    provenance: ClassVar[str] = (
        "Flash and RAM: weights, tables and biases to the byte and activations as planned; code, records, stack and "
        "statics are the board's allowances, which no linker has confirmed yet."
    )

    @property
    def activations(self) -> int:
        """Arena that the activations alone take, bytes."""
        return self.arena.nbytes

    @property
    def lower_bound(self) -> int:
        """Most bytes of activations that stand at a time."""
        return self.arena.lower_bound

    def flash(self, model: CompressedModel) -> Flash:
        """Bytes of flash."""
        options = [entry.option for entry in model.layers]
        return Flash(
            weights=sum(o.stream_bytes for o in options),
            tables=sum(o.table_bytes for o in options),
            biases=self._constant_bytes,
            requantization=self._requantization_bytes,
            records=len(self.graph.ops) * self.target.operator_record,
            code=self.target.code,
        )

    def ram(self, model: CompressedModel) -> Ram:
        """Bytes of RAM."""
        scratch = {entry.layer.op: scratch_bytes(entry.layer, entry.option.table_bytes) for entry in model.layers}
        arena, peak = self.arena.with_scratch(scratch)
        return Ram(
            activations=self.arena.nbytes,
            decode_buffer=arena - self.arena.nbytes,
            stack=self.target.stack,
            static=self.target.static_ram,
            peak=self._names[peak],
        )

    def stored(self, coding: str, stream_bytes: int, table_bytes: int) -> int:
        """Stream and table; the record of an operator does not grow with them."""
        del coding
        return stream_bytes + table_bytes

    def least_ram(self, layer: Layer, coding: str, table_bytes: int) -> int:
        """Exact for the operator itself: the largest over all layers, and the activations', is the whole."""
        del coding
        arena = self.arena.end(layer.op, scratch_bytes(layer, table_bytes))
        return arena + self.target.stack + self.target.static_ram

    @cached_property
    def arena(self) -> ArenaPlan:
        """The activations' places."""
        return plan_arena(self.graph)

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return operator_names(self.graph)

    @cached_property
    def _constant_bytes(self) -> int:
        """Shapes and axes are in the records."""
        return constant_bytes(self.graph)

    @cached_property
    def _requantization_bytes(self) -> int:
        return sum(layer.channels for layer in layers(self.graph)) * self.target.channel_record


def scratch_bytes(layer: Layer, table_bytes: int) -> int:
    """RAM for one output channel's decoded weights and their codebook; a dense layer uses each weight once and holds
    the codebook only."""
    weights = 0 if layer.operator == "FULLY_CONNECTED" else layer.size // layer.channels
    return weights + table_bytes
