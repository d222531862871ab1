"""What one candidate is worth: static figures first, then the search split, as far as it takes to know."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import inf
from time import perf_counter

import numpy as np

from bqsearch.measure import Measurements
from bqsearch.plan import Plan
from bqsearch.search import expected, polish, race
from bqsearch.search.prepare import Problem
from bqsearch.search.quality import ACCURACY
from bqsearch.search.race import Rival
from bqsearch.search.record import ERROR, INPUTS, UNSEEN, Record
from bqsearch.search.scores import Rows, Scores, digest_of, key_of
from bqsearch.types import Floats, Ints

_TOLERANCE = 1e-9  # of a percentage point: a drop of exactly the limit is allowed
_BY_ROWS = frozenset({"accuracy", "fidelity"})  # objectives that are means over rows, and need no outputs


@dataclass(frozen=True, kw_only=True)
class Spent:
    """What candidates took.

    Attributes:
        inputs: That were run.
        known: That were not, because their scores were.
        left: That were not, because the candidate was given up before.
        seconds: Inside the runtime's own inference.
    """

    inputs: int = 0
    known: int = 0
    left: int = 0
    seconds: float = 0.0

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(
            inputs=self.inputs + other.inputs,
            known=self.known + other.known,
            left=self.left + other.left,
            seconds=self.seconds + other.seconds,
        )

    @property
    def spared(self) -> int:
        """Inputs that were not run."""
        return self.known + self.left


@dataclass(frozen=True, kw_only=True, eq=False)
class Begun:
    """A candidate whose static figures are read.

    Attributes:
        record: With those.
        measured: To be run; None if it breaks a hard limit.
    """

    record: Record
    measured: Measurements | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluator:
    """Scores plans.

    Attributes:
        problem: What is searched.
        scores: Those known from before; None to know of none.
        racing: Whether candidates are given up that cannot be worth anything any more.
    """

    problem: Problem
    scores: Scores | None = None
    racing: bool = True

    def record(self, plan: Plan, rivals: Sequence[Rival]) -> tuple[Record, Spent]:
        """What a plan's network is worth beside those that are known, and what it took to know."""
        return self.finish(self.begin(plan), rivals)

    def begin(self, plan: Plan) -> Begun:
        """The static figures, and the constants of a network that is to be run."""
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
        if any(excess > 0 for excess in limits.values()):
            return Begun(record=record, measured=None)
        assert measured.model.constants is not None  # decoded here, so that the lane is left to LiteRT
        return Begun(record=record, measured=measured)

    def finish(self, begun: Begun, rivals: Sequence[Rival]) -> tuple[Record, Spent]:
        """Run what is to be run, as far as it takes."""
        if begun.measured is None:
            return begun.record, Spent()
        started, engine = perf_counter(), self.problem.scorer.engine
        before = engine.seconds
        ran = _Run(evaluator=self, measured=begun.measured)
        rows = ran.raced(self._allowed(begun, rivals)) if self._by_rows else ran.whole()
        record = self._scored(begun, rows)
        seen = len(rows) * self.problem.scorer.windows
        spent = Spent(
            inputs=ran.inputs,
            known=seen - ran.inputs,
            left=len(self.problem.scorer.inputs) - seen,
            seconds=engine.seconds - before,
        )
        return replace(record, seconds=perf_counter() - started), spent

    def rival(self, record: Record) -> Rival | None:
        """A record as what others are up against; None if it breaks a limit."""
        quality = self.problem.quality.name
        named = [objective.name for objective in self.problem.objectives if objective.needs == "data"]
        if not record.feasible or named != [quality]:
            return None
        assert record.values is not None
        values = dict(zip([o.name for o in self.problem.objectives], record.values, strict=True))
        return Rival(costs=self._costs(values), drop=record.constraints["drop"] + self.problem.spec.max_drop)

    @property
    def rows(self) -> int:
        """Of the search split."""
        return len(self.problem.scorer.inputs) // self.problem.scorer.windows

    @cached_property
    def order(self) -> Ints:
        """In which rows are run."""
        return race.order(self.rows)

    @cached_property
    def digest(self) -> bytes:
        """Of the problem, for the keys of scores."""
        return digest_of(self.problem.scorer, self.problem.graph.fingerprint, self.order)

    @cached_property
    def before(self) -> Floats:
        """The uncompressed network's scores, in the order in which rows are run."""
        scorer = self.problem.scorer
        return self.problem.quality.scores(scorer, scorer.reference)[self.order]

    @cached_property
    def _by_rows(self) -> bool:
        return {o.name for o in self.problem.objectives if o.needs == "data"} <= _BY_ROWS

    def _allowed(self, begun: Begun, rivals: Sequence[Rival]) -> float:
        if not self.racing:
            return inf
        assert begun.measured is not None
        static = {o.name: float(o.read(begun.measured)) for o in self.problem.objectives if o.needs == "static"}
        return race.allowed(self._reach, self.problem.spec.max_drop, self._costs(static), rivals)

    @property
    def _reach(self) -> float:
        """Percentage points that a candidate may lose for anything to be made of it."""
        spec = self.problem.spec
        return max(expected.reach(spec.max_drop), polish.reach(spec.max_drop) if spec.polish else 0.0)

    def _costs(self, values: dict[str, float]) -> tuple[float, ...]:
        static = [o for o in self.problem.objectives if o.needs == "static"]
        return tuple(values[o.name] * (1 if o.direction == "minimize" else -1) for o in static)

    def _scored(self, begun: Begun, rows: Rows) -> Record:
        """By the rows that were seen; the quality as the uncompressed network's less what was lost on them."""
        problem, quality = self.problem, self.problem.quality
        assert begun.measured is not None
        natural = np.argsort(self.order[: len(rows)])  # sums come out as those over the split as it is
        drops = (self.before[: len(rows)] - scores_of(rows, quality is ACCURACY))[natural]
        unseen = self.rows - len(rows)
        found = self._read(begun.measured, rows, natural)
        if unseen:
            found[quality.name] = float(self.before.mean() - drops.mean())
        else:
            found.setdefault(quality.name, float(scores_of(rows, quality is ACCURACY)[natural].mean()))
        static = {o.name: float(o.read(begun.measured)) for o in problem.objectives if o.needs == "static"}
        limits = {**begun.record.constraints, "drop": 100 * float(drops.mean()) - problem.spec.max_drop - _TOLERANCE}
        return replace(
            begun.record,
            values=tuple({**static, **found}[o.name] for o in problem.objectives),
            constraints={**limits, **({UNSEEN: float(unseen)} if unseen else {})},
            metrics={
                **{f"{name}_search": value for name, value in found.items()},
                INPUTS: len(rows) * problem.scorer.windows,
                ERROR: max(0.0, 1 - float(rows.fidelities[natural].mean())),
                **begun.record.metrics,
            },
            drop_bound=100 * quality.drop_bound(drops),
        )

    def _read(self, measured: Measurements, rows: Rows, natural: Ints) -> dict[str, float]:
        """The objectives that run the network."""
        data = [o for o in self.problem.objectives if o.needs == "data"]
        if not self._by_rows:
            return {o.name: float(o.read(measured)) for o in data}
        found = {"fidelity": rows.fidelities, "accuracy": rows.correct}
        return {o.name: float(np.asarray(found[o.name])[natural].mean()) for o in data}


