"""How well the bank's summed distortion ranks plans by the accuracy that they really lose.

    python benchmarks/ranking.py [--plans COUNT]

Random plans of each network (sizes even in their logarithm, layers weighed at random against each other) are scored on
the search split; printed is Spearman's rank correlation of predicted distortion and drop in accuracy, without and with
what each method adds. Networks and data are looked for where BQSEARCH_MODELS and BQSEARCH_DATA say.
"""

import argparse
import os

import numpy as np
from scipy.stats import spearmanr

from bqsearch.search import prepare
from bqsearch.search.prepare import Problem
from bqsearch.search.space import Space
from bqsearch.search.spec import make_spec
from paste import markdown, paste

NETWORKS = {
    "resnet8": ("resnet8_int8.tflite", "cifar10.npz"),
    "kws": ("kws_ds_cnn_int8.tflite", "keywords_mfcc.npz"),
    "mobilenet_v2": ("mobilenet_v2_1.0_224_uint8.tflite", "imagenet"),
}
SHARE = (0.25, 0.8)  # of the uncompressed weights' bytes, between which plans are drawn
JITTER = 1.0  # standard deviation of the logarithm of a layer's weight


def main() -> None:
    """Draw, score, rank."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--plans", type=int, default=60, metavar="COUNT", help="random plans of each network")
    parser.add_argument("--only", default="", metavar="WORD", help="networks whose names hold this")
    options = parser.parse_args()
    rows = []
    for name in (name for name in NETWORKS if options.only in name):
        problem = load(*NETWORKS[name])
        predicted, lost = scored(problem, options.plans)
        rank = spearmanr(predicted, lost).statistic
        rows.append([name, str(options.plans), f"{min(lost):.1f} to {max(lost):.1f}", f"{rank:.3f}"])
        print(rows[-1], flush=True)
    paste("ranking", "make ranking", markdown(["network", "plans", "points lost", "Spearman"], rows))


def load(model: str, data: str) -> Problem:
    """A network with all methods."""
    folders = (os.environ["BQSEARCH_MODELS"], os.environ["BQSEARCH_DATA"])
    board = os.path.join(os.path.dirname(__file__), "roomy.toml")
    settings = {"model": f"{folders[0]}/{model}", "data": f"{folders[1]}/{data}", "target": board}
    return prepare.prepare(make_spec({**settings, "objectives": "accuracy,flash"}), lambda stage: None)


def scored(problem: Problem, count: int) -> tuple[list[float], list[float]]:
    """Predicted distortion and points of accuracy lost of random plans."""
    space, rng = Space.of(problem.bank, problem.cost, problem.max_ram), np.random.default_rng(0)
    weights = sum(entry.layer.size for entry in problem.bank.layers)
    baseline = problem.measure(problem.bank.baseline)
    before = problem.quality.scores(baseline.scorer, baseline.outputs).mean()
    predicted, lost = [], []
    for _ in range(count):
        size = weights * np.exp(rng.uniform(*np.log(SHARE)))
        factors = np.exp(JITTER * rng.standard_normal(len(space.ladders)))
        measured = problem.measure(space.plan(space.rungs(space.within(size, factors))))
        predicted.append(problem.bank.distortion(measured.model.plan))
        scores = problem.quality.scores(measured.scorer, measured.outputs)
        lost.append(100 * float(before - scores.mean()))
    return predicted, lost


if __name__ == "__main__":
    main()
