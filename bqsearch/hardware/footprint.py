"""Footprint: the flash and RAM of a compressed network under a runtime."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from typing import ClassVar, Protocol

from bqsearch.compress import CompressedModel
from bqsearch.graph.ir import Graph
from bqsearch.graph.ops import Layer, layers
from bqsearch.hardware.timeline import Timeline


@dataclass(frozen=True, kw_only=True)
class Flash:
    """Bytes of flash.

    Attributes:
        weights: Coded weights of all layers; those that lie in RAM are copied there from here.
        tables: Their codebooks and codeword counts, likewise.
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
        activations: Arena that the network takes with all weights raw.
        decode_buffer: What coded weights add to it.
        weights: Coded weights that lie in RAM, tables included.
        stack: Kept free for the stack.
        static: The runtime's own variables.
        peak: Name of the operator that sets the arena's size.
    """

    activations: int
    decode_buffer: int
    weights: int
    stack: int
    static: int
    peak: str

    @property
    def total(self) -> int:
        """All of it."""
        return self.activations + self.decode_buffer + self.weights + self.stack + self.static


class Footprint(Protocol):
    """What one network takes on one board; what does not depend on the plan is worked out once.

    Attributes:
        provenance: How sure its figures are, in a sentence for a report.
    """

    provenance: ClassVar[str]

    @property
    def activations(self) -> int:
        """Arena that the network takes with all weights raw, bytes."""
        ...

    @property
    def lower_bound(self) -> int:
        """Bytes that no plan of that arena goes below."""
        ...

    def flash(self, model: CompressedModel) -> Flash:
        """Bytes of flash."""
        ...

    def ram(self, model: CompressedModel) -> Ram:
        """Bytes of RAM."""
        ...

    def timeline(self, model: CompressedModel) -> Timeline:
        """What stands where in the arena while the network runs; its size is `ram`'s activations and decode buffer."""
        ...

    def decodes(self, model: CompressedModel) -> Mapping[int, int]:
        """For each operator with weights how often they are decoded in an inference."""
        ...

    def stored(self, coding: str, stream_bytes: int, table_bytes: int) -> int:
        """Bytes of flash that a layer's weights take in this form, with all that goes along with them."""
        ...

    def decoder_code(self, codings: Collection[str]) -> int:
        """Bytes of flash of the code that decodes these codings, whatever else is linked."""
        ...

    def least_ram(self, layer: Layer, coding: str, table_bytes: int) -> int:
        """Bytes of RAM that no plan with the layer in this form can go below."""
        ...


def constant_bytes(graph: Graph) -> int:
    """Biases, and real constants of operators without weights."""
    weights = {layer.weights for layer in layers(graph)}
    constants = [t for i, t in enumerate(graph.tensors) if t.data is not None and i not in weights]
    return sum(t.nbytes for t in constants if t.quantization is not None)
