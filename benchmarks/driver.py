"""What the search itself takes of each trial, with a thousand workers beside it.

    python benchmarks/driver.py [--workers 1000 --seconds 0.05 --trials 3000 --profile]

Workers are simulated, by a heap of timers behind the protocol of pools, and what they answer is made up from what the
bank predicts. All else is real: the built-in model's space, the sampler, the study, the journal on disk. Counted is the
time of the search's own thread: what it computes (processor time), and how long that took (with waits for the disk, for
Python's lock, and for the processor where other programs run). The table goes into README.md.
"""

import argparse
import cProfile
import heapq
import pstats
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from time import monotonic, perf_counter, thread_time
from typing import Any

import numpy as np

from bqsearch.plan import Choice, Plan
from bqsearch.search import driver, prepare
from bqsearch.search.crew import Answer, Crew, Pool
from bqsearch.search.driver import Searched
from bqsearch.search.evaluate import Evaluator, Spent
from bqsearch.search.prepare import Problem
from bqsearch.search.race import Rival
from bqsearch.search.record import ERROR, INPUTS, Record
from bqsearch.search.space import Space
from bqsearch.search.spec import make_spec
from bqsearch.search.store import TrialStore, open_journal
from bqsearch.search.strategy import OptunaStrategy
from paste import markdown, paste

HEADINGS = ["a trial takes of the driver", "processor ms", "wall ms"]
RAM = 6_160  # bytes of every simulated trial


class Simulated:
    """Workers that take their time and do nothing in it.

    Args:
        answer: What one says of a plan.
        workers: How many.
        seconds: That each takes.
    """

    def __init__(self, answer: Callable[[Plan], Answer], workers: int, seconds: float) -> None:
        self.workers, self._seconds, self._answer = workers, seconds, answer
        self.lost: Sequence[str] = ()
        self._free = [0.0] * workers  # when each has nothing more to do
        self._due: list[tuple[float, int, Plan, Future[Answer]]] = []
        self._count, self._changed, self._closed = 0, threading.Condition(), False
        threading.Thread(target=self._run, daemon=True).start()

    def submit(self, plan: Plan, rivals: Sequence[Rival]) -> Future[Answer]:
        """See `Pool`."""
        del rivals
        future: Future[Answer] = Future()
        end = max(heapq.heappop(self._free), monotonic()) + self._seconds
        heapq.heappush(self._free, end)
        with self._changed:
            self._count += 1
            heapq.heappush(self._due, (end, self._count, plan, future))
            self._changed.notify()
        return future

    def close(self) -> None:
        """End the timers."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                if self._closed:
                    return
                wait = self._due[0][0] - monotonic() if self._due else None
                if wait is None or wait > 0:
                    self._changed.wait(wait)
                    continue
                _, _, plan, future = heapq.heappop(self._due)
            future.set_result(self._answer(plan))


@dataclass(frozen=True, kw_only=True, eq=False)
class MadeUp:
    """Records of networks that are not run: a plan always gets the same one.

    Attributes:
        rungs: Bytes of flash and predicted distortion of each layer's choices.
        rest: Bytes of flash besides.
        max_drop: Allowed, points.
    """

    rungs: dict[str, dict[Choice, tuple[int, float]]]
    rest: int
    max_drop: float

    @classmethod
    def of(cls, problem: Problem, space: Space) -> "MadeUp":
        """Of a problem's bank."""
        rungs = {
            ladder.layer: dict(
                zip(ladder.choices, zip(ladder.nbytes.tolist(), ladder.distortion.tolist(), strict=True), strict=True)
            )
            for ladder in space.ladders
        }
        return cls(rungs=rungs, rest=problem.baseline.flash.code, max_drop=problem.spec.max_drop)

    def answer(self, plan: Plan) -> Answer:
        """What a worker would say."""
        chosen = [self.rungs[layer][choice] for layer, choice in plan.choices.items()]
        luck = np.random.default_rng(int(plan.hash[:8], 16)).lognormal(0, 0.1)
        flash, error = self.rest + sum(nbytes for nbytes, _ in chosen), luck * sum(lost for _, lost in chosen)
        drop = 100 * min(error, 1.0)
        weights = float(flash - self.rest)
        figures = {"flash_bytes": flash, "ram_bytes": RAM, "latency_ms": 120.0, "energy_mj": 20.0}
        record = Record(
            plan=plan,
            values=(1 - drop / 100, float(flash), float(RAM)),
            constraints={"flash": -1.0, "ram": -1.0, "drop": drop - self.max_drop},
            metrics={"accuracy_search": 1 - drop / 100, INPUTS: 350, ERROR: error, **figures, "weight_bytes": weights},
            drop_bound=drop + 1,
            seconds=0.05,
        )
        return record, Spent(inputs=350)


