"""Bytes of weights that the published networks need after compression without training, against the bars of the field.

    python benchmarks/post_training.py [--only WORD] [--table]

Each row is a `bqsearch run` on a board with room for any network, for accuracy alone within the flash that the bar's
bytes of weights leave for all: calibrated and searched on the training split (or on one half of a set that has one
split only), and the point that is expected to lose least is scored once on the named data. Where decoders weigh as
much as weights, which the bars do not count, it is picked from a front. Networks and data are looked for where
BQSEARCH_MODELS and BQSEARCH_DATA say; runs are resumed, and kept in `runs/post_training`. The table goes into
README.md.
"""

import argparse
import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bqsearch.bank.build import build
from bqsearch.bank.weights import Moments
from bqsearch.compress import compress
from bqsearch.graph import passes
from bqsearch.graph.ops import layers
from bqsearch.hardware import target as targets
from bqsearch.hardware.cost import CostModel
from bqsearch.importers import files
from bqsearch.packing.containers import CONTAINERS
from bqsearch.plan import Method
from paste import markdown, paste

HEADINGS = ["network", "bar", "weights B", "baseline %", "scored %", "lost (95 %)", "reached"]
RUNS = Path("runs/post_training")
BOARD = Path(__file__).parent / "roomy.toml"


@dataclass(frozen=True, kw_only=True)
class Bar:
    """What is to be reached.

    Attributes:
        name: Of the row and its run.
        model: File.
        data: File or folder.
        nbytes: Of weights and all that their decoder needs.
        lost: Percentage points that may be lost against the baseline on the named data.
        reference: Whose figure the bar is.
        classes: The data's classes in the order of the network's outputs.
        trials: Of the sampler.
        polish: Trials of polishing.
        front: Whether a front is searched and the point picked from it: where decoders weigh as much as weights, the
            least flash has not the fewest bytes of weights.
    """

    name: str
    model: str
    data: str
    nbytes: int
    lost: float = 1.0
    reference: str = "at most 1 point lost"
    classes: str | None = None
    trials: int = 200
    polish: int = 24
    front: bool = False

    def against(self, name: str, reference: str, nbytes: int, lost: float) -> "Bar":
        """Another bar for the same network and data."""
        return replace(self, name=name, reference=reference, nbytes=nbytes, lost=lost)


_IMAGENET = {"data": "imagenet", "trials": 60, "polish": 0}
_RESNET8 = Bar(name="resnet8", model="resnet8_int8.tflite", data="cifar10.npz", nbytes=32_000)
_PERSON = Bar(
    name="person",
    model="person_detect_uint8.tflite",
    data="person/test",
    nbytes=75_000,
    classes="person,no_person",
)
_V2 = Bar(name="mobilenet_v2", model="mobilenet_v2_1.0_224_uint8.tflite", nbytes=1_400_000, **_IMAGENET)
BARS = (
    Bar(name="kws", model="kws_ds_cnn_int8.tflite", data="keywords_mfcc.npz", nbytes=9_000),
    Bar(name="micro_speech", model="micro_speech_uint8.tflite", data="micro_speech.npz", nbytes=3_000, front=True),
    _RESNET8,
    _RESNET8.against("resnet8_85", "at least 85 %", nbytes=27_000, lost=2.52),
    _PERSON,
    _PERSON.against("person_published", "Bin & Quant, 57,839 B: 81.10 %", nbytes=55_000, lost=3.55),
    _V2,
    _V2.against("mobilenet_v2_published", "Bin & Quant, 2,241,087 B: 74.31 %", nbytes=1_200_000, lost=3.69),
    Bar(name="mobilenet_v1", model="mobilenet_v1_1.0_224_uint8.tflite", nbytes=1_900_000, **_IMAGENET),
    Bar(name="inception_v1", model="inception_v1_int8.tflite", nbytes=2_300_000, **{**_IMAGENET, "trials": 24}),
)


