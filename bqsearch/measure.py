"""Measurements: lazy readings of one compressed model; and the Objective value that reads them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np

from bqsearch.compress import CompressedModel
from bqsearch.hardware.cost import CostModel, Flash, Ram
from bqsearch.runtime.litert import Runner
from bqsearch.types import Array, Ints

Direction = Literal["maximize", "minimize"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Scorer:
    """Runs candidates over one split.

    Attributes:
        runner: The network, ready for other constants.
        inputs: `(n, ...)` codes.
        labels: `(n,)` class indices, already shifted where the network has a background class.
    """

    runner: Runner
    inputs: Array
    labels: Ints

    def correct(self, model: CompressedModel) -> Array:
        """Which inputs the model gets right, `(n,)` bool; of equal scores the lowest class counts."""
        scores = self.runner.run(self.inputs, model.constants)[0].reshape(len(self.inputs), -1)
        return np.argmax(scores, axis=1) == self.labels


@dataclass(frozen=True, kw_only=True, eq=False)
class Measurements:
    """What is known of one compressed model on one board; each figure is worked out when first read.

    Attributes:
        model: The candidate.
        cost: Its network's cost model on the board.
        scorer: The split that it is scored on; running it is what makes an objective expensive.
    """

    model: CompressedModel
    cost: CostModel
    scorer: Scorer = field(repr=False)

    @cached_property
    def correct(self) -> Array:
        """Which inputs of the split it gets right, `(n,)` bool. Runs the network."""
        return self.scorer.correct(self.model)

    @property
    def accuracy(self) -> float:
        """Share of the split that it gets right, 0 to 1. Runs the network."""
        return float(self.correct.mean())

    @cached_property
    def flash(self) -> Flash:
        """Flash by part, bytes."""
        return self.cost.flash(self.model)

    @cached_property
    def ram(self) -> Ram:
        """RAM by part, bytes."""
        return self.cost.ram(self.model)

    @property
    def weight_bytes(self) -> int:
        """Coded weights with their tables, bytes."""
        return self.flash.weights + self.flash.tables

    @cached_property
    def latency(self) -> float:
        """Seconds of one inference."""
        return self.cost.latency(self.model)

    @cached_property
    def energy(self) -> float:
        """Joules of one inference."""
        return self.cost.energy(self.model)


@dataclass(frozen=True, kw_only=True)
class Objective:
    """Something to search for.

    Attributes:
        name: The name that it is looked up by.
        summary: One line for a list of objectives.
        direction: Which way is better.
        unit: Of what `read` returns.
        needs: `"static"` if no data is run; static objectives are read first, and a candidate that breaks a limit is
            not run at all.
        read: Takes the figure from the measurements.
    """

    name: str
    summary: str
    direction: Direction
    unit: str
    needs: Literal["static", "data"]
    read: Callable[[Measurements], float]
