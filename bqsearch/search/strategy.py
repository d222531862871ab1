"""Who proposes: an Optuna study behind ask and tell, warmed up by what the bank predicts."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Protocol

import numpy as np
import optuna
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from bqsearch import registry
from bqsearch.measure import Direction
from bqsearch.plan import Plan
from bqsearch.search.polish import next_to_polish
from bqsearch.search.record import Record, record_of
from bqsearch.search.space import Space

SWEEP = 32  # points of the Lagrangian sweep that are tried before the sampler proposes
LAG = 2  # trials that are asked for and not yet told of: one runs while the next is proposed


class Strategy(Protocol):
    """Proposes plans and learns what came of them.

    Attributes:
        lag: Most plans that may be asked for and not yet told of.
    """

    lag: ClassVar[int]

    def ask(self, over: Callable[[], bool], /) -> Plan | None:
        """The next plan; None if there is none, or if it takes long to find and the search is `over` before."""
        ...

    def tell(self, record: Record) -> FrozenTrial:
        """What came of the plan asked for first among those not told of; returns the finished trial for the store."""
        ...


@dataclass(kw_only=True)
class OptunaStrategy:
    """Optuna's samplers over a study in memory.

    Trial n is proposed from trials 0 to n - `LAG`, by a sampler made anew and seeded by the run's seed and n. A
    proposal so depends on nothing else, and a resumed run goes on as if it had never stopped.

    Behind the sampler's trials come those of polishing, which make plans of before once more.

    Attributes:
        space: What may be chosen.
        sampler: Registry name.
        seed: The run's.
        directions: `"maximize"` or `"minimize"` for each objective.
        trials: Number of the first trial that polishes.
        max_drop: Allowed drop, percentage points.
        finished: Trials of an earlier session, in order.
    """

    lag: ClassVar[int] = LAG

    space: Space
    sampler: str
    seed: int
    directions: Sequence[Direction]
    trials: int
    max_drop: float
    finished: Sequence[FrozenTrial] = ()
    _study: optuna.Study = field(init=False, repr=False)
    _sweep: list[dict[str, int]] = field(init=False, repr=False)
    _open: deque[Trial] = field(init=False, repr=False, default_factory=deque)
    _untold: deque[FrozenTrial] = field(init=False, repr=False, default_factory=deque)
    _polishing: set[int] = field(init=False, repr=False, default_factory=set)

    def __post_init__(self) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._study = optuna.create_study(directions=list(self.directions))
        self._sweep = self.space.sweep(SWEEP)
        known = len(self.finished) - (LAG - 1)
        self._study.add_trials(self.finished[: max(known, 0)])
        for trial in self.finished[max(known, 0) :]:
            self._study.add_trial(_waiting(trial))
            self._open.append(self._propose(len(self._study.get_trials(deepcopy=False)) - 1))
            self._untold.append(trial)
            if record_of(trial).plan.successive:
                self._polishing.add(self._open[-1].number)

    def ask(self, over: Callable[[], bool] | None = None, /) -> Plan:
        """The next point of the sweep, then whatever the sampler proposes."""
        del over
        number = len(self._study.get_trials(deepcopy=False))
        polished = self._to_polish(number)
        if polished is not None:
            self._study.enqueue_trial(polished)
        elif number < len(self._sweep):
            self._study.enqueue_trial(self._sweep[number])
        trial = self._propose(number)
        self._open.append(trial)
        while self._untold:
            self.tell(record_of(self._untold.popleft()))
        plan = self.space.plan(trial.params)
        if polished is None:
            return plan
        self._polishing.add(trial.number)
        return replace(plan, successive=True)

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

    def _to_polish(self, number: int) -> dict[str, int] | None:
        """Rungs of a plan worth compressing once more, where it is time for it."""
        if number < self.trials:
            return None
        every = self._study.get_trials(deepcopy=False)
        told = [trial for trial in every if trial.state.is_finished()]
        records = [record_of(trial) for trial in told]
        asked = [t.params for t, r in zip(told, records, strict=True) if r.plan.successive]
        asked += [every[n].params for n in self._polishing if not every[n].state.is_finished()]
        before = [n for n, t in enumerate(told) if t.params in asked and not records[n].plan.successive]
        position = next_to_polish(records, before, self.directions, self.max_drop)
        return None if position is None else told[position].params

    def _propose(self, number: int) -> Trial:
        seed = int(np.random.SeedSequence([self.seed, number]).generate_state(1)[0])
        sampler: BaseSampler = registry.load("sampler", self.sampler)(seed, self.space)
        self._study.sampler = sampler
        return self._study.ask(self.space.distributions)


def _waiting(trial: FrozenTrial) -> FrozenTrial:
    """A trial that is to be proposed once more, with what its sampler noted, which may have been from fewer trials."""
    noted = {key: value for key, value in trial.system_attrs.items() if not key.startswith("constraints")}
    return create_trial(state=TrialState.WAITING, system_attrs={**noted, "fixed_params": trial.params})