def main() -> None:
    """Run what is not there, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", metavar="WORD", help="rows whose names hold this")
    parser.add_argument("--table", action="store_true", help="run nothing, only write the table of what is finished")
    options = parser.parse_args()
    if not options.table:
        for bar in (bar for bar in BARS if options.only in bar.name):
            run(bar)
    finished = [bar for bar in BARS if (RUNS / bar.name / "front.json").exists()]
    paste("post_training", "make post-training", markdown(HEADINGS, [row(bar) for bar in finished]))


def run(bar: Bar) -> None:
    """One search, unless it is done."""
    folder = RUNS / bar.name
    if (folder / "front.json").exists():
        return
    models, data = (os.environ[f"BQSEARCH_{what}"] for what in ("MODELS", "DATA"))
    settings = {
        "model": f"{models}/{bar.model}",
        "data": f"{data}/{bar.data}",
        "target": str(BOARD),
        **(front_settings(bar) if bar.front else within_settings(bar, Path(models) / bar.model)),
        "calibration": "512",
        "trials": str(bar.trials),
        "polish": str(bar.polish),
        "tracking-uri": "none",
        "out": str(folder),
        **({} if bar.classes is None else {"classes": bar.classes}),
    }
    given = [part for key, value in settings.items() for part in (f"--{key}", value)]
    resume = ["--resume"] if folder.exists() else []
    print(f"{bar.name}: searching", flush=True)
    subprocess.run([sys.executable, "-m", "bqsearch", "run", *given, *resume], check=True)


def front_settings(bar: Bar) -> dict[str, str]:
    """A front on both sides of what may be lost."""
    return {"objectives": "accuracy,flash", "max-drop": str(2 * bar.lost)}


def within_settings(bar: Bar, path: Path) -> dict[str, str]:
    """The best point within the bar's bytes."""
    return {
        "objectives": "accuracy",
        "max-flash": str(bar.nbytes + beside(path)),
        "max-drop": str(4 * bar.lost),
    }


def row(bar: Bar) -> list[str]:
    """What a finished run reached."""
    front = json.loads((RUNS / bar.name / "front.json").read_text("utf-8"))
    baseline = 100 * front["baseline"]["accuracy_holdout"]
    goal = f"{bar.reference}, {bar.nbytes:,} B"
    if not front["points"]:
        return [f"`{bar.name}`", goal, "none", f"{baseline:.2f}", "", "", "no"]
    point = picked(front["points"], bar.nbytes)
    low, high = point["drop_interval"]
    reached = point["weight_bytes"] <= bar.nbytes and point["drop_holdout"] <= bar.lost
    return [
        f"`{bar.name}`",
        goal,
        f"{point['weight_bytes']:,}",
        f"{baseline:.2f}",
        f"{100 * point['accuracy_holdout']:.2f}",
        f"{point['drop_holdout']:.2f} ({low:.1f} to {high:.1f})",
        "yes" if reached else "no",
    ]


def picked(points: list[dict[str, Any]], most: int) -> dict[str, Any]:
    """The point whose score counts; the holdout has no part in it."""
    within = [point for point in points if point["weight_bytes"] <= most]
    if within:
        return min(within, key=lambda p: (p["drop_expected"], -p["weight_bytes"]))
    return min(points, key=lambda p: p["weight_bytes"])


def beside(path: Path) -> int:
    """Bytes of flash on the board that are not weights, among them the decoder of Huffman codes."""
    graph = passes.prune(passes.fuse_padding(passes.integer_io(files.load(path))))
    flat = {layer.name: Moments(mean=np.zeros((1, 1)), variance=np.ones((1, 1))) for layer in layers(graph)}
    bank = build(graph, flat, [], CONTAINERS["bqsearch"], Method(error_compensation=False))
    cost = CostModel(graph=graph, target=targets.load(str(BOARD)))
    flash = cost.flash(compress(graph, bank, bank.baseline))
    code = cost.footprint.decoder_code
    return flash.total - flash.weights + code({"huffman"}) - code({"raw"})


if __name__ == "__main__":
    main()