@dataclass(eq=False)
class Clock:
    """Time of one thread inside some calls."""

    processor: float = 0.0
    wall: float = 0.0

    def timing(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """The same call, timed."""

        @wraps(call)
        def timed(*args: Any, **options: Any) -> Any:
            processor, wall = thread_time(), perf_counter()
            try:
                return call(*args, **options)
            finally:
                self.processor += thread_time() - processor
                self.wall += perf_counter() - wall

        return timed


PARTS = {
    "asking the sampler": (OptunaStrategy, "ask"),
    "telling it": (OptunaStrategy, "tell"),
    "writing the journal": (TrialStore, "add"),
    "handing out (to the simulated pool)": (Simulated, "submit"),
}


def main() -> None:
    """Simulate, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=0.05, help="of a trial")
    parser.add_argument("--trials", type=int, default=3000)
    parser.add_argument("--sampler", default="rd")
    parser.add_argument("--profile", action="store_true", help="say where the time goes, and write no table")
    options = parser.parse_args()
    spec = make_spec({"model": "mobilenet_v2", "target": "hifive1", "polish": 0, "sampler": options.sampler})
    problem = prepare.prepare(replace(spec, trials=options.trials), lambda stage: None)
    clocks = {name: timed(owner, call) for name, (owner, call) in PARTS.items()}
    profiler = cProfile.Profile(thread_time) if options.profile else None
    searched, processor = simulate(problem, options.workers, options.seconds, profiler)
    if profiler is not None:
        pstats.Stats(profiler).sort_stats("tottime").print_stats(40)
        return
    text = markdown(HEADINGS, list(rows(clocks, processor, searched)))
    print(f"{text}\n{len(searched.records) / searched.seconds:.0f} trials a second")
    paste("driver", "python benchmarks/driver.py", text)


def timed(owner: type, call: str) -> Clock:
    """A clock in each call of a method."""
    clock = Clock()
    setattr(owner, call, clock.timing(getattr(owner, call)))
    return clock


def simulate(
    problem: Problem, workers: int, seconds: float, profiler: cProfile.Profile | None
) -> tuple[Searched, float]:
    """A search, and the processor time of its thread from when its workers are there to its last trial."""
    space = Space.of(problem.bank, problem.cost, problem.max_ram)
    made_up = MadeUp.of(problem, space)
    times = []

    def on_trial(number: int, record: Record) -> None:
        times.append(thread_time())

    def pool(evaluator: Evaluator) -> AbstractContextManager[Pool]:
        times.append(thread_time())
        return closing(Simulated(made_up.answer, workers, seconds))

    with tempfile.TemporaryDirectory() as folder, profiler or nullcontext():
        journal = open_journal(Path(folder) / "trials.journal")
        store = TrialStore(journal, "simulated", driver.directions(problem), problem.fingerprint, resume=False)
        searched = driver.search(problem, store, on_trial, threading.Event(), Crew(pool=pool))
    return searched, times[-1] - times[0]


def rows(clocks: Mapping[str, Clock], processor: float, searched: Searched) -> Iterator[list[str]]:
    """Each part, the rest, and all."""
    trials = len(searched.records)
    for name, clock in clocks.items():
        yield [name, f"{1e3 * clock.processor / trials:.2f}", f"{1e3 * clock.wall / trials:.2f}"]
    rest = processor - sum(clock.processor for clock in clocks.values())
    yield ["all else", f"{1e3 * rest / trials:.2f}", ""]
    yield ["**all**", f"**{1e3 * processor / trials:.2f}**", f"{1e3 * searched.seconds / trials:.2f}"]


if __name__ == "__main__":
    main()
