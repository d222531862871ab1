"""`bqsearch run`, from the command line to the files it leaves."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from PIL import Image

from bqsearch.datasets import digits
from bqsearch.runtime import tflm
from bqsearch.types import Array
from decoding import need_tflm
from program import COMMAND, POLISH, SMALL_TRIALS, TRIALS, Bqsearch, Run

QUICK = ("--schemes", "kmeans", "--no-error-compensation")  # where quality is not what is looked at
FIGURES = ("accuracy_search", "accuracy_holdout", "flash_bytes", "ram_bytes", "latency_ms", "energy_mj", "feasible")


def test_front_json_has_what_a_script_needs(finished: Run) -> None:
    front = finished.front
    assert front["study"] == "mobilenet_v2-hifive1"
    assert (front["model"], front["target"]) == ("mobilenet_v2", "hifive1")
    assert len(front["trials"]) == TRIALS + POLISH
    for entry in (front["baseline"], *front["points"]):
        assert all(entry[figure] is not None for figure in FIGURES)
        assert sum(entry["flash"].values()) == entry["flash_bytes"]
        assert sum(entry["ram"].values()) == entry["ram_bytes"]
    for point in front["points"]:
        assert (finished.folder / point["files"]["plan"]).is_file()
        assert (finished.folder / point["files"]["model"]).is_file()
        assert (finished.folder / point["files"]["firmware"] / "model.c").is_file()


def test_the_recommended_point_keeps_the_promise(finished: Run) -> None:
    front = finished.front
    point = front["points"][front["recommended"]]
    assert point["ram_bytes"] <= 16384
    assert point["drop_interval"][0] <= 1.0 < point["ratio"]  # 350 inputs of the holdout do not contradict it
    assert point["drop_bound"] <= 1.0
    assert point["drop_holdout"] <= 1.0 or any("on the holdout, more than" in note for note in front["notes"])
    assert point["weight_bytes"] < front["baseline"]["weight_bytes"] / 2
    assert point["ratio"] == pytest.approx(front["baseline"]["weight_bytes"] / point["weight_bytes"])


def test_no_point_of_the_front_beats_another(finished: Run) -> None:
    """Of those that are expected to lose alike, the larger ones are less distorted."""
    points = finished.front["points"]
    rows = [(p["flash_bytes"], p["ram_bytes"]) for p in points]
    for one, row in zip(points, rows, strict=True):
        better = [other for p, other in zip(points, rows, strict=True) if p["drop_expected"] < one["drop_expected"]]
        assert not any(all(a <= b for a, b in zip(other, row, strict=True)) for other in better)
        alike = [p["flash_bytes"] for p in points if p["drop_expected"] == one["drop_expected"] and p is not one]
        assert one["flash_bytes"] not in alike


def test_a_points_model_file_scores_what_the_front_says(finished: Run) -> None:
    """LiteRT on the file itself, image by image, against figures that came from patched bytes in batches.

    On the holdout, TensorFlow Lite Micro's kernels, with which bqsearch's runtime agrees bit for bit.
    """
    need_tflm()
    data = digits.load()
    point = finished.front["points"][finished.front["recommended"]]
    path = finished.folder / point["files"]["model"]
    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    source, sink = interpreter.get_input_details()[0], interpreter.get_output_details()[0]["index"]
    scale, zero_point = source["quantization"]

    def codes(images: Array) -> Array:
        return np.clip(np.rint(images / np.float32(255) / np.float32(scale)) + zero_point, -128, 127).astype(np.int8)

    right = 0
    for image, label in zip(data.search.x, data.search.y, strict=True):
        interpreter.set_tensor(source["index"], codes(image)[None])
        interpreter.invoke()
        right += int(np.argmax(interpreter.get_tensor(sink)) == label)
    assert right / len(data.search) == point["accuracy_search"]
    outputs = tflm.run(path.read_bytes(), codes(data.holdout.x))
    assert (outputs.argmax(axis=1) == data.holdout.y).mean() == point["accuracy_holdout"]


def test_the_terminal_shows_the_table_and_where_the_files_are(finished: Run) -> None:
    assert "base" in finished.output
    assert "★" in finished.output
    assert str(finished.folder) in finished.output.replace("\n", "")


def test_the_same_seed_gives_the_same_front(finished: Run, bqsearch: Bqsearch, tmp_path: Path) -> None:
    """No score is taken from the run before."""
    done = bqsearch(*COMMAND, "--out", tmp_path / "again", "--scores", "none", "--tracking-uri", "none", "--json")
    assert done.returncode == 0, done.stderr
    again = json.loads(done.stdout)
    assert again == json.loads((tmp_path / "again" / "front.json").read_text())
    assert again["points"] == finished.front["points"]
    assert again["trials"] == finished.front["trials"]
    assert not (tmp_path / "again" / "mlflow.db").exists()


def test_a_killed_run_goes_on_as_if_it_had_never_stopped(
    finished_small: Run, small_command: list[str], tmp_path: Path
) -> None:
    from mlflow import MlflowClient

    folder = tmp_path / "killed"
    command = [sys.executable, "-m", "bqsearch", *small_command, "--out", str(folder), "--scores", "none", "--quiet"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    wait_for_trials(folder, 10)
    process.kill()
    process.wait()
    assert not (folder / "front.json").exists()
    done = subprocess.run([*command, "--resume"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    front = json.loads((folder / "front.json").read_text())
    assert front["points"] == finished_small.front["points"]
    assert front["trials"] == finished_small.front["trials"]
    client = MlflowClient(tracking_uri=f"sqlite:///{folder}/mlflow.db")
    experiment = client.get_experiment_by_name(front["study"])
    runs = client.search_runs([experiment.experiment_id])
    numbers = sorted(int(run.data.tags["bqsearch.trial"]) for run in runs if "bqsearch.trial" in run.data.tags)
    assert numbers == list(range(SMALL_TRIALS + POLISH))


def test_ctrl_c_ends_with_what_has_been_found(small_command: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "interrupted"
    arguments = [*small_command[:-1], "5000", "--out", str(folder), "--tracking-uri", "none"]
    process = subprocess.Popen([sys.executable, "-m", "bqsearch", *arguments], stdout=subprocess.PIPE, text=True)
    wait_for_trials(folder, 40)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "★" in output
    front = json.loads((folder / "front.json").read_text())
    assert front["settings"]["stopped"] == "interrupted"
    assert 40 <= len(front["trials"]) < 5000


def test_time_is_up(bqsearch: Bqsearch, small_command: list[str], tmp_path: Path) -> None:
    options = ["--timeout", "1", "--trials", "100000", "--tracking-uri", "none", "--out", tmp_path / "short"]
    done = bqsearch(*small_command[:-2], *options)
    assert done.returncode == 0, done.stderr
    front = json.loads((tmp_path / "short" / "front.json").read_text())
    assert front["settings"]["stopped"] == "timeout"


def test_a_board_that_is_too_small_says_by_how_much_and_what_would_help(
    bqsearch: Bqsearch, small_command: list[str], tmp_path: Path
) -> None:
    folder = tmp_path / "small"
    done = bqsearch(*small_command[:-1], "5", "--max-ram", "512", "--tracking-uri", "none", "--out", folder)
    assert done.returncode == 3
    front = json.loads((folder / "front.json").read_text())
    excess = front["baseline"]["ram_bytes"] - 512
    assert front["points"] == []
    assert f"{excess:,} B above the limit" in front["reason"]
    assert " ".join((done.stdout + done.stderr).split()).count("baseline does not fit") == 1
    assert "sets the peak" in front["reason"]
    assert "would help" in front["reason"]
    assert all(trial["accuracy_search"] is None for trial in front["trials"])


def test_a_file_model_with_one_split_says_that_it_was_halved(
    bqsearch: Bqsearch, small_files: dict[str, str], tmp_path: Path
) -> None:
    need_tflm()
    folder, arrays = tmp_path / "file", np.load(small_files["data"])
    np.savez(tmp_path / "data.npz", x_test=arrays["x_test"], y_test=arrays["y_test"], classes=arrays["classes"])
    options = ["--data", tmp_path / "data.npz", "--trials", "3", "--polish", "1", "--tracking-uri", "none"]
    done = bqsearch("run", "--model", small_files["model"], "--target", "stm32f746", *options, "--out", folder)
    assert done.returncode == 0, done.stderr
    assert "halved" in done.stderr.replace("\n", " ")
    front = json.loads((folder / "front.json").read_text())
    assert (front["data"]["search"], front["data"]["holdout"]) == (60, 60)


@pytest.mark.parametrize("sampler", ["nsga2", "tpe", "random"])
def test_every_sampler_finds_a_front(
    bqsearch: Bqsearch, small_command: list[str], tmp_path: Path, sampler: str
) -> None:
    options = ["--trials", "40", "--polish", "2", "--tracking-uri", "none", "--target", "hifive1_revb", *QUICK]
    options += ["--sampler", sampler, "--max-drop", "5", "--out", tmp_path / sampler]
    done = bqsearch(*small_command, *options)
    assert done.returncode == 0, done.stderr
    front = json.loads((tmp_path / sampler / "front.json").read_text())
    assert len(front["trials"]) == 42
    assert len(front["points"]) > 1


def test_data_without_labels_is_searched_for_fidelity(
    bqsearch: Bqsearch, small_files: dict[str, str], tmp_path: Path
) -> None:
    data, folder, model = tmp_path / "bare.npz", tmp_path / "run", small_files["model"]
    arrays = np.load(small_files["data"])
    np.savez(data, x_train=arrays["x_train"], x_test=arrays["x_test"])
    options = ["--data", data, "--trials", "20", "--polish", "2", "--max-drop", "5", *QUICK]
    command = ["run", "--model", model, "--target", "hifive1", *options, "--out", folder]
    done = bqsearch(*command)
    assert done.returncode == 0, done.stderr
    assert "No labels: the search is for fidelity" in done.stderr.replace("\n", " ")
    printed = " ".join(done.stdout.split())
    assert "Search (by LiteRT) and holdout (by bqsearch's runtime): fidelity." in printed
    assert "% fidelity on the holdout split" in printed
    front = json.loads((folder / "front.json").read_text())
    assert [o["name"] for o in front["objectives"]] == ["fidelity", "flash", "ram"]
    assert front["baseline"]["fidelity_holdout"] == 1.0
    point = front["points"][front["recommended"]]
    assert 0.9 < point["fidelity_holdout"] < 1
    assert point["drop_holdout"] == pytest.approx(100 * (1 - point["fidelity_holdout"]))
    check_metrics(folder, front)
    again = bqsearch("apply", folder / point["files"]["plan"], "--model", model, "--out", tmp_path / "again")
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "again" / "model.tflite").read_bytes() == (folder / point["files"]["model"]).read_bytes()
    assert bqsearch(*command, "--resume").returncode == 0
    other = bqsearch(*command, "--resume", "--objectives", "accuracy,flash,ram")
    assert other.returncode == 1
    assert "needs labels" in other.stderr


def check_metrics(folder: Path, front: dict[str, Any]) -> None:
    """MLflow has the run's quality under its name, and no accuracy."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{folder}/mlflow.db")
    experiment = client.get_experiment_by_name(front["study"])
    runs = client.search_runs([experiment.experiment_id])
    parent = next(run for run in runs if "bqsearch.trial" not in run.data.tags)
    best = front["points"][front["recommended"]]
    assert parent.data.metrics["recommended_fidelity_holdout"] == best["fidelity_holdout"]
    assert parent.data.metrics["baseline_fidelity_search"] == 1.0
    children = {int(run.data.tags["bqsearch.trial"]): run.data.metrics for run in runs if run is not parent}
    assert children[best["trial"]]["fidelity_holdout"] == best["fidelity_holdout"]
    assert not any("accuracy" in key for metrics in (parent.data.metrics, *children.values()) for key in metrics)


