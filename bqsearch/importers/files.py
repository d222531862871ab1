"""Any model file or folder -> Graph: the importer is found by suffix, or by what a folder holds."""

from pathlib import Path

from bqsearch import registry
from bqsearch.errors import ModelError
from bqsearch.graph.ir import Graph

SAVED_MODEL = "saved_model"  # the importer of folders


def kind(path: Path) -> str | None:
    """The name of the importer that reads a path, None if there is none."""
    if (path / "saved_model.pb").is_file():
        return SAVED_MODEL
    suffix = path.suffix.removeprefix(".").lower()
    return suffix if suffix in registry.names("importer") else None


def load(path: Path) -> Graph:
    """Read a model file, or a SavedModel folder.

    Raises:
        ModelError: No importer reads it, or it cannot be used.
        MissingExtraError: Its importer needs a package that is not installed.
    """
    found = kind(path)
    if found is None:
        known = ", ".join(f".{name}" for name in registry.names("importer") if name != SAVED_MODEL)
        raise ModelError(f"{path} is no model that bqsearch reads; known kinds: {known}, and SavedModel folders")
    graph: Graph = registry.load("importer", found)(path)
    return graph
