"""The static cost model: flash, RAM, time and energy of a compressed network on a board, from counts and constants.

All figures are predictions from the target's constants; flash and RAM are its runtime's footprint. Cycles are linear in
the work:

    macs * mac_<kind> + elements * element + operators * operator
        + weights * decode_<coding> + bytes of weights, biases and channel records * flash_read

with every weight fetched from flash once an inference. TensorFlow Lite Micro reads raw weights in place, and the cost
of a MAC covers it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from bqsearch.compress import CompressedLayer, CompressedModel
from bqsearch.graph.ir import Graph
from bqsearch.graph.ops import SUPPORTED, elements, layers, macs
from bqsearch.hardware.footprint import Flash, Footprint, Ram, constant_bytes
from bqsearch.hardware.micro import MicroFootprint
from bqsearch.hardware.streamed import StreamedFootprint
from bqsearch.hardware.target import Target

_FOOTPRINTS: Mapping[str, Callable[..., Footprint]] = {"bqsearch": StreamedFootprint, "tflm": MicroFootprint}


@dataclass(frozen=True, kw_only=True, eq=False)
class CostModel:
    """One network on one board; what does not depend on the plan is worked out once.

    Attributes:
        graph: The uncompressed 8-bit network.
        target: The board.
    """

    graph: Graph
    target: Target

    @cached_property
    def footprint(self) -> Footprint:
        """Of the board's runtime."""
        return _FOOTPRINTS[self.target.runtime](graph=self.graph, target=self.target)

    def flash(self, model: CompressedModel) -> Flash:
        """Bytes of flash."""
        return self.footprint.flash(model)

    def ram(self, model: CompressedModel) -> Ram:
        """Bytes of RAM."""
        return self.footprint.ram(model)

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
    def _fixed_cycles(self) -> float:
        per = self.target.cycles
        work = [(SUPPORTED[op.code].work, macs(self.graph, op), elements(self.graph, op)) for op in self.graph.ops]
        counted = sum(m * per[f"mac_{kind}"] if m else e * per["element"] for kind, m, e in work)
        return counted + len(work) * per["operator"] + self._fetched_bytes * per["flash_read"]

    @property
    def _fetched_bytes(self) -> int:
        """Biases, other real constants, and channel records; weights are counted with their decoding."""
        channels = sum(layer.channels for layer in layers(self.graph))
        return constant_bytes(self.graph) + channels * self.target.channel_record


def _weight_cycles(entry: CompressedLayer, target: Target) -> float:
    if target.runtime == "tflm" and entry.option.choice.coding == "raw":
        return 0.0  # read where they lie, which the cost of a MAC has in it
    decode = target.cycles[f"decode_{entry.option.choice.coding}"]
    return entry.layer.size * decode + entry.option.nbytes * target.cycles["flash_read"]
