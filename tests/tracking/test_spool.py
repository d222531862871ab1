"""Events on disk: one whole object a line, each trial once, whatever was cut."""

import json
from dataclasses import replace
from pathlib import Path
from time import time
from typing import Any

import pytest

from bqsearch.errors import OutputError
from bqsearch.plan import Choice, Plan
from bqsearch.search.record import Record
from bqsearch.tracking import spool
from bqsearch.tracking.convergence import Axis
from bqsearch.tracking.spool import Spool

AXES = (Axis(name="flash", direction="minimize", baseline=9.0),)
RECORD = Record(
    plan=Plan(choices={"stem": Choice.parse("kmeans-16-huffman"), "dense": Choice.parse("keep-256-raw")}),
    values=(0.9, 1000.0),
    constraints={"flash": -1.0, "drop": -0.5},
    metrics={"flash_bytes": 1000, "accuracy_search": 0.9},
    drop_bound=1.5,
    seconds=0.5,
)


def events(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / spool.FILE).read_text().splitlines()]


def begun(folder: Path, trials: int = 0) -> Spool:
    made = Spool(folder)
    made.start("study", {"seed": 0}, {"model": "net"}, AXES, "http://user:secret@host:5000/x")
    for number in range(trials):
        made.trial(number, RECORD)
    return made


def test_a_run_as_events(tmp_path: Path) -> None:
    made = begun(tmp_path, 1)
    made.end("FINISHED", {0: {"ratio": 4.0}}, {"baseline_flash_bytes": 9.0}, ["front.json"], 0)
    start, trial, end = events(tmp_path)
    assert abs(start.pop("time") - time()) < 60
    assert start == {
        "event": "start",
        "run": made.run,
        "study": "study",
        "params": {"seed": 0},
        "tags": {"model": "net"},
        "objectives": [{"name": "flash", "direction": "minimize", "baseline": 9.0}],
        "uri": "http://user@host:5000/x",
    }
    assert trial["params"] == {"stem": "kmeans-16-huffman", "dense": "keep-256-raw"}
    assert trial["metrics"] == {"flash_bytes": 1000, "accuracy_search": 0.9}
    assert (trial["number"], trial["feasible"], trial["values"]) == (0, True, [0.9, 1000.0])
    assert (trial["plan"], trial["seconds"]) == (RECORD.plan.hash, 0.5)
    assert (end["status"], end["pareto"]) == ("FINISHED", {"0": {"ratio": 4.0}})
    assert (end["artifacts"], end["recommended"]) == (["front.json"], 0)


def test_a_restart_keeps_the_run_and_repeats_no_trial(tmp_path: Path) -> None:
    first = begun(tmp_path, 3)
    second = begun(tmp_path, 5)
    assert second.run == first.run
    found = events(tmp_path)
    assert [e["event"] for e in found] == ["start", "trial", "trial", "trial", "start", "trial", "trial"]
    assert [e["number"] for e in found if e["event"] == "trial"] == [0, 1, 2, 3, 4]


