"""What trials are worth: the hypervolume that each sampler finds, against the number of its trials.

    python benchmarks/search.py [--networks NAME,NAME --seeds 5 --samplers rd:50,tpe:500 --inputs COUNT --table]

Each network is prepared once, for a board with room for any, and searched by every sampler with each seed. All begin
with the same plans on the bank's hull. Objectives are accuracy and flash, the allowed drop is 1 point, and nothing is
polished. Plans that several searches try are run once, which changes nothing but the time.

The hypervolume is the area between the trials that keep the drop and a fixed reference: the allowed drop, and the flash
of the uncompressed network. It is printed in percent of the rectangle from there to no drop and no flash. In the first
table a plan that gets more right than the uncompressed network has lost nothing, and 100 % would be the uncompressed
accuracy in no bytes. In the second one it has lost less than nothing, which is mostly luck and knows no upper bound.

Runs are kept in the folder that `--out` names, finished or not, and are gone on with. The tables go into README.md, the
figure into docs. Networks and data are looked for where BQSEARCH_MODELS and BQSEARCH_DATA say.
"""

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from bqsearch.report.plots.canvas import BLUE, DPI, GRAY, GREEN, INK, ORANGE, plain_frame, save
from bqsearch.search import driver, prepare
from bqsearch.search.hypervolume import hypervolume
from bqsearch.search.prepare import Problem
from bqsearch.search.record import Record
from bqsearch.search.scores import Scores
from bqsearch.search.spec import make_spec
from bqsearch.search.store import TrialStore, open_journal
from bqsearch.types import Floats
from paste import ROOT, markdown, paste

BOARD = Path(__file__).parent / "roomy.toml"
NETWORKS = {
    "resnet8": ("resnet8_int8.tflite", "cifar10.npz", 1000),
    "kws": ("kws_ds_cnn_int8.tflite", "keywords_mfcc.npz", 500),
    "mobilenet_v2": ("mobilenet_v2_1.0_224_uint8.tflite", "imagenet", 100),
}  # with the inputs that are searched on unless told otherwise
SAMPLERS = "rd:50,rd:500,tpe:500,nsga2:500,random:500"
COLORS = {"rd": BLUE, "tpe": ORANGE, "nsga2": GREEN, "random": GRAY}
AFTER = (25, 50, 100, 200, 500)  # trials
MAX_DROP = 1.0  # points
POINTS = "points.npy"  # what a finished run leaves
Points = Floats  # `(trials, 2)` flash as a share of the uncompressed network's, and points of accuracy lost; NaN where
# a limit is broken


@dataclass(frozen=True, kw_only=True)
class Run:
    """A search of this benchmark.

    Attributes:
        network: Name.
        inputs: That it searched on.
        sampler: Name.
        seed: Of the sampler.
    """

    network: str
    inputs: int
    sampler: str
    seed: int

    def folder(self, out: Path) -> Path:
        """Its own."""
        return out / f"{self.network}-{self.inputs}" / f"{self.sampler}-{self.seed}"

    def points(self, out: Path) -> Points:
        """What it found; of no trials where it is not finished."""
        path = self.folder(out) / POINTS
        return np.asarray(np.load(path), np.float64) if path.exists() else np.zeros((0, 2))


