"""The run's events on disk, one JSON object a line: the search writes and never waits, a tracker reads behind it.

A tracker that starts late, fails or is killed loses nothing: it reads the file again from the start.
"""

import json
import os
from pathlib import Path
from typing import Any
from uuid import uuid4

from bqsearch.errors import OutputError
from bqsearch.search.folder import EVENTS, disk_errors
from bqsearch.search.record import Record

FILE = EVENTS


class Spool:
    """Writes events; goes on with the events of an earlier session of the same run.

    Args:
        folder: The run's.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        known: list[dict[str, Any]] = []
        if self.path.exists():
            known, whole = read(self.path)
            os.truncate(self.path, whole)
        self.run = next((str(e["run"]) for e in known if e["event"] == "start"), uuid4().hex)
        self._trials = {int(e["number"]) for e in known if e["event"] == "trial"}

    def start(self, study: str, params: dict[str, Any], tags: dict[str, str]) -> None:
        """The run begins, or goes on."""
        self._write({"event": "start", "run": self.run, "study": study, "params": params, "tags": tags})

    def trial(self, number: int, record: Record) -> None:
        """A trial is finished; one that an earlier session told of is not told again."""
        if number in self._trials:
            return
        self._trials.add(number)
        self._write(
            {
                "event": "trial",
                "number": number,
                "params": {name: str(choice) for name, choice in record.plan.choices.items()},
                "metrics": dict(record.metrics),
                "feasible": record.feasible,
                "run_on_data": record.values is not None,
                "plan": record.plan.hash,
                "seconds": record.seconds,
            }
        )

    def end(
        self, status: str, pareto: dict[int, dict[str, float]], metrics: dict[str, float], artifacts: list[str]
    ) -> None:
        """The run is over.

        Args:
            status: MLflow's: `"FINISHED"`, `"KILLED"` or `"FAILED"`.
            pareto: For each trial of the front, the figures that were read at the end.
            metrics: Of the whole run.
            artifacts: Files and folders to keep, relative to the run's folder.
        """
        told = {str(number): figures for number, figures in pareto.items()}
        self._write({"event": "end", "status": status, "pareto": told, "metrics": metrics, "artifacts": artifacts})

    def _write(self, event: dict[str, Any]) -> None:
        with disk_errors(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(event) + "\n")


def read(path: Path, start: int = 0) -> tuple[list[dict[str, Any]], int]:
    """The whole events of a file from byte `start` on, and the byte behind them; a last line cut short is left out."""
    with path.open("rb") as file:
        file.seek(start)
        content = file.read()
    whole = content[: content.rfind(b"\n") + 1]
    try:
        return [dict(json.loads(line)) for line in whole.splitlines()], start + len(whole)
    except (ValueError, TypeError) as error:
        raise OutputError(
            f"{path} is corrupt ({error}): remove it, and --resume tells MLflow everything anew"
        ) from error
