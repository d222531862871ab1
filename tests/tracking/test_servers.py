"""Servers that are down, come back or never answer: a run waits seconds at most, and nothing is lost."""

import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient

from bqsearch.errors import BqsearchError, OutputError
from bqsearch.tracking import process, state
from bqsearch.tracking.mlflow import local_uri
from bqsearch.tracking.process import AT_THE_END, TrackerProcess
from bqsearch.tracking.spool import Spool
from bqsearch.tracking.state import State, StateFile
from tracked import AXES, free_port, mlflow_server, record, runs, spooled


def quiet(stage: str) -> None:
    del stage


def sync(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "bqsearch", "sync", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def until_waiting(folder: Path) -> None:
    """The tracker has begun, and MLflow has failed to answer it."""
    end = time.monotonic() + 60
    while state.read(folder).phase != "waiting":
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture
def deaf() -> Iterator[str]:
    """A server that takes connections and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_a_server_that_is_down_and_comes_back(tmp_path: Path) -> None:
    port = free_port()
    uri = f"http://127.0.0.1:{port}"
    folder = spooled(tmp_path / "run", "back", trials=20, layers=3, uri=uri, recommended=0)
    tracker = TrackerProcess(folder, uri)
    until_waiting(folder)
    begun = time.monotonic()
    with pytest.raises(BqsearchError, match=rf"\(no answer from {uri}\).* `bqsearch sync .*run` tells"):
        tracker.finish(quiet)
    assert time.monotonic() - begun < 5
    refused = sync(folder)
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert f"no answer from {uri}" in refused.stderr
    with mlflow_server(tmp_path, port):
        for _ in range(2):
            done = sync(folder)
            assert done.returncode == 0, done.stderr
            assert uri in done.stdout
        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        (parent,), children = runs(client, "back")
        assert (parent.info.status, len(children)) == ("FINISHED", 20)
        assert len(client.get_metric_history(parent.info.run_id, "hypervolume")) == 20
        assert sorted(a.path for a in client.list_artifacts(parent.info.run_id)) == ["front.json", "points"]
        assert len(client.search_model_versions("name = 'back'")) == 1


def test_a_server_that_comes_up_during_the_search(tmp_path: Path) -> None:
    port = free_port()
    folder = spooled(tmp_path / "run", "later", trials=3, layers=3, end=None)
    tracker = TrackerProcess(folder, f"http://127.0.0.1:{port}")
    until_waiting(folder)
    with mlflow_server(tmp_path, port) as uri:
        while state.read(folder).phase != "telling":
            time.sleep(0.05)
        spool = Spool(folder)
        spool.trial(3, record(3, 3))
        spool.end("FINISHED", {}, {}, [], None)
        tracker.finish(quiet)
        (parent,), children = runs(MlflowClient(tracking_uri=uri), "later")
        assert (parent.info.status, sorted(children)) == ("FINISHED", [0, 1, 2, 3])


def test_a_server_that_never_answers(tmp_path: Path, deaf: str) -> None:
    folder = spooled(tmp_path / "run", "deaf")
    tracker = TrackerProcess(folder, deaf)
    until_waiting(folder)
    begun = time.monotonic()
    with pytest.raises(BqsearchError, match="no answer from"):
        tracker.finish(quiet)
    assert time.monotonic() - begun < AT_THE_END.waiting + 2


def test_a_tracker_that_others_leave_no_time_is_begun_anew_as_one_that_takes_it(tmp_path: Path) -> None:
    folder = spooled(tmp_path / "run", "starved", trials=3, layers=3)
    tracker = TrackerProcess(folder, local_uri(folder), replace(AT_THE_END, starting=0.5))
    starved = tracker._process.pid
    assert os.getpriority(os.PRIO_PROCESS, starved) > os.getpriority(os.PRIO_PROCESS, 0)
    os.kill(starved, signal.SIGSTOP)

    def on_stage(stage: str) -> None:
        if tracker._process.pid != starved:
            assert os.getpriority(os.PRIO_PROCESS, tracker._process.pid) == os.getpriority(os.PRIO_PROCESS, 0)
            tracker.patience = AT_THE_END

    tracker.finish(on_stage)
    assert tracker._process.pid != starved
    (parent,), children = runs(MlflowClient(tracking_uri=local_uri(folder)), "starved")
    assert (parent.info.status, sorted(children)) == ("FINISHED", [0, 1, 2])


def test_patience_lasts_as_long_as_there_is_progress() -> None:
    telling, waiting = State(phase="telling", ticks=3), State(phase="waiting", reason="down")
    assert not AT_THE_END.ends(telling, AT_THE_END.telling - 1, 30)
    assert AT_THE_END.ends(telling, AT_THE_END.telling + 1, 30)
    assert AT_THE_END.ends(telling, 0, AT_THE_END.whole + 1)
    assert AT_THE_END.ends(waiting, AT_THE_END.waiting + 1, 4)


def test_telling_the_same_again_is_no_progress(tmp_path: Path) -> None:
    file = StateFile(tmp_path)
    for told in (1, 2):
        file.tick()
        file.count(told, 3)
    file.fail("waiting", "the third is refused")
    before = state.read(tmp_path)
    for told in (1, 2):
        file.tick()
        file.count(told, 3)
    assert (state.read(tmp_path).ticks, state.read(tmp_path).phase) == (before.ticks, "waiting")
    file.count(3, 3)
    file.tick()
    assert state.read(tmp_path) == State(phase="telling", told=3, known=3, ticks=before.ticks + 1)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"phase": "telling", "more": 1}'])
def test_a_state_that_cannot_be_read_is_that_of_a_tracker_that_has_not_begun(tmp_path: Path, content: bytes) -> None:
    (tmp_path / state.STATE).write_bytes(content)
    assert state.read(tmp_path) == state.read(tmp_path / "gone") == State()


def test_sync_goes_to_the_runs_own_store_where_no_other_is_named(tmp_path: Path) -> None:
    folder = spooled(tmp_path / "run", "own", layers=3)
    assert process.sync(folder, None, quiet) == f"sqlite:///{folder}/mlflow.db"
    (parent,), children = runs(MlflowClient(tracking_uri=f"sqlite:///{folder}/mlflow.db"), "own")
    assert (parent.info.status, len(children)) == ("FINISHED", 3)


def test_sync_needs_a_run_that_is_not_going_on(tmp_path: Path) -> None:
    missing = sync(tmp_path / "none")
    assert missing.returncode == 1
    assert "holds no run: events.jsonl is not there" in missing.stderr
    assert not (tmp_path / "none").exists()
    Spool(tmp_path).start("study", {}, {}, AXES, None)
    with (tmp_path / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(OutputError, match="another run is writing"):
            process.sync(tmp_path, None, quiet)
