"""`--storage postgresql://...` against a real server, started for the test."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from program import Bqsearch

SERVERS = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an empty database on a server that listens on a socket of its own only."""
    pytest.importorskip("psycopg", reason="psycopg (the extra `postgres`) is not installed")
    if not SERVERS:
        pytest.skip("the Debian package postgresql is not installed")
    if os.geteuid() == 0 and shutil.which("runuser") is None:
        pytest.skip("runuser is missing: a PostgreSQL server does not run as root")
    binaries, folder = SERVERS[-1].parent, Path("/tmp") / f"bqsearch-postgres-{os.getpid()}"
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    log = tmp_path_factory.mktemp("postgres") / "log"
    as_user("postgres", [binaries / "initdb", "-D", folder / "data", "-A", "trust", "-U", "bqsearch"], log)
    options = f"-k {folder} -c listen_addresses=''"
    control = [binaries / "pg_ctl", "-D", folder / "data", "-w", "-l", folder / "server.log", "-o", options]
    as_user("postgres", [*control, "start"], log)
    try:
        as_user("postgres", [binaries / "createdb", "-h", folder, "-U", "bqsearch", "trials"], log)
        yield f"postgresql://bqsearch@/trials?host={folder}"
    finally:
        as_user("postgres", [*control, "-m", "immediate", "stop"], log)
        shutil.rmtree(folder, ignore_errors=True)


def test_a_run_keeps_its_trials_in_postgresql_and_resumes_from_there(
    bqsearch: Bqsearch, int8_model: Path, one_split: Path, database: str, tmp_path: Path
) -> None:
    options = ["--data", one_split, "--normalize", "0,255", "--target", "hifive1", "--tracking-uri", "none"]
    options += ["--polish", "0", "--storage", database]
    command = ["run", "--model", int8_model, *options, "--out", tmp_path / "out"]
    first = bqsearch(*command, "--trials", "6")
    assert first.returncode == 0, first.stderr
    refused = bqsearch(*command, "--trials", "9", "--out", tmp_path / "other")
    assert refused.returncode == 1
    assert "already has a study" in refused.stderr
    again = bqsearch(*command, "--trials", "9", "--resume")
    assert again.returncode == 0, again.stderr
    front = json.loads((tmp_path / "out" / "front.json").read_text())
    assert [trial["number"] for trial in front["trials"]] == list(range(9))


def test_two_drivers_search_one_study_together(
    bqsearch: Bqsearch, int8_model: Path, one_split: Path, database: str, tmp_path: Path
) -> None:
    options = ["--data", one_split, "--normalize", "0,255", "--target", "hifive1", "--tracking-uri", "none"]
    options += ["--polish", "0", "--storage", database, "--trials", "60", "--resume", "--calibration", "32"]
    options += ["--schemes", "keep,kmeans", "--scores", "none", "--seed", "5"]
    command = [sys.executable, "-m", "bqsearch", "run", "--model", str(int8_model), *map(str, options)]
    command[command.index("--model") + 1] = str(shutil.copy(int8_model, tmp_path / "shared.tflite"))
    folders = [tmp_path / name for name in ("one", "two")]
    drivers = [
        subprocess.Popen([*command, "--out", str(folder)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        for folder in folders
    ]
    ended = [(driver.communicate(timeout=240)[1], driver.returncode) for driver in drivers]
    assert [status for _, status in ended] == [0, 0], ended
    fronts = [json.loads((folder / "front.json").read_text()) for folder in folders]
    last = max(fronts, key=lambda front: len(front["trials"]))
    assert 60 <= len(last["trials"]) <= 64  # what the other one had under way when there were enough is kept
    assert [trial["number"] for trial in last["trials"]] == list(range(len(last["trials"])))
    for folder, front in zip(folders, fronts, strict=True):
        events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
        told = [event["number"] for event in events if event["event"] == "trial"]
        assert sorted(told) == list(range(len(front["trials"])))  # MLflow gets those of the other one, too
    own = [front["settings"]["inputs_run"] + front["settings"]["inputs_spared"] for front in fronts]
    assert min(own) > 0.1 * sum(own)  # each did its part
    assert sum(own) < 1.2 * 60 * last["data"]["search"]  # and hardly any of it twice


def as_user(user: str, command: list[str | Path], log: Path) -> None:
    """Run a server's program, as its own user where we are root."""
    prefix = ["runuser", "-u", user, "--"] if os.geteuid() == 0 else []
    with log.open("ab") as sink:
        subprocess.run([*prefix, *map(str, command)], stdout=sink, stderr=sink, check=True, cwd="/tmp")
