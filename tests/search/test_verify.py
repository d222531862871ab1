"""A finished run passes; whatever is changed in it is found, and named."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from bqsearch import session
from bqsearch.cli import EXIT_NOT_VERIFIED, app
from bqsearch.errors import ModelError, OutputError, PlanError
from bqsearch.graph.flatbuffer import serialize
from bqsearch.hardware import target
from bqsearch.importers.tflite import load
from bqsearch.report.progress import View
from bqsearch.runtime import tflm
from bqsearch.search import verify
from bqsearch.search.check import Check
from bqsearch.search.spec import make_spec
from bqsearch.search.verify import Verified
from decoding import need_tflm
from networks import small_uint8_network
from search.problems import write_files

POINTS = 2  # of each run are kept: the smallest and the largest
INPUTS = 1
BOARDS = ["hifive1", "nrf52840"]
CHECKS = {
    "hifive1": [
        *("model.tflite", "firmware", "streams", "linker", "static", "outputs", "instructions", "stack", "flash", "ram")
    ],
    "nrf52840": ["model.tflite", "model_tflm.tflite", "outputs", "size", "arena", "flash", "ram"],
}


@dataclass(frozen=True)
class Run:
    """A finished run on a board, and the data that it was made from."""

    folder: Path
    board: str
    data: Path

    def copied(self, folder: Path) -> "Run":
        shutil.copytree(self.folder, folder / "run")
        return Run(folder / "run", self.board, self.data)

    @property
    def front(self) -> dict[str, Any]:
        return json.loads((self.folder / "front.json").read_text())

    def only(self, *positions: int) -> "Run":
        """These of its points."""
        front = self.front
        front["points"] = [front["points"][i] for i in positions]
        (self.folder / "front.json").write_text(json.dumps(front))
        return self

    def checked(self, inputs: int = INPUTS, data: str | None = None) -> list[Verified]:
        stages: list[str] = []
        board = target.load(self.board)
        found = list(
            verify.verify(self.front, self.folder, board, inputs, verify.Whereabouts(data=data), stages.append)
        )
        assert stages[-1] == f"checking point {found[-1].point}"
        return found


def finished(folder: Path, board: str, **settings: Any) -> Run:
    """The smallest and the largest point of a short search."""
    given = {"target": board, "trials": 8, "max_drop": 20.0, "calibration": 32, "schemes": "kmeans", **settings}
    outcome = session.run(make_spec(given), folder, session.Means(tracking_uri="none"), View(quiet=True))
    assert outcome.found
    run = Run(folder, board, Path(given["data"]))
    return run.only(0, -1)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Run]:
    """A run on a board, made once."""

    @cache
    def make(board: str) -> Run:
        folder = tmp_path_factory.mktemp("verify")
        return finished(folder / "run", board, **write_files(folder))

    return make


@pytest.fixture(scope="module", params=BOARDS)
def run(request: pytest.FixtureRequest, runs: Callable[[str], Run]) -> Run:
    if request.param == "nrf52840":
        need_tflm()
    return runs(request.param)


@pytest.fixture(scope="module")
def own(runs: Callable[[str], Run]) -> Run:
    """On a board with bqsearch's runtime."""
    return runs("hifive1")


@pytest.fixture(scope="module")
def micro(runs: Callable[[str], Run]) -> Run:
    """On a board with TensorFlow Lite Micro."""
    need_tflm()
    return runs("nrf52840")


def failed(point: Verified) -> dict[str, Check]:
    return {check.name: check for check in point.checks if not check.passed}


def test_a_finished_run_passes(run: Run) -> None:
    found = run.checked()
    assert [point.point for point in found] == [point["id"] for point in run.front["points"]]
    assert len(found) == POINTS
    for point, told in zip(found, run.front["points"], strict=True):
        assert point.passed
        details = {check.name: check.detail for check in point.checks}
        assert list(details) == CHECKS[run.board]
        assert details["flash"] == f"{told['flash_bytes']:,} B, front.json has {told['flash_bytes']:,} B"
        assert details["ram"] == f"{told['ram_bytes']:,} B, front.json has {told['ram_bytes']:,} B"
        for name in (name for name in details if name.endswith(".tflite")):
            size = (run.folder / "points" / str(told["id"]) / name).stat().st_size
            assert details[name] == f"{size:,} B, made again byte for byte"


def test_a_uint8_network_passes_as_int8(tmp_path: Path) -> None:
    need_tflm()
    run = finished(tmp_path / "run", "rp2040", **write_files(tmp_path, small_uint8_network), trials=3)
    assert run.front["given"]["kind"] == "uint8"
    (point,) = run.only(0).checked()
    assert point.passed


