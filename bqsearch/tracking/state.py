"""How far a tracker is: a small file that it writes over, and that the run looks at."""

import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

STATE = ".mlflow.state"
_SIZE, _REASON = 4096, 500  # bytes of the file, characters of a reason

Phase = Literal["starting", "telling", "waiting", "broken"]


@dataclass(frozen=True, kw_only=True)
class State:
    """One moment of a tracker.

    Attributes:
        phase: `"starting"` until MLflow has answered, `"telling"`, `"waiting"` while it does not answer, `"broken"` if
            waiting does not help.
        told: Events that MLflow has.
        known: Events that there are.
        ticks: Rises with whatever MLflow takes that it had not taken before.
        reason: Why it is waiting or broken.
    """

    phase: Phase = "starting"
    told: int = 0
    known: int = 0
    ticks: int = 0
    reason: str = ""


class StateFile:
    """The tracker's end: keeps the moment, and writes each change.

    Args:
        folder: The run's.
    """

    def __init__(self, folder: Path) -> None:
        self.now = State()
        self._most = 0  # events told before the last failure: telling them again is no progress
        self._path = folder / STATE
        self._write()

    def tick(self) -> None:
        """MLflow has taken something."""
        if self.now.phase != "waiting" or self.now.told > self._most:
            self.now = replace(self.now, phase="telling", ticks=self.now.ticks + 1, reason="")
            self._write()

    def count(self, told: int, known: int) -> None:
        """So many events are told of those known."""
        self.now = replace(self.now, told=told, known=known)
        self._write()

    def fail(self, phase: Literal["waiting", "broken"], reason: str) -> None:
        """MLflow does not take what it is told."""
        self._most = max(self._most, self.now.told)
        self.now = replace(self.now, phase=phase, reason=reason[:_REASON])
        self._write()

    def _write(self) -> None:
        content = json.dumps(asdict(self.now)).encode().ljust(_SIZE)
        handle = os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o644)
        try:
            os.pwrite(handle, content, 0)
        finally:
            os.close(handle)


def read(folder: Path) -> State:
    """The tracker's moment; that of a tracker that has not begun where there is none, or it cannot be read."""
    try:
        return State(**json.loads((folder / STATE).read_bytes()))
    except (OSError, ValueError, TypeError):
        return State()
