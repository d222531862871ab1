"""The static cost model: flash, RAM, time and energy of a compressed network on a target, from counts and constants.

Flash and RAM are those of the target's runtime. Time is a prediction from constants, linear in the work. Under
bqsearch's own runtime its cycles are

    instructions * instruction + products * product + bytes of weights, biases and records * flash_read

with instructions by units of work that were fitted on the emulated board (`hardware.work`). A layer's weights, biases
and channel records are fetched from flash as often as its schedule decodes them: once an inference, or once a strip.
Weights that lie in RAM are not fetched: instructions have their loads in them. Under TensorFlow Lite Micro they are

    macs * mac_<kind> + elements * element + operators * operator
        + coded weights * decode_<coding> + bytes of coded weights, biases and channel records * flash_read

where raw weights are read in place, which the cost of a MAC covers. On an accelerator time and energy follow from what
its mappings move; see `hardware.accelerator`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from bqsearch.compress import CompressedLayer, CompressedModel
from bqsearch.graph.ir import Graph
from bqsearch.graph.ops import SUPPORTED, elements, layers, macs
from bqsearch.hardware import linked, work
from bqsearch.hardware.accelerator import Accelerator, DramFootprint
from bqsearch.hardware.footprint import Flash, Footprint, Ram, constant_bytes
from bqsearch.hardware.micro import MicroFootprint
from bqsearch.hardware.streamed import StreamedFootprint
from bqsearch.hardware.target import Target
from bqsearch.hardware.work import Instructions, Stream, Work


@dataclass(frozen=True, kw_only=True, eq=False)
class CostModel:
    """One network on one board; what does not depend on the plan is worked out once.

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

    @cached_property
    def footprint(self) -> Footprint:
        """Of the target's runtime."""
        if self.accelerator is not None:
            return DramFootprint(accelerator=self.accelerator)
        if self.target.runtime == "tflm":
            return MicroFootprint(graph=self.graph, target=self.target)
        return StreamedFootprint(graph=self.graph, target=self.target, room=self.room, thrift=self.thrift)

    @cached_property
    def accelerator(self) -> Accelerator | None:
        """The network on the accelerator; None on a board."""
        chip = self.target.chip
        return None if chip is None else Accelerator(graph=self.graph, target=self.target, chip=chip)

    def flash(self, model: CompressedModel) -> Flash:
        """Bytes of flash."""
        return self.footprint.flash(model)

    def ram(self, model: CompressedModel) -> Ram:
        """Bytes of RAM."""
        return self.footprint.ram(model)

    def cycles(self, model: CompressedModel) -> float:
        """Core cycles of one inference, those among them in which the core waits for DRAM."""
        if self.accelerator is not None:
            return self.accelerator.latency(model) * self.target.frequency
        if isinstance(self.footprint, StreamedFootprint):
            return self._streamed_cycles(model, self.footprint)
        decodes = self.footprint.decodes(model)
        return self._fixed_cycles + sum(self._layer_cycles(entry, decodes[entry.layer.op]) for entry in model.layers)

    def instructions(self, model: CompressedModel) -> float:
        """That bqsearch's own runtime executes in an inference. There is no such figure for other runtimes."""
        assert isinstance(self.footprint, StreamedFootprint)
        streams = {entry.layer.op: Stream.of(entry) for entry in model.layers}
        return self._instructions.count(self.footprint.schedule(model), streams)

    def fetching(self, model: CompressedModel) -> Mapping[int, float]:
        """For each operator with weights the cycles of an inference that fetching them from flash takes, or would."""
        decodes = self.footprint.decodes(model)
        return {op: decodes[op] * self._fetch_cycles(entry) for op, entry in model.by_op.items()}

    def latency(self, model: CompressedModel) -> float:
        """Seconds of one inference."""
        return self.cycles(model) / self.target.frequency

    def energy(self, model: CompressedModel) -> float:
        """Joules of one inference: a board's active power for as long as it takes, or an accelerator's accesses."""
        if self.accelerator is not None:
            return self.accelerator.energy(model)
        return self.latency(model) * self.target.power

    def _streamed_cycles(self, model: CompressedModel, footprint: StreamedFootprint) -> float:
        per, schedule = self.target.cycles, footprint.schedule(model)
        streams = {entry.layer.op: Stream.of(entry) for entry in model.layers}
        fetched = sum(
            schedule.decodes[op] * (self._record_bytes(entry) + (0 if entry.resident else entry.option.nbytes))
            for op, entry in model.by_op.items()
        )
        fetched += linked.constants(model, schedule, linked.load(self.target.code_table)).nbytes + self._fetched_bytes
        return (
            self._instructions.count(schedule, streams) * per["instruction"]
            + self._instructions.work.products(schedule, streams) * per["product"]
            + fetched * per["flash_read"]
        )

    @cached_property
    def _instructions(self) -> Instructions:
        return Instructions(work=Work(graph=self.graph), units=work.load(self.target.code_table).units)

    @cached_property
    def _fixed_cycles(self) -> float:
        per = self.target.cycles
        found = [(SUPPORTED[op.code].work, macs(self.graph, op), elements(self.graph, op)) for op in self.graph.ops]
        counted = sum(m * per[f"mac_{kind}"] if m else e * per["element"] for kind, m, e in found)
        return counted + len(found) * per["operator"] + self._fetched_bytes * per["flash_read"]

    @cached_property
    def _fetched_bytes(self) -> int:
        """Real constants that belong to no layer."""
        return constant_bytes(self.graph) - sum(map(self._bias_bytes, {layer.bias for layer in layers(self.graph)}))

    def _bias_bytes(self, bias: int | None) -> int:
        return 0 if bias is None or self.graph.tensors[bias].quantization is None else self.graph.tensors[bias].nbytes

    def _layer_cycles(self, entry: CompressedLayer, decodes: int) -> float:
        """Under TensorFlow Lite Micro, of a layer's weights, biases and channel records, decoded so many times."""
        per, weights = self.target.cycles, 0.0
        if entry.option.choice.coding != "raw":  # the cost of a MAC has it in it
            weights = entry.layer.size * per[f"decode_{entry.option.choice.coding}"] + self._fetch_cycles(entry)
        return decodes * (weights + self._record_bytes(entry) * per["flash_read"])

    def _record_bytes(self, entry: CompressedLayer) -> int:
        """Biases and channel records."""
        return self._bias_bytes(entry.layer.bias) + entry.layer.channels * self.target.channel_record

    def _fetch_cycles(self, entry: CompressedLayer) -> float:
        """Of a layer's weights and tables, once."""
        return entry.option.nbytes * self.target.cycles["flash_read"]
