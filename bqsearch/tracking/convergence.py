"""How a search converges: hypervolume, the best of each objective and trials a second, trial by trial."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np

from bqsearch.search.hypervolume import hypervolume
from bqsearch.types import Floats

WINDOW = 50  # trials whose rate is told


@dataclass(frozen=True, kw_only=True)
class Axis:
    """An objective, and what the uncompressed network reaches in it.

    Attributes:
        name: Of the objective.
        direction: `"minimize"` or `"maximize"`.
        baseline: The uncompressed network's value.
    """

    name: str
    direction: str
    baseline: float

    def loss(self, value: float) -> float:
        """A value between 0, as good as can be, and 1; the uncompressed network's is one half."""
        scale, reached = self.baseline if self.baseline > 0 else 1.0, max(0.0, value)
        return (scale if self.direction == "maximize" else reached) / (scale + reached)


class Convergence:
    """Takes finished trials in their order, and says how far the search has come.

    The hypervolume is the share of the unit box that the feasible trials dominate (Zitzler and Thiele, PPSN 1998). An
    objective's value v becomes v / (v + b) where less is better and b / (v + b) where more is, with the uncompressed
    network's b, and the reference point is 1 in each. So it is fixed for a model, board and data before the first
    trial: runs with other samplers, seeds or limits compare. No trial lies outside of the box, and the uncompressed
    network alone has 0.5 to the power of the number of objectives.

    Args:
        axes: The objectives, in the order of the values.
    """

    def __init__(self, axes: Sequence[Axis]) -> None:
        self._axes = tuple(axes)
        self._front: Floats = np.empty((0, len(self._axes)))
        self._hypervolume = 0.0
        self._best: dict[str, float] = {}
        self._passed: deque[float] = deque(maxlen=WINDOW)  # seconds up to each of the last trials
        self._before: float | None = None

    def begin(self, moment: float) -> None:
        """A session begins, at this time in seconds: the time since an earlier one is no trial's."""
        self._passed.clear()
        self._before = moment

    def add(self, values: Sequence[float] | None, moment: float) -> dict[str, float]:
        """What is known behind one more trial.

        Args:
            values: Of the objectives; None if the trial breaks a limit.
            moment: When it was finished, seconds.
        """
        if self._before is not None:
            self._passed.append(max(0.0, moment - self._before))  # none where the clock was set back
        self._before = moment
        if values is not None and all(isfinite(value) for value in values):
            self._improve(values)
            self._grow(np.array([[axis.loss(value) for axis, value in zip(self._axes, values, strict=True)]]))
        return {"hypervolume": self._hypervolume, **self._best, **self._rate()}

    def _improve(self, values: Sequence[float]) -> None:
        for axis, value in zip(self._axes, values, strict=True):
            key, better = f"best_feasible_{axis.name}", max if axis.direction == "maximize" else min
            self._best[key] = better(value, self._best.get(key, value))

    def _grow(self, losses: Floats) -> None:
        """Take a trial into the front; most are dominated and change nothing."""
        if (self._front <= losses).all(axis=1).any():
            return
        left = self._front[~(losses <= self._front).all(axis=1)]
        self._front = np.concatenate([left, losses])
        self._hypervolume = hypervolume(self._front, np.ones(len(self._axes)))

    def _rate(self) -> dict[str, float]:
        seconds = sum(self._passed)
        return {"trials_per_second": len(self._passed) / seconds} if seconds > 0 else {}
