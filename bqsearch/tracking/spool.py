"""The run's events on disk, one JSON object a line: the search writes and never waits, a tracker reads behind it.

A tracker that starts late, fails or is killed loses nothing: it reads the file again from the start.
"""

import io
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from time import time
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import numpy as np

from bqsearch.errors import OutputError
from bqsearch.search.folder import EVENTS, disk_errors, write_bytes
from bqsearch.search.record import Record
from bqsearch.search.spec import is_name
from bqsearch.tracking.convergence import Axis
from bqsearch.types import Array

FILE = EVENTS
EXAMPLE = "input_example.npy"
_NUMBER, _OPTIONAL = (int, float), type(None)
_LATEST = 1e11  # seconds since 1970: some thousand years from now
_FORMS: Mapping[str, Mapping[str, Any]] = {
    "start": {
        "run": str,
        "study": str,
        "params": dict,
        "tags": dict,
        "objectives": list,
        "uri": (str, _OPTIONAL),
        "time": _NUMBER,
    },
    "trial": {
        "number": int,
        "params": dict,
        "metrics": dict,
        "values": (list, _OPTIONAL),
        "feasible": bool,
        "given_up": bool,
        "plan": str,
        "seconds": _NUMBER,
        "time": _NUMBER,
    },
    "end": {
        "status": str,
        "pareto": dict,
        "metrics": dict,
        "artifacts": list,
        "recommended": (int, _OPTIONAL),
        "time": _NUMBER,
    },
}


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

    def start(
        self, study: str, params: dict[str, Any], tags: dict[str, str], objectives: Sequence[Axis], uri: str | None
    ) -> None:
        """The run begins, or goes on.

        Args:
            study: Name of the study.
            params: Of the run.
            tags: Of the run.
            objectives: In the order of the trials' values.
            uri: MLflow's tracking URI; None for the store in the run's folder. A password in it is not written.
        """
        self._write(
            {
                "event": "start",
                "run": self.run,
                "study": study,
                "params": params,
                "tags": tags,
                "objectives": [asdict(axis) for axis in objectives],
                "uri": None if uri is None else without_password(uri),
            }
        )

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
                "values": None if record.values is None else list(record.values),
                "feasible": record.feasible,
                "given_up": record.given_up,
                "plan": record.plan.hash,
                "seconds": record.seconds,
            }
        )

    def end(
        self,
        status: str,
        pareto: dict[int, dict[str, float]],
        metrics: dict[str, float],
        artifacts: list[str],
        recommended: int | None,
    ) -> None:
        """The run is over.

        Args:
            status: MLflow's: `"FINISHED"`, `"KILLED"` or `"FAILED"`.
            pareto: For each trial of the front, the figures that were read at the end.
            metrics: Of the whole run.
            artifacts: Files and folders to keep, relative to the run's folder.
            recommended: Number of the recommended point.
        """
        told = {str(number): figures for number, figures in pareto.items()}
        figures = {"pareto": told, "metrics": metrics, "artifacts": artifacts, "recommended": recommended}
        self._write({"event": "end", "status": status, **figures})

    def example(self, inputs: Array) -> None:
        """Keep an input that the network takes, `(1, ...)`, for the recommended point's model."""
        content = io.BytesIO()
        np.save(content, inputs, allow_pickle=False)
        write_bytes(self.path.with_name(EXAMPLE), content.getvalue())

    def _write(self, event: dict[str, Any]) -> None:
        with disk_errors(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({**event, "time": time()}) + "\n")


def read(path: Path, start: int = 0) -> tuple[list[dict[str, Any]], int]:
    """The whole events of a file from byte `start` on, and the byte behind them; a last line cut short is left out.

    Raises:
        OutputError: A line is not an event.
    """
    with disk_errors(path), path.open("rb") as file:
        file.seek(start)
        content = file.read()
    whole = content[: content.rfind(b"\n") + 1]
    try:
        return [_checked(json.loads(line)) for line in whole.splitlines()], start + len(whole)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise OutputError(
            f"{path} is corrupt ({type(error).__name__}: {error}): remove it, and --resume tells MLflow everything anew"
        ) from error


def remembered_uri(path: Path) -> str | None:
    """Where the run's last session kept its results; None for the store in its folder."""
    starts = [event for event in read(path)[0] if event["event"] == "start"]
    return starts[-1]["uri"] if starts else None


def axes_of(event: Mapping[str, Any]) -> tuple[Axis, ...]:
    """The objectives that a start tells."""
    return tuple(Axis(**{**told, "baseline": float(told["baseline"])}) for told in event["objectives"])


def _checked(event: Any) -> dict[str, Any]:
    """An event of ours; raises `ValueError`, `TypeError`, `KeyError` or `AttributeError` for anything else."""
    for key, kind in _FORMS[event["event"]].items():
        if not isinstance(event[key], kind):
            raise ValueError(f"{key} of {event['event']} is {event[key]!r:.40}")
    figures = [event["metrics"], *event.get("pareto", {}).values()] if "metrics" in event else []
    numbers = [value for told in figures for value in told.values()] + list(event.get("values") or ())
    if not all(isinstance(number, _NUMBER) for number in numbers):
        raise ValueError(f"a figure of {event['event']} is no number")
    if not 0 <= event["time"] < _LATEST:
        raise ValueError(f"time of {event['event']} is {event['time']!r:.40}, no moment in seconds since 1970")
    if event["event"] == "start":
        _check_names(event)
        axes_of(event)
    return dict(event)


def _check_names(event: Mapping[str, Any]) -> None:
    """MLflow looks for these by a text that it reads as a condition."""
    if not re.fullmatch(r"[0-9a-f]{32}", event["run"]):
        raise ValueError(f"run of start is {event['run']!r:.40}, not 32 hexadecimal digits")
    if not is_name(event["study"]):
        raise ValueError(f"study of start is {event['study']!r:.40}, which is no study's name")


def without_password(uri: str) -> str:
    """A URI that may be written and shown."""
    try:
        parts = urlsplit(uri)
    except ValueError:  # no URI; MLflow will say so
        return uri
    if parts.password is None:
        return uri
    user = f"{parts.username}@" if parts.username else ""
    return urlunsplit(parts._replace(netloc=user + parts.netloc.rpartition("@")[2]))
