"""What MLflow is told of a run when it begins."""

from importlib.metadata import version
from pathlib import Path
from typing import Any

from bqsearch.search.prepare import Problem
from bqsearch.tracking import git
from bqsearch.tracking.convergence import Axis


def params(problem: Problem) -> dict[str, Any]:
    """What defines the study."""
    spec = problem.spec
    shown = (
        "model",
        "target",
        "classes",
        "objectives",
        "max_drop",
        "trials",
        "polish",
        "sampler",
        "max_bins",
        "seed",
        "schemes",
        "prune",
        "bias_correction",
        "activation_weighting",
        "error_compensation",
        "equalization",
        "calibration",
        "features",
        "normalize",
    )
    limits = {"max_flash": problem.max_flash, "max_ram": problem.max_ram, "data": problem.data.name}
    return {**{key: getattr(spec, key) for key in shown}, **limits}


def tags(problem: Problem) -> dict[str, str]:
    """What runs are found by."""
    commit = git.commit_of(Path.cwd())
    return {
        "model": problem.spec.model,
        "target": problem.cost.target.name,
        "seed": str(problem.spec.seed),
        "data_sha256": problem.data.fingerprint,
        "model_sha256": problem.source,
        "bqsearch": version("bqsearch"),
        **({} if commit is None else {"git_commit": commit}),
    }


def axes(problem: Problem) -> list[Axis]:
    """The objectives, with the uncompressed network's values."""
    found = [(o, float(o.read(problem.baseline))) for o in problem.objectives]
    return [Axis(name=objective.name, direction=objective.direction, baseline=value) for objective, value in found]
