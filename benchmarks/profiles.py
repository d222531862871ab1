"""The networks on projection profiles, on the emulated HiFive1, beside what was published of theirs (GCCE 2018).

    python benchmarks/profiles.py

Each study is a `bqsearch run --study NAME`, unless it is done; MNIST is looked for where BQSEARCH_DATA says. Its
smallest point with logarithmic levels in all layers is made into firmware and runs in QEMU on all 10,000 test images.
The outputs must be those of the same C code on this computer, the weights must lie in RAM, and fitted levels must run
as shifts. The published operators are scored on the search split. The tables go into README.md.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from bqsearch.compress import CompressedModel
from bqsearch.datasets import feed
from bqsearch.exporters.firmware import export
from bqsearch.firmware import emulator, host, toolchain
from bqsearch.firmware import map as maps
from bqsearch.firmware.board import BOARDS
from bqsearch.firmware.emit import emit
from bqsearch.firmware.emulator import Outcome
from bqsearch.firmware.map import Image
from bqsearch.hardware import target
from bqsearch.plan import Choice, Method
from bqsearch.search import planfile, prepare
from bqsearch.search.planfile import PLAN, Material, PlanFile
from bqsearch.search.quality import wilson_interval
from bqsearch.search.spec import make_spec, read_study
from paste import markdown, paste

STUDIES = ("profiles_64_10-hifive1-log2", "profiles_64_50-hifive1-log2")
RUNS = Path("runs")
HEADINGS = [
    "network",
    "levels",
    "weights B",
    "tables B",
    "biases B",
    "all B",
    "in RAM B",
    "accuracy % (95 %)",
    "images",
]
PUBLISHED = [
    ["published, 64-16-10", "4 bits", "592", "not counted", "not counted", "592", "592", "not given", ""],
    ["published, 64-50-10", "3 bits and a sign", "not given", "", "", "", "", "92.1", "1,000"],
]
BOARD = "hifive1"
OPERATORS = {
    "GCCE 2018, 3 bits": "log2_iot-17-packed",
    "GCCE 2018, 4 bits": "log2_iot-33-packed",
    "IAIT 2018, 4 bits": "log2_dlq-33-packed",
    "fitted, 7 levels": "log2-7-packed",
    "fitted, 16 levels": "log2-16-packed",
}
HEADINGS_OPERATORS = ["network", "operator", "choice", "weights and tables B", "alone %", "made up for %"]
METHODS = {"alone": dict.fromkeys((f.name for f in fields(Method)), False), "made up for": {}}
HEADINGS_RUN = ["network", "float %", "int8 %", "on the board %", "instructions", ".text B", "RAM B", "stack B"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """A study's point on the board.

    Attributes:
        front: The study's front.json.
        point: The point there.
        model: The network.
        accuracy: Share of the test images that the board got right.
        outcome: What the board did.
        image: What the linker made.
    """

    front: dict[str, Any]
    point: dict[str, Any]
    model: CompressedModel
    accuracy: float
    outcome: Outcome
    image: Image


def main() -> None:
    """Search, run on the board, paste."""
    runs = [on_the_board(name) for name in STUDIES]
    tables = [
        markdown(HEADINGS, [*PUBLISHED, *map(row, runs)]),
        markdown(HEADINGS_RUN, [figures(run) for run in runs]),
        markdown(HEADINGS_OPERATORS, [line for name in STUDIES for line in operators(name)]),
    ]
    paste("profiles", "python benchmarks/profiles.py", "\n\n".join(tables))


def on_the_board(name: str) -> Run:
    """Search, if that was not done, and run what was found."""
    folder = RUNS / name
    if not (folder / "front.json").exists():
        options = ["--study", name, "--out", str(folder), "--tracking-uri", "none"]
        resume = ["--resume"] if folder.exists() else []
        subprocess.run([sys.executable, "-m", "bqsearch", "run", *options, *resume], check=True)
    front = json.loads((folder / "front.json").read_text("utf-8"))
    point = next(p for p in front["points"] if all(layer["scheme"].startswith("log2") for layer in p["layers"]))
    file = PlanFile.read(folder / "points" / str(point["id"]) / PLAN)
    material = planfile.gather(file, front["model"], None, print)
    model = material.remake(file.plan)
    objectives = [objective["name"] for objective in front["objectives"]]
    board = target.load(BOARD)
    cost = prepare.cost_model(material.graph, board, objectives, None)
    schedule = cost.footprint.schedule(model)
    return emulated(front, point, material, model, emit(model, schedule), folder / "firmware")


def emulated(
    front: dict[str, Any], point: dict[str, Any], material: Material, model: CompressedModel, source: Any, folder: Path
) -> Run:
    """The firmware's outputs for all test images, which must be those of the host."""
    board, tests = BOARDS[BOARD], material.data.holdout
    export(folder, source, board)
    program = toolchain.build(board, folder, folder / "build")
    codes = feed.encode(tests.x, material.graph.input, material.normalize)
    outcome = emulator.run(program, codes)
    outputs = outcome.outputs.view(np.int8)
    if not np.array_equal(outputs, host.build(material.graph, source).run(codes).reshape(outputs.shape)):
        raise SystemExit("the board's outputs are not those of this computer")
    image = maps.read(program.path.read_bytes())
    stored = [symbol for symbol in image.symbols if symbol.name.startswith(("weights_", "table_"))]
    if {symbol.section for symbol in stored} != {".data"}:
        raise SystemExit("some weights do not lie in RAM")
    names = {symbol.name for symbol in image.symbols}
    if all(layer["scheme"] == "log2" for layer in point["layers"]) and "bq_dense_s8" in names:
        raise SystemExit("some products are no shifts")
    accuracy = float((outputs.argmax(axis=1) == tests.y).mean())
    return Run(front=front, point=point, model=model, accuracy=accuracy, outcome=outcome, image=image)


