"""The run's folder: checked before the search starts, locked while it runs, never overwritten."""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bqsearch.errors import OutputError

JOURNAL, FRONT, POINTS, LOCK = "trials.journal", "front.json", "points", ".lock"
EVENTS = "events.jsonl"  # all that a run leaves that was killed and has its trials in a database
SPARE = 32 << 20  # bytes wanted free besides the points' models: database, plots and report


@dataclass(frozen=True, kw_only=True)
class RunFolder:
    """Paths in a run's folder.

    Attributes:
        path: The folder.
    """

    path: Path

    @property
    def journal(self) -> Path:
        """Finished trials."""
        return self.path / JOURNAL

    @property
    def front(self) -> Path:
        """The result."""
        return self.path / FRONT

    def point(self, number: int) -> Path:
        """Folder of a point's files."""
        return self.path / POINTS / str(number)

    def clear_points(self) -> None:
        """Remove the points of an earlier end of the same run."""
        shutil.rmtree(self.path / POINTS, ignore_errors=True)


@contextmanager
def opened(path: Path, resume: bool, needed: int) -> Iterator[RunFolder]:
    """Make the folder, check it and hold its lock.

    Args:
        path: Where; made with its parents if it is not there.
        resume: Whether a run in it may be gone on with.
        needed: Bytes that the points' files may take.

    Raises:
        OutputError: It cannot be written, holds a run or anything else already, is in use, or its disk is full.
    """
    with ExitStack() as held:
        with disk_errors(path):
            path.mkdir(parents=True, exist_ok=True)
            _check_free(path, resume)
            lock = held.enter_context((path / LOCK).open("w"))
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise OutputError(f"another run is writing to {path}: wait for it, or choose another --out") from error
            _check_space(path, needed + SPARE)
        yield RunFolder(path=path)


@contextmanager
def disk_errors(path: Path, cure: str = "") -> Iterator[None]:
    """The file system's errors about `path`, as one of ours, with what may be done about it."""
    try:
        yield
    except OSError as error:
        hint = f"; {cure}" if cure else ""
        raise OutputError(f"cannot write to {error.filename or path}: {error.strerror or error}{hint}") from error


def write_json(path: Path, value: Any) -> None:
    """Write whole or not at all."""
    write_bytes(path, (json.dumps(value, indent=1, allow_nan=False) + "\n").encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)


def _check_free(path: Path, resume: bool) -> None:
    there = {entry.name for entry in path.iterdir()} - {LOCK}
    is_run = bool(there & {JOURNAL, FRONT, EVENTS})
    if is_run and not resume:
        raise OutputError(f"{path} already holds a run: add --resume to go on with it, or choose another --out")
    if there and not is_run:
        raise OutputError(f"{path} is not empty and holds no run of bqsearch: choose another --out")


def _check_space(path: Path, needed: int) -> None:
    free = shutil.disk_usage(path).free
    if free < needed:
        raise OutputError(
            f"{path} needs {needed >> 20} MiB free, but its disk has {free >> 20} MiB: "
            f"make room, or choose another --out"
        )
