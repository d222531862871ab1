"""What a second worker brings: trials a second by one worker process and by two.

    python benchmarks/pool.py [--only WORD --pools processes,ray --repeats 2]

The same search by one and by two, by turns, in processes of this machine and on a Ray cluster of its own. LiteRT has
one thread in each. One goes at the pace of two, so that trials are the same. Counted is from a trial at which workers
have long begun to the last one, and the fastest of each. Efficiency is the rate of two as a share of twice the rate of
one. Beside the workers runs the search itself, and whatever else the machine has to do. The table goes into README.md.
Networks and data that are not built in are looked for where BQSEARCH_MODELS and BQSEARCH_DATA say.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

from bqsearch.plan import Plan
from bqsearch.search import driver, prepare
from bqsearch.search.crew import LOCAL, Answer, Crew, Pool
from bqsearch.search.evaluate import Evaluator
from bqsearch.search.pool import cluster, opened
from bqsearch.search.prepare import Problem
from bqsearch.search.processes import processes
from bqsearch.search.race import Rival
from bqsearch.search.record import Record
from bqsearch.search.spec import located, make_spec
from bqsearch.search.store import TrialStore, open_journal
from paste import markdown, paste
from search import reduced

NETWORKS: dict[str, dict[str, Any]] = {
    "mobilenet_v2": {"model": "mobilenet_v2", "target": "hifive1", "trials": 300, "polish": 0},
    "mobilenet_v2 224": {
        "model": "mobilenet_v2_1.0_224_uint8.tflite",
        "data": "imagenet",
        "target": str(Path(__file__).parent / "roomy.toml"),
        "objectives": "accuracy,flash",
        "trials": 36,
        "polish": 0,
    },
}
HEADINGS = ["network", "inputs", "pool", "trials", "a second by 1", "a second by 2", "efficiency"]
BEFORE = 12  # trials that are not counted
MOST = 100  # inputs of the search split where the network is large


@dataclass(frozen=True, kw_only=True)
class Paced:
    """A pool that says to have so many workers, whatever it has.

    Attributes:
        pool: That does the work.
        workers: That it says to have.
    """

    pool: Pool
    workers: int = 2

    @property
    def lost(self) -> Sequence[str]:
        """See `Pool`."""
        return self.pool.lost

    def submit(self, plan: Plan, rivals: Sequence[Rival]) -> Future[Answer]:
        """See `Pool`."""
        return self.pool.submit(plan, rivals)


def main() -> None:
    """Search, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", metavar="WORD", help="networks whose names hold this; writes no table")
    parser.add_argument("--pools", default="processes,ray", help="(default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=2)
    options = parser.parse_args()
    rows = []
    for name in (name for name in NETWORKS if options.only in name):
        problem = prepare.prepare(make_spec(located(NETWORKS[name])), lambda stage: None)
        problem = reduced(problem, MOST) if "224" in name else problem
        for pool in options.pools.split(","):
            rows.append(
                [
                    name,
                    str(len(problem.scorer.inputs)),
                    pool,
                    str(problem.spec.trials),
                    *compared(problem, pool, options.repeats),
                ]
            )
            print(rows[-1], f"load {os.getloadavg()[0]:.1f}", flush=True)
    print(markdown(HEADINGS, rows))
    if not options.only:
        paste("pool", "python benchmarks/pool.py", markdown(HEADINGS, rows))


def compared(problem: Problem, pool: str, repeats: int) -> list[str]:
    """Rates and efficiency."""
    rates: dict[int, list[float]] = {1: [], 2: []}
    with cluster(Crew(workers=2, ray=LOCAL if pool == "ray" else None)):
        for _ in range(repeats):
            for workers, found in rates.items():
                found.append(rate(problem, pool, workers))
    one, two = max(rates[1]), max(rates[2])
    return [f"{one:.2f}", f"{two:.2f}", f"{two / (2 * one):.2f}"]


def rate(problem: Problem, pool: str, workers: int) -> float:
    """Trials a second of a search."""
    times: list[float] = []

    def on_trial(number: int, record: Record) -> None:
        times.append(time.monotonic())

    @contextmanager
    def made(evaluator: Evaluator) -> Iterator[Pool]:
        crew = Crew(workers=workers, ray=LOCAL if pool == "ray" else None, threads=1)
        with (opened if crew.ray else processes)(evaluator, crew) as pace:
            yield Paced(pool=pace)

    with tempfile.TemporaryDirectory() as folder:
        journal = open_journal(Path(folder) / "trials.journal")
        store = TrialStore(journal, "pool", driver.directions(problem), problem.fingerprint, resume=False)
        driver.search(problem, store, on_trial, Event(), Crew(pool=made))
    print(f"{pool} {workers}: {len(times)} trials, {times[-1] - times[0]:.1f} s", flush=True)
    return (len(times) - BEFORE) / (times[-1] - times[BEFORE - 1])


if __name__ == "__main__":
    main()