def row(run: Run) -> list[str]:
    """What is counted."""
    flash, levels = run.point["flash"], ", ".join(f"`{layer['choice']}`" for layer in run.point["layers"])
    parts = [flash["weights"], flash["tables"], flash["biases"]]
    count = run.front["data"]["holdout"]
    low, high = (100 * end for end in wilson_interval(round(count * run.accuracy), count))
    if run.accuracy != run.point["accuracy_holdout"]:
        print(f"LiteRT: {100 * run.point['accuracy_holdout']:.2f} %, the board: {100 * run.accuracy:.2f} %")
    return [
        network(run),
        levels,
        *(f"{part:,}" for part in (*parts, sum(parts))),
        f"{run.point['ram']['weights']:,}",
        f"{100 * run.accuracy:.2f} ({low:.1f} to {high:.1f})",
        f"{count:,}",
    ]


def figures(run: Run) -> list[str]:
    """What it was before, and what it takes on the board."""
    shares = (run.front["given"]["accuracy_holdout"], run.front["baseline"]["accuracy_holdout"], run.accuracy)
    sizes = (int(run.outcome.instructions.max()), run.image.size(".text"), run.image.ram, run.outcome.stack_peak)
    return [network(run), *(f"{100 * share:.2f}" for share in shares), *(f"{size:,}" for size in sizes)]


def network(run: Run) -> str:
    """`64-10-10`, from its layers' shapes."""
    return _sizes([layer["shape"] for layer in run.front["layers"]])


def operators(name: str) -> list[list[str]]:
    """Each scheme in all layers, packed: bytes, and accuracy on the search split as published and made up for."""
    problems = [prepare.prepare(make_spec({**read_study(name), **METHODS[key]}), print) for key in METHODS]
    lines = []
    for what, text in OPERATORS.items():
        plans = [p.bank.plan(dict.fromkeys(p.bank.by_name, Choice.parse(text))) for p in problems]
        measured = [problem.measure(plan) for problem, plan in zip(problems, plans, strict=True)]
        shares = [f"{100 * m.accuracy:.2f}" for m in measured]
        nbytes = " or ".join(dict.fromkeys(f"{m.weight_bytes:,}" for m in measured))
        lines.append([_sizes([e.layer.shape for e in problems[0].bank.layers]), what, f"`{text}`", nbytes, *shares])
    return lines


def _sizes(shapes: Sequence[Sequence[int]]) -> str:
    return "-".join(str(size) for size in (shapes[0][1], *(shape[0] for shape in shapes)))


if __name__ == "__main__":
    main()
