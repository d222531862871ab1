"""What each method without training brings: points of accuracy lost at equal bytes, one method after another added.

    python benchmarks/methods.py

For each network the plans of least predicted distortion among those of at most so many bytes of weights are scored on
the search split, on a board with room for any network; a figure is the mean over some sizes around the one that its row
names, since neighboring plans differ by luck. Columns add up: each has what those before it have. The second table has
float networks, and their int8 baselines without and with equalization, scored on both splits. Networks and data are
looked for where BQSEARCH_MODELS and BQSEARCH_DATA say. The tables go into README.md.
"""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bqsearch.measure import Measurements
from bqsearch.plan import Plan
from bqsearch.search import prepare
from bqsearch.search.prepare import Problem
from bqsearch.search.space import Space
from bqsearch.search.spec import make_spec
from bqsearch.types import Floats
from paste import markdown, paste

BOARD = Path(__file__).parent / "roomy.toml"
NETWORKS = (
    ("resnet8_int8.tflite", "cifar10.npz"),
    ("kws_ds_cnn_int8.tflite", "keywords_mfcc.npz"),
)
SHARES = (0.40, 0.35, 0.30)  # of the uncompressed weights' bytes
AROUND = (0.96, 0.98, 1.0, 1.02, 1.04)  # of a share, over which points lost are averaged
PLAIN = {"schemes": "kmeans", "bias_correction": False, "activation_weighting": False, "error_compensation": False}
STEPS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("`kmeans` alone", {}),
    ("+ bias correction", {"bias_correction": True}),
    ("+ `entropy`", {"schemes": "kmeans,entropy"}),
    ("+ error compensation", {"error_compensation": True}),
    ("+ activation weighting", {"activation_weighting": True}),
)
LAST = "+ polishing"  # each layer for what the compressed layers before it give
FLOATS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("resnet8_float.tflite", "cifar10.npz", {}),
    ("vww_96_float.tflite", "person/test", {"normalize": "0,255", "classes": "no_person,person"}),
)


def main() -> None:
    """Score, and write the tables."""
    headings = ["network", "bytes", *(heading for heading, _ in STEPS), LAST]
    lost = markdown(headings, [row for network in NETWORKS for row in rows(*network)])
    headings = ["network", "inputs", "float %", "int8 %", "int8 %, equalized"]
    equalized = markdown(headings, [equalization(*network) for network in FLOATS])
    paste("methods", "python benchmarks/methods.py", f"{lost}\n\n{equalized}")


def rows(model: str, data: str) -> Iterator[list[str]]:
    """A network at all sizes."""
    settings, columns = PLAIN, []
    for heading, added in STEPS:
        settings = {**settings, **added}
        columns.append(column(problem_of(model, data, settings), successive=False))
        print(model, heading, columns[-1], flush=True)
    columns.append(column(problem_of(model, data, settings), successive=True))
    print(model, LAST, columns[-1], flush=True)
    for share, *cells in zip(SHARES, *columns, strict=True):
        yield [f"`{Path(model).stem}`", f"{100 * share:.0f} %", *cells]


def column(problem: Problem, successive: bool) -> list[str]:
    """Points lost at all sizes."""
    space = Space.of(problem.bank, problem.cost, problem.max_ram)
    before = score(problem.measure(problem.bank.baseline))
    cells = []
    for share in SHARES:
        measured = [problem.measure(plan_within(space, share * part, successive)) for part in AROUND]
        cells.append(f"{before - np.mean([score(m) for m in measured]):.2f}")
    return cells


def plan_within(space: Space, share: float, successive: bool) -> Plan:
    """The plan of least predicted distortion in this share of the uncompressed weights' bytes."""
    most = share * sum(entry.layer.size for entry in space.bank.layers)
    plan = space.plan(space.rungs(space.within(most)))
    return replace(plan, successive=successive)


def score(measured: Measurements) -> float:
    """Percent of the search split that are right."""
    return 100 * measured.accuracy


def equalization(model: str, data: str, settings: dict[str, Any]) -> list[str]:
    """A float network's accuracy, and its baseline's without and with equalization."""
    problems = [problem_of(model, data, {**PLAIN, **settings, "equalization": on}) for on in (False, True)]
    scores = [given_scores(problems[0]), *(baseline_scores(problem) for problem in problems)]
    cells = [f"{100 * np.mean(right):.2f}" for right in scores]
    print(model, cells, flush=True)
    return [f"`{Path(model).stem}`", f"{len(scores[0]):,}", *cells]


def given_scores(problem: Problem) -> Floats:
    """The float network's, on both splits."""
    data = problem.data
    splits = ((data.search, problem.scorer), (data.holdout, problem.litert_holdout_scorer()))
    return np.concatenate([problem.given_scores(*split) for split in splits])


def baseline_scores(problem: Problem) -> Floats:
    """The int8 network's, on both splits."""
    scorers = (problem.scorer, problem.litert_holdout_scorer())
    return np.concatenate([problem.quality.scores(scorer, scorer.reference) for scorer in scorers])


def problem_of(model: str, data: str, settings: dict[str, Any]) -> Problem:
    """A network, its data and its bank."""
    models, folder = (os.environ[f"BQSEARCH_{what}"] for what in ("MODELS", "DATA"))
    given = {"model": f"{models}/{model}", "data": f"{folder}/{data}", "target": str(BOARD)}
    spec = make_spec({**given, "objectives": "accuracy,flash", **settings})
    return prepare.prepare(spec, lambda stage: None)


if __name__ == "__main__":
    main()
