"""How fast the search is, and what share of its time is LiteRT's own inference.

    python benchmarks/search_speed.py [--model NAME|FILE --data NAME|PATH --target NAME --trials 200 --sampler NAME]

Everything that a user's run does is on: the journal on disk, the events, and MLflow's tracker beside the search.
"""

import argparse
import tempfile
import threading
import time
from pathlib import Path

from bqsearch.search import driver, prepare
from bqsearch.search.record import Record
from bqsearch.search.spec import make_spec
from bqsearch.search.store import TrialStore, open_journal
from bqsearch.tracking.mlflow import local_uri
from bqsearch.tracking.process import TrackerProcess
from bqsearch.tracking.spool import Spool


def main() -> None:
    """Print trials a second and where the time went."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="mobilenet_v2")
    parser.add_argument("--data")
    parser.add_argument("--target", default="hifive1")
    parser.add_argument("--sampler")
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--no-tracking", action="store_true", help="leave MLflow out")
    options = vars(parser.parse_args())
    tracked = not options.pop("no_tracking")
    spec = make_spec(options)
    started = time.monotonic()
    problem = prepare.prepare(spec, lambda stage: None)
    prepared = time.monotonic() - started
    with tempfile.TemporaryDirectory() as folder:
        searched = search(problem, Path(folder), tracked)
    inference, rate = undisturbed(problem, searched), len(searched.records) / searched.seconds
    print(f"{spec.model}, {len(problem.bank.layers)} layers, {len(problem.data.search)} inputs a trial, {spec.sampler}")
    print(f"prepared in {prepared:.1f} s")
    print(f"{len(searched.records)} trials in {searched.seconds:.2f} s: {rate:.1f} a second")
    share = 100 * inference / searched.seconds
    print(f"LiteRT's inference: {inference:.2f} s, {share:.0f} % of the search's wall time")


def undisturbed(problem: prepare.Problem, searched: driver.Searched) -> float:
    """Seconds that LiteRT's inference of the same trials takes with nothing beside it.

    The time measured inside the search would count waits for Python's lock as inference.
    """
    runner, plan = problem.scorer.runner, searched.records[-1].plan
    constants = problem.compress(plan).constants
    runs = sum(record.values is not None for record in searched.records)
    repeats = min(runs, 20)
    before = runner.seconds
    for _ in range(repeats):
        runner.run(problem.scorer.inputs, constants)
    return (runner.seconds - before) * runs / repeats


def search(problem: prepare.Problem, folder: Path, tracked: bool) -> driver.Searched:
    """A search as `bqsearch run` does it, in a folder of its own."""
    spool = Spool(folder)
    spool.start(problem.spec.name, {}, {}, [], None)
    tracker = TrackerProcess(folder, local_uri(folder)) if tracked else None
    store = TrialStore(
        open_journal(folder / "trials.journal"),
        problem.spec.name,
        driver.directions(problem),
        problem.fingerprint,
        resume=False,
    )

    def on_trial(number: int, record: Record) -> None:
        spool.trial(number, record)

    searched = driver.search(problem, store, on_trial, threading.Event())
    if tracker is not None:
        spool.end("FINISHED", {}, {}, [], None)
        tracker.finish(lambda stage: None)
    return searched


if __name__ == "__main__":
    main()
