"""A board with TensorFlow Lite Micro, as a user types it: `run`, `verify`, `apply`, `report`."""

import shutil
from pathlib import Path

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from bqsearch.datasets import digits
from bqsearch.hardware import target
from bqsearch.runtime import tflm
from program import Bqsearch, Run

BOARD = target.load("nrf52840")


def test_the_front_says_who_computed_what(finished_micro: Run) -> None:
    front = finished_micro.front
    assert front["study"] == "mobilenet_v2-nrf52840"
    assert front["engines"] == {"search": "LiteRT", "holdout": "TensorFlow Lite Micro"}
    assert front["given"]["kind"] == "float" if front["given"] else front["given"] is None
    assert front["points"]
    said = " ".join(finished_micro.output.split())
    assert "in LiteRT, on the holdout: the int8 baseline is right on 3" in said
    assert "mobilenet_v2 on " in said
    page = (finished_micro.folder / "report.html").read_text("utf-8")
    assert "TensorFlow Lite Micro" in page


def test_each_point_has_the_file_that_its_figures_are_of(finished_micro: Run) -> None:
    for point in finished_micro.front["points"]:
        assert list(point["files"]) == ["plan", "model", "tflm"]
        content = (finished_micro.folder / point["files"]["tflm"]).read_bytes()
        assert point["flash_bytes"] == len(content) + BOARD.code == sum(point["flash"].values())
        assert point["ram_bytes"] == sum(point["ram"].values()) <= BOARD.ram
        model = schema.Model.GetRootAs(content)
        codes = [model.OperatorCodes(i).CustomCode() for i in range(model.OperatorCodesLength())]
        coded = sum(layer["coding"] != "raw" for layer in point["layers"])
        assert (b"TFLM_DECODE" in codes) == (coded > 0)


def test_a_points_coded_file_scores_what_the_front_says(finished_micro: Run) -> None:
    """The interpreter on the file itself, image by image as a board does."""
    front = finished_micro.front
    point = front["points"][front["recommended"]]
    holdout = digits.load().holdout
    model = (finished_micro.folder / point["files"]["tflm"]).read_bytes()
    real = holdout.x.astype(np.float32) / np.float32(255)
    source = schema.Model.GetRootAs(model).Subgraphs(0)
    scale = source.Tensors(source.Inputs(0)).Quantization()
    codes = np.clip(np.rint(real / np.float32(scale.Scale(0))) + scale.ZeroPoint(0), -128, 127).astype(np.int8)
    right = tflm.run(model, codes).reshape(len(codes), -1).argmax(axis=1) == holdout.y
    assert point["accuracy_holdout"] == right.mean()


def test_verify_passes_one_point_and_fails_another(finished_micro: Run, bqsearch: Bqsearch, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(finished_micro.folder, folder)
    whole, broken = finished_micro.front["points"]
    (folder / broken["files"]["tflm"]).unlink()
    done = bqsearch("verify", folder, "--inputs", "3")
    assert done.returncode == 4, done.stderr
    said = " ".join(done.stdout.split())
    first, second = said.split("FAIL")
    assert "pass model.tflite: " in first
    assert "outputs: 3 of 3 bit for bit" in first
    assert f"flash: {whole['flash_bytes']:,} B, front.json has {whole['flash_bytes']:,} B" in first
    assert "! model_tflm.tflite: missing or unreadable" in second
    assert "1 of 2 points pass" in second


def test_verify_says_what_it_takes(bqsearch: Bqsearch) -> None:
    done = bqsearch("verify", "--help")
    assert done.returncode == 0
    said = " ".join(done.stdout.split())
    for text in ("DIR", "--inputs", "COUNT", "--data", "--debug", "Exit status 4"):
        assert text in said


def test_verify_of_no_run_is_one_line(bqsearch: Bqsearch, tmp_path: Path) -> None:
    done = bqsearch("verify", tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "holds no finished run" in done.stderr


def test_apply_makes_all_files_again(finished_micro: Run, bqsearch: Bqsearch, tmp_path: Path) -> None:
    point = finished_micro.folder / "points" / str(finished_micro.front["recommended"])
    done = bqsearch("apply", point / "plan.json", "--model", "mobilenet_v2", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    names = ["model.tflite", "model_tflm.tflite", "plan.json"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    for name in names:
        assert (tmp_path / name).read_bytes() == (point / name).read_bytes()
    said = done.stdout.replace("\n", "")
    assert all(str(tmp_path / name) in said for name in names[:2])
