"""The footprint under bqsearch's own runtime, which decodes weights while it computes.

Flash is what the linker makes of the network with the compiler of the board's table of code; see `linked`. RAM is the
planned arena, which the firmware has as its only variable, and an allowance for the stack.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

from bqsearch.bank.layer import Option
from bqsearch.compress import CompressedModel
from bqsearch.graph.ir import Graph
from bqsearch.graph.ops import Layer, layers, operator_names
from bqsearch.hardware import linked, work
from bqsearch.hardware.footprint import Flash, Ram
from bqsearch.hardware.memory import ArenaPlan, Arenas, plan_arenas
from bqsearch.hardware.schedule import ALIGNMENT, Schedule
from bqsearch.hardware.scratch import aligned, decoder_bytes
from bqsearch.hardware.target import Target
from bqsearch.hardware.timeline import Timeline, arena_timeline


@dataclass(frozen=True, kw_only=True, eq=False)
class Planner:
    """Decides how a network is executed, however it is compressed; see `hardware.memory`.

    Within its room, or what weights in RAM leave of it, that is with as few repeated decodes as can be.

    Attributes:
        graph: The uncompressed 8-bit network.
        room: Bytes of arena to keep to, also at the price of time.
        thrift: Share of the weights whose decoding may be repeated for less RAM than that.
    """

    graph: Graph
    room: int
    thrift: float
    _known: dict[tuple[object, ...], tuple[ArenaPlan, Schedule]] = field(default_factory=dict, repr=False)

    @cached_property
    def arenas(self) -> Arenas:
        """The network's schedules."""
        return plan_arenas(self.graph, self.room)

    def plan(self, tables: Mapping[int, int], resident: int = 0) -> ArenaPlan:
        """The smallest of the plans that repeat little, or what the room asks for if that one does not keep to it.

        Args:
            tables: Bytes of RAM of the decoder of each operator's weights, as in `hardware.scratch`.
            resident: Bytes of weights in RAM.
        """
        room = max(self.room - resident, 0)
        most = self.thrift * sum(layer.size for layer in layers(self.graph))
        modest = [plan for plan in self.arenas.plans if plan.repeated <= most]
        if self.thrift and modest:
            smallest = _smallest(modest, tables)
            if smallest.with_tables(tables)[0] <= room:
                return smallest
        return self.arenas.within(room, tables)

    def plan_of(self, model: CompressedModel) -> ArenaPlan:
        """The same for what a compressed network needs."""
        return self._found(model)[0]

    def schedule(self, model: CompressedModel) -> Schedule:
        """What the runtime executes, and where all of it lies."""
        return self._found(model)[1]

    def _found(self, model: CompressedModel) -> tuple[ArenaPlan, Schedule]:
        tables, resident = decoder_tables(model), _all_resident_bytes(model)
        key = (resident, *tables.items())
        if key not in self._known:
            plan = self.plan(tables, resident)
            self._known[key] = plan, plan.schedule(tables)
        return self._known[key]


