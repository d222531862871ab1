"""plan.json: a plan with everything that makes its files again, byte for byte."""

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from bqsearch.bank import build
from bqsearch.compress import CompressedModel, compress
from bqsearch.errors import OutputError, PlanError, StudyError
from bqsearch.exporters import tflite
from bqsearch.plan import Plan
from bqsearch.runtime import calibrate
from bqsearch.search import prepare
from bqsearch.search.folder import write_bytes, write_json
from bqsearch.search.prepare import OnStage, Problem
from bqsearch.search.spec import Recipe, make_recipe

PLAN, MODEL = "plan.json", "model.tflite"


@dataclass(frozen=True, kw_only=True, eq=False)
class PlanFile:
    """A plan, what it was made from, and what it makes.

    Attributes:
        plan: The choices.
        recipe: Of the run.
        model_sha256: Fingerprint of the model that was given.
        data_sha256: Fingerprint of the data that calibrated it.
        output_sha256: SHA-256 of the point's `model.tflite`.
    """

    plan: Plan
    recipe: Recipe
    model_sha256: str
    data_sha256: str
    output_sha256: str

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            **self.plan.to_json(),
            "recipe": asdict(self.recipe),
            "sha256": {"model": self.model_sha256, "data": self.data_sha256, "output": self.output_sha256},
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
            hashes = {key: str(value["sha256"][key]) for key in ("model", "data", "output")}
            recipe = make_recipe(value["recipe"])
        except (OSError, UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError, StudyError) as error:
            raise PlanError(f"cannot read the plan {path}: {type(error).__name__}: {error}") from error
        return cls(
            plan=plan,
            recipe=recipe,
            model_sha256=hashes["model"],
            data_sha256=hashes["data"],
            output_sha256=hashes["output"],
        )


def write_point(problem: Problem, model: CompressedModel, folder: Path) -> None:
    """Write a point's `plan.json` and `model.tflite`."""
    content = tflite.export(model)
    written = PlanFile(
        plan=model.plan,
        recipe=replace(problem.spec.recipe, data=problem.data.name),
        model_sha256=problem.source,
        data_sha256=problem.data.fingerprint,
        output_sha256=hashlib.sha256(content).hexdigest(),
    )
    _write(written, content, folder)


def apply(file: PlanFile, model: str, data: str | None, folder: Path, on_stage: OnStage) -> None:
    """Make a point's files again.

    Args:
        file: What to make.
        model: Name or file of the model that the plan was made for.
        data: Where its data lies now; None for where it was.
        folder: Where to write.
        on_stage: Told in words what is being done.

    Raises:
        PlanError: Model or data are not those of the plan, or the result is not the file that was scored.
    """
    there = [str(folder / name) for name in (PLAN, MODEL) if (folder / name).exists()]
    if there:
        raise OutputError(f"{there[0]} exists and is not overwritten: choose another --out")
    recipe = replace(file.recipe, model=model, data=data or file.recipe.data)
    given, zoo = prepare.load_model(model)
    _check("model", model, given.fingerprint, file.model_sha256)
    loaded = prepare.load_data(recipe, given, zoo)
    _check("data", loaded.name, loaded.fingerprint, file.data_sha256)
    graph, normalize = prepare.to_int8(recipe, given, loaded, on_stage)
    inputs = prepare.calibration_codes(recipe, graph, loaded, normalize)
    on_stage("building the plan's codebooks")
    schemes = sorted({choice.scheme for choice in file.plan.choices.values()})
    bank = build(graph, calibrate.moments(graph, inputs), schemes, file.plan.bias_correction)
    content = tflite.export(compress(graph, bank, file.plan))
    _check("result", "of this machine's libraries", hashlib.sha256(content).hexdigest(), file.output_sha256)
    _write(file, content, folder)


def _write(file: PlanFile, content: bytes, folder: Path) -> None:
    write_bytes(folder / MODEL, content)
    write_json(folder / PLAN, file.to_json())


def _check(what: str, name: str, found: str, wanted: str) -> None:
    if found != wanted:
        raise PlanError(
            f"the {what} ({name}) is not the plan's: SHA-256 {found[:12]}..., the plan has {wanted[:12]}..."
        )
