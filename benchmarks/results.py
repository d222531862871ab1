"""Runs the studies of real networks and puts their results into README.md: `python benchmarks/results.py`.

Each study is a `bqsearch run --study NAME` in a process of its own, resumed if it was begun, and a `bqsearch verify`.
The networks and data are looked for where BQSEARCH_MODELS and BQSEARCH_DATA say. The ImageNet networks take long, most
of it in TensorFlow Lite Micro's reference kernels; `--only WORD` picks studies by name, and the table shows those that
are finished.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from bqsearch.search.spec import read_study, study_names
from paste import markdown, paste

HEADINGS = ["study", "baseline %", "point % (95 %)", "drop (95 %)", "weights B", "flash B", "RAM B", "verified"]
RUNS = Path("runs")


def main() -> None:
    """Run, verify, paste."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", metavar="WORD", help="run studies whose names hold this")
    parser.add_argument("--table", action="store_true", help="run nothing, only write the table of what is finished")
    options = parser.parse_args()
    names = [name for name in study_names() if str(read_study(name)["model"]).endswith(".tflite")]
    if not options.table:
        for name in (name for name in names if options.only in name):
            run(name)
    finished = [name for name in names if (RUNS / name / "verified.txt").exists()]
    paste("results", "make results", markdown(HEADINGS, [row(name) for name in finished]))


def run(name: str) -> None:
    """One study and its verification, unless it is done."""
    folder = RUNS / name
    if (folder / "verified.txt").exists():
        return
    resume = ["--resume"] if folder.exists() else []
    bqsearch = [sys.executable, "-m", "bqsearch"]
    subprocess.run([*bqsearch, "run", "--study", name, "--out", str(folder), *resume], check=True)
    done = subprocess.run([*bqsearch, "verify", str(folder)], stdout=subprocess.PIPE, text=True, check=False)
    print(done.stdout)
    (folder / "verified.txt").write_text(done.stdout.strip().splitlines()[-1])


def row(name: str) -> list[str]:
    """The baseline and the recommended point of a finished study."""
    front = json.loads((RUNS / name / "front.json").read_text("utf-8"))
    quality, base = front["quality"]["name"], front["baseline"]
    verified = (RUNS / name / "verified.txt").read_text("utf-8").split(" points")[0]
    start = f"{100 * base[f'{quality}_holdout']:.2f}"
    given = front["given"]
    if given is not None:
        start = f"{given['kind']} {100 * given[f'{quality}_holdout']:.2f}, int8 {start}"
    if quality != "accuracy":
        start = f"{start} ({quality})"
    if front["recommended"] is None:
        return [f"`{name}`", start, "none", "", "", "", "", verified]
    return [f"`{name}`", start, *figures(front, front["points"][front["recommended"]]), verified]


def figures(front: dict[str, Any], point: dict[str, Any]) -> list[str]:
    """The point's columns; each cost stands behind the baseline's."""
    quality, base = front["quality"]["name"], front["baseline"]
    low, high = (100 * end for end in point["interval_holdout"])
    least, most = point["drop_interval"]
    return [
        f"{100 * point[f'{quality}_holdout']:.2f} ({low:.1f} to {high:.1f})",
        f"{point['drop_holdout']:.2f} ({least:.1f} to {most:.1f})",
        *(f"{base[key]:,} → {point[key]:,}" for key in ("weight_bytes", "flash_bytes", "ram_bytes")),
    ]


if __name__ == "__main__":
    main()