def test_another_run_has_another_name(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert begun(tmp_path / "a").run != begun(tmp_path / "b").run


def test_a_trial_is_told_once(tmp_path: Path) -> None:
    made = begun(tmp_path, 2)
    made.trial(1, RECORD)
    assert len(events(tmp_path)) == 3


def test_a_cut_last_line_is_written_anew(tmp_path: Path) -> None:
    begun(tmp_path, 3)
    path = tmp_path / spool.FILE
    whole = path.read_bytes()
    for cut in (1, 20, len(whole.splitlines()[-1])):
        path.write_bytes(whole[:-cut])
        again = begun(tmp_path, 3)
        found = events(tmp_path)
        assert [e["event"] for e in found] == ["start", "trial", "trial", "start", "trial"]
        assert [e["number"] for e in found if e["event"] == "trial"] == [0, 1, 2]
        assert found[0]["run"] == again.run


def test_reading_goes_on_where_it_stopped_and_leaves_out_half_a_line(tmp_path: Path) -> None:
    begun(tmp_path, 1)
    path = tmp_path / spool.FILE
    line = path.read_bytes().splitlines(keepends=True)[-1]
    found, position = spool.read(path)
    assert (len(found), position) == (2, path.stat().st_size)
    with path.open("ab") as file:
        file.write(line[:14])
    assert spool.read(path, position) == ([], position)
    with path.open("ab") as file:
        file.write(line[14:] + b'{"event":')
    again, position = spool.read(path, position)
    assert again == found[1:]
    assert position == path.stat().st_size - len(b'{"event":')


def test_a_trial_that_was_not_run(tmp_path: Path) -> None:
    begun(tmp_path).trial(0, replace(RECORD, values=None))
    trial = events(tmp_path)[-1]
    assert (trial["feasible"], trial["values"]) == (False, None)


def test_a_folder_that_is_gone(tmp_path: Path) -> None:
    made = Spool(tmp_path / "gone")
    with pytest.raises(OutputError, match="cannot write to"):
        made.start("study", {}, {}, AXES, None)


@pytest.mark.parametrize(
    "change",
    [
        {"event": "other"},
        {"number": "0"},
        {"metrics": [1]},
        {"metrics": {"flash_bytes": "many"}},
        {"values": ["x"]},
        {"feasible": None},
        {"given_up": 0},
        {"time": "now"},
    ],
)
def test_what_is_no_event_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    begun(tmp_path, 1)
    with (tmp_path / spool.FILE).open("a") as file:
        file.write(json.dumps({**events(tmp_path)[-1], **change}) + "\n")
    with pytest.raises(OutputError, match=r"events\.jsonl is corrupt"):
        spool.read(tmp_path / spool.FILE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"run": "x' or 'a' = 'a"}, "run of start is .*, not 32 hexadecimal digits"),
        ({"run": "0" * 31}, ".*, not 32 hexadecimal digits"),
        ({"study": "a' or name != 'a"}, "study of start is .*, which is no study's name"),
    ],
)
def test_names_that_mlflow_would_read_as_more_are_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    begun(tmp_path)
    with (tmp_path / spool.FILE).open("a") as file:
        file.write(json.dumps({**events(tmp_path)[-1], **change}) + "\n")
    with pytest.raises(OutputError, match=rf"events\.jsonl is corrupt \(ValueError: {message}\): remove it"):
        Spool(tmp_path)


@pytest.mark.parametrize("moment", [float("nan"), float("inf"), -1, 10**400])
def test_moments_that_there_are_not_are_refused(tmp_path: Path, moment: float) -> None:
    begun(tmp_path, 1)
    with (tmp_path / spool.FILE).open("a") as file:
        file.write(json.dumps({**events(tmp_path)[-1], "time": moment}) + "\n")
    with pytest.raises(OutputError, match=r"events\.jsonl is corrupt \(ValueError: time of trial is"):
        spool.read(tmp_path / spool.FILE)


@pytest.mark.parametrize("line", ["[]", "3", "{", '{"event": []}', '{"no": 1}'])
def test_lines_that_are_nothing_are_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / spool.FILE).write_text(f"{line}\n")
    with pytest.raises(OutputError, match=r"events\.jsonl is corrupt"):
        Spool(tmp_path)


def test_where_the_last_session_was_tracked_is_remembered_without_passwords(tmp_path: Path) -> None:
    begun(tmp_path)
    assert spool.remembered_uri(tmp_path / spool.FILE) == "http://user@host:5000/x"
    Spool(tmp_path).start("study", {}, {}, AXES, None)
    assert spool.remembered_uri(tmp_path / spool.FILE) is None
    assert spool.without_password("sqlite:////a/b.db") == "sqlite:////a/b.db"
    assert spool.without_password("http://[") == "http://["
