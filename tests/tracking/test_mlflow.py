"""The tracker against a real MLflow store: each run and trial once, whatever is replayed or killed."""

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from mlflow import MlflowClient

from bqsearch.errors import BqsearchError, OutputError
from bqsearch.search.record import UNSEEN
from bqsearch.tracking import follower, mlflow, spool
from bqsearch.tracking.process import TrackerProcess
from bqsearch.tracking.spool import Spool
from bqsearch.tracking.state import StateFile, read
from tracked import LAYERS, record, replay, runs, spooled


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder whose store all tests share; each test has a study of its own in it."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def uri(home: Path) -> str:
    return mlflow.local_uri(home)


@pytest.fixture(scope="module")
def client(uri: str) -> MlflowClient:
    return MlflowClient(tracking_uri=uri)


def test_parent_and_children(home: Path, uri: str, client: MlflowClient) -> None:
    replay(spooled(home / "whole", "whole"), uri)
    (parent,), children = runs(client, "whole")
    assert (parent.info.status, parent.info.run_name) == ("FINISHED", "whole")
    assert parent.data.params == {"seed": "0", "objectives": "['accuracy', 'flash']"}
    assert parent.data.tags["target"] == "hifive1"
    told = {"recommended_flash_bytes": 1001.0, "best_feasible_accuracy": 0.9, "best_feasible_flash": 999.0}
    assert parent.data.metrics.items() >= told.items()
    assert set(parent.data.metrics) == {*told, "hypervolume", "trials_per_second"}
    assert sorted(children) == [0, 1, 2]
    for number, child in children.items():
        assert child.info.status == "FINISHED"
        assert child.info.run_name == f"whole {number}"
        assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
        wanted = {f"layer/{name}": str(choice) for name, choice in record(number).plan.choices.items()}
        assert child.data.params == wanted
        assert child.data.metrics["flash_bytes"] == 1000 - number
        assert child.data.tags["plan"] == record(number).plan.hash
        assert child.info.end_time - child.info.start_time == 1500


def test_the_front_is_tagged(home: Path, uri: str, client: MlflowClient) -> None:
    replay(spooled(home / "tagged", "tagged"), uri)
    _, children = runs(client, "tagged")
    assert [children[n].data.tags.get("pareto") for n in range(3)] == [None, "true", None]
    assert children[1].data.metrics["accuracy_holdout"] == 0.88
    assert [children[n].data.tags["feasible"] for n in range(3)] == ["true", "true", "false"]
    assert [children[n].data.tags["run_on_data"] for n in range(3)] == ["true", "true", "false"]
    assert [children[n].data.tags["given_up"] for n in range(3)] == ["false"] * 3


def test_a_trial_that_was_given_up_is_tagged(home: Path, uri: str, client: MlflowClient) -> None:
    folder = spooled(home / "early", "early", trials=0, end=None)
    Spool(folder).trial(0, replace(record(0), constraints={"drop": 4.0, UNSEEN: 306.0}))
    replay(folder, uri)
    _, children = runs(client, "early")
    assert children[0].data.tags["given_up"] == "true"


def test_files_are_kept(home: Path, uri: str, client: MlflowClient) -> None:
    replay(spooled(home / "kept", "kept"), uri)
    (parent,), _ = runs(client, "kept")
    assert sorted(a.path for a in client.list_artifacts(parent.info.run_id)) == ["front.json", "points"]
    assert [a.path for a in client.list_artifacts(parent.info.run_id, "points/0")] == [
        "points/0/model.tflite",
        "points/0/plan.json",
    ]


def test_replaying_logs_nothing_twice(home: Path, uri: str, client: MlflowClient) -> None:
    folder = spooled(home / "twice", "twice")
    replay(folder, uri)
    before_parents, before = runs(client, "twice")
    replay(folder, uri)
    parents, children = runs(client, "twice")
    assert [p.info.run_id for p in parents] == [p.info.run_id for p in before_parents]
    assert {n: c.info.run_id for n, c in children.items()} == {n: c.info.run_id for n, c in before.items()}
    assert {n: c.data.metrics for n, c in children.items()} == {n: c.data.metrics for n, c in before.items()}
    assert parents[0].info.status == "FINISHED"