@dataclass(kw_only=True, eq=False)
class _Run:
    """One candidate on the search split.

    Attributes:
        evaluator: Whose.
        measured: The candidate.
        inputs: That were run so far.
    """

    evaluator: Evaluator
    measured: Measurements
    inputs: int = 0

    def whole(self) -> Rows:
        """All rows, where an objective reads the outputs."""
        self.inputs = len(self.evaluator.problem.scorer.inputs)
        return self._rows(self.measured.outputs, self.evaluator.order)

    def raced(self, allowed: float) -> Rows:
        """The rows until it is sure that the candidate loses more than `allowed` percentage points; at most all."""
        evaluator, quality = self.evaluator, self.evaluator.problem.quality
        store, known, rows = evaluator.scores, None, None
        key = b"" if store is None else key_of(evaluator.digest, self.measured.model.constants)
        if store is not None:
            known = store.get(key)
        for rows in self._growing(known):
            drops = evaluator.before[: len(rows)] - scores_of(rows, quality is ACCURACY)
            if race.least_drop(quality, drops, evaluator.rows) > allowed:
                break
        assert rows is not None
        if store is not None and (known is None or len(rows) > len(known)):
            store.put(key, rows)
        return rows

    def _growing(self, known: Rows | None) -> Iterator[Rows]:
        """The first rows, and more of them each time; what is known is not run."""
        run, rows, scorer = None, None, self.evaluator.problem.scorer
        for stop in race.stops(self.evaluator.rows):
            if known is not None and len(known) >= stop:
                rows = known.first(stop)
                yield rows
                continue
            run = run or scorer.opened(self.measured.model)
            chosen = self.evaluator.order[0 if rows is None else len(rows) : stop]
            places = (chosen[:, None] * scorer.windows + np.arange(scorer.windows)).reshape(-1)
            outputs = scorer.reference.copy()
            outputs[places] = run(scorer.inputs[places])
            self.inputs += len(places)
            more = self._rows(outputs, chosen)
            rows = more if rows is None else rows.and_then(more)
            yield rows

    def _rows(self, outputs: Floats, chosen: Ints) -> Rows:
        scorer = self.evaluator.problem.scorer
        correct = None if scorer.labels is None else scorer.correct(outputs)[chosen]
        return Rows(correct=correct, fidelities=scorer.fidelities(outputs)[chosen])


def scores_of(rows: Rows, accuracy: bool) -> Floats:
    """By the run's quality, `(n,)`."""
    if not accuracy:
        return rows.fidelities
    assert rows.correct is not None
    return rows.correct.astype(np.float64)


def static_metrics(measured: Measurements) -> dict[str, float]:
    """The figures that take no data."""
    return {
        "flash_bytes": measured.flash.total,
        "ram_bytes": measured.ram.total,
        "latency_ms": measured.latency * 1e3,
        "energy_mj": measured.energy * 1e3,
        "weight_bytes": measured.weight_bytes,
    }
