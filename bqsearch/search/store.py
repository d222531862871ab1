"""Where finished trials survive: an Optuna storage, by default a journal file in the run's folder.

A trial is written once, whole and only when it is finished, so a run that is killed at any moment leaves all of its
finished trials and nothing half done.
"""

import re
import warnings
from collections.abc import Sequence
from copy import copy
from pathlib import Path
from time import monotonic
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning, OptunaError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial

from bqsearch.errors import MissingExtraError, StorageError
from bqsearch.measure import Direction
from bqsearch.search.journal import OwnJournal

_FINGERPRINT, _DRIVER = "fingerprint", "driver "
_EVERY = 0.5  # seconds between looks at what others have found


class TrialStore:
    """The finished trials of one study.

    Args:
        storage: Optuna's.
        name: Of the study.
        directions: `"maximize"` or `"minimize"` for each objective.
        fingerprint: What the run was defined by; a study that is there already must agree.
        resume: Whether a study that is there already may be gone on with.
        alone: Whether the storage is for this study only, as a run's own journal is.
        driver: Name of this driver, by which it is known again, where others may search the same study at the same
            time; None where none may.

    Raises:
        StorageError: The study is there and `resume` is not set, it was defined otherwise, another one is there and
            this should be alone, or the storage fails.
    """

    def __init__(
        self,
        storage: BaseStorage,
        name: str,
        directions: Sequence[Direction],
        fingerprint: dict[str, Any],
        resume: bool,
        alone: bool = False,
        driver: str | None = None,
    ) -> None:
        self._driver, self._told, self._looked = driver, set[int](), 0.0
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with _storage_errors("open the study"):
            known = {summary.study_name for summary in optuna.get_all_study_summaries(storage)}
            if alone and known - {name}:
                other = min(known - {name})
                raise StorageError(f"the folder holds a run of {other!r}, not of {name!r}: choose another --out")
            if name in known and not resume:
                raise StorageError(
                    f"the storage already has a study {name!r}: add --resume to go on with it or to join those who "
                    f"search it, or choose another --out"
                )
            self._study = optuna.create_study(
                storage=storage, study_name=name, directions=list(directions), load_if_exists=True
            )
            stored = self._study.user_attrs.get(_FINGERPRINT)
            if stored is None:
                self._study.set_user_attr(_FINGERPRINT, fingerprint)
            else:
                _check_same(stored, fingerprint, name)
            self.place = 0 if driver is None else self._placed(driver)
            """Of this driver among those of the study, by when they joined it: 0 for the first."""
        self._trials = self._read()  # of all drivers at some time, or all there are where there is none

    def finished(self) -> list[FrozenTrial]:
        """All trials, in order."""
        if self._driver is not None:
            self._trials = self._read()
        self._told |= {trial.number for trial in self._trials}
        return list(self._trials)

    def others(self) -> list[FrozenTrial]:
        """What other drivers have found since it was last looked, which is now and then."""
        if self._driver is None or monotonic() - self._looked < _EVERY:
            return []
        self._looked, before = monotonic(), set(self._told)
        return [trial for trial in self.finished() if trial.number not in before]

    def add(self, trial: FrozenTrial) -> int:
        """Write one finished trial; its number."""
        number = self._written(trial)
        self._trials.append(_numbered(trial, number))
        self._told.add(number)
        return number

    def _read(self) -> list[FrozenTrial]:
        with _storage_errors("read the trials"):
            return sorted(self._study.get_trials(deepcopy=False), key=lambda trial: trial.number)

    def _written(self, trial: FrozenTrial) -> int:
        storage, study = self._study._storage, self._study._study_id
        with _storage_errors("write a trial"):
            if isinstance(storage, OwnJournal):
                storage.journal.append_trial(study, trial)
                return len(self._trials)
            return int(storage.get_trial_number_from_id(storage.create_new_trial(study, trial)))

    def _placed(self, driver: str) -> int:
        key = f"{_DRIVER}{driver}"
        attributes = self._study.user_attrs
        if key not in attributes:
            self._study.set_user_attr(key, sum(name.startswith(_DRIVER) for name in attributes))
        return int(self._study.user_attrs[key])


def open_journal(path: Path) -> BaseStorage:
    """The journal file of a run's folder, which nobody else may write to."""
    with _storage_errors(f"open {path}"), warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return OwnJournal(path)


def open_url(url: str) -> BaseStorage:
    """A database, `postgresql://...`, `mysql://...` or `sqlite:///FILE`.

    Raises:
        StorageError: The URL is none, or the database cannot be reached, or its driver is not installed.
        MissingExtraError: PostgreSQL's driver is not installed.
    """
    shown = re.sub(r"(://[^:/@]*):[^@]*@", r"\1:***@", url)
    try:
        with _storage_errors(f"open the storage {shown}"):
            return optuna.storages.RDBStorage(url)
    except ImportError as error:
        if url.startswith("postgresql"):
            raise MissingExtraError("psycopg", "postgres", f"the storage {shown}") from error
        raise StorageError(f"cannot open the storage {shown}: its driver is not installed ({error.name})") from error


def _numbered(trial: FrozenTrial, number: int) -> FrozenTrial:
    stored = copy(trial)
    stored.number = number
    return stored


class _storage_errors:  # noqa: N801 - reads as a statement
    """Optuna's, SQLAlchemy's and the file system's errors, as one of ours."""

    def __init__(self, what: str) -> None:
        self.what = what

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        from sqlalchemy.exc import SQLAlchemyError

        if isinstance(error, OptunaError | SQLAlchemyError | OSError | ValueError | KeyError):
            first: BaseException = error
            while first.__cause__ is not None:  # Optuna's own says less than what the database said
                first = first.__cause__
            reason = str(first).strip().splitlines()[0] if str(first).strip() else type(first).__name__
            raise StorageError(f"cannot {self.what}: {reason}") from error


def _check_same(stored: dict[str, Any], wanted: dict[str, Any], name: str) -> None:
    odd = [key for key in sorted(set(stored) | set(wanted)) if stored.get(key) != wanted.get(key)]
    odd = [key for key in odd if key != "graph"] or odd  # the 8-bit graph follows from the rest
    if odd:
        differences = "; ".join(f"{key}: {_brief(stored.get(key))} then, {_brief(wanted.get(key))} now" for key in odd)
        raise StorageError(f"the study {name!r} was defined otherwise and cannot be resumed ({differences})")


def _brief(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:12]}..."
