"""Sweeps: a TOML file of models, targets and seeds -> a run for each of their combinations, one after the other."""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import product
from pathlib import Path
from typing import Any

from bqsearch import session
from bqsearch.errors import BqsearchError, StudyError, UnknownNameError
from bqsearch.report import tables
from bqsearch.report.progress import View
from bqsearch.search.driver import check_crew
from bqsearch.search.pool import cluster
from bqsearch.search.spec import StudySpec, located, make_spec

AXES = ("models", "targets", "seeds")


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """Studies that belong together.

    Attributes:
        name: Of the sweep and of its default output folder.
        studies: With different names.
    """

    name: str
    studies: tuple[StudySpec, ...]


@dataclass(frozen=True, kw_only=True)
class Swept:
    """How a sweep ended.

    Attributes:
        found: Whether each run that did not fail found a front.
        failed: Whether a run failed.
        interrupted: Whether Ctrl-C ended it.
    """

    found: bool
    failed: bool
    interrupted: bool


def run(file: Path, out: Path | None, means: session.Means, view: View) -> Swept:
    """Run the studies of a sweep one after the other, each in a folder of its own, and print what came of them.

    Args:
        file: The sweep's.
        out: Folder of the runs' folders; None for `runs/SWEEP`.
        means: How.
        view: What to show.

    Raises:
        BqsearchError: The file cannot be used, or one of its studies not with these workers, or the cluster cannot be
            joined. What ends one run is told, and the others go on.
    """
    planned = read_sweep(file)
    for spec in planned.studies:
        check_crew(spec, means.crew)
    folder = out or Path("runs") / planned.name
    ended: dict[str, session.Outcome | BqsearchError] = {}
    with cluster(means.crew):
        for number, spec in enumerate(planned.studies, start=1):
            view.note(f"run {number} of {len(planned.studies)}: {spec.name}")
            there = (folder / spec.name).exists()
            try:
                resumed = replace(means, resume=means.resume and there)
                ended[spec.name] = session.run(spec, folder / spec.name, resumed, view)
            except BqsearchError as error:
                ended[spec.name] = error
                view.warn(f"{spec.name}: {error}")
            if _interrupted(ended[spec.name]):
                break
    rows = {name: _compared(folder / name, outcome) for name, outcome in ended.items()}
    view.out.print(tables.sweep_table(rows))
    view.out.print(f"files: {folder}/ (a folder for each run)", highlight=False)
    outcomes = [outcome for outcome in ended.values() if isinstance(outcome, session.Outcome)]
    return Swept(
        found=all(outcome.found for outcome in outcomes),
        failed=len(outcomes) < len(ended),
        interrupted=any(map(_interrupted, ended.values())),
    )


def _interrupted(ended: session.Outcome | BqsearchError) -> bool:
    return isinstance(ended, session.Outcome) and ended.interrupted


def _compared(path: Path, ended: session.Outcome | BqsearchError) -> dict[str, Any] | str:
    """A run's front; or why there is none."""
    return session.read_front(path) if isinstance(ended, session.Outcome) else str(ended)


def read_sweep(path: Path) -> Sweep:
    """The sweep of a file.

    Raises:
        StudyError: The file cannot be read, has an unknown key or a bad value, or lacks models or targets; or two of
            its studies would have the same name.
        UnknownNameError: A name in it is unknown.
    """
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise StudyError(f"cannot read the sweep {path}: {error}") from error
    settings = {key: value for key, value in content.items() if key not in AXES}
    _check_keys(path, settings, {*_settings(), *AXES})
    if "seed" in settings and "seeds" in content:
        raise StudyError(f"the sweep {path} has both seed and seeds: leave one out")
    seeds = content.get("seeds", [settings.get("seed", 0)])
    models = [_model(path, model) for model in _listed(path, content, "models")]
    crossed = product(models, _listed(path, content, "targets"), _list(path, "seeds", seeds))
    studies = tuple(_named({**settings, **model, "target": target, "seed": seed}) for model, target, seed in crossed)
    _check_names(path, studies)
    return Sweep(name=path.stem, studies=studies)


def _named(settings: Mapping[str, Any]) -> StudySpec:
    spec = make_spec(located(settings))
    return replace(spec, name=f"{spec.name}-seed{spec.seed}")


def _model(path: Path, value: Any) -> dict[str, Any]:
    """A model's settings: of its name or file alone, or with others that hold for this model."""
    settings = {"model": value} if isinstance(value, str) else value
    if not isinstance(settings, dict) or "model" not in settings:
        raise StudyError(f'the sweep {path}: models has names, or tables like {{ model = "NAME|FILE", data = "..." }}')
    _check_keys(path, settings, set(_settings()))
    return settings


def _settings() -> Iterator[str]:
    return (f.name for f in fields(StudySpec) if f.name not in ("name", "target"))


def _listed(path: Path, content: Mapping[str, Any], key: str) -> list[Any]:
    if key not in content:
        raise StudyError(f"the sweep {path} has no {key}: name them in a list")
    return _list(path, key, content[key])


def _list(path: Path, key: str, value: Any) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise StudyError(f"the sweep {path}: {key} is a list of one or more, not {value!r}")
    return value


def _check_keys(path: Path, settings: Mapping[str, Any], known: set[str]) -> None:
    for key in settings:
        if key not in known:
            raise StudyError(f"the sweep {path}: {UnknownNameError('key', key, known)}")


def _check_names(path: Path, studies: Sequence[StudySpec]) -> None:
    names = [spec.name for spec in studies]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise StudyError(
            f"the sweep {path}: two studies would be named {twice[0]!r}: name models, targets and seeds once"
        )
