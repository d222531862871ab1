"""Workers as a user asks for them: the same fronts, and nothing left behind."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from program import Bqsearch
from search.problems import write_files

OPTIONS = ["--target", "hifive1", "--tracking-uri", "none", "--scores", "none"]
OPTIONS += ["--calibration", "32", "--schemes", "keep,kmeans", "--trials", "70", "--polish", "0", "--max-drop", "5"]


def plans(folder: Path) -> list[dict[str, object]]:
    front = json.loads((folder / "front.json").read_text())
    return [point["plan"] for point in front["points"]]


def children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [child for one in map(int, listed) for child in (one, *children(one))]


def await_trials(run: "subprocess.Popen[Any]", out: Path) -> None:
    """Until a run has some, and goes on."""
    journal, deadline = out / "trials.journal", time.monotonic() + 120
    while not journal.exists() or journal.read_bytes().count(b"\n") < 12:
        assert run.poll() is None, "the run ended too early"
        assert time.monotonic() < deadline
        time.sleep(0.02)


def await_worker(run: "subprocess.Popen[Any]", out: Path) -> None:
    """Until its first worker is being started."""
    deadline = time.monotonic() + 120
    while not any(b"spawn_main" in command_line(child) for child in children(run.pid)):
        assert run.poll() is None, "the run ended too early"
        assert time.monotonic() < deadline
        time.sleep(0.005)


def command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:  # it has just ended
        return b""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return write_files(tmp_path_factory.mktemp("workers"))


@pytest.fixture(scope="module")
def command(files: dict[str, str]) -> list[str]:
    return ["run", "--model", files["model"], "--data", files["data"], *OPTIONS]


@pytest.fixture(scope="module")
def by_two(bqsearch: Bqsearch, command: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run by two processes."""
    folder = tmp_path_factory.mktemp("workers") / "two"
    done = bqsearch(*command, "--workers", "2", "--out", folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_a_killed_run_leaves_no_worker_and_goes_on(
    bqsearch: Bqsearch, command: list[str], by_two: Path, tmp_path: Path
) -> None:
    out, temporary = tmp_path / "out", tmp_path / "temporary"
    temporary.mkdir()
    call = [sys.executable, "-m", "bqsearch", *command, "--workers", "2", "--out", str(out)]
    run = subprocess.Popen(call, env={**os.environ, "TMPDIR": str(temporary)})
    await_trials(run, out)
    workers = children(run.pid)
    assert len(workers) >= 2
    run.send_signal(signal.SIGKILL)
    run.wait()
    deadline = time.monotonic() + 60
    while any(Path(f"/proc/{worker}/exe").exists() for worker in workers):
        assert time.monotonic() < deadline, "workers outlive their search"
        time.sleep(0.1)
    assert list(temporary.iterdir()) == []
    again = bqsearch(*command, "--workers", "2", "--out", out, "--resume")
    assert again.returncode == 0, again.stderr
    assert plans(out) == plans(by_two)


@pytest.mark.parametrize(("pool", "moment"), [([], await_worker), ([], await_trials), (["--ray"], await_trials)])
def test_an_interrupted_run_ends_with_its_front_and_goes_on(
    bqsearch: Bqsearch, command: list[str], by_two: Path, tmp_path: Path, pool: list[str], moment: Any
) -> None:
    if pool:
        pytest.importorskip("ray")
    out, call = tmp_path / "out", [*command, "--workers", "2", *pool]
    program = [sys.executable, "-m", "bqsearch", *call, "--json", "--out", str(out)]
    run = subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    moment(run, out)
    os.killpg(run.pid, signal.SIGINT)  # as a terminal does
    printed, errors = run.communicate(timeout=120)
    assert run.returncode == 130, errors
    assert "Traceback" not in errors
    front = json.loads(printed)
    assert front["settings"]["stopped"] == "interrupted"
    assert (len(front["points"]) > 0) == (len(front["trials"]) > 0)
    again = bqsearch(*call, "--out", out, "--resume")
    assert again.returncode == 0, again.stderr
    assert plans(out) == plans(by_two)


def test_a_cluster_of_this_machine_finds_the_same_and_json_stays_json(
    bqsearch: Bqsearch, command: list[str], by_two: Path, tmp_path: Path
) -> None:
    pytest.importorskip("ray")
    done = bqsearch(*command, "--json", "--workers", "2", "--out", tmp_path / "out", "--ray")
    assert done.returncode == 0, done.stderr
    assert [point["plan"] for point in json.loads(done.stdout)["points"]] == plans(by_two)
    assert "os.fork()" not in done.stderr


@pytest.mark.parametrize(("pool", "named"), [([], b"spawn_main"), (["--ray"], b"_Scoring")], ids=["local", "ray"])
def test_a_worker_that_dies_is_replaced_and_told_of_and_json_stays_json(
    command: list[str], by_two: Path, tmp_path: Path, pool: list[str], named: bytes
) -> None:
    if pool:
        pytest.importorskip("ray")
    out = tmp_path / "out"
    program = [sys.executable, "-m", "bqsearch", *command, "--json", "--workers", "2", "--out", str(out), *pool]
    run = subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    await_trials(run, out)
    os.kill(next(child for child in children(run.pid) if named in command_line(child)), signal.SIGKILL)
    printed, errors = run.communicate(timeout=240)
    assert run.returncode == 0, errors
    assert [point["plan"] for point in json.loads(printed)["points"]] == plans(by_two)
    told = " ".join(errors.split())
    assert "a worker was lost and replaced once (" in told
    assert pool or "(killed by SIGKILL)" in told


def test_a_sweep_compares_its_runs_and_goes_on_after_one_that_fails(
    bqsearch: Bqsearch, files: dict[str, str], tmp_path: Path
) -> None:
    text = f"""
    models = [
      {{ model = "{files["model"]}", data = "{files["data"]}", max_drop = 5.0 }},
      {{ model = "mobilenet_v2", data = "none.npz" }},
    ]
    targets = ["hifive1"]
    seeds = [0, 1]
    calibration = 32
    schemes = ["keep", "kmeans"]
    trials = 12
    polish = 0
    """
    file = tmp_path / "boards.toml"
    file.write_text(text)
    call = ["sweep", file, "--workers", "2", "--tracking-uri", "none", "--out", tmp_path / "swept"]
    done = bqsearch(*call, "--scores", tmp_path / "scores")
    assert done.returncode == 1
    assert "mobilenet_v2-hifive1-seed0: there is no data none.npz" in " ".join(done.stderr.split())
    good = [folder for folder in (tmp_path / "swept").iterdir() if (folder / "front.json").exists()]
    assert sorted(folder.name for folder in good) == [f"net-hifive1-seed{seed}" for seed in (0, 1)]
    for folder in good:
        front = json.loads((folder / "front.json").read_text())
        chosen = front["points"][front["recommended"] or 0]
        assert folder.name in done.stdout
        assert front["recommended"] is None or f"{chosen['flash_bytes']:,.0f}" in done.stdout
    file.write_text(text.replace('{ model = "mobilenet_v2", data = "none.npz" },', ""))
    again = bqsearch(*call, "--resume", "--scores", tmp_path / "scores")
    assert again.returncode in (0, 3), again.stderr  # where nothing keeps the drop there is no front


def test_workers_that_cannot_be_had_are_one_clear_line(bqsearch: Bqsearch, command: list[str], tmp_path: Path) -> None:
    pytest.importorskip("ray")
    done = bqsearch(*command, "--ray", "127.0.0.1:1", "--out", tmp_path / "out")
    assert done.returncode == 1
    assert done.stderr.count("error:") == 1
    assert "cannot join the Ray cluster 127.0.0.1:1" in " ".join(done.stderr.split())
    assert not (tmp_path / "out").exists()  # it is told before anything is prepared


def test_known_scores_make_a_second_run_quick_and_no_other(
    bqsearch: Bqsearch, command: list[str], by_two: Path, tmp_path: Path
) -> None:
    runs = []
    known = [*command, "--scores", str(tmp_path / "scores")]  # the last one counts
    for name in ("first", "second"):
        done = bqsearch(*known, "--workers", "2", "--out", tmp_path / name)
        assert done.returncode == 0, done.stderr
        runs.append(json.loads((tmp_path / name / "front.json").read_text())["settings"])
        assert plans(tmp_path / name) == plans(by_two)
    assert runs[0]["inputs_run"] > 0 == runs[1]["inputs_run"]


def test_scores_that_cannot_be_kept_are_one_clear_line(bqsearch: Bqsearch, command: list[str], tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("no folder")
    known = [*command, "--scores", str(file)]
    done = bqsearch(*known, "--out", tmp_path / "out")
    assert done.returncode == 1
    assert "choose another --scores" in " ".join(done.stderr.split())
    assert not (tmp_path / "out" / "front.json").exists()
