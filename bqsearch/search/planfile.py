"""plan.json: a plan with everything that makes its files again, byte for byte."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from bqsearch.bank.build import build
from bqsearch.bank.weights import Moments
from bqsearch.compress import CompressedModel, compress
from bqsearch.datasets.base import Dataset, Normalize
from bqsearch.errors import OutputError, PlanError, StudyError
from bqsearch.exporters import firmware, tflite, tflm
from bqsearch.firmware.board import BOARDS, HOST, Board
from bqsearch.firmware.emit import emit
from bqsearch.graph.ir import Graph
from bqsearch.hardware.cost import CostModel
from bqsearch.hardware.schedule import Schedule
from bqsearch.hardware.streamed import Planner, StreamedFootprint
from bqsearch.packing.containers import CONTAINERS
from bqsearch.packing.streams import STREAMS
from bqsearch.plan import Plan
from bqsearch.runtime.moments import moments
from bqsearch.runtime.successive import MOST_INPUTS, Successive
from bqsearch.search import prepare
from bqsearch.search.folder import write_bytes, write_json
from bqsearch.search.prepare import MICRO, OnStage, Problem
from bqsearch.search.spec import Recipe, make_recipe
from bqsearch.types import Array

PLAN, MODEL, MICRO_MODEL, FIRMWARE = "plan.json", "model.tflite", "model_tflm.tflite", "firmware"


@dataclass(frozen=True, kw_only=True)
class FirmwareSettings:
    """What firmware is made by, besides the compressed network.

    Attributes:
        board: Name of a board, `"host"` where bqsearch has no files for the target.
        room: Bytes of arena to keep to.
        thrift: Share of the weights whose decoding may be repeated for less RAM than that.
    """

    board: str
    room: int
    thrift: float

    @classmethod
    def of(cls, cost: CostModel) -> "FirmwareSettings | None":
        """Of a board with bqsearch's runtime; None for other targets."""
        if not isinstance(cost.footprint, StreamedFootprint):
            return None
        board = BOARDS.get(cost.target.name, HOST)
        return cls(board=board.name, room=cost.footprint.planner.room, thrift=cost.footprint.planner.thrift)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "FirmwareSettings":
        """From plain values. Raises `ValueError`, `KeyError` or `TypeError` if they are none."""
        board, room, thrift = str(value["board"]), int(value["room"]), float(value["thrift"])
        if board not in BOARDS or room < 0 or not 0 <= thrift <= 1:
            raise ValueError(f"no firmware for {board!r} with {room} B and a thrift of {thrift}")
        return cls(board=board, room=room, thrift=thrift)

    def planner(self, graph: Graph) -> Planner:
        """What decides how a network is executed."""
        return Planner(graph=graph, room=self.room, thrift=self.thrift)


@dataclass(frozen=True, kw_only=True, eq=False)
class PlanFile:
    """A plan, what it was made from, and what it makes.

    Attributes:
        plan: The choices.
        recipe: Of the run.
        runtime: Of the board, `"bqsearch"` or `"tflm"`.
        firmware: What firmware is made by; None where the runtime is not bqsearch's.
        model_sha256: Fingerprint of the model that was given.
        data_sha256: Fingerprint of the data that calibrated it.
        files_sha256: SHA-256 of the point's files, by name.
    """

    plan: Plan
    recipe: Recipe
    runtime: str
    firmware: FirmwareSettings | None
    model_sha256: str
    data_sha256: str
    files_sha256: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            **self.plan.to_json(),
            "recipe": asdict(self.recipe),
            "runtime": self.runtime,
            "firmware": None if self.firmware is None else asdict(self.firmware),
            "sha256": {"model": self.model_sha256, "data": self.data_sha256, "files": dict(self.files_sha256)},
        }

    @classmethod
    def read(cls, path: Path) -> "PlanFile":
        """Read a point's `plan.json`.

        Raises:
            PlanError: The file cannot be read or has another form.
        """
        try:
            value = json.loads(path.read_text("utf-8"))
            plan = Plan.from_json(value)
            return cls(
                plan=plan,
                recipe=make_recipe(value["recipe"]),
                runtime=_runtime(value["runtime"]),
                firmware=FirmwareSettings.from_json(value["firmware"]) if value["runtime"] == STREAMS.name else None,
                model_sha256=str(value["sha256"]["model"]),
                data_sha256=str(value["sha256"]["data"]),
                files_sha256={str(name): str(digest) for name, digest in value["sha256"]["files"].items()},
            )
        except (OSError, UnicodeDecodeError, ValueError, KeyError, TypeError, AttributeError, StudyError) as error:
            raise PlanError(f"cannot read the plan {path}: {type(error).__name__}: {error}") from error


def _runtime(name: object) -> str:
    if name not in CONTAINERS:
        raise ValueError(f"unknown runtime {name!r}; known: {', '.join(CONTAINERS)}")
    return str(name)


def file_names(runtime: str) -> dict[str, str]:
    """What a point's folder holds under a runtime, by what it is."""
    of_runtime = {MICRO: {"tflm": MICRO_MODEL}, STREAMS.name: {"firmware": FIRMWARE}}
    return {"plan": PLAN, "model": MODEL, **of_runtime.get(runtime, {})}


def point_files(
    model: CompressedModel, runtime: str, board: Board | None, schedule: Schedule | None
) -> dict[str, bytes]:
    """A point's files besides its plan: what LiteRT runs, and what the board runs.

    Args:
        model: The point.
        runtime: Of the target.
        board: What firmware is for; None where the runtime is not bqsearch's.
        schedule: How firmware executes the point; None as for the board.
    """
    made = {MODEL: tflite.export(model)}
    if runtime == MICRO:
        made[MICRO_MODEL] = tflm.export(model)
    if board is None or schedule is None:
        return made
    texts = firmware.texts(emit(model, schedule), board)
    return {**made, **{f"{FIRMWARE}/{name}": text.encode() for name, text in texts.items()}}


