"""Runs as the tracker sees them, without their search; and real servers for them."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import numpy as np
from mlflow import MlflowClient
from mlflow.entities import Run

from bqsearch.graph.flatbuffer import serialize
from bqsearch.plan import Choice, Plan
from bqsearch.search.record import Record
from bqsearch.tracking import spool
from bqsearch.tracking.convergence import Axis
from bqsearch.tracking.mlflow import Tracker
from bqsearch.tracking.spool import Spool
from networks import random_inputs, small_int8_network

LAYERS = 130  # more than MLflow takes parameters in one call
AXES = (
    Axis(name="accuracy", direction="maximize", baseline=0.9),
    Axis(name="flash", direction="minimize", baseline=2000.0),
)


def record(number: int, layers: int = LAYERS) -> Record:
    choices = {
        f"layer_{i}": Choice(scheme="kmeans", levels=2 + (i + number) % 60, coding="packed") for i in range(layers)
    }
    return Record(
        plan=Plan(choices=choices),
        values=(0.9, 1000.0 - number),
        constraints={"flash": -1.0},
        metrics={"flash_bytes": 1000 - number, "accuracy_search": 0.9},
        drop_bound=0.5,
        seconds=1.5,
    )


def spooled(
    folder: Path,
    study: str,
    trials: int = 3,
    end: str | None = "FINISHED",
    pareto: dict[int, dict[str, float]] | None = None,
    recommended: int | None = None,
    layers: int = LAYERS,
    uri: str | None = None,
) -> Path:
    """A run's folder with its events and the files that its end names; the third trial breaks a limit."""
    point = folder / "points" / "0"
    point.mkdir(parents=True, exist_ok=True)
    (folder / "front.json").write_text("{}")
    (point / "plan.json").write_text("[]")
    graph = small_int8_network()
    (point / "model.tflite").write_bytes(serialize(graph))
    made = Spool(folder)
    made.example(random_inputs(graph, 1))
    made.start(study, {"seed": 0, "objectives": ["accuracy", "flash"]}, {"target": "hifive1"}, AXES, uri)
    for number in range(trials):
        told = record(number, layers)
        made.trial(number, replace(told, values=None) if number == 2 else told)
    if end is not None:
        front = {1: {"accuracy_holdout": 0.88}} if pareto is None else pareto
        made.end(end, front, {"recommended_flash_bytes": 1001.0}, ["front.json", "points"], recommended)
    return folder


def replay(folder: Path, uri: str) -> Tracker:
    """What a tracker does with the events that are there."""
    tracker = Tracker(folder, uri)
    for event in spool.read(folder / spool.FILE)[0]:
        tracker.handle(event)
    tracker.flush()
    return tracker


def runs(client: MlflowClient, study: str) -> tuple[list[Run], dict[int, Run]]:
    """The study's parent runs, and its children by trial."""
    experiment = client.get_experiment_by_name(study)
    assert experiment is not None
    found = list(client.search_runs([experiment.experiment_id], max_results=1000))
    children = [run for run in found if "mlflow.parentRunId" in run.data.tags]
    by_trial = {int(run.data.tags["bqsearch.trial"]): run for run in children}
    assert len(by_trial) == len(children), "a trial was logged twice"
    return [run for run in found if run not in children], by_trial


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def mlflow_server(folder: Path, port: int, store: str | None = None) -> Iterator[str]:
    """A real MLflow server on a port of this machine, up when the block begins; its URI."""
    command = ["server", "--backend-store-uri", store or f"sqlite:///{folder}/server.db", "--workers", "1"]
    command += ["--artifacts-destination", str(folder / "served"), "--host", "127.0.0.1", "--port", str(port)]
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (folder / "server.log").open("ab") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "mlflow", *command],
            stdout=log,
            stderr=log,
            env={**os.environ, **quiet},
            start_new_session=True,
        )
    try:
        _await(f"http://127.0.0.1:{port}/health", server)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(server.pid, 15)
        server.wait()


def _await(url: str, server: "subprocess.Popen[Any]") -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end and server.poll() is None:
        try:
            with urlopen(url):
                return
        except (URLError, ConnectionError):
            time.sleep(0.1)
    raise AssertionError("the MLflow server did not come up")


def example(folder: Path) -> Any:
    """The input that a run keeps."""
    return np.load(folder / spool.EXAMPLE)