def test_classes_are_put_in_the_order_of_the_outputs(bqsearch: Bqsearch, int8_model: Path, tmp_path: Path) -> None:
    """Folders sort by name, and the model's outputs are digits."""
    words = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    split = digits.load().search
    for number, (image, label) in enumerate(zip(split.x, split.y, strict=True)):
        folder = tmp_path / "images" / words[label]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[..., 0]).save(folder / f"{number}.png")
    options = ["--data", tmp_path / "images", "--normalize", "0,255", "--trials", "3", "--polish", "1", *QUICK]
    options += ["--tracking-uri", "none", "--out", tmp_path / "run"]
    command = ["run", "--model", int8_model, "--target", "hifive1", *options]
    done = bqsearch(*command, "--classes", ",".join(words))
    assert done.returncode == 0, done.stderr
    point = json.loads((tmp_path / "run" / "front.json").read_text())["points"][0]
    assert point["accuracy_search"] > 0.95
    told = " ".join(done.stderr.split())
    assert "both halves of the data together: the int8 baseline is right on 3" in told
    assert "guessing" not in told
    resumed = bqsearch(*command, "--resume")
    assert resumed.returncode == 1
    assert "classes: ['zero', 'on" in resumed.stderr
    plan = tmp_path / "run" / point["files"]["plan"]
    again = bqsearch("apply", plan, "--model", int8_model, "--out", tmp_path / "again")
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "again" / "plan.json").read_bytes() == plan.read_bytes()


def wait_for_trials(folder: Path, count: int) -> None:
    """Until the journal holds at least `count` finished trials."""
    journal, end = folder / "trials.journal", time.monotonic() + 120
    while not journal.exists() or journal.read_bytes().count(b'"record"') < count:
        assert time.monotonic() < end, "the run makes no progress"
        time.sleep(0.01)
    assert os.path.getsize(journal) > 0
