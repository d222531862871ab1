"""Checks of a finished run: each point's files made again, and run on what the board runs.

For a board with TensorFlow Lite Micro, a point's coded file runs in the interpreter beside the same weights
uncompressed, and every output must be the same, bit for bit; the file's size and the interpreter's own figures of its
arena must be those that the cost model says. For a board with bqsearch's runtime, every layer's stream must decode to
the weights of the point's `model.tflite`, and its firmware must compute on the emulated board what it does here; see
`onboard`. For both, flash and RAM must be those of front.json.
"""

import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bqsearch.compress import CompressedModel
from bqsearch.datasets import feed
from bqsearch.errors import ModelError, OutputError, PlanError
from bqsearch.firmware.board import BOARDS
from bqsearch.graph.ops import layers
from bqsearch.hardware import linked
from bqsearch.hardware.cost import CostModel
from bqsearch.hardware.micro import MicroFootprint, decoders, raw_file
from bqsearch.hardware.target import Target
from bqsearch.hardware.tflm import WHEEL, tail
from bqsearch.importers.tflite import parse
from bqsearch.quantizers.base import offset_codes
from bqsearch.runtime import tflm
from bqsearch.search import onboard, planfile, prepare
from bqsearch.search.check import Check
from bqsearch.search.folder import FRONT, write_bytes
from bqsearch.search.planfile import FIRMWARE, MICRO_MODEL, MODEL, PLAN, Material, PlanFile
from bqsearch.search.prepare import OnStage
from bqsearch.types import Array

INPUTS = 100
VERIFIED = "verified.json"


@dataclass(frozen=True, kw_only=True)
class Verified:
    """One point.

    Attributes:
        point: Its number.
        checks: All that was compared.
    """

    point: int
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return all(check.passed is not False for check in self.checks)


def write(checked: Sequence[Verified], folder: Path) -> None:
    """Leave what was found in the run's folder, for its report, as long as front.json stays what it is.

    Other points that were checked before stay; a damaged file is replaced.
    """
    try:
        before = read(folder)
    except OutputError:
        before = []
    latest = {v.point: v for v in (*before, *checked)}
    ordered = [latest[point] for point in sorted(latest)]
    points = [{"point": v.point, "passed": v.passed, "checks": [asdict(check) for check in v.checks]} for v in ordered]
    content = {"front_sha256": _front_hash(folder), "points": points}
    write_bytes(folder / VERIFIED, json.dumps(content, indent=1).encode())


def read(folder: Path) -> list[Verified]:
    """What `write` left; nothing if it left nothing, or of another front.json.

    Raises:
        OutputError: It is not what was written.
    """
    content = _read(folder / VERIFIED)
    if not content:
        return []
    try:
        found = json.loads(content)
        if found["front_sha256"] != _front_hash(folder):
            return []
        return [
            Verified(point=int(point["point"]), checks=tuple(_checked(**check) for check in point["checks"]))
            for point in found["points"]
        ]
    except (ValueError, TypeError, KeyError) as error:
        raise OutputError(f"{folder / VERIFIED} is damaged ({error}): verify the run again") from error


def _checked(*, name: str, passed: bool | None, detail: str, predicted: int | None, measured: int | None) -> Check:
    if not isinstance(name, str) or not isinstance(detail, str) or not isinstance(passed, bool | None):
        raise TypeError("a check must have a name, a verdict and details")
    figures = [None if figure is None else int(figure) for figure in (predicted, measured)]
    return Check(name=name, passed=passed, detail=detail, predicted=figures[0], measured=figures[1])


def _front_hash(folder: Path) -> str:
    return hashlib.sha256(_read(folder / FRONT)).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Whereabouts:
    """Where a run's model and data lie now; None for where they were.

    Attributes:
        model: Name or file.
        data: Name or path.
    """

    model: str | None = None
    data: str | None = None


def verify(
    described: Mapping[str, Any], folder: Path, target: Target, inputs: int, now: Whereabouts, on_stage: OnStage
) -> Iterator[Verified]:
    """Check the points of a run.

    Args:
        described: The run's front.json.
        folder: Where the run lies.
        target: The run's board.
        inputs: How many of the holdout's inputs to run.
        now: Where the run's model and data lie.
        on_stage: Told in words what is being done.

    Raises:
        PlanError: Model or data are not those of the run.
        MissingExtraError: The board runs TensorFlow Lite Micro and the wheel is not installed.
    """
    if target.runtime == prepare.MICRO:
        tflm.require()
    with tempfile.TemporaryDirectory() as out:
        yield from _verify(described, folder, target, inputs, now, on_stage, Path(out))


def _verify(
    described: Mapping[str, Any],
    folder: Path,
    target: Target,
    inputs: int,
    now: Whereabouts,
    on_stage: OnStage,
    out: Path,
) -> Iterator[Verified]:
    material: Material | None = None
    for point in described["points"]:
        place = folder / Path(point["files"]["plan"]).parent
        try:
            file = PlanFile.read(place / PLAN)
        except PlanError as error:
            yield Verified(point=point["id"], checks=(Check(name=PLAN, passed=False, detail=str(error)),))
            continue
        if material is None:
            on_stage("gathering what the plans were made from")
            material = planfile.gather(file, now.model or file.recipe.model, now.data, on_stage)
            objectives = [objective["name"] for objective in described["objectives"]]
            cost = prepare.cost_model(material.graph, target, objectives, described["limits"]["ram_bytes"])
        on_stage(f"checking point {point['id']}")
        model = material.remake(file.plan)
        micro = cost.footprint if isinstance(cost.footprint, MicroFootprint) else None
        codes = feed.encode(material.data.holdout.x[:inputs], material.graph.input, material.normalize)
        ran = _own(model, material, place, cost, codes, out) if micro is None else _micro(model, place, micro, codes)
        yield Verified(
            point=point["id"], checks=(*_files(file, material.files(model), place), *ran, *_figures(model, cost, point))
        )


