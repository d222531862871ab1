"""The timeline of an arena: which piece of it holds what in which steps, and the step that sets its size."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from bqsearch.hardware.buffers import Buffer
from bqsearch.hardware.memory import ArenaPlan
from bqsearch.hardware.schedule import Step
from bqsearch.hardware.scratch import scratch_roles


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What happens in one step.

    Attributes:
        kind: As in `schedule.Step`; or `input`, before the first operator, or `decode`, of the operator's weights.
        ops: Indices of the network's operators, in order.
        strips: In how many it is done.
    """

    kind: str
    ops: tuple[int, ...]
    strips: int = 1


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A part of the arena, and what it is for.

    Attributes:
        role: `input` of the network, `output` of an operator, its decoded `weights`, or a scratch buffer of it: those
            of `hardware.scratch` by name, any other `scratch`.
        op: Index of the operator; None for the network's input.
        buffer: Where and when it stands; steps count stages.
    """

    role: str
    op: int | None
    buffer: Buffer


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """A whole inference.

    Attributes:
        stages: In order.
        pieces: All that the arena ever holds.
        peak: The stage that sets the arena's size.
    """

    stages: tuple[Stage, ...]
    pieces: tuple[Piece, ...]
    peak: int

    @cached_property
    def nbytes(self) -> int:
        """Size of the arena."""
        return max((piece.buffer.end for piece in self.pieces), default=0)


def arena_timeline(plan: ArenaPlan, steps: Sequence[Step], peak: int) -> Timeline:
    """The timeline of a plan for bqsearch's own runtime.

    Args:
        plan: Of the activations.
        steps: Of the plan, with the scratch that is to be shown.
        peak: The step that sets the arena's size.
    """
    return Timeline(
        stages=tuple(Stage(kind=step.kind, ops=step.ops, strips=step.strips) for step in steps),
        pieces=(*_activations(plan), *(piece for step in steps for piece in _scratch(plan, step))),
        peak=peak,
    )


def _activations(plan: ArenaPlan) -> Iterator[Piece]:
    writer = plan.activations.writer
    for buffer in plan.buffers:
        op = None if buffer.tensor is None else writer.get(buffer.tensor)
        yield Piece(role="input" if op is None else "output", op=op, buffer=buffer)


def _scratch(plan: ArenaPlan, step: Step) -> Iterator[Piece]:
    roles = scratch_roles(plan.activations.graph, step.ops, step.kind)
    for role, buffer in zip(roles, step.scratch, strict=bool(step.scratch)):
        if buffer.nbytes:
            yield Piece(role=role, op=step.ops[0], buffer=buffer)
