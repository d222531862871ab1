"""Scores of candidates on disk, so that none is run twice: not by one study, and not by the next.

A score belongs to the very bytes that were run: the key is a digest of the network, its data and the candidate's
constants. So it holds for any study in which they come together, and for no other version of anything.
"""

import hashlib
import sqlite3
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from bqsearch.errors import OutputError
from bqsearch.measure import Scorer
from bqsearch.types import Array, Bools, Floats, Ints

FILE = "scores.sqlite3"
_MOST, _SPARED = 200_000, 50_000  # candidates that are kept, and of them when there are too many
_PATIENCE = 5.0  # seconds that another process may write
_SCHEMA = "CREATE TABLE IF NOT EXISTS scores (key BLOB PRIMARY KEY, correct BLOB, fidelities BLOB NOT NULL) STRICT"


@dataclass(frozen=True, kw_only=True, eq=False)
class Rows:
    """What is known of a candidate's first rows, in the order in which rows are run.

    Attributes:
        correct: `(n,)` whether the row is classified right; None without labels.
        fidelities: `(n,)` how well the row keeps to the uncompressed network.
    """

    correct: Bools | None
    fidelities: Floats

    def __len__(self) -> int:
        return len(self.fidelities)

    def first(self, count: int) -> "Rows":
        """Only so many."""
        correct = None if self.correct is None else self.correct[:count]
        return Rows(correct=correct, fidelities=self.fidelities[:count])

    def and_then(self, more: "Rows") -> "Rows":
        """With the rows behind them."""
        correct = None
        if self.correct is not None and more.correct is not None:
            correct = np.concatenate([self.correct, more.correct])
        return Rows(correct=correct, fidelities=np.concatenate([self.fidelities, more.fidelities]))


class Scores:
    """A file of scores that several processes may share.

    Args:
        folder: Where it lies; made if it is not there.

    Raises:
        OutputError: It cannot be opened, or is no such file.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with closing(self._connect()) as connection, connection:
                connection.execute("PRAGMA journal_mode=WAL")
                connection.execute(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise OutputError(
                f"cannot keep scores in {self._path} ({error}): remove that file, or choose another --scores"
            ) from error

    def get(self, key: bytes) -> Rows | None:
        """What is known of a candidate; None if nothing is, or the file cannot be read now."""
        with suppress(sqlite3.Error), closing(self._connect()) as connection:
            found = connection.execute("SELECT correct, fidelities FROM scores WHERE key = ?", (key,)).fetchone()
            if found is not None:
                return _rows(*found)
        return None

    def put(self, key: bytes, rows: Rows) -> None:
        """Keep what is known; nothing is lost but time where the file cannot be written now."""
        correct = None if rows.correct is None else rows.correct.astype(np.uint8).tobytes()
        row = (key, correct, rows.fidelities.astype("<f8").tobytes())
        with suppress(sqlite3.Error), closing(self._connect()) as connection, connection:
            last = connection.execute("INSERT OR REPLACE INTO scores VALUES (?, ?, ?)", row).lastrowid or 0
            if last % 1000 == 0:
                self._shorten(connection)

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path, timeout=_PATIENCE)

    @staticmethod
    def _shorten(connection: sqlite3.Connection) -> None:
        count = connection.execute("SELECT count(*) FROM scores").fetchone()[0]
        if count > _MOST:
            oldest = "DELETE FROM scores WHERE rowid IN (SELECT rowid FROM scores ORDER BY rowid LIMIT ?)"
            connection.execute(oldest, (count - _MOST + _SPARED,))


def digest_of(scorer: Scorer, graph: str, order: Ints) -> bytes:
    """Of everything besides a candidate's constants that its scores depend on, and of the order of its rows.

    Args:
        scorer: With the inputs, the labels and the uncompressed network.
        graph: The network's fingerprint.
        order: `(rows,)` in which rows are run.
    """
    told = hashlib.blake2b(digest_size=32)
    told.update(f"{version('ai-edge-litert')} {graph} {scorer.inputs.shape} {scorer.windows}".encode())
    for array in (scorer.inputs, np.array([]) if scorer.labels is None else scorer.labels, order.astype("<i8")):
        told.update(np.ascontiguousarray(array).data.cast("B") if array.size else b"none")
    return key_of(told.digest(), scorer.baseline.constants)


def key_of(digest: bytes, constants: Mapping[int, Array]) -> bytes:
    """Of a candidate: its constants, on that network and data."""
    told = hashlib.blake2b(digest, digest_size=32)
    for tensor, values in sorted(constants.items()):
        told.update(f"{tensor} {values.dtype} {values.shape}".encode())
        told.update(np.ascontiguousarray(values).data.cast("B"))
    return told.digest()


def _rows(correct: bytes | None, fidelities: bytes) -> Rows | None:
    """Stored rows; None if they are none."""
    if len(fidelities) % 8 or (correct is not None and len(correct) * 8 != len(fidelities)):
        return None
    return Rows(
        correct=None if correct is None else np.frombuffer(correct, np.uint8).astype(bool),
        fidelities=np.frombuffer(fidelities, "<f8").astype(np.float64),
    )