def write_point(problem: Problem, model: CompressedModel, folder: Path) -> None:
    """Write a point's `plan.json` and its files."""
    settings, footprint = FirmwareSettings.of(problem.cost), problem.cost.footprint
    schedule = footprint.schedule(model) if isinstance(footprint, StreamedFootprint) else None
    runtime, board = problem.cost.target.runtime, None if settings is None else BOARDS[settings.board]
    made = point_files(model, runtime, board, schedule)
    written = PlanFile(
        plan=model.plan,
        recipe=replace(problem.spec.recipe, data=problem.data.name),
        runtime=runtime,
        firmware=settings,
        model_sha256=problem.source,
        data_sha256=problem.data.fingerprint,
        files_sha256={name: _sha256(content) for name, content in made.items()},
    )
    _write(written, made, folder)


@dataclass(frozen=True, kw_only=True, eq=False)
class Material:
    """What plans of one run are made from again.

    Attributes:
        graph: The 8-bit network.
        data: Its data.
        normalize: How the data's pixels become the network's real inputs.
        inputs: Calibration inputs, codes.
        runtime: Of the board.
        firmware: What firmware is made by; None where the runtime is not bqsearch's.
        compensated: Whether the plans compensate errors, which takes covariances.
    """

    graph: Graph
    data: Dataset
    normalize: Normalize | None
    inputs: Array
    runtime: str
    firmware: FirmwareSettings | None
    compensated: bool

    def files(self, model: CompressedModel) -> dict[str, bytes]:
        """A point's files besides its plan."""
        board = None if self.firmware is None else BOARDS[self.firmware.board]
        return point_files(model, self.runtime, board, self.schedule(model))

    def schedule(self, model: CompressedModel) -> Schedule | None:
        """How firmware executes a point; None where the runtime is not bqsearch's."""
        return None if self._planner is None else self._planner.schedule(model)

    @cached_property
    def _planner(self) -> Planner | None:
        return None if self.firmware is None else self.firmware.planner(self.graph)

    def remake(self, plan: Plan) -> CompressedModel:
        """The network under a plan."""
        schemes = sorted({choice.scheme for choice in plan.choices.values()})
        container = CONTAINERS[self.runtime]
        prunes = sorted({choice.prune for choice in plan.choices.values() if choice.prune is not None})
        bank = build(self.graph, self._moments, schemes, container, plan.method, prunes)
        if not plan.successive:
            return compress(self.graph, bank, plan)
        return Successive(graph=self.graph, bank=bank, inputs=self.inputs[:MOST_INPUTS]).compress(plan)

    @cached_property
    def _moments(self) -> Mapping[str, Moments]:
        return moments(self.graph, self.inputs, covariances=self.compensated)


def gather(file: PlanFile, model: str, data: str | None, on_stage: OnStage) -> Material:
    """Load what a plan was made from.

    Args:
        file: The plan.
        model: Name or file of the model that it was made for.
        data: Where its data lies now; None for where it was.
        on_stage: Told in words what is being done.

    Raises:
        PlanError: Model or data are not those of the plan.
    """
    recipe = replace(file.recipe, model=model, data=data or file.recipe.data)
    given, zoo = prepare.load_model(model)
    _check("model", model, given.fingerprint, file.model_sha256)
    loaded = prepare.load_data(recipe, given, zoo)
    _check("data", loaded.name, loaded.fingerprint, file.data_sha256)
    graph, normalize = prepare.to_int8(recipe, file.runtime, given, loaded, on_stage)
    inputs = prepare.calibration_codes(recipe, graph, loaded, normalize)
    return Material(
        graph=graph,
        data=loaded,
        normalize=normalize,
        inputs=inputs,
        runtime=file.runtime,
        firmware=file.firmware,
        compensated=file.plan.method.error_compensation,
    )


def apply(file: PlanFile, model: str, data: str | None, folder: Path, on_stage: OnStage) -> tuple[str, ...]:
    """Make a point's files again, and return their names.

    Args:
        file: What to make.
        model: Name or file of the model that the plan was made for.
        data: Where its data lies now; None for where it was.
        folder: Where to write.
        on_stage: Told in words what is being done.

    Raises:
        PlanError: Model or data are not those of the plan, or a file is not the one that was scored.
    """
    there = [str(folder / name) for name in (PLAN, *file.files_sha256) if (folder / name).exists()]
    if there:
        raise OutputError(f"{there[0]} exists and is not overwritten: choose another --out")
    material = gather(file, model, data, on_stage)
    on_stage("building the plan's codebooks")
    made = material.files(material.remake(file.plan))
    found = {name: _sha256(content) for name, content in made.items()}
    for name in sorted({*found, *file.files_sha256}):
        wanted = file.files_sha256.get(name, "none")
        _check(name, "made with this machine's libraries", found.get(name, "none"), wanted)
    _write(file, made, folder)
    return tuple(made)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _write(file: PlanFile, made: Mapping[str, bytes], folder: Path) -> None:
    for name, content in made.items():
        write_bytes(folder / name, content)
    write_json(folder / PLAN, file.to_json())


def _check(what: str, name: str, found: str, wanted: str) -> None:
    if found != wanted:
        raise PlanError(
            f"the {what} ({name}) is not the plan's: SHA-256 {found[:12]}..., the plan has {wanted[:12]}..."
        )