def test_a_run_for_an_accelerator_passes(tmp_path: Path) -> None:
    """It leaves no firmware; energy and latency are those of its accesses, and fall with the weights' bits."""
    objectives = "accuracy,energy,latency"
    run = finished(tmp_path / "run", "eyeriss", **write_files(tmp_path), objectives=objectives)
    for point, told in zip(run.checked(), run.front["points"], strict=True):
        assert point.passed
        assert [check.name for check in point.checks] == ["model.tflite", "streams", "flash", "ram"]
        assert set(told["files"]) == {"plan", "model"}
    baseline = run.front["baseline"]
    least = min(run.front["points"], key=lambda p: p["energy_mj"])
    assert 0 < least["energy_mj"] < baseline["energy_mj"]
    assert 0 < least["latency_ms"] < baseline["latency_ms"]
    assert run.front["limits"]["flash_bytes"] == run.front["limits"]["ram_bytes"] == 2**30


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def weights_at(path: Path) -> int:
    """Where the bytes of the file's largest constant lie."""
    content = path.read_bytes()
    graph = load(path)
    data = max((t.data.tobytes() for t in graph.tensors if t.data is not None), key=len)
    return content.index(data) + len(data) // 2


def change_model(run: Run, point: Path) -> None:
    flip(point / "model.tflite", weights_at(point / "model.tflite"))


def remove_model(run: Run, point: Path) -> None:
    (point / "model.tflite").unlink()


def damage_model(run: Run, point: Path) -> None:
    (point / "model.tflite").write_bytes(b"no network at all")


def replace_model(run: Run, point: Path) -> None:
    (point / "model.tflite").write_bytes(serialize(small_uint8_network(5)))


def change_firmware(run: Run, point: Path) -> None:
    flip(point / "firmware" / "model.c", 200)


def change_choice(run: Run, point: Path) -> None:
    plan = json.loads((point / "plan.json").read_text())
    plan["layers"]["dense"] = "kmeans-3-packed"
    (point / "plan.json").write_text(json.dumps(plan))


def forget_hashes(run: Run, point: Path) -> None:
    plan = json.loads((point / "plan.json").read_text())
    plan["sha256"]["files"] = {}
    (point / "plan.json").write_text(json.dumps(plan))


def change_front(run: Run, key: str) -> None:
    front = run.front
    front["points"][0][key] += 1
    (run.folder / "front.json").write_text(json.dumps(front))


def change_flash(run: Run, point: Path) -> None:
    change_front(run, "flash_bytes")


def change_ram(run: Run, point: Path) -> None:
    change_front(run, "ram_bytes")


Break = Callable[[Run, Path], None]
BREAKS: list[tuple[Break, str, str]] = [
    (change_model, "model.tflite", "not the file that was written"),
    (remove_model, "model.tflite", "missing or unreadable"),
    (damage_model, "model.tflite", "not the file that was written"),
    (replace_model, "model.tflite", "not the file that was written"),
    (change_choice, "model.tflite", "not what plan.json makes"),
    (change_firmware, "firmware", "firmware/model.c not the file that was written"),
    (forget_hashes, "model.tflite", "not the file that was written"),
    (change_flash, "flash", "front.json has"),
    (change_ram, "ram", "front.json has"),
]
OTHER_WEIGHTS = (change_model, remove_model, damage_model, replace_model, change_choice)


@pytest.mark.parametrize(("change", "name", "text"), BREAKS, ids=[change.__name__ for change, _, _ in BREAKS])
def test_a_change_is_found_and_named(own: Run, tmp_path: Path, change: Break, name: str, text: str) -> None:
    copy = own.copied(tmp_path)
    change(copy, copy.folder / "points" / str(copy.front["points"][0]["id"]))
    broken, whole = copy.checked()
    assert whole.passed
    assert not broken.passed
    wrong = failed(broken)
    assert text in wrong[name].detail
    assert ("streams" in wrong) == (change in OTHER_WEIGHTS)
    if change in (change_flash, change_ram):
        assert list(wrong) == [name]
        told = own.front["points"][0][f"{name}_bytes"]
        assert wrong[name].detail == f"{told:,} B, front.json has {told + 1:,} B"


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (change_model, {"model.tflite"}),
        (change_choice, {"model.tflite", "model_tflm.tflite", "outputs", "size", "arena", "flash", "ram"}),
        (change_flash, {"flash"}),
        (change_ram, {"ram"}),
    ],
)
def test_a_change_is_found_where_the_interpreter_runs(
    micro: Run, tmp_path: Path, change: Break, wanted: set[str]
) -> None:
    copy = micro.copied(tmp_path).only(0)
    change(copy, copy.folder / "points" / str(copy.front["points"][0]["id"]))
    (broken,) = copy.checked()
    assert set(failed(broken)) == wanted


