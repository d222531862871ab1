"""Events -> MLflow: a parent run for the study, a child run for each trial, a registered model for what is recommended.

A tracker may be started again at any time: what MLflow has already is not logged twice.
"""

import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from bqsearch.errors import OutputError
from bqsearch.tracking import spool
from bqsearch.tracking.convergence import Convergence
from bqsearch.tracking.registered import register

DATABASE, ARTIFACTS, LOG = "mlflow.db", "mlartifacts", "mlflow.log"
_RUN, _TRIAL, _PARENT, _NAME = "bqsearch.run", "bqsearch.trial", "mlflow.parentRunId", "mlflow.runName"
_ENDED = "bqsearch.ended"  # the digest of the last end that was told whole
_KIND = {"mlflow.experimentKind": "custom_model_development"}  # the UI then shows runs first, and not traces
_PARAMS, _METRICS = 100, 1000  # MLflow's limits in one call


def local_uri(folder: Path) -> str:
    """The store inside of a run's folder."""
    return f"sqlite:///{folder.resolve() / DATABASE}"


def check_store(folder: Path) -> None:
    """Refuse a store in a run's folder that is damaged; none at all is sound.

    Raises:
        OutputError: It is not a whole database.
    """
    path = folder / DATABASE
    if not path.exists():
        return
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as store:
            found = store.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.OperationalError as error:
        if "locked" in str(error):  # in use, and so it is one
            return
        found = str(error)
    except sqlite3.DatabaseError as error:
        found = str(error)
    if found != "ok":
        raise OutputError(f"{path} is corrupt ({' '.join(found.split())}): remove it, then `bqsearch sync {folder}`")


