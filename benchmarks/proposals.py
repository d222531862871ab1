"""What a proposal costs: the sampler `rd` beside Optuna's own, over many layers, with many trials behind it.

    python benchmarks/proposals.py [--layers N,N] [--trials N,N]

The networks are made up: ladders of 24 rungs in three codings, whose bytes and distortions fall and rise as those of
real layers do. Trials are random plans with made-up records. A proposal is Optuna's `ask` over all layers; while trials
are few, `rd` takes its time. The table goes into README.md.
"""

import argparse
import warnings
from collections.abc import Iterator
from time import perf_counter

import numpy as np
import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.trial import FrozenTrial, create_trial

from bqsearch import registry
from bqsearch.bank.build import OptionBank
from bqsearch.plan import Choice
from bqsearch.search.record import ERROR
from bqsearch.search.space import Ladder, Mix, Space
from paste import markdown, paste

HEADINGS = ["sampler", "layers", "trials before", "ms a proposal"]
SAMPLERS = ("rd", "nsga2", "tpe")
CODINGS = ("huffman", "packed", "raw")
RUNGS = 8  # in each coding
REPEATS = 20


def main() -> None:
    """Time all, and put the table into README.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", default="53,106", help="(default: %(default)s)")
    parser.add_argument("--trials", default="100,2000", help="(default: %(default)s)")
    options = parser.parse_args()
    warnings.simplefilter("ignore", ExperimentalWarning)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    rows = []
    for layers in map(int, options.layers.split(",")):
        space = made_up(layers, np.random.default_rng(0))
        for count in map(int, options.trials.split(",")):
            rows += [[f"`{name}`", str(layers), f"{count:,}", f"{timed(name, space, count):.1f}"] for name in SAMPLERS]
    print(markdown(HEADINGS, rows))
    paste("proposals", "python benchmarks/proposals.py", markdown(HEADINGS, rows))


def made_up(layers: int, rng: np.random.Generator) -> Space:
    """A space of so many layers."""
    ladders = tuple(ladder(f"layer {number}", rng) for number in range(layers))
    mixes = [(("raw",), 0), (("packed", "raw"), 300), (("huffman", "raw"), 700), (CODINGS, 1000)]
    return Space(
        bank=OptionBank(layers=()),
        ladders=ladders,
        mixes=tuple(Mix(codings=frozenset(codings), code=code) for codings, code in mixes),
    )


def ladder(name: str, rng: np.random.Generator) -> Ladder:
    """One layer's, most bytes first."""
    weights, matters = int(rng.lognormal(9, 1.5)) + 64, rng.lognormal(0, 1)
    bits = np.linspace(8, 1.5, RUNGS)
    found = []
    for coding, saving in zip(CODINGS, (0.85, 1.0, 1.02), strict=True):
        for rung, b in enumerate(bits):
            choice = Choice(scheme="kmeans", levels=128 - rung, coding=coding)
            found.append((choice, int(weights * b * saving / 8) + 4, matters * 4.0**-b * rng.lognormal(0, 0.02)))
    found.sort(key=lambda rung: -rung[1])
    return Ladder(
        layer=name,
        choices=tuple(rung[0] for rung in found),
        nbytes=np.array([rung[1] for rung in found]),
        distortion=np.array([rung[2] for rung in found]),
        ram=np.full(len(found), 1000),
    )


def behind(space: Space, count: int, rng: np.random.Generator) -> Iterator[FrozenTrial]:
    """Trials with records as a search leaves them."""
    smallest, largest = space.extent()
    for size in np.exp(rng.uniform(np.log(smallest), np.log(largest), count)):
        rungs = space.within(float(size), rng.lognormal(0, 0.5, len(space.ladders)))
        error = float(space.distortions(rungs).sum() * rng.lognormal(0, 0.1))
        metrics = {ERROR: error, "ram_bytes": 1000.0}
        yield create_trial(
            params=space.rungs(rungs),
            distributions=space.distributions,
            values=[1 - error, float(space.sizes(rungs)), 1000.0],
            user_attrs={"record": {"metrics": metrics, "constraints": {"drop": error - 0.01}}},
        )


def timed(name: str, space: Space, count: int) -> float:
    """Milliseconds of a proposal, the median; each one sees one trial more than the one before."""
    rng = np.random.default_rng(1)
    sampler = registry.load("sampler", name)(0, space)
    study = optuna.create_study(directions=["maximize", "minimize", "minimize"], sampler=sampler)
    study.add_trials(list(behind(space, count, rng)))
    study.ask(space.distributions)
    found = []
    for trial in behind(space, REPEATS if name != "tpe" else 3, rng):
        study.add_trial(trial)
        started = perf_counter()
        study.ask(space.distributions)
        found.append(perf_counter() - started)
    return 1e3 * float(np.median(found))


if __name__ == "__main__":
    main()
