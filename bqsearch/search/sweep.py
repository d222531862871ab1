"""Sweeps: a TOML file of models, targets and seeds -> the studies of all their combinations."""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import product
from pathlib import Path
from typing import Any

from bqsearch.errors import StudyError, UnknownNameError
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