def _files(file: PlanFile, made: Mapping[str, bytes], place: Path) -> Iterator[Check]:
    """On disk as they were written, and the same when they are made again; a folder's files are one check."""
    wrongs = {name: _wrong(file, name, content, place) for name, content in made.items()}
    for top in dict.fromkeys(Path(name).parts[0] for name in made):
        names = [name for name in made if Path(name).parts[0] == top]
        wrong = "; ".join(f"{name} {wrongs[name]}" if name != top else wrongs[name] for name in names if wrongs[name])
        size = f"{sum(len(made[name]) for name in names):,} B"
        detail = size if names == [top] else f"{len(names)} files, {size}"
        yield Check(name=top, passed=not wrong, detail=wrong or f"{detail}, made again byte for byte")


def _wrong(file: PlanFile, name: str, made: bytes, place: Path) -> str:
    found = _read(place / name)
    if not found:
        return "missing or unreadable"
    if hashlib.sha256(found).hexdigest() != file.files_sha256.get(name):
        return "not the file that was written"
    return "" if found == made else "not what plan.json makes"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _own(
    model: CompressedModel, material: Material, place: Path, cost: CostModel, codes: Array, out: Path
) -> Iterator[Check]:
    yield from _streams(model, place)
    schedule = material.schedule(model)
    if material.firmware is not None and schedule is not None:
        predicted = onboard.Predicted(
            flash=cost.flash(model),
            ram=cost.ram(model),
            instructions=cost.instructions(model),
            compiler=linked.load(cost.target.code_table).compiler,
        )
        board = BOARDS[material.firmware.board]
        yield from onboard.check(board, place / FIRMWARE, model, schedule, predicted, codes, out)


def _micro(model: CompressedModel, place: Path, footprint: MicroFootprint, codes: Array) -> Iterator[Check]:
    coded = _read(place / MICRO_MODEL)
    yield _equal_outputs(coded, raw_file(model.decoded()), codes)
    predicted = footprint.file_bytes(model)
    yield Check(
        name="size",
        passed=len(coded) == predicted,
        detail=f"{len(coded):,} B of file, {predicted:,} B predicted",
        predicted=predicted,
        measured=len(coded),
    )
    yield _arena(coded, model, footprint)


def _equal_outputs(coded: bytes, raw: bytes, codes: Array) -> Check:
    try:
        first, second = tflm.run(coded, codes), tflm.run(raw, codes)
    except ModelError as error:
        return Check(name="outputs", passed=False, detail=str(error))
    same = int((first == second).reshape(len(codes), -1).all(axis=1).sum())
    return Check(
        name=onboard.OUTPUTS,
        passed=same == len(codes),
        detail=f"{same:,} of {len(codes):,} bit for bit",
        predicted=len(codes),
        measured=same,
    )


def _arena(coded: bytes, model: CompressedModel, footprint: MicroFootprint) -> Check:
    """Head and tail as the interpreter reports them here, with pointers of 8 bytes."""
    plan = footprint.arena(decoders(model)).plan
    head, last = plan.head, tail(plan.graph, WHEEL)
    try:
        found = tflm.allocations(coded)
    except ModelError as error:
        return Check(name="arena", passed=False, detail=str(error))
    return Check(
        name="arena",
        passed=(head, last) == (found.head, found.tail),
        detail=f"head {found.head:,} B and tail {found.tail:,} B, {head:,} B and {last:,} B predicted",
        predicted=head + last,
        measured=found.head + found.tail,
    )


def _streams(model: CompressedModel, place: Path) -> Iterator[Check]:
    """Every layer's stream decodes to the file's weights."""
    try:
        graph = parse(_read(place / MODEL), str(place / MODEL))
    except ModelError as error:
        yield Check(name="streams", passed=False, detail=str(error))
        return
    if [layer.shape for layer in layers(graph)] != [entry.layer.shape for entry in model.layers]:
        yield Check(name="streams", passed=False, detail="the file's layers are not the plan's")
        return
    wrong = []
    for layer, entry in zip(layers(graph), model.layers, strict=True):
        stored = graph.tensors[layer.weights].data
        assert stored is not None
        decoded = entry.container.decode(entry.coded)
        expected = offset_codes(stored)
        if entry.container.by_channel:
            expected = np.moveaxis(expected, entry.layer.channel_axis, 0)
        if not np.array_equal(decoded, expected.reshape(-1)) or entry.coded.nbytes != entry.option.nbytes:
            wrong.append(entry.layer.name)
    count = len(model.layers)
    detail = f"{count - len(wrong)} of {count} layers decode to the file's weights"
    yield Check(name="streams", passed=not wrong, detail=detail + (f"; not {', '.join(wrong[:3])}" if wrong else ""))


def _figures(model: CompressedModel, cost: CostModel, point: Mapping[str, Any]) -> Iterator[Check]:
    """The front's flash and RAM are those of the files."""
    for name, found in (("flash", cost.flash(model).total), ("ram", cost.ram(model).total)):
        told = int(point[f"{name}_bytes"])
        yield Check(name=name, passed=found == told, detail=f"{found:,} B, front.json has {told:,} B")
