"""The schedule: what is executed when, and where in the arena each byte lies meanwhile."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from bqsearch.hardware.buffers import Buffer

ALIGNMENT = 4  # bytes; the arena and all buffers in it begin at a multiple


@dataclass(frozen=True, kw_only=True)
class Step:
    """Some operators, executed together.

    Attributes:
        kind: `whole`, `in_place` (the output lies where the input does) or `strips` (a chain, some rows at a time).
        ops: Indices of the operators, in order.
        rows: Output rows of a strip; None but for strips.
        scratch: What the step needs besides, in the order of `hardware.scratch`.
        strips: How many strips there are; each decodes the weights of all operators.
    """

    kind: Literal["whole", "in_place", "strips"]
    ops: tuple[int, ...]
    rows: int | None
    scratch: tuple[Buffer, ...]
    strips: int = 1


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """All steps of a network.

    Attributes:
        steps: In the order of execution.
        buffers: Of the tensors; first and last count steps.
    """

    steps: tuple[Step, ...]
    buffers: tuple[Buffer, ...]

    @cached_property
    def nbytes(self) -> int:
        """Size of the arena, scratch included."""
        placed = [*self.buffers, *(buffer for step in self.steps for buffer in step.scratch)]
        return max((buffer.end for buffer in placed), default=0)

    @cached_property
    def offsets(self) -> Mapping[int, int]:
        """Byte offset of each tensor in the arena."""
        return {buffer.tensor: buffer.offset for buffer in self.buffers if buffer.tensor is not None}

    @cached_property
    def decodes(self) -> Mapping[int, int]:
        """For each operator how often its weights are decoded in an inference."""
        return {op: step.strips for step in self.steps for op in step.ops}