@dataclass(frozen=True, kw_only=True, eq=False)
class StreamedFootprint:
    """See `Footprint`.

    Attributes:
        graph: The uncompressed 8-bit network.
        target: The board.
        room: Bytes of RAM to keep to, also at the price of time; None for the board's, 0 for as few as can be.
        thrift: Share of the weights whose decoding may be repeated for less RAM than that.
    """

    graph: Graph
    target: Target
    room: int | None = None
    thrift: float = 0.0
    provenance: ClassVar[str] = (
        "Flash and RAM without the stack: to the byte what GCC 12.2 and its linker make of the firmware, which "
        "`bqsearch verify` builds; another compiler makes code of another size. The stack is what the kernels were "
        "measured to use on an emulated board, and a margin."
    )

    @property
    def activations(self) -> int:
        """Arena of the uncompressed network, bytes: activations, and what decoding without codebooks needs."""
        return self.planner.plan({}).nbytes

    @property
    def lower_bound(self) -> int:
        """Bytes that no arena of the uncompressed network goes below, in whatever order and places."""
        return self.planner.arenas.lower_bound

    @cached_property
    def stack(self) -> int:
        """Bytes kept free for the stack: what the network's kernels were measured to use, and the target's margin."""
        return work.load(self.target.code_table).deepest(self.graph) + self.target.stack

    def flash(self, model: CompressedModel) -> Flash:
        """Bytes of flash."""
        options = [entry.option for entry in model.layers]
        weights, tables = sum(o.stream_bytes for o in options), sum(o.table_bytes for o in options)
        padding = sum(self.stored("", o.stream_bytes, o.table_bytes) for o in options) - weights - tables
        code = linked.load(self.target.code_table)
        others = linked.constants(model, self.schedule(model), code)
        return Flash(
            weights=weights,
            tables=tables,
            biases=self._bias_bytes,
            requantization=self._requantization_bytes,
            records=others.nbytes + padding,
            code=code.nbytes(others.used),
        )

    def ram(self, model: CompressedModel) -> Ram:
        """Bytes of RAM."""
        tables = decoder_tables(model)
        plan = self.planner.plan_of(model)
        arena, peak = plan.with_tables(tables)
        return Ram(
            activations=plan.nbytes,
            decode_buffer=arena - plan.nbytes,
            weights=_all_resident_bytes(model),
            stack=self.stack,
            static=self.target.static_ram + -arena % ALIGNMENT,
            peak=self._names[peak],
        )

    def schedule(self, model: CompressedModel) -> Schedule:
        """What the runtime executes, and where all of it lies."""
        return self.planner.schedule(model)

    def timeline(self, model: CompressedModel) -> Timeline:
        """What stands where in the arena while the network runs."""
        plan = self.planner.plan_of(model)
        _, peak = plan.with_tables(decoder_tables(model))
        return arena_timeline(plan, self.schedule(model).steps, plan.step[peak])

    def decodes(self, model: CompressedModel) -> Mapping[int, int]:
        """For each operator how often its weights are decoded in an inference."""
        return self.planner.plan_of(model).decodes

    def stored(self, coding: str, stream_bytes: int, table_bytes: int) -> int:
        """Stream and table, each as long as what begins behind it at a multiple of 4."""
        del coding
        return linked.stored(stream_bytes) + (linked.stored(table_bytes) if table_bytes else 0)

    def decoder_code(self, codings: Collection[str]) -> int:
        """From the table of code; what kernels share with decoders counts here too."""
        code = linked.load(self.target.code_table)
        return code.nbytes(f"bq_{coding}" for coding in codings) - code.nbytes(())

    def least_ram(self, layer: Layer, coding: str, table_bytes: int) -> int:
        """Exact for the layer's step if no other layer in it has a codebook, in the plan of the smallest arena."""
        arena = self.planner.arenas.least(layer.op, decoder_bytes(coding, table_bytes))
        return arena + -arena % ALIGNMENT + self.stack + self.target.static_ram

    @cached_property
    def planner(self) -> Planner:
        """Decides how it is executed."""
        room = self.target.ram if self.room is None else self.room
        free = max(room - self.stack - self.target.static_ram, 0) // ALIGNMENT * ALIGNMENT
        return Planner(graph=self.graph, room=free, thrift=self.thrift)

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return operator_names(self.graph)

    @cached_property
    def _bias_bytes(self) -> int:
        """Of each output channel, for a layer without biases has there what the input's zero point makes."""
        return sum(layer.channels * 4 for layer in layers(self.graph))

    @cached_property
    def _requantization_bytes(self) -> int:
        return sum(linked.scaling_bytes(self.graph, layer) for layer in layers(self.graph))


def _smallest(plans: Sequence[ArenaPlan], tables: Mapping[int, int]) -> ArenaPlan:
    """The plan of the smallest arena with decoders, of equal ones the first; decoders make no arena smaller."""
    best, least = plans[0], plans[0].with_tables(tables)[0]
    for index, plan in sorted(enumerate(plans), key=lambda found: (found[1].nbytes, found[0])):
        if plan.nbytes > least:
            break
        nbytes = plan.with_tables(tables)[0]
        if nbytes < least or (nbytes == least and index < plans.index(best)):
            best, least = plan, nbytes
    return best


def decoder_tables(model: CompressedModel) -> dict[int, int]:
    """Bytes of RAM of each layer's decoder, by operator."""
    return {
        entry.layer.op: decoder_bytes(entry.option.choice.coding, entry.option.table_bytes) for entry in model.layers
    }


def resident_bytes(option: Option) -> int:
    """Bytes of RAM that a layer's weights take there: stream and table each begin at a multiple of the alignment."""
    return aligned(option.stream_bytes) + aligned(option.table_bytes)


def _all_resident_bytes(model: CompressedModel) -> int:
    return sum(resident_bytes(entry.option) for entry in model.layers if entry.resident)
