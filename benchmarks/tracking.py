"""What tracking takes of a search's wall time: the same search with MLflow and without, by turns.

    python benchmarks/tracking.py [--model NAME|FILE --data NAME|PATH --target NAME --trials 200 --repeats 3]

With MLflow: events, a tracker beside the search, and a store in the folder. Without: the events alone. What the end of
a run waits for MLflow is told apart. The aim is at most 3 % of the search's wall time.
"""

import argparse
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from bqsearch.search import driver, prepare
from bqsearch.search.record import Record
from bqsearch.search.spec import make_spec
from bqsearch.search.store import TrialStore, open_journal
from bqsearch.tracking.convergence import Axis
from bqsearch.tracking.mlflow import local_uri
from bqsearch.tracking.process import TrackerProcess
from bqsearch.tracking.spool import Spool


def main() -> None:
    """Print both times and the share."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="mobilenet_v2")
    parser.add_argument("--data")
    parser.add_argument("--target", default="hifive1")
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    options = vars(parser.parse_args())
    repeats = options.pop("repeats")
    problem = prepare.prepare(make_spec({**options, "polish": 0}), lambda stage: None)
    search(problem, tracked=False)  # what is worked out once is worked out before
    times: dict[bool, list[float]] = {False: [], True: []}
    waits = []
    for _ in range(repeats):
        for tracked in (False, True):
            seconds, waited = search(problem, tracked)
            times[tracked].append(seconds)
            waits.append(waited)
    without, with_mlflow = min(times[False]), min(times[True])
    print(f"{options['trials']} trials of {options['model']}, the fastest of {repeats} searches each, by turns")
    print(f"without MLflow: {without:.2f} s ({_spread(times[False])})")
    print(f"with MLflow: {with_mlflow:.2f} s ({_spread(times[True])})")
    print(f"tracking takes {100 * (with_mlflow / without - 1):+.1f} % of the search's wall time")
    print(f"the end waits {max(waits):.2f} s at most for MLflow to have everything")


def search(problem: prepare.Problem, tracked: bool) -> tuple[float, float]:
    """Seconds of a search in a folder of its own, and those that its end waits."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        spool = Spool(folder)
        axes = [Axis(name=o.name, direction=o.direction, baseline=o.read(problem.baseline)) for o in problem.objectives]
        spool.start(problem.spec.name, {}, {}, axes, None)
        tracker = TrackerProcess(folder, local_uri(folder)) if tracked else None
        searched = driver.search(problem, _store(problem, folder), _telling(spool), threading.Event())
        spool.end("FINISHED", {}, {}, [], None)
        begun = time.monotonic()
        if tracker is not None:
            tracker.finish(lambda stage: None)
        return searched.seconds, time.monotonic() - begun


def _store(problem: prepare.Problem, folder: Path) -> TrialStore:
    journal = open_journal(folder / "trials.journal")
    return TrialStore(journal, problem.spec.name, driver.directions(problem), problem.fingerprint, resume=False)


def _telling(spool: Spool) -> Callable[[int, Record], None]:
    def on_trial(number: int, record: Record) -> None:
        spool.trial(number, record)

    return on_trial


def _spread(times: list[float]) -> str:
    return f"{min(times):.2f} to {max(times):.2f}"


if __name__ == "__main__":
    main()
