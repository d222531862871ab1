"""The loop: ask, read what is cheap, run what may be worth it, tell, and keep every trial."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from math import inf
from threading import Event
from time import monotonic, perf_counter
from typing import Literal

from optuna.trial import FrozenTrial

from bqsearch import registry
from bqsearch.measure import Direction, Measurements
from bqsearch.plan import Plan
from bqsearch.search.prepare import Problem
from bqsearch.search.record import ERROR, Record, record_of
from bqsearch.search.space import Space, flash_budget
from bqsearch.search.spec import StudySpec
from bqsearch.search.store import TrialStore
from bqsearch.search.strategy import OptunaStrategy, Strategy

_TOLERANCE = 1e-9  # of a percentage point: a drop of exactly the limit is allowed

Stopped = Literal["trials", "complete", "timeout", "interrupted"]
OnTrial = Callable[[int, Record], None]


@dataclass(frozen=True, kw_only=True, eq=False)
class Searched:
    """What a search found.

    Attributes:
        baseline: The uncompressed 8-bit network.
        records: All trials, in order.
        trials: How many there were to be.
        stopped: Why it ended.
        seconds: Of this session's loop.
        litert_seconds: Of them, inside LiteRT's inference.
    """

    baseline: Measurements
    records: tuple[Record, ...]
    trials: int
    stopped: Stopped
    seconds: float
    litert_seconds: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluator:
    """Scores plans; what was scored before, or breaks a hard limit, is not run.

    Attributes:
        problem: What is searched.
        baseline: The uncompressed network, scored.
        lane: Runs one candidate at a time, beside the search's own work.
        known: Records to come or there, by plan hash.
    """

    problem: Problem
    baseline: Measurements
    lane: Executor
    known: dict[str, Future[Record]]

    def submit(self, plan: Plan) -> Future[Record]:
        """A plan's record, as soon as it is there. The static figures are read at once."""
        if plan.hash not in self.known:
            self.known[plan.hash] = self._begin(plan)
        return self.known[plan.hash]

    def _begin(self, plan: Plan) -> Future[Record]:
        measured = self.problem.measure(plan)
        limits = {
            "flash": float(measured.flash.total - self.problem.max_flash),
            "ram": float(measured.ram.total - self.problem.max_ram),
        }
        record = Record(
            plan=plan,
            values=None,
            constraints=limits,
            metrics=static_metrics(measured),
            drop_bound=None,
            seconds=0.0,
        )
        static = {o.name: float(o.read(measured)) for o in self.problem.objectives if o.needs == "static"}
        if any(excess > 0 for excess in limits.values()):
            return done(record)
        assert measured.model.constants is not None  # decoded here, so that the lane is left to LiteRT
        return self.lane.submit(self._run, record, measured, static)

    def _run(self, record: Record, measured: Measurements, static: Mapping[str, float]) -> Record:
        started, quality = perf_counter(), self.problem.quality
        values = {o.name: float(o.read(measured)) for o in self.problem.objectives if o.needs == "data"}
        scores, before = (quality.scores(m.scorer, m.outputs) for m in (measured, self.baseline))
        searched = {quality.name: float(scores.mean()), **values}
        drop = 100 * float((before - scores).mean())
        error = max(0.0, 1 - measured.fidelity)
        return replace(
            record,
            values=tuple({**static, **values}[o.name] for o in self.problem.objectives),
            constraints={**record.constraints, "drop": drop - self.problem.spec.max_drop - _TOLERANCE},
            metrics={
                **{f"{name}_search": value for name, value in searched.items()},
                ERROR: error,
                **record.metrics,
            },
            drop_bound=100 * quality.drop_bound(before - scores),
            seconds=perf_counter() - started,
        )


def all_trials(spec: StudySpec, records: Sequence[Record]) -> int:
    """How many trials a search has in the end that goes on from these: those that polish come behind the sampler's.

    Where it was to have fewer of the sampler's before, what was polished then is kept, and stands among them.
    """
    sampled = [position for position, record in enumerate(records) if not record.plan.successive]
    if len(sampled) < spec.trials:
        return len(records) + spec.trials - len(sampled) + spec.polish
    return sampled[spec.trials - 1] + 1 + spec.polish


