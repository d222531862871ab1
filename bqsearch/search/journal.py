"""The journal of trials on disk, in the format of Optuna's `JournalStorage`, for one process alone.

Optuna's own lets many processes write: for each trial it takes a lock, opens the file, waits until the disk has it, and
reads it back. A run's folder is locked as long as the run goes on, so here the file stays open, nothing is read back,
and where trials come faster than every `DELAY` the search does not wait for the disk: what was written is safe from
whatever ends the process, and from a power cut but for the last of that time.
"""

import json
import os
import weakref
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from math import inf
from operator import is_
from pathlib import Path
from threading import Lock, Thread
from time import monotonic, sleep
from typing import Any
from uuid import uuid4

from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend
from optuna.storages.journal._storage import JournalOperation
from optuna.trial import FrozenTrial

DELAY = 0.05  # seconds
_UNKNOWN = -1  # what is at hand is not what follows what was read


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
        self._worker = str(uuid4())
        self._described: tuple[Mapping[str, BaseDistribution], str] = ({}, "{}")
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
        lines = [_json(log).encode() for log in logs]
        self._append(b"".join(line + b"\n" for line in lines))
        self._unread += lines

    def append_trial(self, study: int, trial: FrozenTrial) -> None:
        """Write a finished trial as `JournalStorage.create_new_trial` does, but do not have it read back.

        Args:
            study: Its number in the journal.
            trial: Whose `distributions`, if they are those of the trial before, are not described again.

        Raises:
            OSError: See `append_logs`.
        """
        known, described = self._described
        if list(known) != list(trial.distributions) or not all(map(is_, known.values(), trial.distributions.values())):
            described = _json({name: distribution_to_json(one) for name, one in trial.distributions.items()})
            self._described = trial.distributions, described
        log = _json({"op_code": int(JournalOperation.CREATE_TRIAL), "worker_id": self._worker, **_log(study, trial)})
        self._append(f'{log[:-1]},"distributions":{described}}}\n'.encode())
        self._read = _UNKNOWN

    def _append(self, content: bytes) -> None:
        if self._failed is not None:
            raise self._failed
        try:
            _write(self._file, content)
        except OSError:
            os.ftruncate(self._file, self._size)
            raise
        self._size += len(content)
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


class OwnJournal(JournalStorage):
    """Optuna's storage of a journal that nobody else writes to.

    Args:
        path: The file; it is made if there is none.

    Raises:
        OSError: It cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.journal = Journal(path)
        super().__init__(self.journal)


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":"))


def _log(study: int, trial: FrozenTrial) -> dict[str, Any]:
    """What `JournalStorage` says of a finished trial, without its distributions."""
    values = trial.values
    several = values is not None and len(values) > 1
    return {
        "study_id": study,
        "datetime_start": _utc(trial.datetime_start),
        "state": int(trial.state),
        "value": values[0] if values and not several else None,
        "values": values if several else None,
        "datetime_complete": _utc(trial.datetime_complete),
        "params": {name: trial.distributions[name].to_internal_repr(value) for name, value in trial.params.items()},
        "user_attrs": trial.user_attrs,
        "system_attrs": trial.system_attrs,
        "intermediate_values": trial.intermediate_values,
    }


def _utc(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="microseconds")


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
