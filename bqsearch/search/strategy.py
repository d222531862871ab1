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
_Rungs = dict[str, int]  # by layer
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
    """Optuna's samplers over a study in memory, and behind the sampler's trials those of polishing.

    The sampler's trials are numbered by themselves. Its trial n is proposed from its trials 0 to n - `LAG`, by a
    sampler made anew and seeded by the run's seed and n. So it depends on nothing else: not on where a run was stopped,
    nor on what was polished in between because the run was to have fewer trials.

    Polishing makes plans of before once more, from all that was told of until the plan asked for last.

    Attributes:
        space: What may be chosen.
        sampler: Registry name.
        seed: The run's.
        directions: `"maximize"` or `"minimize"` for each objective.
        trials: The sampler's; it proposes more only where nothing is left to polish.
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
    _study: optuna.Study = field(init=False, repr=False)  # the sampler's trials, and no others
    _sweep: list[dict[str, int]] = field(init=False, repr=False)
    _next: Trial | None = field(init=False, repr=False, default=None)  # proposed, but not asked for yet
    _open: deque[Trial | _Rungs] = field(init=False, repr=False, default_factory=deque)
    _told: list[FrozenTrial] = field(init=False, repr=False, default_factory=list)
    _polished: list[_Rungs] = field(init=False, repr=False, default_factory=list)  # whether told of or not
    _reopened: Trial | None = field(init=False, repr=False, default=None)

    def __post_init__(self) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._study = optuna.create_study(directions=list(self.directions))
        self._sweep = self.space.sweep(SWEEP)
        self._polished += [trial.params for trial in self.finished if _is_polished(trial)]
        self._told += self.finished[:-1]
        sampled = [trial for trial in self.finished if not _is_polished(trial)]
        self._study.add_trials(sampled[:-1])
        if sampled:
            self._study.add_trial(_waiting(sampled[-1]))
            self._reopened = self._propose(len(sampled) - 1)

    def ask(self, over: Callable[[], bool] | None = None, /) -> Plan:
        """The next point of the sweep, what the sampler proposes, or a plan to polish."""
        del over
        if self._next is None:  # while the sampler's last trial is open, whatever is asked for now
            number = len(self._study.get_trials(deepcopy=False))
            if number < len(self._sweep):
                self._study.enqueue_trial(self._sweep[number])
            self._next = self._propose(number)
        polished = self._to_polish() if self._next.number >= self.trials else None
        self._close_reopened()
        if polished is not None:
            self._open.append(polished)
            self._polished.append(polished)
            return replace(self.space.plan(polished), successive=True)
        trial, self._next = self._next, None
        self._open.append(trial)
        return self.space.plan(trial.params)

    def tell(self, record: Record) -> FrozenTrial:
        """Values and constraints, for the sampler unless they are a polished plan's; the record goes with the trial."""
        asked = self._open.popleft()
        trial = self._end(asked, record) if isinstance(asked, Trial) else self._polished_trial(asked, record)
        self._told.append(trial)
        return trial

    def _end(self, trial: Trial, record: Record) -> FrozenTrial:
        for name, excess in record.constraints.items():
            trial.set_constraint(name, excess)
        trial.set_user_attr("record", record.to_json())
        if record.values is None:
            self._study.tell(trial, state=TrialState.PRUNED)
        else:
            self._study.tell(trial, list(record.values))
        return self._study.get_trials(deepcopy=False)[trial.number]

    def _polished_trial(self, rungs: _Rungs, record: Record) -> FrozenTrial:
        return create_trial(
            state=TrialState.PRUNED if record.values is None else TrialState.COMPLETE,
            values=None if record.values is None else list(record.values),
            params=rungs,
            distributions=self.space.distributions,
            user_attrs={"record": record.to_json()},
            constraints=dict(record.constraints),
        )

    def _close_reopened(self) -> None:
        """Learn of an earlier session's last trials, which were open when it would have proposed the next."""
        if self._reopened is None:
            return
        last = next(trial for trial in reversed(self.finished) if not _is_polished(trial))
        self._end(self._reopened, record_of(last))
        self._told.append(self.finished[-1])
        self._reopened = None

    def _to_polish(self) -> _Rungs | None:
        """Rungs of a plan worth compressing once more."""
        records = [record_of(trial) for trial in self._told]
        before = [n for n, t in enumerate(self._told) if t.params in self._polished and not records[n].plan.successive]
        position = next_to_polish(records, before, self.directions, self.max_drop)
        return None if position is None else self._told[position].params

    def _propose(self, number: int) -> Trial:
        seed = int(np.random.SeedSequence([self.seed, number]).generate_state(1)[0])
        sampler: BaseSampler = registry.load("sampler", self.sampler)(seed, self.space)
        self._study.sampler = sampler
        return self._study.ask(self.space.distributions)


def _is_polished(trial: FrozenTrial) -> bool:
    return record_of(trial).plan.successive


def _waiting(trial: FrozenTrial) -> FrozenTrial:
    """A trial that is to be proposed once more, with what its sampler noted, which may have been from fewer trials."""
    noted = {key: value for key, value in trial.system_attrs.items() if not key.startswith("constraints")}
    return create_trial(state=TrialState.WAITING, system_attrs={**noted, "fixed_params": trial.params})
