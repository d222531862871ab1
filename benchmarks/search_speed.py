"""How fast the search is: trials a second, LiteRT's share of the time, inputs that were spared, and the naive way.

    python benchmarks/search_speed.py [--only WORD --sampler NAME --naive 5 --no-tracking]

Everything that a user's run does is on: the journal on disk, the events, and MLflow's tracker beside the search. Only
nothing is polished, which is not LiteRT's work and takes a second or two each time. LiteRT's share is the time that its
own inference of as many inputs takes with nothing beside it: measured inside the search, waits for Python's lock would
count as inference. Inputs are spared where a candidate is given up before the search split was seen whole, and where a
plan comes again.

The naive way takes some of the same candidates, writes each into a .tflite file, and starts a new Python process that
loads it in LiteRT and scores input by input (one_by_one.py). The file of codes that it reads is made beforehand.

The table goes into README.md. Networks and data that are not built in are looked for where BQSEARCH_MODELS and
BQSEARCH_DATA say.
"""

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bqsearch.exporters import tflite
from bqsearch.plan import Plan
from bqsearch.search import driver, prepare
from bqsearch.search.driver import Searched
from bqsearch.search.prepare import Problem
from bqsearch.search.record import Record
from bqsearch.search.spec import located, make_spec
from bqsearch.search.store import TrialStore, open_journal
from bqsearch.tracking.convergence import Axis
from bqsearch.tracking.mlflow import local_uri
from bqsearch.tracking.process import TrackerProcess
from bqsearch.tracking.spool import Spool
from paste import markdown, paste

NETWORKS: dict[str, dict[str, Any]] = {
    "mobilenet_v2": {"model": "mobilenet_v2", "target": "hifive1", "trials": 200, "polish": 0},
    "mobilenet_v2 224": {
        "model": "mobilenet_v2_1.0_224_uint8.tflite",
        "data": "imagenet",
        "target": str(Path(__file__).parent / "roomy.toml"),
        "objectives": "accuracy,flash",
        "trials": 48,
        "polish": 0,
    },
}
HEADINGS = ["network", "inputs", "trials", "trials a second", "LiteRT %", "inputs spared %", "s", "naive s", "ratio"]


def main() -> None:
    """Search, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", default="", metavar="WORD", help="networks whose names hold this; writes no table")
    parser.add_argument("--sampler")
    parser.add_argument("--naive", type=int, default=5, metavar="COUNT", help="candidates of the naive way")
    parser.add_argument("--no-tracking", action="store_true", help="leave MLflow out")
    options = parser.parse_args()
    rows = []
    for name in (name for name in NETWORKS if options.only in name):
        spec = make_spec({**located(NETWORKS[name]), "sampler": options.sampler})
        started = time.monotonic()
        problem = prepare.prepare(spec, lambda stage: None)
        print(f"{name}: prepared in {time.monotonic() - started:.1f} s", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            searched = search(problem, Path(folder), not options.no_tracking)
            slow = float(np.mean([*naive(problem, searched, options.naive, Path(folder))]))
        rows.append([name, *cells(problem, searched, slow)])
        print(markdown(HEADINGS, rows[-1:]), flush=True)
    if not options.only:
        paste("search_speed", "python benchmarks/search_speed.py", markdown(HEADINGS, rows))


def cells(problem: Problem, searched: Searched, slow: float) -> Iterator[str]:
    """A network's row, from the number of inputs on."""
    count, spent = len(searched.records), searched.spent
    yield f"{len(problem.scorer.inputs):,}"
    yield str(count)
    yield f"{count / searched.seconds:.2f}"
    yield f"{100 * spent.inputs * of_an_input(problem, searched) / searched.seconds:.0f}"
    yield f"{100 * (1 - spent.inputs / (count * len(problem.scorer.inputs))):.0f}"
    yield f"{searched.seconds / count:.3f}"
    yield f"{slow:.2f}"
    yield f"{slow * count / searched.seconds:.1f}"


def of_an_input(problem: Problem, searched: Searched) -> float:
    """Seconds of LiteRT's inference with nothing beside it."""
    scorer = problem.scorer
    run = scorer.opened(problem.compress(searched.records[-1].plan))
    before, begun, inputs = scorer.engine.seconds, time.monotonic(), 0
    while inputs == 0 or time.monotonic() < begun + 5:
        run(scorer.inputs)
        inputs += len(scorer.inputs)
    return (scorer.engine.seconds - before) / inputs


def naive(problem: Problem, searched: Searched, count: int, folder: Path) -> Iterator[float]:
    """Seconds that each of `count` of the candidates takes the naive way, spread over the trials."""
    inputs = folder / "inputs.npz"
    np.savez(inputs, x=problem.scorer.inputs, y=problem.scorer.labels)
    run = [record for record in searched.records if record.values is not None and not record.given_up]
    for index in np.linspace(0, len(run) - 1, count).round().astype(int):
        started = time.monotonic()
        right = one_by_one(problem, run[index].plan, folder / "candidate.tflite", inputs)
        yield time.monotonic() - started
        found = run[index].metrics["accuracy_search"] * len(problem.scorer.inputs)
        assert abs(right - found) < 0.5, f"the naive way gets {right} right, the search {found}"


def one_by_one(problem: Problem, plan: Plan, model: Path, inputs: Path) -> int:
    """How many a new process gets right."""
    model.write_bytes(tflite.export(problem.compress(plan)))
    program = Path(__file__).with_name("one_by_one.py")
    command = [sys.executable, str(program), str(model), str(inputs)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def search(problem: Problem, folder: Path, tracked: bool) -> Searched:
    """A search as `bqsearch run` does it, in a folder of its own."""
    spool = Spool(folder)
    axes = [Axis(name=o.name, direction=o.direction, baseline=o.read(problem.baseline)) for o in problem.objectives]
    spool.start(problem.spec.name, {}, {}, axes, None)
    tracker = TrackerProcess(folder, local_uri(folder)) if tracked else None
    journal = open_journal(folder / "trials.journal")
    store = TrialStore(journal, "speed", driver.directions(problem), problem.fingerprint, resume=False)

    def on_trial(number: int, record: Record) -> None:
        spool.trial(number, record)

    searched = driver.search(problem, store, on_trial, threading.Event())
    spool.end("FINISHED", {}, {}, [], None)
    if tracker is not None:
        tracker.finish(lambda stage: None)
    return searched


if __name__ == "__main__":
    main()