def test_the_layer_whose_stream_is_not_the_files_is_named(own: Run, tmp_path: Path) -> None:
    copy = own.copied(tmp_path).only(0)
    change_model(copy, copy.folder / "points" / str(copy.front["points"][0]["id"]))
    (broken,) = copy.checked()
    assert failed(broken)["streams"].detail == "3 of 4 layers decode to the file's weights; not stem"


def test_a_flipped_bit_of_a_stream_is_found_by_running_it(micro: Run, tmp_path: Path) -> None:
    """Another index of a codebook: the file stays sound and is as long, but its network computes something else."""
    copy = micro.copied(tmp_path).only(0)
    path = copy.folder / copy.front["points"][0]["files"]["tflm"]
    flip(path, find_stream(path))
    (broken,) = copy.checked(inputs=20)
    wrong = failed(broken)
    assert set(wrong) == {"model_tflm.tflite", "outputs"}
    assert wrong["model_tflm.tflite"].detail == "not the file that was written"
    right = int(wrong["outputs"].detail.split()[0])
    assert wrong["outputs"].detail == f"{right} of 20 bit for bit"
    assert right < 20


def find_stream(path: Path) -> int:
    """The middle of the longest uint8 constant."""
    from ai_edge_litert import schema_py_generated as schema

    content = path.read_bytes()
    model = schema.Model.GetRootAs(content)
    graph = model.Subgraphs(0)
    tensors = [graph.Tensors(i) for i in range(graph.TensorsLength())]
    codes = [model.Buffers(t.Buffer()).DataAsNumpy() for t in tensors if t.Type() == schema.TensorType.UINT8]
    stream = max((c for c in codes if not isinstance(c, int)), key=len).tobytes()
    assert content.count(stream) == 1
    return content.index(stream) + len(stream) // 2


def test_a_missing_coded_file_fails_every_check_of_it(micro: Run, tmp_path: Path) -> None:
    copy = micro.copied(tmp_path)
    (copy.folder / copy.only(0).front["points"][0]["files"]["tflm"]).unlink()
    (broken,) = copy.checked()
    wrong = failed(broken)
    assert set(wrong) == {"model_tflm.tflite", "outputs", "size", "arena"}
    assert wrong["model_tflm.tflite"].detail == "missing or unreadable"
    assert "TensorFlow Lite Micro cannot run this model" in wrong["outputs"].detail