def main() -> None:
    """Search what is not yet searched, then write the table and the figure of all that is there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", default=",".join(NETWORKS), help="(default: %(default)s)")
    parser.add_argument("--samplers", default=SAMPLERS, help="each with its trials (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--inputs", type=int, help="of the search split, drawn once; the network's own number else")
    parser.add_argument("--out", type=Path, default=Path("runs/search"))
    parser.add_argument("--table", action="store_true", help="search nothing, only write what is there")
    options = parser.parse_args()
    if not options.table:
        trials = {name: int(count) for name, count in (part.split(":") for part in options.samplers.split(","))}
        for network in options.networks.split(","):
            explore(network, options.inputs or NETWORKS[network][2], trials, options.seeds, options.out)
    write(options.out)


def explore(network: str, inputs: int, trials: Mapping[str, int], seeds: int, out: Path) -> None:
    """One network by all samplers, seed by seed."""
    runs = [Run(network=network, inputs=inputs, sampler=name, seed=seed) for seed in range(seeds) for name in trials]
    missing = [run for run in runs if len(run.points(out)) < trials[run.sampler]]
    if not missing:
        return
    problem = load(network, inputs)
    for run in missing:
        settings = {"sampler": run.sampler, "seed": run.seed, "trials": trials[run.sampler]}
        found = searched(replace(problem, spec=replace(problem.spec, **settings)), run.folder(out))
        np.save(run.folder(out) / POINTS, found)
        print(run, f"{dominated(found):.2f} % after {len(found)} trials", flush=True)


def load(network: str, inputs: int) -> Problem:
    """The network with some of the search split."""
    model, data, _ = NETWORKS[network]
    models, folder = (os.environ[f"BQSEARCH_{what}"] for what in ("MODELS", "DATA"))
    given = {"model": f"{models}/{model}", "data": f"{folder}/{data}", "target": str(BOARD), "max_drop": MAX_DROP}
    problem = prepare.prepare(make_spec({**given, "objectives": "accuracy,flash", "polish": 0}), lambda stage: None)
    return reduced(problem, inputs)


def reduced(problem: Problem, inputs: int) -> Problem:
    """The problem on so many inputs of its search split, drawn at random."""
    split = problem.data.search
    if inputs >= len(split):
        return problem
    chosen = np.sort(np.random.default_rng(0).permutation(len(split))[:inputs])
    scorer = prepare.make_scorer(problem.graph, problem.bank, problem.data, split.take(chosen), problem.normalize)
    return replace(problem, scorer=scorer)


def searched(problem: Problem, folder: Path) -> Points:
    """Search, or go on with it, in this folder."""
    folder.mkdir(parents=True, exist_ok=True)
    journal = open_journal(folder / "trials.journal")
    store = TrialStore(journal, "search", driver.directions(problem), problem.fingerprint, resume=True)
    found = driver.search(problem, store, lambda number, record: None, Event(), scores=Scores(folder.parent))
    flash = problem.baseline.flash.total
    return np.array([point(record, flash) for record in found.records])


def point(record: Record, flash: int) -> tuple[float, float]:
    """Where a trial lies."""
    if not record.feasible:
        return np.nan, np.nan
    return record.metrics["flash_bytes"] / flash, record.constraints["drop"] + MAX_DROP


def dominated(points: Points, least: float = 0.0) -> float:
    """The hypervolume in percent, where no point counts as one that has lost less than the least."""
    kept = points[np.isfinite(points[:, 0])]
    return 100 * hypervolume(np.maximum(kept, [-np.inf, least]), np.array([1, MAX_DROP])) / MAX_DROP


def write(out: Path) -> None:
    """The tables and the figure of all runs in the folder."""
    found = finished(out)
    text = "\n\n".join(table(found, least) for least in (0.0, -np.inf))
    print(text)
    paste("search", "python benchmarks/search.py", text)
    draw(found, ROOT / "docs" / "search.png")


def finished(out: Path) -> dict[tuple[str, int], dict[str, list[Points]]]:
    """What was found, by network, number of inputs and sampler."""
    found: dict[tuple[str, int], dict[str, list[Points]]] = {}
    for path in sorted(out.glob(f"*-*/*-*/{POINTS}")):
        (network, inputs), (sampler, _) = (part.rsplit("-", 1) for part in path.parts[-3:-1])
        found.setdefault((network, int(inputs)), {}).setdefault(sampler, []).append(np.load(path))
    return {key: found[key] for key in sorted(found, key=lambda key: (list(NETWORKS).index(key[0]), key[1]))}


def table(found: Mapping[tuple[str, int], Mapping[str, Sequence[Points]]], least: float) -> str:
    """Of the hypervolume where no point has lost less than the least."""
    volume = "hypervolume %" if least == 0 else "hypervolume %, gains counted"
    headings = ["network", "inputs", "sampler", "seeds", *(f"{volume}, {count} trials" for count in AFTER)]
    rows = []
    for (network, inputs), samplers in found.items():
        for sampler in (name for name in COLORS if name in samplers):
            cells = [cell(samplers[sampler], count, least) for count in AFTER]
            rows.append([network, f"{inputs:,}", f"`{sampler}`", str(len(samplers[sampler])), *cells])
    return markdown(headings, rows)


def cell(several: Sequence[Points], count: int, least: float) -> str:
    """The median over seeds, and the least and the most where there are several."""
    values = [dominated(points[:count], least) for points in several if len(points) >= count]
    if not values:
        return ""
    return f"{np.median(values):.1f}" + (f" ({min(values):.1f} to {max(values):.1f})" if len(values) > 1 else "")


def draw(found: Mapping[tuple[str, int], Mapping[str, Sequence[Points]]], path: Path) -> None:
    """A panel for each network."""
    figure = Figure(figsize=(12, 4.4), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(found), squeeze=False)[0]
    figure.subplots_adjust(left=0.06, right=0.985, top=0.88, bottom=0.24, wspace=0.2)
    for axes, ((network, inputs), samplers) in zip(panels, found.items(), strict=True):
        panel(axes, {name: curves(several) for name, several in samplers.items()})
        axes.set_title(f"{network}, {inputs:,} inputs", loc="left", fontsize=11, color=INK, pad=10)
    panels[0].set_ylabel("Hypervolume, %", color=INK)
    lines = {label: line for axes in panels for line, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(lines.values(), lines.keys(), loc="lower center", ncols=len(lines), frameon=False, fontsize=9)
    save(figure, path)


def curves(several: Sequence[Points]) -> Floats:
    """`(seeds, trials)` hypervolumes."""
    count = min(len(points) for points in several)
    return np.array([[dominated(points[:n]) for n in range(1, count + 1)] for points in several])


def panel(axes: Axes, found: Mapping[str, Floats]) -> None:
    """Medians over seeds as lines, and from the least to the most as bands."""
    for sampler in (name for name in COLORS if name in found):
        values, color = found[sampler], COLORS[sampler]
        numbers = np.arange(1, values.shape[1] + 1)
        axes.fill_between(numbers, values.min(axis=0), values.max(axis=0), step="post", color=color, alpha=0.2, lw=0)
        axes.step(numbers, np.median(values, axis=0), where="post", color=color, linewidth=1.6, label=sampler)
    axes.set_ylim(
        min(values[:, AFTER[0] - 1].min() for values in found.values()) - 1,
        max(values.max() for values in found.values()) + 1,
    )
    axes.set_xscale("log")
    axes.set_xlim(20, 500)
    axes.set_xticks(AFTER)
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.minorticks_off()
    axes.set_xlabel("Trials", color=INK)
    plain_frame(axes)


if __name__ == "__main__":
    main()
