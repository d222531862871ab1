"""The static cost model: flash, RAM, time and energy of a compressed network on a board, from counts and constants.

All figures are predictions from the target's constants. Flash is exact in its streams, tables and biases; code and
records are the target's allowances. RAM is a planned arena plus the target's allowances. Cycles are linear in the work:

    macs * mac_<kind> + elements * element + operators * operator
        + weights * decode_<coding> + bytes of weights, biases and channel records * flash_read

with every weight fetched from flash once an inference. Where whole tensors are decoded, raw weights are read in place
by the kernels, and the cost of a MAC covers it. The arena has no scratch that a kernel library may want besides.
"""

from dataclasses import dataclass, fields
from functools import cached_property

from bqsearch.compress import CompressedLayer, CompressedModel
from bqsearch.graph.ir import Graph
from bqsearch.graph.ops import SUPPORTED, elements, layers, macs
from bqsearch.hardware.memory import ArenaPlan, decode_bytes, plan_arena
from bqsearch.hardware.target import Target


@dataclass(frozen=True, kw_only=True)
class Flash:
    """Bytes of flash.

    Attributes:
        weights: Coded weights of all layers.
        tables: Their codebooks and codeword counts.
        biases: int32 biases, and constants of operators without weights.
        requantization: Multipliers and shifts of the output channels.
        records: Descriptions of the operators.
        code: Runtime and start-up.
    """

    weights: int
    tables: int
    biases: int
    requantization: int
    records: int
    code: int

    @property
    def total(self) -> int:
        """All of it."""
        return sum(getattr(self, f.name) for f in fields(self))


@dataclass(frozen=True, kw_only=True)
class Ram:
    """Bytes of RAM.

    Attributes:
        activations: Arena that the activations alone would take.
        decode_buffer: What decoded weights add to it.
        stack: Kept free for the stack.
        static: The runtime's own variables.
        peak: Name of the operator that sets the arena's size.
    """

    activations: int
    decode_buffer: int
    stack: int
    static: int
    peak: str

    @property
    def total(self) -> int:
        """All of it."""
        return self.activations + self.decode_buffer + self.stack + self.static


@dataclass(frozen=True, kw_only=True, eq=False)
class CostModel:
    """One network on one board; what does not depend on the plan is worked out once.

    Attributes:
        graph: The uncompressed 8-bit network.
        target: The board.
    """

    graph: Graph
    target: Target

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
        arena, peak = self.arena.with_scratch(decode_bytes(model, self.target))
        return Ram(
            activations=self.arena.nbytes,
            decode_buffer=arena - self.arena.nbytes,
            stack=self.target.stack,
            static=self.target.static_ram,
            peak=self.operator_names[peak],
        )

    def cycles(self, model: CompressedModel) -> float:
        """Core cycles of one inference."""
        return self._fixed_cycles + sum(_weight_cycles(entry, self.target) for entry in model.layers)

    def latency(self, model: CompressedModel) -> float:
        """Seconds of one inference."""
        return self.cycles(model) / self.target.frequency

    def energy(self, model: CompressedModel) -> float:
        """Joules of one inference: the board's active power for as long as it takes."""
        return self.latency(model) * self.target.power

    @cached_property
    def arena(self) -> ArenaPlan:
        """The activations' places."""
        return plan_arena(self.graph)

    @cached_property
    def operator_names(self) -> tuple[str, ...]:
        """Each operator's name for people: its layer's, or its code and index."""
        named = {layer.op: layer.name for layer in layers(self.graph)}
        return tuple(named.get(i, f"{op.code.lower()} (operator {i})") for i, op in enumerate(self.graph.ops))

    @cached_property
    def _constant_bytes(self) -> int:
        """Biases, and real constants of operators without weights; shapes and axes are in the records."""
        weights = {layer.weights for layer in layers(self.graph)}
        constants = [t for i, t in enumerate(self.graph.tensors) if t.data is not None and i not in weights]
        return sum(t.nbytes for t in constants if t.quantization is not None)

    @cached_property
    def _requantization_bytes(self) -> int:
        return sum(layer.channels for layer in layers(self.graph)) * self.target.channel_record

    @cached_property
    def _fixed_cycles(self) -> float:
        per = self.target.cycles
        work = [(SUPPORTED[op.code].work, macs(self.graph, op), elements(self.graph, op)) for op in self.graph.ops]
        counted = sum(m * per[f"mac_{kind}"] if m else e * per["element"] for kind, m, e in work)
        fetched = self._constant_bytes + self._requantization_bytes
        return counted + len(work) * per["operator"] + fetched * per["flash_read"]


def _weight_cycles(entry: CompressedLayer, target: Target) -> float:
    if target.decode_buffer == "tensor" and entry.option.choice.coding == "raw":
        return 0.0  # read where they lie, which the cost of a MAC has in it
    decode = target.cycles[f"decode_{entry.option.choice.coding}"]
    return entry.layer.size * decode + entry.option.nbytes * target.cycles["flash_read"]
