"""Tables of names: what `bqsearch list` prints."""

import inspect
import tomllib
from collections.abc import Callable
from importlib.resources import files
from typing import Any

from rich.table import Column, Table

from bqsearch import registry
from bqsearch.hardware import target
from bqsearch.quantizers.base import worded
from bqsearch.search.spec import study_names


def table(kind: str) -> Table:
    """A table of one kind, in the plural: `"models"`, `"targets"`, `"studies"`, ..."""
    columns, rows = _ROWS[kind]()
    longest = max((len(row[0]) for row in rows), default=1)
    names = Column(columns[0], no_wrap=True, min_width=longest)  # a name that is cut cannot be used
    made = Table(names, *columns[1:], title=kind, title_justify="left")
    for row in rows:
        made.add_row(*row)
    return made


Rows = tuple[list[str], list[list[str]]]


def _models() -> Rows:
    found = {name: registry.load("model", name) for name in registry.names("model")}
    return ["model", "data", "what it is"], [
        [name, zoo.dataset or "--data", zoo.summary] for name, zoo in found.items()
    ]


def _targets() -> Rows:
    boards = [target.load(name) for name in target.names()]
    return ["target", "RAM, B", "flash, B", "MHz", "board"], [
        [b.name, f"{b.ram:,}", f"{b.flash:,}", f"{b.frequency / 1e6:g}", b.title] for b in boards
    ]


def _objectives() -> Rows:
    found = [registry.load("objective", name) for name in registry.names("objective")]
    return ["objective", "goal", "unit", "what it is"], [[o.name, o.direction, o.unit, o.summary] for o in found]


def _schemes() -> Rows:
    found = {name: registry.load("scheme", name) for name in registry.names("scheme")}
    return ["scheme", "levels", "what it does"], [
        [name, worded(q.levels), _gist(inspect.getmodule(type(q)))] for name, q in found.items()
    ]


def _datasets() -> Rows:
    found = {name: inspect.getmodule(registry.load("dataset", name)) for name in registry.names("dataset")}
    return ["dataset", "what it is"], [[name, _gist(what)] for name, what in found.items()]


def _samplers() -> Rows:
    found = {name: registry.load(kind, name) for kind in ("sampler", "strategy") for name in registry.names(kind)}
    return ["sampler", "what it is"], [[name, _gist(found[name])] for name in sorted(found)]


def _studies() -> Rows:
    rows = []
    for name in study_names():
        settings = tomllib.loads((files("studies") / f"{name}.toml").read_text("utf-8"))
        rows.append([name, *(str(settings.get(key, "")) for key in ("model", "data", "target"))])
    return ["study", "model", "data", "target"], rows


def _gist(what: Any) -> str:
    """The first sentence of a docstring, less the name in front of it."""
    text = " ".join((inspect.getdoc(what) or "").split("\n\n")[0].split())
    return text.partition("`: ")[2] if text.startswith("`") else text


_ROWS: dict[str, Callable[[], Rows]] = {
    "models": _models,
    "targets": _targets,
    "schemes": _schemes,
    "objectives": _objectives,
    "datasets": _datasets,
    "samplers": _samplers,
    "studies": _studies,
}
