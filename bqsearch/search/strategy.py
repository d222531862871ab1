"""Who proposes: an Optuna study behind ask and tell, warmed up by what the bank predicts."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import optuna
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, Trial, TrialState

from bqsearch import registry
from bqsearch.measure import Direction
from bqsearch.plan import Plan
from bqsearch.search.record import Record, record_of
from bqsearch.search.space import Space

SWEEP = 32  # points of the Lagrangian sweep that are tried before the sampler proposes
LAG = 2  # trials that are asked for and not yet told of: one runs while the next is proposed


class Strategy(Protocol):
    """Proposes plans and learns what came of them."""

    def ask(self) -> Plan:
        """The next plan. At most `LAG` plans are asked for and not yet told of."""
        ...

    def tell(self, record: Record) -> FrozenTrial:
        """What came of the plan asked for first among those not told of; returns the finished trial for the store."""
        ...


@dataclass(kw_only=True)
class OptunaStrategy:
    """Optuna's samplers over a study in memory.

    Trial n is proposed from trials 0 to n - `LAG`, by a sampler made anew and seeded by the run's seed and n. A
    proposal so depends on nothing else, and a resumed run goes on as if it had never stopped.

    Attributes:
        space: What may be chosen.
        sampler: Registry name.
        seed: The run's.
        directions: `"maximize"` or `"minimize"` for each objective.
        finished: Trials of an earlier session, in order.
    """

    space: Space
    sampler: str
    seed: int
    directions: Sequence[Direction]
    finished: Sequence[FrozenTrial] = ()
    _study: optuna.Study = field(init=False, repr=False)
    _sweep: list[dict[str, int]] = field(init=False, repr=False)
    _open: deque[Trial] = field(init=False, repr=False, default_factory=deque)
    _untold: deque[FrozenTrial] = field(init=False, repr=False, default_factory=deque)

    def __post_init__(self) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._study = optuna.create_study(directions=list(self.directions))
        self._sweep = self.space.sweep(SWEEP)
        known = len(self.finished) - (LAG - 1)
        self._study.add_trials(self.finished[: max(known, 0)])
        for trial in self.finished[max(known, 0) :]:
            self._study.enqueue_trial(trial.params)
            self._open.append(self._propose(len(self._study.get_trials(deepcopy=False)) - 1))
            self._untold.append(trial)

    def ask(self) -> Plan:
        """The next point of the sweep, then whatever the sampler proposes."""
        number = len(self._study.get_trials(deepcopy=False))
        if number < len(self._sweep):
            self._study.enqueue_trial(self._sweep[number])
        trial = self._propose(number)
        self._open.append(trial)
        while self._untold:
            self.tell(record_of(self._untold.popleft()))
        return self.space.plan(trial.params)

    def tell(self, record: Record) -> FrozenTrial:
        """Values and constraints for the sampler; the whole record goes with the trial."""
        trial = self._open.popleft()
        for name, excess in record.constraints.items():
            trial.set_constraint(name, excess)
        trial.set_user_attr("record", record.to_json())
        if record.values is None:
            self._study.tell(trial, state=TrialState.PRUNED)
        else:
            self._study.tell(trial, list(record.values))
        return self._study.get_trials(deepcopy=False)[trial.number]

    def _propose(self, number: int) -> Trial:
        seed = int(np.random.SeedSequence([self.seed, number]).generate_state(1)[0])
        sampler: BaseSampler = registry.load("sampler", self.sampler)(seed, self.space)
        self._study.sampler = sampler
        return self._study.ask(self.space.distributions)