def test_as_many_inputs_are_run_as_are_asked_for(micro: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = []
    real = tflm.run

    def counted(model: bytes, inputs: np.ndarray) -> np.ndarray:
        counts.append(len(inputs))
        return real(model, inputs)

    monkeypatch.setattr(tflm, "run", counted)
    (point,) = micro.copied(tmp_path).only(0).checked(inputs=5)
    assert counts == [5, 5]
    assert "5 of 5 bit for bit" in [check.detail for check in point.checks]


def test_other_data_is_refused(own: Run, tmp_path: Path) -> None:
    arrays = dict(np.load(own.data))
    arrays["x_train"][0, 0, 0, 0] ^= 1
    np.savez(tmp_path / "other.npz", **arrays)
    with pytest.raises(PlanError, match=r"the data \(.*other\.npz\) is not the plan's"):
        own.checked(data=str(tmp_path / "other.npz"))


def test_data_may_have_moved(own: Run, tmp_path: Path) -> None:
    shutil.copy(own.data, tmp_path / "moved.npz")
    assert all(point.passed for point in own.checked(data=str(tmp_path / "moved.npz")))


def test_a_point_without_a_plan_fails_and_the_others_are_checked(own: Run, tmp_path: Path) -> None:
    copy = own.copied(tmp_path)
    (copy.folder / copy.front["points"][0]["files"]["plan"]).unlink()
    first, *others = copy.checked()
    assert not first.passed
    assert [check.name for check in first.checks] == ["plan.json"]
    assert "cannot read the plan" in first.checks[0].detail
    assert all(point.passed for point in others)


def test_a_model_that_is_gone_is_an_error(own: Run, tmp_path: Path) -> None:
    copy = own.copied(tmp_path)
    for point in copy.front["points"]:
        path = copy.folder / point["files"]["plan"]
        path.write_text(path.read_text().replace("net.tflite", "gone.tflite"))
    with pytest.raises(ModelError, match=r"there is no model .*gone\.tflite"):
        copy.checked()


def told(*arguments: str | Path) -> tuple[int, str]:
    """Status and what the program says."""
    done = CliRunner().invoke(app, [str(a) for a in arguments])
    return done.exit_code, " ".join(done.output.split())


def test_the_program_passes_a_run_and_fails_a_broken_one(own: Run, tmp_path: Path) -> None:
    copy = own.copied(tmp_path)
    status, said = told("verify", copy.folder)
    assert (status, said.count("pass")) == (0, POINTS + 1)
    assert "2 of 2 points pass" in said
    change_front(copy, "flash_bytes")
    status, said = told("verify", copy.folder, "--data", own.data)
    assert status == EXIT_NOT_VERIFIED == 4
    assert "FAIL" in said
    assert "! flash: " in said
    assert "1 of 2 points pass" in said
    status, said = told("verify", copy.folder, "--data", "digits")
    assert status == 1
    assert "error: " in said


def test_the_program_runs_as_many_inputs_as_it_is_told(micro: Run, tmp_path: Path) -> None:
    copy = micro.copied(tmp_path).only(0)
    change_front(copy, "ram_bytes")
    status, said = told("verify", copy.folder, "--inputs", "2")
    assert status == EXIT_NOT_VERIFIED
    assert "outputs: 2 of 2 bit for bit" in said
    assert "! ram: " in said


@pytest.mark.parametrize("inputs", ["0", "-3", "many"])
def test_odd_numbers_of_inputs_are_refused(own: Run, inputs: str) -> None:
    assert told("verify", own.folder, "--inputs", inputs)[0] == 2


def test_a_run_without_points_has_nothing_to_verify(own: Run, tmp_path: Path) -> None:
    copy = own.copied(tmp_path)
    front = {**copy.front, "points": [], "recommended": None, "reason": "nothing fits"}
    (copy.folder / "front.json").write_text(json.dumps(front))
    with pytest.raises(OutputError, match="has no points to verify: nothing fits"):
        session.verify(copy.folder, None, 1, verify.Whereabouts(), View())
    with pytest.raises(OutputError, match="holds no finished run"):
        session.verify(tmp_path, None, 1, verify.Whereabouts(), View())


CHECKED = (
    Verified(
        point=0,
        checks=(
            Check(name="linker", passed=True, detail="12 B", predicted=12, measured=12),
            Check(name="outputs", passed=False, detail="2 of 3", predicted=3, measured=2),
            Check(name="stack", passed=None, detail="skipped: no qemu"),
        ),
    ),
)


def test_what_was_found_is_kept_as_long_as_the_front_is(own: Run, tmp_path: Path) -> None:
    copy = own.copied(tmp_path)
    assert verify.read(copy.folder) == []
    verify.write(CHECKED, copy.folder)
    assert verify.read(copy.folder) == list(CHECKED)
    other = Verified(point=1, checks=CHECKED[0].checks[:1])
    verify.write([other], copy.folder)
    assert verify.read(copy.folder) == [*CHECKED, other]
    (copy.folder / "front.json").write_text(json.dumps({**copy.front, "seconds": 1.5}))
    assert verify.read(copy.folder) == []


@pytest.mark.parametrize(
    ("old", "new"), [("{", "["), ('"predicted": 12', '"predicted": "x"'), ('"name"', '"nam"'), ('"linker"', "7")]
)
def test_a_damaged_file_of_what_was_found_is_told(own: Run, tmp_path: Path, old: str, new: str) -> None:
    copy = own.copied(tmp_path)
    verify.write(CHECKED, copy.folder)
    text = (copy.folder / verify.VERIFIED).read_text()
    assert old in text
    (copy.folder / verify.VERIFIED).write_text(text.replace(old, new))
    with pytest.raises(OutputError, match=r"verified.json is damaged .*: verify the run again"):
        verify.read(copy.folder)
    verify.write(CHECKED, copy.folder)
    assert verify.read(copy.folder) == list(CHECKED)


def test_points_are_chosen_by_number_or_as_the_recommended_one(own: Run, tmp_path: Path) -> None:
    copy = own.copied(tmp_path)
    ids = [point["id"] for point in copy.front["points"]]
    status, said = told("verify", copy.folder, "--points", str(ids[-1]), "--inputs", "1")
    assert status == 0, said
    assert "1 of 1 points pass" in said
    page = (copy.folder / "report.html").read_text()
    assert page.count("Checked by") == 1
    assert f'<th scope="row">{ids[-1]}</th><td>pass</td>' in page
    assert "RAM without stack, B" in page
    status, said = told("verify", copy.folder, "--points", f"{ids[0]},99")
    assert status == 1
    assert "the run has no point '99': it has" in " ".join(said.split())
    front = {**copy.front, "recommended": None}
    (copy.folder / "front.json").write_text(json.dumps(front))
    status, said = told("verify", copy.folder, "--points", "recommended")
    assert status == 1
    assert "the run recommends no point" in " ".join(said.split())
