"""The loop: ask, read what is cheap, run what may be worth it, tell, and keep every trial."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from math import inf
from threading import Event
from time import monotonic
from typing import Literal

from optuna.trial import FrozenTrial

from bqsearch import registry
from bqsearch.errors import StudyError
from bqsearch.measure import Direction, Measurements
from bqsearch.plan import Plan
from bqsearch.search.crew import Answer, Crew, Pool
from bqsearch.search.evaluate import Evaluator, Spent
from bqsearch.search.pool import check, opened
from bqsearch.search.prepare import Problem
from bqsearch.search.race import Rival
from bqsearch.search.record import Record, record_of
from bqsearch.search.scores import Scores
from bqsearch.search.space import Space, flash_budget
from bqsearch.search.spec import StudySpec
from bqsearch.search.store import TrialStore
from bqsearch.search.strategy import OptunaStrategy, Pace, Strategy

ALONE = Crew()
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
        spent: What its candidates took, of all workers.
        lost: Why workers were replaced.
    """

    baseline: Measurements
    records: tuple[Record, ...]
    trials: int
    stopped: Stopped
    seconds: float
    spent: Spent
    lost: tuple[str, ...] = ()


def all_trials(spec: StudySpec, records: Sequence[Record]) -> int:
    """How many trials a search has in the end that goes on from these: those that polish come behind the sampler's.

    Where it was to have fewer of the sampler's before, what was polished then is kept, and stands among them.
    """
    sampled = [position for position, record in enumerate(records) if not record.plan.successive]
    if len(sampled) < spec.trials:
        return len(records) + spec.trials - len(sampled) + spec.polish
    return sampled[spec.trials - 1] + 1 + spec.polish


def check_crew(spec: StudySpec, crew: Crew) -> None:
    """Refuse at once a crew that cannot be had, and several workers where each candidate follows from the one before.

    Raises:
        PoolError: Nothing answers at the cluster's address.
        MissingExtraError: Ray is not installed.
        StudyError: Workers would have nothing to do.
    """
    check(crew)
    if crew.workers == 1 or (crew.workers is None and crew.ray is None):
        return
    strategies = registry.names("strategy")
    if spec.sampler in strategies and getattr(registry.load("strategy", spec.sampler), "lag", None) == 1:
        asked = "--ray asks for several" if crew.workers is None else f"--workers asks for {crew.workers}"
        raise StudyError(
            f"the sampler {spec.sampler!r} of {spec.name} runs one candidate at a time, but {asked}: "
            f"take --workers 1, or another --sampler"
        )


def search(
    problem: Problem,
    store: TrialStore,
    on_trial: OnTrial,
    stop: Event,
    crew: Crew = ALONE,
    scores: Scores | None = None,
) -> Searched:
    """Run trials until there are as many as the spec says, its time is over, or `stop` is set.

    While candidates run, those before are written and the next ones proposed, so that the search waits for workers
    and not workers for the search. Records come in the order in which their plans were asked for: with as many workers
    the same seed gives the same trials, whoever runs them.

    Args:
        problem: What is searched.
        store: Gets every finished trial, and has those of earlier sessions.
        on_trial: Called with number and record once a trial is stored; earlier sessions' trials come first, those of
            other drivers when they are found, at the latest at the end.
        stop: Begin no further trial.
        crew: Who runs candidates.
        scores: Of candidates that were run before.

    Raises:
        PoolError: Workers cannot be had, or die again and again.
    """
    problem.quality.scores(problem.baseline.scorer, problem.baseline.outputs)  # run before the clock starts
    ledger = _Ledger(store, on_trial)
    finished = ledger.read()
    trials = all_trials(problem.spec, ledger.records)
    racing = problem.spec.sampler in registry.names("sampler")  # strategies may count on every input
    evaluator = Evaluator(problem=problem, scores=scores, racing=racing)
    with opened(evaluator, crew) as pool:
        strategy = _strategy(problem, finished, pool.workers, store.place)
        started, over = monotonic(), _over(problem.spec, stop)
        spent = _go_on(_Asked(evaluator, strategy, pool, over), strategy, ledger, trials)
        seconds, lost = monotonic() - started, tuple(pool.lost)
    known = tuple(record_of(trial) for trial in ledger.read())
    return Searched(
        baseline=problem.baseline,
        records=known,
        trials=max(trials, len(known)),
        stopped=_reason(trials - len(known), stop, over),
        seconds=seconds,
        spent=spent,
        lost=lost,
    )


def _go_on(asked: "_Asked", strategy: Strategy, ledger: "_Ledger", trials: int) -> Spent:
    """Run the trials that are left; what they took."""
    spent = Spent()
    for record, took in asked.answers(ledger.records, trials):
        ledger.add(strategy.tell(record), record)
        spent += took
        for trial in ledger.others() if strategy.shares else []:
            strategy.learn(trial)
    return spent


