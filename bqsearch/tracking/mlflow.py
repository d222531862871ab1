"""Events -> MLflow: a parent run for the study, a child run for each trial.

Runs as a process of its own (`python -m bqsearch.tracking.mlflow FOLDER URI`), so that neither MLflow's imports nor its
database take time from the search. It follows the events until the run ends or its parent is gone, and it may be
started
again at any time: what MLflow has already is not logged twice.
"""

import os
import select
import sys
from collections.abc import Iterator
from pathlib import Path
from time import sleep, time
from typing import Any

from bqsearch.tracking import spool

DATABASE, ARTIFACTS, LOG = "mlflow.db", "mlartifacts", "mlflow.log"
_RUN, _TRIAL, _PARENT, _NAME = "bqsearch.run", "bqsearch.trial", "mlflow.parentRunId", "mlflow.runName"
_POLL = 0.05  # seconds between looks at the file
_BATCH = 100  # MLflow's limit on parameters and tags in one call


def local_uri(folder: Path) -> str:
    """The store inside of a run's folder."""
    return f"sqlite:///{folder.resolve() / DATABASE}"


class Tracker:
    """Logs the events of one run.

    Args:
        folder: The run's.
        uri: MLflow's tracking URI.
    """

    def __init__(self, folder: Path, uri: str) -> None:
        from mlflow import MlflowClient

        self.folder = folder
        self.keeps_artifacts = uri.startswith("sqlite:")  # a database alone has no place for them
        self.client = MlflowClient(tracking_uri=uri)
        self.experiment = self.parent = self.study = ""
        self.children: dict[int, str] = {}

    def handle(self, event: dict[str, Any]) -> None:
        """Log one event."""
        {"start": self._start, "trial": self._trial, "end": self._end}[event["event"]](event)

    def close(self, status: str) -> None:
        """End the parent run, if it was begun."""
        if self.parent:
            self.client.set_terminated(self.parent, status)

    def _start(self, event: dict[str, Any]) -> None:
        if self.parent:  # a resumed run's second start
            self.client.update_run(self.parent, "RUNNING")
            return
        self.study = event["study"]
        self.experiment = self._experiment_id(event["study"])
        found = self.client.search_runs([self.experiment], f"tags.`{_RUN}` = '{event['run']}'", max_results=1)
        if found:
            self.parent = found[0].info.run_id
            self.client.update_run(self.parent, "RUNNING")
            untold = {key: value for key, value in event["params"].items() if key not in found[0].data.params}
            self._log(self.parent, untold, {}, {})
            self.children = dict(self._known_children())
            return
        tags = {**event["tags"], _RUN: event["run"]}
        self.parent = self.client.create_run(self.experiment, tags=tags, run_name=event["study"]).info.run_id
        self._log(self.parent, event["params"], {}, {})

    def _experiment_id(self, name: str) -> str:
        known = self.client.get_experiment_by_name(name)
        if known is not None:
            return str(known.experiment_id)
        location = (self.folder.resolve() / ARTIFACTS).as_uri() if self.keeps_artifacts else None
        return str(self.client.create_experiment(name, artifact_location=location))

    def _known_children(self) -> Iterator[tuple[int, str]]:
        token = None
        while True:
            page = self.client.search_runs(
                [self.experiment], f"tags.`{_PARENT}` = '{self.parent}'", max_results=1000, page_token=token
            )
            for run in page:
                if run.info.status == "RUNNING":  # a tracker was killed over it: it is logged anew
                    self.client.delete_run(run.info.run_id)
                else:
                    yield int(run.data.tags[_TRIAL]), run.info.run_id
            token = page.token
            if not token:
                return

    def _trial(self, event: dict[str, Any]) -> None:
        number = int(event["number"])
        if number in self.children:
            return
        tags = {_PARENT: self.parent, _TRIAL: str(number), _NAME: f"{self.study} {number}", "plan": event["plan"]}
        now = int(time() * 1000)
        tags |= {"feasible": str(event["feasible"]).lower(), "run_on_data": str(event["run_on_data"]).lower()}
        run = self.client.create_run(self.experiment, start_time=now - int(1000 * event["seconds"]), tags=tags)
        self._log(run.info.run_id, {f"layer/{k}": v for k, v in event["params"].items()}, event["metrics"], {})
        self.client.set_terminated(run.info.run_id, "FINISHED", now)
        self.children[number] = run.info.run_id

    def _end(self, event: dict[str, Any]) -> None:
        for number, run in self.children.items():
            figures = event["pareto"].get(str(number))
            if figures is not None:
                self._log(run, {}, figures, {"pareto": "true"})
        stale = self.client.search_runs(
            [self.experiment], f"tags.`{_PARENT}` = '{self.parent}' and tags.pareto = 'true'"
        )
        for run in stale:
            if run.data.tags[_TRIAL] not in event["pareto"]:
                self.client.set_tag(run.info.run_id, "pareto", "false")
        self._log(self.parent, {}, event["metrics"], {})
        for name in event["artifacts"]:
            path = self.folder / name
            log = self.client.log_artifacts if path.is_dir() else self.client.log_artifact
            log(self.parent, str(path), name if path.is_dir() else None)
        self.close(event["status"])

    def _log(self, run: str, params: dict[str, Any], metrics: dict[str, float], tags: dict[str, str]) -> None:
        from mlflow.entities import Metric, Param, RunTag

        now = int(time() * 1000)
        keyed = [Param(key, str(value)) for key, value in params.items()]
        for start in range(0, len(keyed), _BATCH):
            self.client.log_batch(run, params=keyed[start : start + _BATCH])
        numbers = [Metric(key, float(value), now, 0) for key, value in metrics.items()]
        self.client.log_batch(run, metrics=numbers, tags=[RunTag(key, value) for key, value in tags.items()])


def follow(path: Path) -> Iterator[dict[str, Any]]:
    """The events of a file as they are written, until the last session's end or until standard input closes.

    The ends of earlier sessions, which a start follows, are left out.
    """
    position, pending = 0, list[dict[str, Any]]()
    while True:
        orphaned = _parent_is_gone()
        if path.exists():
            events, position = spool.read(path, position)
            pending += events
        for index, event in enumerate(pending):
            if event["event"] != "end" or index == len(pending) - 1:
                yield event
        if orphaned or (pending and pending[-1]["event"] == "end"):
            return
        pending = []
        sleep(_POLL)


def main(folder: Path, uri: str) -> None:
    """Track a run until it ends."""
    tracker = Tracker(folder, uri)
    ended = False
    for event in follow(folder / spool.FILE):
        tracker.handle(event)
        ended = event["event"] == "end"
    if not ended:
        tracker.close("KILLED")


def _parent_is_gone() -> bool:
    """The search holds the other end of standard input, so it closes with the search, however that ends."""
    readable, _, _ = select.select([sys.stdin], [], [], 0)
    return bool(readable) and not os.read(sys.stdin.fileno(), 1)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