def search(problem: Problem, store: TrialStore, on_trial: OnTrial, stop: Event) -> Searched:
    """Run trials until there are as many as the spec says, its time is over, or `stop` is set.

    While one candidate runs, the one before is written and the next one proposed, so that the search waits for LiteRT
    and not LiteRT for the search.

    Args:
        problem: What is searched.
        store: Gets every finished trial, and has those of earlier sessions.
        on_trial: Called with number and record once a trial is stored; earlier sessions' trials come first.
        stop: Begin no further trial.
    """
    baseline = problem.baseline
    problem.quality.scores(baseline.scorer, baseline.outputs)  # run before the clock starts
    finished = store.finished()
    records = [record_of(trial) for trial in finished]
    for number, record in enumerate(records):
        on_trial(number, record)
    strategy, trials = _strategy(problem, finished), all_trials(problem.spec, records)
    started, litert = monotonic(), problem.scorer.engine.seconds
    end = inf if problem.spec.timeout is None else started + problem.spec.timeout

    def over() -> bool:
        return stop.is_set() or monotonic() >= end

    with ThreadPoolExecutor(max_workers=1) as lane:
        known = {record.plan.hash: done(record) for record in records}
        evaluator = Evaluator(problem=problem, baseline=baseline, lane=lane, known=known)
        for record in _trials(trials - len(records), strategy, evaluator, over):
            store.add(strategy.tell(record))
            records.append(record)
            on_trial(len(records) - 1, record)
    return Searched(
        baseline=baseline,
        records=tuple(records),
        trials=trials,
        stopped=_reason(trials - len(records), stop, over),
        seconds=monotonic() - started,
        litert_seconds=problem.scorer.engine.seconds - litert,
    )


def _reason(left: int, stop: Event, over: Callable[[], bool]) -> Stopped:
    """Why a search ended with so many trials left."""
    if left <= 0:
        return "trials"
    return "interrupted" if stop.is_set() else "timeout" if over() else "complete"


def _strategy(problem: Problem, finished: Sequence[FrozenTrial]) -> Strategy:
    """The one that the spec names, gone on with from these trials."""
    spec = problem.spec
    if spec.sampler in registry.names("strategy"):
        strategy: Strategy = registry.load("strategy", spec.sampler).begin(problem, finished)
        return strategy
    objectives = spec.objectives or ()
    return OptunaStrategy(
        space=Space.of(
            problem.bank,
            problem.cost,
            problem.max_ram,
            objectives,
            flash_budget(problem.bank, problem.cost, problem.max_flash, objectives),
        ),
        sampler=spec.sampler,
        seed=spec.seed,
        directions=directions(problem),
        trials=spec.trials,
        max_drop=spec.max_drop,
        finished=finished,
    )


def _trials(most: int, strategy: Strategy, evaluator: Evaluator, over: Callable[[], bool]) -> Iterator[Record]:
    """Records in the order of their trials, `most` of them, until the strategy has no more or it is `over`."""
    running: deque[Future[Record]] = deque()
    while True:
        while len(running) < strategy.lag and most > 0 and not over():
            plan = strategy.ask(over)
            if plan is None:
                break
            running.append(evaluator.submit(plan))
            most -= 1
        if not running:
            return
        yield running.popleft().result()


def done(record: Record) -> Future[Record]:
    """A record that is there already."""
    future: Future[Record] = Future()
    future.set_result(record)
    return future


def directions(problem: Problem) -> Sequence[Direction]:
    """Of the objectives."""
    return [objective.direction for objective in problem.objectives]


def static_metrics(measured: Measurements) -> dict[str, float]:
    """The figures that take no data."""
    return {
        "flash_bytes": measured.flash.total,
        "ram_bytes": measured.ram.total,
        "latency_ms": measured.latency * 1e3,
        "energy_mj": measured.energy * 1e3,
        "weight_bytes": measured.weight_bytes,
    }
