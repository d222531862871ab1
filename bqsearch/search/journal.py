"""The journal of trials on disk, in the format of Optuna's `JournalFileBackend`, for one process alone.

Optuna's own lets many processes write: for each trial it takes a lock, opens the file, waits until the disk has it, and
reads it back. A run's folder is locked as long as the run goes on, so here the file stays open, and where trials come
faster than every `DELAY` the search does not wait for the disk: what was written is safe from whatever ends the
process, and from a power cut but for the last of that time.
"""

import json
import os
import weakref
from collections.abc import Iterable
from math import inf
from pathlib import Path
from threading import Lock, Thread
from time import monotonic, sleep
from typing import Any

from optuna.storages.journal import BaseJournalBackend

DELAY = 0.05  # seconds


class Journal(BaseJournalBackend):
    """A journal that nobody else writes to. What a kill or a power cut left at its end that is no line is taken off.

    Args:
        path: The file; it is made if there is none.

    Raises:
        OSError: It cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        weakref.finalize(self, os.close, self._file)
        _sync_folder(path.parent)
        content = path.read_bytes()
        written, _, _ = content.partition(b"\0")  # a file system's holes read as this
        self._size = written.rfind(b"\n") + 1
        if self._size < len(content):
            os.ftruncate(self._file, self._size)
        self._read, self._unread = 0, content[: self._size].splitlines()
        self._lock, self._syncing, self._synced = Lock(), False, -inf
        self._failed: OSError | None = None

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        """From a number on; those that were not read before are at hand."""
        lines = self._unread
        if log_number_from != self._read:
            lines = self._path.read_bytes().splitlines()[log_number_from:]
        self._unread, self._read = [], log_number_from + len(lines)
        return [json.loads(line) for line in lines]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Write them, all or none.

        Raises:
            OSError: The disk does not take them, or has not taken those of before.
        """
        if self._failed is not None:
            raise self._failed
        lines = [json.dumps(log, separators=(",", ":")).encode() for log in logs]
        content = b"".join(line + b"\n" for line in lines)
        try:
            _write(self._file, content)
        except OSError:
            os.ftruncate(self._file, self._size)
            raise
        self._size += len(content)
        self._unread += lines
        with self._lock:
            if self._syncing:
                return
            soon = monotonic() < self._synced + DELAY
            self._syncing = soon
        if soon:
            Thread(target=self._sync_soon).start()
        else:
            self._sync()

    def _sync_soon(self) -> None:
        sleep(DELAY)
        with self._lock:
            self._syncing = False
        try:
            self._sync()
        except OSError as error:
            self._failed = error

    def _sync(self) -> None:
        """Have the disk take what is written."""
        os.fsync(self._file)
        self._synced = monotonic()


def _sync_folder(path: Path) -> None:
    """Have the disk take the names of its files."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _write(file: int, content: bytes) -> None:
    while content:
        content = content[os.write(file, content) :]