def test_a_resumed_run_goes_on_in_its_parent_and_moves_the_front(home: Path, uri: str, client: MlflowClient) -> None:
    folder = spooled(home / "more", "more", trials=2)
    replay(folder, uri)
    replay(spooled(folder, "more", trials=4, pareto={0: {"ratio": 4.0}, 3: {"ratio": 5.0}}), uri)
    parents, children = runs(client, "more")
    assert len(parents) == 1
    assert [children[n].data.tags.get("pareto") for n in range(4)] == ["true", "false", None, "true"]


def test_a_child_left_running_is_replaced(home: Path, uri: str, client: MlflowClient) -> None:
    """A tracker that was killed in the midst of a trial leaves a run that is half told."""
    folder = spooled(home / "half", "half", end=None)
    replay(folder, uri)
    _, children = runs(client, "half")
    client.update_run(children[1].info.run_id, "RUNNING")
    replay(folder, uri)
    (parent,), again = runs(client, "half")
    assert sorted(again) == [0, 1, 2]
    assert again[1].info.run_id != children[1].info.run_id
    assert again[0].info.run_id == children[0].info.run_id
    assert again[1].info.status == "FINISHED"
    assert len(again[1].data.params) == LAYERS
    assert parent.info.status == "RUNNING"


def test_a_parent_left_half_told_is_completed(home: Path, uri: str, client: MlflowClient) -> None:
    """A tracker that was killed right behind the parent's creation has told none of its parameters."""
    folder = spooled(home / "bare", "bare", end=None)
    (start, *_), _ = spool.read(folder / spool.FILE)
    experiment = client.create_experiment("bare", artifact_location=(home / "bare-artifacts").as_uri())
    client.create_run(experiment, tags={**start["tags"], "bqsearch.run": start["run"]}, run_name="bare")
    replay(folder, uri)
    (parent,), _ = runs(client, "bare")
    assert parent.data.params == {"seed": "0", "objectives": "['accuracy', 'flash']"}


def test_two_runs_of_a_study_are_two_parents(home: Path, uri: str, client: MlflowClient) -> None:
    for name in ("first", "second"):
        replay(spooled(home / name, "shared"), uri)
    experiment = client.get_experiment_by_name("shared")
    found = client.search_runs([experiment.experiment_id], max_results=1000)
    parents = [run for run in found if "mlflow.parentRunId" not in run.data.tags]
    assert (len(parents), len(found)) == (2, 8)


def test_artifacts_of_a_local_store_lie_in_the_folder(home: Path, uri: str, client: MlflowClient) -> None:
    spooled(home, "local", trials=1)
    replay(home, uri)
    (home / spool.FILE).unlink()
    experiment = client.get_experiment_by_name("local")
    assert experiment.artifact_location == (home / mlflow.ARTIFACTS).as_uri()
    assert list((home / mlflow.ARTIFACTS).rglob("front.json"))


def test_an_unfinished_run_ends_as_killed(
    home: Path, uri: str, client: MlflowClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = spooled(home / "killed", "killed", trials=2, end=None)
    closed = tmp_path / "closed"
    closed.write_bytes(b"")
    with closed.open() as empty:
        monkeypatch.setattr(sys, "stdin", empty)
        follower.tell(folder, uri, StateFile(folder))
    (parent,), children = runs(client, "killed")
    assert parent.info.status == "KILLED"
    assert sorted(children) == [0, 1]


def test_an_interrupted_end_is_killed(home: Path, uri: str, client: MlflowClient) -> None:
    replay(spooled(home / "stopped", "stopped", end="KILLED"), uri)
    (parent,), _ = runs(client, "stopped")
    assert parent.info.status == "KILLED"


@pytest.fixture
def open_stdin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A standard input whose other end stays open, as a running search's does."""
    holder = subprocess.Popen(["sleep", "60"], stdout=subprocess.PIPE)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(holder.stdout))
    yield
    holder.kill()
    holder.wait()
    holder.stdout.close()


def test_following_leaves_out_the_ends_of_earlier_sessions(open_stdin: None, tmp_path: Path) -> None:
    folder = spooled(tmp_path / "run", "study", trials=1)
    spooled(folder, "study", trials=2)
    names = [event["event"] for events in follower.follow(folder / spool.FILE) for event in events]
    assert names == ["start", "trial", "start", "trial", "end"]