def _over(spec: StudySpec, stop: Event) -> Callable[[], bool]:
    """Whether no further trial is to begin, as the time goes from now on."""
    end = inf if spec.timeout is None else monotonic() + spec.timeout
    return lambda: stop.is_set() or monotonic() >= end


def _reason(left: int, stop: Event, over: Callable[[], bool]) -> Stopped:
    """Why a search ended with so many trials left."""
    if left <= 0:
        return "trials"
    return "interrupted" if stop.is_set() else "timeout" if over() else "complete"


def _strategy(problem: Problem, finished: Sequence[FrozenTrial], workers: int, place: int) -> Strategy:
    """The one that the spec names, gone on with from these trials, of the driver at this place."""
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
        pace=Pace.of(workers),
        place=place,
    )


class _Ledger:
    """The study's trials as they become known, this driver's and those of others; each is told of once.

    Args:
        store: Has them.
        on_trial: Told of each.
    """

    def __init__(self, store: TrialStore, on_trial: OnTrial) -> None:
        self.records: list[Record] = []
        """In the order in which they became known."""
        self._store, self._on_trial, self._told = store, on_trial, set[int]()

    def read(self) -> list[FrozenTrial]:
        """All trials that are stored, in order."""
        return self._heard(self._store.finished())

    def others(self) -> list[FrozenTrial]:
        """What other drivers have found, now and then."""
        return self._heard(self._store.others())

    def add(self, trial: FrozenTrial, record: Record) -> None:
        """Store one of this driver's."""
        self._tell(self._store.add(trial), record)

    def _heard(self, trials: list[FrozenTrial]) -> list[FrozenTrial]:
        for trial in trials:
            if trial.number not in self._told:
                self._tell(trial.number, record_of(trial))
        return trials

    def _tell(self, number: int, record: Record) -> None:
        self._told.add(number)
        self.records.append(record)
        self._on_trial(number, record)


class _Asked:
    """Plans that were asked for, and what becomes of them.

    Args:
        evaluator: Knows what candidates are up against.
        strategy: Proposes.
        pool: Runs candidates.
        over: Whether to begin no further one.
    """

    def __init__(self, evaluator: Evaluator, strategy: Strategy, pool: Pool, over: Callable[[], bool]) -> None:
        self._evaluator, self._strategy, self._pool, self._over = evaluator, strategy, pool, over
        self._known: dict[str, Future[Answer]] = {}
        self._rivals: list[tuple[int, Rival]] = []  # each with the number of its trial
        self._looked = 0

    def answers(self, records: Sequence[Record], trials: int) -> Iterator[Answer]:
        """In the order of their trials, until there are so many, the strategy has no more or it is over.

        Args:
            records: Of all trials before, which grow by each answer, and by what others find.
            trials: All that there are to be.
        """
        heard = 0
        running: deque[tuple[Future[Answer], bool]] = deque()  # and whether it was asked for first
        while True:
            for record in records[heard:]:
                self._known.setdefault(record.plan.hash, done(record))
            heard = len(records)
            while len(running) < self._strategy.lag and len(records) + len(running) < trials and not self._over():
                plan = self._strategy.ask(self._over)
                if plan is None:
                    break
                running.append(self._submitted(plan, records, len(records) + len(running)))
            if not running:
                return
            answer, first = running.popleft()
            record, took = answer.result()
            yield record, took if first else Spent()

    def _submitted(self, plan: Plan, records: Sequence[Record], number: int) -> tuple[Future[Answer], bool]:
        """What was asked for before is not run again."""
        if plan.hash in self._known:
            return self._known[plan.hash], False
        rivals = self._up_against(records, number - self._strategy.lag + 1)
        self._known[plan.hash] = self._pool.submit(plan, rivals)
        return self._known[plan.hash], True

    def _up_against(self, records: Sequence[Record], count: int) -> list[Rival]:
        """Of the first `count` trials: all that are surely known when one is asked for, whenever others end."""
        for number in range(self._looked, min(count, len(records))):
            rival = self._evaluator.rival(records[number])
            if rival is not None and not any(_beats(other, rival) for _, other in self._rivals):
                self._rivals = [(n, other) for n, other in self._rivals if not _beats(rival, other)]
                self._rivals.append((number, rival))
            self._looked = number + 1
        return [rival for number, rival in self._rivals if number < count]


def _beats(one: Rival, other: Rival) -> bool:
    """Whether whatever the other one rules out, this one does too."""
    return one.drop <= other.drop and all(a <= b for a, b in zip(one.costs, other.costs, strict=True))


def done(record: Record) -> Future[Answer]:
    """A record that is there already, and took nothing."""
    future: Future[Answer] = Future()
    future.set_result((record, Spent()))
    return future


def directions(problem: Problem) -> Sequence[Direction]:
    """Of the objectives."""
    return [objective.direction for objective in problem.objectives]
