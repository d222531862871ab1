"""Bad input: each ends with a non-zero status and one clear line, and leaves nothing behind."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bqsearch.graph.flatbuffer import serialize
from bqsearch.importers.tflite import load
from bqsearch.zoo.mobilenet_v2 import MODEL
from program import Bqsearch, Run

BASE = ["--target", "hifive1", "--tracking-uri", "none", "--trials", "5"]


def refused(bqsearch: Bqsearch, *arguments: str | Path) -> str:
    """The one line of an error."""
    done = bqsearch("run", *arguments)
    assert done.returncode == 1, (done.returncode, done.stderr)
    lines = [line for line in done.stderr.splitlines() if not line.startswith("note:") and line.strip()]
    assert "Traceback" not in done.stderr
    assert lines[-1].startswith("error: ")
    return lines[-1]


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["--model", "mobilenet_v3", "--target", "hifive1"], ["'mobilenet_v3'", "Did you mean 'mobilenet_v2'?"]),
        (["--model", "mobilenet_v2", "--target", "hifive"], ["'hifive'", "rp2040", "Did you mean 'hifive1'?"]),
        (
            ["--model", "mobilenet_v2", "--target", "hifive1", "--objectives", "accuracy,flsh"],
            ["'flsh'", "latency", "Did you mean 'flash'?"],
        ),
        (
            ["--model", "mobilenet_v2", "--target", "hifive1", "--data", "digit"],
            ["'digit'", "Did you mean 'digits'?"],
        ),
        (["--model", "mobilenet_v2", "--target", "hifive1", "--sampler", "tpee"], ["Did you mean 'tpe'?"]),
        (["--model", "mobilenet_v2", "--target", "hifive1", "--max-flash", "lots"], ["'lots'", "64K"]),
        (["--model", "mobilenet_v2", "--target", "hifive1", "--max-drop", "-1"], ["max_drop", "from 0 to 100"]),
        (["--model", "mobilenet_v2", "--target", "hifive1", "--trials", "0"], ["trials", "at least 1"]),
        (["--model", "mobilenet_v2", "--target", "hifive1", "--polish", "-1"], ["polish", "at least 0"]),
        (["--model", "mobilenet_v2", "--target", "hifive1", "--schemes", "kmean"], ["Did you mean 'kmeans'?"]),
        (
            ["--model", "mobilenet_v2", "--target", "hifive1", "--prune", "std,magnitude"],
            ["'magnitude'", "percentile, saliency, std"],
        ),
        (["--target", "hifive1"], ["no model given", "--model"]),
        (["--model", "mobilenet_v2"], ["no target given", "--target"]),
        (["--study", "mobilenet_v2-hifive"], ["'mobilenet_v2-hifive'", "Did you mean 'mobilenet_v2-hifive1'?"]),
        (["--model", "gone.tflite", "--target", "hifive1"], ["there is no model gone.tflite", "BQSEARCH_MODELS"]),
    ],
)
def test_a_wrong_name_or_value_says_what_is_right(
    bqsearch: Bqsearch, tmp_path: Path, arguments: list[str], wanted: list[str]
) -> None:
    error = refused(bqsearch, *arguments, "--out", tmp_path / "out")
    assert all(text in error for text in wanted), error


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("model.tflite", b"PK\x03\x04 something else altogether", "is not a TFLite file"),
        ("model.onnx", b"", ".tflite"),
    ],
)
def test_a_file_of_another_kind(bqsearch: Bqsearch, tmp_path: Path, name: str, content: bytes, message: str) -> None:
    model = tmp_path / name
    model.write_bytes(content)
    error = refused(bqsearch, "--model", model, "--data", "digits", *BASE, "--out", tmp_path / "out")
    assert message in error


def test_a_truncated_file(bqsearch: Bqsearch, tmp_path: Path, int8_model: Path) -> None:
    model = tmp_path / "model.tflite"
    model.write_bytes(int8_model.read_bytes()[:200_000])
    error = refused(bqsearch, "--model", model, "--data", "digits", *BASE, "--out", tmp_path / "out")
    assert "truncated or corrupt" in error


def test_classes_that_do_not_match(bqsearch: Bqsearch, tmp_path: Path, int8_model: Path) -> None:
    data = tmp_path / "data.npz"
    np.savez(data, x_test=np.zeros((40, 32, 32, 1), np.uint8), y_test=np.arange(40) % 4)
    error = refused(bqsearch, "--model", int8_model, "--data", data, *BASE, "--out", tmp_path / "out")
    assert "10 outputs" in error
    assert "4 classes" in error


def test_a_shape_that_does_not_match(bqsearch: Bqsearch, tmp_path: Path, int8_model: Path) -> None:
    data = tmp_path / "data.npz"
    np.savez(data, x_test=np.zeros((40, 7), np.float32), y_test=np.arange(40) % 10)
    error = refused(bqsearch, "--model", int8_model, "--data", data, *BASE, "--out", tmp_path / "out")
    assert "(7,)" in error
    assert "(32, 32, 1)" in error


def test_a_model_file_needs_data(bqsearch: Bqsearch, tmp_path: Path, int8_model: Path) -> None:
    assert "--data" in refused(bqsearch, "--model", int8_model, *BASE, "--out", tmp_path / "out")


def test_accuracy_without_labels(bqsearch: Bqsearch, tmp_path: Path, int8_model: Path) -> None:
    np.savez(tmp_path / "data.npz", x_test=np.zeros((40, 32, 32, 1), np.uint8))
    options = ["--data", tmp_path / "data.npz", "--objectives", "accuracy,flash,ram", *BASE]
    error = refused(bqsearch, "--model", int8_model, *options, "--out", tmp_path / "out")
    assert "accuracy, flash, ram" in error
    assert "needs labels" in error
    assert "--objectives fidelity,flash,ram" in error


@pytest.mark.parametrize(
    ("classes", "wanted"),
    [("0,1,2", "'3' is missing"), ("0,1,2,3,4,5,6,7,8,9,ten", "'ten' is unknown"), ("", "'' is unknown")],
)
def test_classes_that_are_not_the_datas(
    bqsearch: Bqsearch, tmp_path: Path, int8_model: Path, one_split: Path, classes: str, wanted: str
) -> None:
    options = ["--data", one_split, "--classes", classes, *BASE]
    assert wanted in refused(bqsearch, "--model", int8_model, *options, "--out", tmp_path / "out")


def test_an_output_folder_below_a_file(bqsearch: Bqsearch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    error = refused(bqsearch, "--model", "mobilenet_v2", *BASE, "--out", tmp_path / "file" / "out")
    assert "cannot write to" in error


def test_an_existing_run_is_never_overwritten(bqsearch: Bqsearch, finished: Run) -> None:
    before = {f: f.stat().st_mtime_ns for f in finished.folder.rglob("*") if f.is_file() and f.name != ".lock"}
    error = refused(bqsearch, "--model", "mobilenet_v2", *BASE, "--out", finished.folder)
    assert "--resume" in error
    assert before == {f: f.stat().st_mtime_ns for f in before}


def test_a_run_is_not_resumed_with_another_seed(
    bqsearch: Bqsearch, small_command: list[str], finished_small: Run
) -> None:
    error = refused(bqsearch, *small_command[1:], "--out", finished_small.folder, "--resume", "--seed", "7")
    assert "cannot be resumed" in error
    assert "seed: 0 then, 7 now" in error


def test_an_unknown_key_in_a_study(bqsearch: Bqsearch, tmp_path: Path) -> None:
    study = tmp_path / "study.toml"
    study.write_text('model = "mobilenet_v2"\ntarget = "hifive1"\nmax_dropp = 2\n')
    assert "Did you mean 'max_drop'?" in refused(bqsearch, "--study", study, "--out", tmp_path / "out")


def test_debug_shows_the_traceback(bqsearch: Bqsearch, tmp_path: Path) -> None:
    done = bqsearch("run", "--model", "nothing", *BASE, "--out", tmp_path / "out", "--debug")
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_an_unsupported_operator_names_it_its_tensor_and_what_is_supported(
    bqsearch: Bqsearch, tmp_path: Path, int8_model: Path
) -> None:
    graph = load(int8_model)
    last = replace(graph.ops[-1], code="SHAPE", options={}, options_type="")
    model = tmp_path / "model.tflite"
    model.write_bytes(serialize(replace(graph, ops=(*graph.ops[:-1], last))))
    error = refused(bqsearch, "--model", model, "--data", "digits", *BASE, "--out", tmp_path / "out")
    assert "(SHAPE)" in error
    assert graph.output.name in error
    assert "DEPTHWISE_CONV_2D" in error


def test_a_hybrid_model_is_refused(bqsearch: Bqsearch, tmp_path: Path) -> None:
    """Int8 weights under float activations, as Keras' default optimization writes them."""
    from ai_edge_quantizer import quantizer, recipe

    content = bytearray(serialize(load(MODEL.checkpoint)))
    hybrid = quantizer.Quantizer(content, recipe.dynamic_wi8_afp32()).quantize().quantized_model
    model = tmp_path / "model.tflite"
    model.write_bytes(bytes(hybrid))
    error = refused(bqsearch, "--model", model, "--data", "digits", *BASE, "--out", tmp_path / "out")
    assert "needs 8-bit inputs, outputs and weights" in error


def test_apply_never_overwrites(bqsearch: Bqsearch, finished: Run, tmp_path: Path) -> None:
    (tmp_path / "model.tflite").write_bytes(b"the user's own")
    plan = finished.folder / "points" / "0" / "plan.json"
    done = bqsearch("apply", plan, "--model", "mobilenet_v2", "--out", tmp_path)
    assert done.returncode == 1
    assert "not overwritten" in done.stderr
    assert (tmp_path / "model.tflite").read_bytes() == b"the user's own"


@pytest.mark.parametrize("content", ["{", "[]", '{"format": 1, "points": []}', '{"format": 1, "points": null}'])
def test_a_damaged_front_is_refused(bqsearch: Bqsearch, tmp_path: Path, content: str) -> None:
    (tmp_path / "front.json").write_text(content)
    done = bqsearch("report", tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")


def test_damaged_events_are_refused_with_the_cure(
    bqsearch: Bqsearch, small_command: list[str], finished_small: Run, tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(finished_small.folder, folder)
    (folder / "events.jsonl").write_text("{}\n]\n")
    done = bqsearch(*small_command, "--out", folder, "--resume")
    assert done.returncode == 1
    assert "corrupt" in done.stderr
    assert "Traceback" not in done.stderr
