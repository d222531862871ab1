"""Names to values. Every seam that others may extend is an entry-point group; the built-in members stand
in bqsearch's own `pyproject.toml`, so a plug-in and a built-in are found in the same way."""

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from bqsearch.errors import BqsearchError, UnknownNameError

KINDS = {
    "dataset": "bqsearch.datasets",
    "importer": "bqsearch.importers",
    "model": "bqsearch.models",
    "objective": "bqsearch.objectives",
    "sampler": "bqsearch.samplers",
    "scheme": "bqsearch.schemes",
    "strategy": "bqsearch.strategies",
}


@cache
def _entries(kind: str) -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=KINDS[kind])}


def names(kind: str) -> list[str]:
    """The known names of a kind, sorted."""
    return sorted(_entries(kind))


@cache
def load(kind: str, name: str) -> Any:
    """The value behind a name, imported now.

    Raises:
        UnknownNameError: No entry of this kind has the name.
        BqsearchError: The entry is there, but importing it failed; the message names the entry.
    """
    if name not in _entries(kind):
        raise UnknownNameError(kind, name, _entries(kind))
    entry = _entries(kind)[name]
    try:
        return entry.load()
    except Exception as error:  # a plug-in's import may raise anything
        raise BqsearchError(f"the {kind} {name!r} ({entry.value}) cannot be loaded: {error}") from error