class Tracker:
    """Logs the events of one run.

    Args:
        folder: The run's.
        uri: MLflow's tracking URI.
        tick: Called whenever MLflow has taken something.
    """

    def __init__(self, folder: Path, uri: str, tick: Callable[[], None] = lambda: None) -> None:
        from mlflow import MlflowClient

        self.folder, self.uri, self._tick = folder, uri, tick
        self.keeps_artifacts = uri.startswith("sqlite:")  # a database alone has no place for them
        if uri == local_uri(folder):
            check_store(folder)
        self.client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        self.experiment = self.parent = self.study = ""
        self.children: dict[int, str] = {}
        self._steps: list[tuple[dict[str, float], int, int]] = []  # figures, milliseconds and step, not yet told
        self._known_step = -1

    def handle(self, event: Mapping[str, Any]) -> None:
        """Log one event."""
        {"start": self._start, "trial": self._trial, "end": self._end}[event["event"]](event)
        self._tick()

    def flush(self) -> None:
        """Log what is kept back: figures over steps go many at a time."""
        from mlflow.entities import Metric

        steps = [[Metric(key, value, at, step) for key, value in told.items()] for told, at, step in self._steps]
        whole = _METRICS // max(map(len, steps), default=1)
        for start in range(0, len(steps), whole):
            self.client.log_batch(self.parent, metrics=list(chain(*steps[start : start + whole])))
            self._tick()
        self._steps = []

    def close(self, status: str, at: int | None = None) -> None:
        """End the parent run, if it was begun."""
        if self.parent:
            self.client.set_terminated(self.parent, status, at)

    def _start(self, event: Mapping[str, Any]) -> None:
        if not self.parent:
            self._find_or_create(event)
            self._convergence = Convergence(spool.axes_of(event))
        self._convergence.begin(event["time"])
        known = self.client.get_run(self.parent)
        self.client.update_run(self.parent, "RUNNING")
        untold = {key: value for key, value in event["params"].items() if key not in known.data.params}
        self._log(self.parent, _millis(event), untold, {}, event["tags"])

    def _find_or_create(self, event: Mapping[str, Any]) -> None:
        self.study = event["study"]
        self.experiment = self._experiment_id(event["study"])
        found = self.client.search_runs([self.experiment], f"tags.`{_RUN}` = '{event['run']}'", max_results=1)
        if found:
            self.parent = found[0].info.run_id
            self.children = dict(self._known_children())
            history = self.client.get_metric_history(self.parent, "hypervolume")
            self._known_step = max((told.step for told in history), default=-1)
            return
        tags = {**event["tags"], _RUN: event["run"]}
        made = self.client.create_run(self.experiment, _millis(event), tags, run_name=event["study"])
        self.parent = made.info.run_id

    def _experiment_id(self, name: str) -> str:
        known = self.client.get_experiment_by_name(name)
        if known is not None:
            return str(known.experiment_id)
        location = (self.folder.resolve() / ARTIFACTS).as_uri() if self.keeps_artifacts else None
        return str(self.client.create_experiment(name, artifact_location=location, tags=_KIND))

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

    def _trial(self, event: Mapping[str, Any]) -> None:
        number, end = int(event["number"]), _millis(event)
        reached = self._convergence.add(event["values"] if event["feasible"] else None, event["time"])
        if number > self._known_step:
            self._steps.append((reached, end, number))
        if number in self.children:
            return
        tags = {_PARENT: self.parent, _TRIAL: str(number), _NAME: f"{self.study} {number}", "plan": event["plan"]}
        tags |= {"feasible": _yes(event["feasible"]), "run_on_data": _yes(event["values"] is not None)}
        tags["given_up"] = _yes(event["given_up"])
        begin = end - int(1000 * event["seconds"])
        run = self.client.create_run(self.experiment, begin, tags).info.run_id
        params = {f"layer/{name}": choice for name, choice in event["params"].items()}
        self._log(run, end, params, event["metrics"], {})
        self.client.set_terminated(run, "FINISHED", end)
        self.children[number] = run

    def _end(self, event: Mapping[str, Any]) -> None:
        self.flush()
        digest = hashlib.sha256(json.dumps(event, sort_keys=True).encode()).hexdigest()
        if self.client.get_run(self.parent).data.tags.get(_ENDED) != digest:
            self._tag_front(event)
            self._log(self.parent, _millis(event), {}, event["metrics"], {})
            for name in event["artifacts"]:
                self._keep(self._inside(name), name)
            self._register(event)
            self.client.set_tag(self.parent, _ENDED, digest)
        self.close(event["status"], _millis(event))

    def _tag_front(self, event: Mapping[str, Any]) -> None:
        for number, run in self.children.items():
            figures = event["pareto"].get(str(number))
            if figures is not None:
                self._log(run, _millis(event), {}, figures, {"pareto": "true"})
                self._tick()
        stale = self.client.search_runs(
            [self.experiment], f"tags.`{_PARENT}` = '{self.parent}' and tags.pareto = 'true'"
        )
        for run in stale:
            if run.data.tags[_TRIAL] not in event["pareto"]:
                self.client.set_tag(run.info.run_id, "pareto", "false")

    def _inside(self, name: str) -> Path:
        """A file of the run; the events are no reason to send others."""
        path = (self.folder / str(name)).resolve()
        if not path.is_relative_to(self.folder.resolve()):
            raise OutputError(f"{self.folder / spool.FILE} is corrupt: {name!r} is no file of the run")
        return path

    def _keep(self, path: Path, name: str) -> None:
        """Log a file, or a folder part by part."""
        if not path.is_dir():
            self.client.log_artifact(self.parent, str(path), name.rpartition("/")[0] or None)
            self._tick()
            return
        for part in sorted(path.iterdir()):
            self._keep(part, f"{name}/{part.name}")

    def _register(self, event: Mapping[str, Any]) -> None:
        point = event["recommended"]
        if point is None:
            return
        tags = {"point": str(point), "run": event["status"].lower()}
        network, example = self._inside(f"points/{point}/model.tflite"), np.load(self._inside(spool.EXAMPLE))
        register(self.client, self.uri, self.parent, self.study, network, example, tags)
        self._tick()

    def _log(
        self, run: str, at: int, params: Mapping[str, Any], metrics: Mapping[str, float], tags: Mapping[str, str]
    ) -> None:
        """In as few calls as MLflow's limits allow."""
        from mlflow.entities import Metric, Param, RunTag

        keyed = [Param(key, str(value)) for key, value in params.items()]
        numbers = [Metric(key, float(value), at, 0) for key, value in metrics.items()]
        named = [RunTag(key, value) for key, value in tags.items()]
        self.client.log_batch(run, metrics=numbers, params=keyed[:_PARAMS], tags=named)
        for start in range(_PARAMS, len(keyed), _PARAMS):
            self.client.log_batch(run, params=keyed[start : start + _PARAMS])


def _millis(event: Mapping[str, Any]) -> int:
    return int(1000 * event["time"])


def _yes(value: bool) -> str:
    return str(value).lower()
