"""Who proposes: an Optuna study behind ask and tell, warmed up by what the bank predicts."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
from optuna.trial import FrozenTrial, TrialState

from bqsearch import registry
from bqsearch.measure import Direction
from bqsearch.plan import Plan
from bqsearch.search.polish import next_to_polish, reach
from bqsearch.search.proposer import Proposer, Rungs, proposer
from bqsearch.search.record import Record, record_of
from bqsearch.search.space import Space

SWEEP = 8  # points of the sweep along the hull that are tried before the sampler proposes


@dataclass(frozen=True, kw_only=True)
class Pace:
    """What is known when a trial is proposed: a number of those before, whenever they end.

    Attributes:
        lag: Most trials that are asked for and not yet told of.
        batch: So many are told of at a time, so that what follows from them is worked out once for as many proposals.
    """

    lag: int = 2  # one runs while the next is proposed
    batch: int = 1

    @classmethod
    def of(cls, workers: int) -> "Pace":
        """That keeps so many workers busy while some trials take twice as long as others."""
        return cls() if workers == 1 else cls(lag=2 * workers, batch=max(1, workers // 4))

    def told(self, number: int) -> int:
        """Of how many trials, from the first on, is known when that one is proposed."""
        return max(0, number - self.lag + 1) // self.batch * self.batch


_Key = frozenset[tuple[str, int]]  # of rungs


class Strategy(Protocol):
    """Proposes plans and learns what came of them.

    Attributes:
        shares: Whether it can learn from trials that others asked for.
    """

    shares: ClassVar[bool]

    @property
    def lag(self) -> int:
        """Most plans that may be asked for and not yet told of; of the class, where it is 1 whatever the study."""
        ...

    def ask(self, over: Callable[[], bool], /) -> Plan | None:
        """The next plan; None if there is none, or if it takes long to find and the search is `over` before."""
        ...

    def tell(self, record: Record) -> FrozenTrial:
        """What came of the plan asked for first among those not told of; returns the finished trial for the store."""
        ...

    def learn(self, trial: FrozenTrial) -> None:
        """What another driver of the same study found."""
        ...


class _Asked(NamedTuple):
    """What was proposed and is not told of.

    Attributes:
        number: Of the trial among those of this driver's sampler; None if it polishes.
        rungs: Its plan's.
    """

    number: int | None
    rungs: Rungs


@dataclass(kw_only=True)
class OptunaStrategy:
    """Optuna's samplers over a study in memory, and behind the sampler's trials those of polishing.

    The sampler's trials are numbered by themselves. Its trial n is proposed from as many of its trials as the pace
    says, seeded by the run's seed and n. So it depends on nothing else: not on where a run was stopped, nor on what
    was polished in between because the run was to have fewer trials.

    Polishing makes plans of before once more, from all trials that the pace says.

    Attributes:
        space: What may be chosen.
        sampler: Registry name.
        seed: The run's.
        directions: `"maximize"` or `"minimize"` for each objective.
        trials: The sampler's; it proposes more only where nothing is left to polish.
        max_drop: Allowed drop, percentage points.
        finished: Trials of an earlier session, in order.
        pace: What is known when a trial is proposed.
        place: Of this driver among those that search the study at the same time. Where there are others, proposals
            follow from what was heard of them by then, too.
    """

    shares: ClassVar[bool] = True

    space: Space
    sampler: str
    seed: int
    directions: Sequence[Direction]
    trials: int
    max_drop: float
    finished: Sequence[FrozenTrial] = ()
    pace: Pace = Pace()
    place: int = 0
    _proposer: Proposer = field(init=False, repr=False)
    _sweep: list[Rungs] = field(init=False, repr=False)
    _asked: deque[_Asked] = field(init=False, repr=False, default_factory=deque)
    _untold: deque[tuple[int, FrozenTrial]] = field(init=False, repr=False, default_factory=deque)  # by the pace
    _ended: list[tuple[Rungs, Record]] = field(init=False, repr=False)
    _polished: set[_Key] = field(init=False, repr=False)  # whether told of or not
    _hopeless: float = field(init=False, repr=False, default=np.inf)  # distortion from which networks break down
    _own: int = field(init=False, repr=False)  # trials that the sampler has proposed
    _heard: int = field(init=False, repr=False, default=0)  # that those of other drivers have

    def __post_init__(self) -> None:
        sampler = registry.load("sampler", self.sampler)(self._seed, self.space)
        self._proposer = proposer(sampler, self.directions, self.space.distributions)
        known = [trial.params for trial in self.finished]
        self._sweep = [point for point in self.space.sweep(SWEEP) if point not in known]
        self._ended = [(trial.params, record_of(trial)) for trial in self.finished]
        polished = [record.plan.successive for _, record in self._ended]
        self._polished = {_key(trial.params) for trial, was in zip(self.finished, polished, strict=True) if was}
        sampled = [trial for trial, was in zip(self.finished, polished, strict=True) if not was]
        self._own = len(sampled)
        told = self.pace.told(len(sampled))
        self._proposer.restore(sampled[:told], sampled[told:])  # those were open when the next one was proposed
        for trial in sampled[:told]:
            self._hear(trial)
        self._untold.extend(enumerate(sampled[told:], start=told))

    @property
    def lag(self) -> int:
        """Most trials that are asked for and not yet told of."""
        return self.pace.lag

    @property
    def _seed(self) -> int:
        """Of the sampler: another one for each driver."""
        if self.place == 0:
            return self.seed
        return int(np.random.SeedSequence([self.seed, self.place]).generate_state(1)[0])

    def ask(self, over: Callable[[], bool] | None = None, /) -> Plan:
        """The next point of the sweep, what the sampler proposes, or a plan to polish."""
        del over
        polished = self._to_polish() if self._own + self._heard >= self.trials else None
        if polished is not None:
            self._asked.append(_Asked(None, polished))
            self._polished.add(_key(polished))
            return replace(self.space.plan(polished), successive=True)
        self._asked.append(self._propose())
        return self.space.plan(self._asked[-1].rungs)

    def tell(self, record: Record) -> FrozenTrial:
        """Values and constraints, for the sampler unless they are a polished plan's; the record goes with the trial."""
        number, rungs = self._asked.popleft()
        trial = self._ended_trial(rungs, record, {} if number is None else self._proposer.noted(number))
        if number is not None:
            self._untold.append((number, trial))
        self._ended.append((rungs, record))
        return trial

    def learn(self, trial: FrozenTrial) -> None:
        """See `Strategy`."""
        record = record_of(trial)
        self._ended.append((trial.params, record))
        if record.plan.successive:
            self._polished.add(_key(trial.params))
            return
        self._hear(trial)
        self._heard += 1
        self._sweep = [point for point in self._sweep if point != trial.params]
        self._proposer.learn(trial)

    def _ended_trial(self, rungs: Rungs, record: Record, noted: Mapping[str, Any]) -> FrozenTrial:
        """What Optuna's `create_trial` makes, without its checks of every parameter."""
        now = datetime.now()
        trial = FrozenTrial(
            number=-1,
            trial_id=-1,
            state=TrialState.PRUNED if record.values is None else TrialState.COMPLETE,
            value=None,
            values=None if record.values is None else list(record.values),
            datetime_start=now,
            datetime_complete=now,
            params=rungs,
            distributions=self.space.distributions,
            user_attrs={"record": record.to_json()},
            system_attrs=dict(noted),
            intermediate_values={},
        )
        for name, excess in record.constraints.items():
            trial.set_constraint(name, excess)
        return trial

    def _to_polish(self) -> Rungs | None:
        """Rungs of a plan worth compressing once more."""
        told = self._ended[: self.pace.told(len(self._ended) + len(self._asked))]
        records = [record for _, record in told]
        before = [
            position
            for position, (rungs, record) in enumerate(told)
            if not record.plan.successive and _key(rungs) in self._polished
        ]
        position = next_to_polish(records, before, self.directions, self.max_drop)
        return None if position is None else told[position][0]

    def _propose(self) -> _Asked:
        while self._untold and self._untold[0][0] < self.pace.told(self._own):
            number, ended = self._untold.popleft()
            self._hear(ended)
            self._proposer.end(number, ended)
        if self._sweep:
            self._sweep = [point for point in self._sweep if self._predicted(point) < self._hopeless]
        wanted = self._sweep.pop(-1 if self.place % 2 else 0) if self._sweep else None  # drivers come toward each other
        self._own += 1
        return _Asked(self._own - 1, self._proposer.propose(self._own - 1, wanted))

    def _hear(self, trial: FrozenTrial) -> None:
        """Where a trial broke down, the sweep's plans that are predicted to be worse need not be tried."""
        drop = trial.user_attrs["record"]["constraints"].get("drop", 0.0) + self.max_drop
        if drop > reach(self.max_drop):
            self._hopeless = min(self._hopeless, self._predicted(trial.params))

    def _predicted(self, rungs: Rungs) -> float:
        return float(self.space.distortions(np.array([rungs[ladder.layer] for ladder in self.space.ladders])).sum())


def _key(rungs: Rungs) -> _Key:
    return frozenset(rungs.items())
