"""Small problems for tests: a network and its own answers as labels, in files as a user would have them."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np

from bqsearch.bank.build import OptionBank
from bqsearch.graph.flatbuffer import serialize
from bqsearch.graph.ir import Graph
from bqsearch.plan import Choice, Plan
from bqsearch.runtime.litert import Runner
from bqsearch.search import driver, prepare
from bqsearch.search.driver import Searched
from bqsearch.search.prepare import Problem
from bqsearch.search.record import ERROR, Record
from bqsearch.search.space import Ladder, Mix, Space
from bqsearch.search.spec import make_spec
from bqsearch.search.store import TrialStore, open_journal
from networks import random_inputs, small_int8_network

TRAIN, TEST = 240, 120


def write_files(folder: Path, make: Callable[[int], Graph] = small_int8_network, seed: int = 0) -> dict[str, str]:
    """`model` and `data` for a study: the network in a file, and uint8 pixels labeled with most of its answers."""
    graph = make(seed)
    codes = random_inputs(graph, TRAIN + TEST, seed)
    scores = Runner(graph, batch=60).run(codes)[0]
    rng = np.random.default_rng(seed)
    labels = np.where(rng.random(len(scores)) < 0.9, scores.argmax(axis=1), rng.integers(0, 10, len(scores)))
    pixels = codes if codes.dtype == np.uint8 else (codes.view(np.uint8) ^ np.uint8(128))
    model, data = folder / "net.tflite", folder / "data.npz"
    model.write_bytes(serialize(graph))
    pairs = {"train": slice(0, TRAIN), "test": slice(TRAIN, None)}
    arrays = {
        f"{axis}_{part}": values[cut] for part, cut in pairs.items() for axis, values in (("x", pixels), ("y", labels))
    }
    np.savez(data, classes=np.array([str(i) for i in range(10)]), **arrays)
    return {"model": str(model), "data": str(data)}


def prepared(files: Mapping[str, str], **settings: Any) -> Problem:
    """A problem on a board, hifive1 unless said otherwise, and no polishing."""
    given = {"target": "hifive1", "trials": 40, "polish": 0, "max_drop": 5.0, "calibration": 64, **files, **settings}
    return prepare.prepare(make_spec(given), lambda words: None)


def settings(problem: Problem, **changes: Any) -> Problem:
    """The same problem, with other settings that nothing was prepared by."""
    return replace(problem, spec=replace(problem.spec, **changes))


def store_of(problem: Problem, folder: Path) -> TrialStore:
    """A journal in the folder, new or gone on with."""
    storage = open_journal(folder / "trials.journal")
    return TrialStore(storage, "study", driver.directions(problem), problem.fingerprint, True)


def search(
    problem: Problem,
    folder: Path,
    on_trial: driver.OnTrial = lambda number, record: None,
    stop: Event | None = None,
) -> Searched:
    """Search, or go on, with the journal in the folder."""
    folder.mkdir(exist_ok=True)
    return driver.search(problem, store_of(problem, folder), on_trial, stop or Event())


def timeless(found: Searched) -> list[Record]:
    """The records without the seconds that trials took."""
    return [replace(record, seconds=0.0) for record in found.records]


def synthetic(plan: Plan, nbytes: int, spread: int) -> Record:
    """A record without a network: of the plan's hash and its bytes, so that a plan always gets the same one."""
    noise = int(plan.hash[:8], 16) / 2**32
    accuracy = 1 - 100 / (nbytes + 100) - 0.05 * noise
    drop = 100 * (0.9 - accuracy)
    fits = int(plan.hash[8:16], 16) % 10 > 0
    limits = {"flash": -1.0, "ram": -1.0 if fits else 8.0}
    return Record(
        plan=plan,
        values=(accuracy, float(nbytes), float(spread)) if fits else None,
        constraints={**limits, "drop": drop} if fits else limits,
        metrics={
            **{"weight_bytes": nbytes, "flash_bytes": nbytes, "ram_bytes": spread},
            **({"accuracy_search": accuracy, ERROR: 1 - accuracy} if fits else {}),
        },
        drop_bound=drop + 1 if fits else None,
        seconds=0.25,
    )


def two_rooms() -> Space:
    """Three equal layers: rungs 0 to 9 have 100 to 55 bytes and need 1,000, 10 to 19 50 to 5 and 2,000 (of RAM)."""
    steps = np.arange(20)
    ladder = Ladder(
        layer="",
        choices=tuple(Choice(scheme="kmeans", levels=128 - n, coding="raw" if n < 10 else "packed") for n in range(20)),
        nbytes=100 - 5 * steps,
        distortion=1.3**steps,
        ram=np.where(steps < 10, 1000, 2000),
    )
    mixes = (Mix(codings=frozenset({"packed", "raw"}), code=0),)
    return Space(bank=OptionBank(layers=()), ladders=tuple(replace(ladder, layer=name) for name in "abc"), mixes=mixes)
