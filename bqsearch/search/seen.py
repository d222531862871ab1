"""Seen: what the trials of a search say of sizes, errors and the front, each read once."""

from collections.abc import Mapping

import numpy as np
from optuna.trial import FrozenTrial, TrialState

from bqsearch.search.record import ERROR
from bqsearch.search.space import Space
from bqsearch.types import Floats, Ints

_FIRST = 256  # trials that there is room for at the beginning; it doubles


class Seen:
    """The trials that have ended.

    Args:
        space: Of them.
    """

    def __init__(self, space: Space) -> None:
        self._space, self._count = space, 0
        self._plans: set[bytes] = set()
        self._rungs = np.empty((_FIRST, len(space.ladders)), np.int64)
        self._figures = np.empty((_FIRST, 4))  # bytes, error, RAM that it keeps to (infinite if a limit broke), drop
        self._smallest: dict[float, float] = {}  # by RAM, of what is known now

    def add(self, trial: FrozenTrial) -> None:
        """One more."""
        self.note(trial.params)
        self._smallest.clear()
        if trial.state != TrialState.COMPLETE:
            return
        if self._count == len(self._rungs):
            self._rungs = np.concatenate([self._rungs, np.empty_like(self._rungs)])
            self._figures = np.concatenate([self._figures, np.empty_like(self._figures)])
        record = trial.user_attrs["record"]
        kept = all(excess <= 0 for excess in record["constraints"].values())
        rungs = np.array([trial.params[ladder.layer] for ladder in self._space.ladders])
        self._rungs[self._count] = rungs
        self._figures[self._count] = (
            self._space.sizes(rungs),
            record["metrics"][ERROR],
            record["metrics"]["ram_bytes"] if kept else np.inf,
            record["constraints"].get("drop", 0.0),
        )
        self._count += 1

    def note(self, rungs: Mapping[str, int]) -> None:
        """A plan that is being tried."""
        self._plans.add(_key(rungs))

    def knows(self, rungs: Mapping[str, int]) -> bool:
        """Whether a plan was tried, or is being tried."""
        return _key(rungs) in self._plans

    @property
    def told(self) -> tuple[Ints, Floats, Floats]:
        """Of those that were run: `(n, layers)` rungs, `(n,)` bytes and `(n,)` errors of the outputs."""
        figures = self._figures[: self._count]
        return self._rungs[: self._count], figures[:, 0], figures[:, 1]

    def smallest(self, room: float) -> float:
        """Bytes of the smallest plan that kept every limit in this RAM; infinite where none did."""
        if room not in self._smallest:
            self._smallest[room] = float(self._figures[self._within(room), 0].min(initial=np.inf))
        return self._smallest[room]

    def on_front(self, room: float) -> Ints:
        """`(n,)` which of those told nothing undercuts in both bytes and drop in this RAM, fewest bytes first."""
        kept = self._within(room)
        nbytes, drops = self._figures[kept][:, [0, 3]].T
        order = np.lexsort((drops, nbytes))
        least = np.minimum.accumulate(drops[order])
        return kept[order[np.diff(least, prepend=np.inf) < 0]]

    def front(self, room: float) -> Floats:
        """`(n, 2)` bytes, ascending, and excess of the drop of those on the front."""
        return self._figures[self.on_front(room)][:, [0, 3]]

    @property
    def excess(self) -> Floats:
        """By how much the drop of those that were run is over what is allowed, `(n,)` percentage points."""
        return self._figures[: self._count, 3]

    def _within(self, room: float) -> Ints:
        """`(n,)` which of those told kept every limit in this RAM."""
        figures = self._figures[: self._count]
        return np.flatnonzero(np.isfinite(figures[:, 2]) & (figures[:, 2] <= room))


def _key(rungs: Mapping[str, int]) -> bytes:
    return np.fromiter(rungs.values(), np.int32, len(rungs)).tobytes()