def test_the_process_ends_by_itself_when_the_search_is_gone(home: Path, uri: str, client: MlflowClient) -> None:
    folder = spooled(home / "process", "process", trials=2, end=None)
    tracker = TrackerProcess(folder, uri)
    tracker.abandon()
    tracker.finish(lambda stage: None)
    assert tracker._process.returncode == 0
    (parent,), children = runs(client, "process")
    assert parent.info.status == "KILLED"
    assert sorted(children) == [0, 1]


def test_the_process_follows_to_the_end(home: Path, uri: str, client: MlflowClient) -> None:
    folder = home / "follow"
    folder.mkdir()
    tracker = TrackerProcess(folder, uri)
    spooled(folder, "follow")
    tracker.finish(lambda stage: None)
    (parent,), children = runs(client, "follow")
    assert parent.info.status == "FINISHED"
    assert sorted(children) == [0, 1, 2]
    assert (folder / mlflow.LOG).exists()


def test_a_tracker_that_fails_says_why_and_what_helps(tmp_path: Path) -> None:
    folder = spooled(tmp_path / "run", "study")
    tracker = TrackerProcess(folder, "nosuchkind://nowhere")
    with pytest.raises(BqsearchError, match=r"not told everything \(.*nosuchkind.*\).*`bqsearch sync "):
        tracker.finish(lambda stage: None)


def test_convergence_is_told_over_trials_and_once(home: Path, uri: str, client: MlflowClient) -> None:
    folder = spooled(home / "steps", "steps", trials=4, end=None)
    replay(folder, uri)
    replay(spooled(folder, "steps", trials=6), uri)
    (parent,), _ = runs(client, "steps")
    told = client.get_metric_history(parent.info.run_id, "best_feasible_flash")
    assert [(m.step, m.value) for m in told] == [(0, 1000), (1, 999), (2, 999), (3, 997), (4, 996), (5, 995)]
    volumes = [m.value for m in client.get_metric_history(parent.info.run_id, "hypervolume")]
    assert len(volumes) == 6
    assert volumes == sorted(volumes)
    assert volumes[0] == pytest.approx(0.5 * (1 - 1000 / 3000))


def test_nothing_is_sent_twice_at_the_end(home: Path, uri: str, client: MlflowClient) -> None:
    folder = spooled(home / "sent", "sent")
    replay(folder, uri)
    (parent,), _ = runs(client, "sent")
    sent = Path(unquote(urlsplit(parent.info.artifact_uri).path)) / "front.json"
    assert sent.read_text() == "{}"
    sent.write_text("still the first one")
    replay(folder, uri)
    assert sent.read_text() == "still the first one"
    assert len(client.get_metric_history(parent.info.run_id, "recommended_flash_bytes")) == 1
    replay(spooled(folder, "sent", trials=4), uri)  # ends otherwise
    assert sent.read_text() == "{}"


def test_files_outside_of_the_run_are_not_sent(home: Path, uri: str) -> None:
    folder = spooled(home / "outside", "outside")
    path = folder / spool.FILE
    for name in ("../secret", "/etc/hostname"):
        events = [json.loads(line) for line in path.read_text().splitlines()]
        events[-1]["artifacts"] = [name]
        path.write_text("".join(json.dumps(event) + "\n" for event in events))
        with pytest.raises(OutputError, match="is no file of the run"):
            replay(folder, uri)


@pytest.mark.parametrize("content", [b"no database" * 500, b"SQLite format 3\0" + bytes(5000)])
def test_a_corrupt_store_is_one_clear_line(tmp_path: Path, content: bytes) -> None:
    folder = spooled(tmp_path / "run", "study")
    (folder / mlflow.DATABASE).write_bytes(content)
    tracker = TrackerProcess(folder, mlflow.local_uri(folder))
    with pytest.raises(BqsearchError, match=r"mlflow\.db is corrupt \(.+\): remove it"):
        tracker.finish(lambda stage: None)
    assert read(folder).phase == "broken"


def test_a_corrupt_events_file_is_one_clear_line(tmp_path: Path) -> None:
    folder = spooled(tmp_path / "run", "study")
    with (folder / spool.FILE).open("a") as file:
        file.write('{"event": "trial", "number": "one"}\n')
    tracker = TrackerProcess(folder, mlflow.local_uri(folder))
    with pytest.raises(BqsearchError, match=r"events\.jsonl is corrupt"):
        tracker.finish(lambda stage: None)
