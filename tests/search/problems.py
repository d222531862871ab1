"""Small problems for tests: a network and its own answers as labels, in files as a user would have them."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bqsearch.graph.flatbuffer import serialize
from bqsearch.graph.ir import Graph
from bqsearch.plan import Plan
from bqsearch.runtime.litert import Runner
from bqsearch.search import prepare
from bqsearch.search.prepare import Problem
from bqsearch.search.record import Record
from bqsearch.search.spec import make_spec
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
    """A problem on a board, hifive1 unless said otherwise."""
    given = {"target": "hifive1", "trials": 40, "max_drop": 5.0, "calibration": 64, **files, **settings}
    return prepare.prepare(make_spec(given), lambda words: None)


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
        metrics={"weight_bytes": nbytes, "flash_bytes": nbytes, **({"accuracy_search": accuracy} if fits else {})},
        drop_bound=drop + 1 if fits else None,
        seconds=0.25,
    )
