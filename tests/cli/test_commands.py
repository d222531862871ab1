"""The other commands: `list`, `apply`, `report`, `ui`, `train`."""

import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from bqsearch import registry
from bqsearch.hardware import target
from bqsearch.report import plots
from program import Bqsearch, Run


@pytest.mark.parametrize("kind", ["models", "schemes", "objectives", "datasets", "samplers"])
def test_list_names_every_entry(bqsearch: Bqsearch, kind: str) -> None:
    done = bqsearch("list", kind)
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in registry.names(kind.removesuffix("s")))


def test_list_names_every_board(bqsearch: Bqsearch) -> None:
    output = bqsearch("list", "targets").stdout
    assert all(name in output for name in target.names())
    assert "16,384" in output


def test_apply_makes_the_files_again_byte_for_byte(finished: Run, bqsearch: Bqsearch, tmp_path: Path) -> None:
    point = finished.folder / "points" / str(finished.front["recommended"])
    done = bqsearch("apply", point / "plan.json", "--model", "mobilenet_v2", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    for name in ("plan.json", "model.tflite"):
        assert (tmp_path / name).read_bytes() == (point / name).read_bytes()


def test_apply_refuses_another_model(finished: Run, bqsearch: Bqsearch, int8_model: Path, tmp_path: Path) -> None:
    plan = finished.folder / "points" / "0" / "plan.json"
    done = bqsearch("apply", plan, "--model", int8_model, "--out", tmp_path)
    assert done.returncode == 1
    assert "is not the plan's" in done.stderr


def test_report_draws_again(finished: Run, bqsearch: Bqsearch) -> None:
    drawn = {name: (finished.folder / name).read_bytes() for name in ("report.html", *plots.FIGURES)}
    for name in drawn:
        (finished.folder / name).unlink()
    done = bqsearch("report", finished.folder)
    assert done.returncode == 0, done.stderr
    assert "★" in done.stdout
    assert all(name in done.stdout for name in drawn)
    assert drawn == {name: (finished.folder / name).read_bytes() for name in drawn}


def test_ui_serves_the_runs_store_on_this_machine_only(finished: Run) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "bqsearch", "ui", str(finished.folder), "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    try:
        page = fetch(f"http://127.0.0.1:{port}/", process)
        assert b"MLflow" in page
        search = f"http://127.0.0.1:{port}/api/2.0/mlflow/experiments/get-by-name?experiment_name=mobilenet_v2-hifive1"
        assert b"mobilenet_v2-hifive1" in fetch(search, process)
        assert listening_addresses(port) == {"0100007F"}
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)


def test_ui_without_a_store_says_so(bqsearch: Bqsearch, tmp_path: Path) -> None:
    done = bqsearch("ui", tmp_path)
    assert done.returncode == 1
    assert "holds no MLflow store" in done.stderr


@pytest.mark.slow
def test_train_writes_a_model_and_says_what_it_reaches(bqsearch: Bqsearch, tmp_path: Path) -> None:
    pytest.importorskip("tensorflow")
    done = bqsearch("train", "mobilenet_v2", "--epochs", "1", "--out", tmp_path / "model.tflite")
    assert done.returncode == 0, done.stderr
    assert "% of the search split" in done.stdout.replace("\n", " ")
    again = bqsearch("train", "mobilenet_v2", "--epochs", "1", "--out", tmp_path / "model.tflite")
    assert again.returncode == 1
    assert "not overwritten" in again.stderr


def fetch(url: str, process: "subprocess.Popen[bytes]") -> bytes:
    """The answer, as soon as the server gives one."""
    end = time.monotonic() + 90
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return bytes(answer.read())
        except OSError:
            assert process.poll() is None, process.stderr.read() if process.stderr else ""
            assert time.monotonic() < end, "the server does not answer"
            time.sleep(0.2)


def listening_addresses(port: int) -> set[str]:
    """Local addresses, as the kernel prints them, on which something listens at a port."""
    rows = [
        line.split() for table in ("tcp", "tcp6") for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
    ]
    return {row[1].split(":")[0] for row in rows if row[3] == "0A" and int(row[1].split(":")[1], 16) == port}
