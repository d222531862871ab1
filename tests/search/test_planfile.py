"""plan.json makes a point's files again, byte for byte, or says what is not as it was."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bqsearch.errors import BqsearchError, OutputError, PlanError
from bqsearch.firmware import emulator, toolchain
from bqsearch.firmware.board import HOST
from bqsearch.graph.flatbuffer import serialize
from bqsearch.hardware import target
from bqsearch.importers.tflite import load
from bqsearch.measure import Streamed
from bqsearch.plan import Choice, Plan
from bqsearch.runtime import tflm
from bqsearch.search import prepare
from bqsearch.search.planfile import FIRMWARE, MICRO_MODEL, MODEL, PLAN, PlanFile, apply, file_names, write_point
from bqsearch.search.prepare import Problem
from decoding import need_tflm
from firmware.sample import need
from networks import small_float_network, small_int8_network, small_uint8_network
from search.problems import prepared, write_files

Files = dict[str, str]


CASES = [
    ("int8", "hifive1"),
    ("uint8", "hifive1"),
    ("float", "hifive1"),
    ("normalized", "hifive1"),
    ("int8", "eyeriss"),
]
MICRO_CASES = [("int8", "nrf52840"), ("uint8", "nrf52840"), ("normalized", "nrf52840")]
CHOICES = [
    *["kmeans-8-huffman", "keep-256-raw", "binquant-16-packed", "uniform-32-huffman"],
    *["entropy-9-huffman", "kmeans_channel-4-packed", "binquant-6-packed-halves0.4", "kmeans-16-mask-saliency50"],
]
SCHEMES = sorted({Choice.parse(text).scheme for text in CHOICES})


@pytest.fixture(scope="module", params=[*CASES, *MICRO_CASES], ids="-".join)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Files, Problem]:
    kind, board = request.param
    if board == "nrf52840":
        need_tflm()
    folder = tmp_path_factory.mktemp("plan")
    files = write_files(folder, small_uint8_network if kind == "uint8" else small_int8_network)
    if kind in ("float", "normalized"):
        files["model"] = str(folder / "float.tflite")
        Path(files["model"]).write_bytes(serialize(small_float_network(0)))
    settings = {"normalize": [127.5, 127.5]} if kind == "normalized" else {}
    return files, prepared(files, target=board, schemes=SCHEMES, **settings)


def mixed(problem: Problem, shift: int = 0) -> Plan:
    """By shift all choices are made of some layer."""
    choices = {name: Choice.parse(CHOICES[(i + shift) % 8]) for i, name in enumerate(problem.bank.by_name)}
    return problem.bank.plan(choices)


def written(problem: Problem, folder: Path, plan: Plan | None = None) -> Path:
    write_point(problem, problem.compress(plan or mixed(problem)), folder)
    return folder


def files_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def again(file: PlanFile, files: Files, folder: Path, data: str | None = None) -> Path:
    names = apply(file, files["model"], data, folder, lambda words: None)
    assert sorted([PLAN, *names]) == files_in(folder)
    return folder


@pytest.mark.parametrize("shift", [0, 4])
@pytest.mark.parametrize("successive", [False, True])
def test_apply_makes_the_same_bytes(case: tuple[Files, Problem], tmp_path: Path, shift: int, successive: bool) -> None:
    files, problem = case
    plan = replace(mixed(problem, shift), successive=successive)
    assert plan.method.error_compensation
    first = written(problem, tmp_path / "first", plan)
    assert PlanFile.read(first / PLAN).plan == plan
    second = again(PlanFile.read(first / PLAN), files, tmp_path / "second")
    own = {"nrf52840": [MICRO_MODEL], "eyeriss": []}.get(problem.cost.target.name, [FIRMWARE])
    names = sorted(file_names(problem.cost.target.runtime).values())
    assert names == sorted([MODEL, *own, PLAN])
    for folder in (first, second):
        assert sorted(path.name for path in folder.iterdir()) == names
    assert files_in(first) == files_in(second)
    for name in files_in(first):
        assert (second / name).read_bytes() == (first / name).read_bytes()


def test_a_plan_tells_its_runtime_and_every_files_hash(case: tuple[Files, Problem], tmp_path: Path) -> None:
    files, problem = case
    told = json.loads((written(problem, tmp_path) / PLAN).read_text())
    assert told["runtime"] == problem.cost.target.runtime
    others = [name for name in files_in(tmp_path) if name != PLAN]
    digests = {name: hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in others}
    assert told["sha256"]["files"] == digests
    given = load(Path(files["model"]))
    assert told["sha256"]["model"] == given.fingerprint
    assert json.loads(json.dumps(PlanFile.read(tmp_path / PLAN).to_json())) == told


def test_the_coded_file_computes_what_the_other_one_does(case: tuple[Files, Problem], tmp_path: Path) -> None:
    _, problem = case
    if problem.cost.target.runtime != prepare.MICRO:
        pytest.skip("no coded file")
    folder = written(problem, tmp_path)
    inputs = problem.scorer.inputs[:20]
    coded = (folder / MICRO_MODEL).read_bytes()
    np.testing.assert_array_equal(tflm.run(coded, inputs), tflm.run((folder / MODEL).read_bytes(), inputs))
    assert b"TFLM_DECODE" in coded


@pytest.mark.parametrize("name", [PLAN, MODEL, MICRO_MODEL])
def test_nothing_is_overwritten(case: tuple[Files, Problem], tmp_path: Path, name: str) -> None:
    files, problem = case
    first = written(problem, tmp_path / "first")
    if not (first / name).exists():
        pytest.skip("not on this board")
    (tmp_path / "second").mkdir()
    (tmp_path / "second" / name).write_text("the user's own")
    with pytest.raises(OutputError, match=rf"{name} exists and is not overwritten"):
        again(PlanFile.read(first / PLAN), files, tmp_path / "second")
    assert [path.name for path in (tmp_path / "second").iterdir()] == [name]
    assert (tmp_path / "second" / name).read_text() == "the user's own"


def test_data_may_have_moved(case: tuple[Files, Problem], tmp_path: Path) -> None:
    files, problem = case
    first = written(problem, tmp_path / "first")
    moved = tmp_path / "moved.npz"
    moved.write_bytes(Path(files["data"]).read_bytes())
    second = again(PlanFile.read(first / PLAN), files, tmp_path / "second", str(moved))
    assert (second / MODEL).read_bytes() == (first / MODEL).read_bytes()


def test_another_model_is_refused(case: tuple[Files, Problem], tmp_path: Path) -> None:
    files, problem = case
    first = written(problem, tmp_path / "first")
    (tmp_path / "other").mkdir()
    other = write_files(tmp_path / "other", seed=9)
    with pytest.raises(PlanError, match=r"the model \(.*\) is not the plan's: SHA-256 \w{12}\.\.\."):
        again(PlanFile.read(first / PLAN), {**files, "model": other["model"]}, tmp_path / "second")
    assert not (tmp_path / "second").exists()


def test_other_data_is_refused(case: tuple[Files, Problem], tmp_path: Path) -> None:
    files, problem = case
    first = written(problem, tmp_path / "first")
    arrays = dict(np.load(files["data"]))
    arrays["x_train"][0, 0, 0, 0] ^= 1
    np.savez(tmp_path / "other.npz", **arrays)
    with pytest.raises(PlanError, match=r"the data \(.*other\.npz\) is not the plan's"):
        again(PlanFile.read(first / PLAN), files, tmp_path / "second", str(tmp_path / "other.npz"))


OTHER = {"tflm": "bqsearch", "bqsearch": "tflm"}
TAMPERED: dict[str, Callable[[dict[str, Any]], Any]] = {
    "another choice": lambda v: v["layers"].update(stem="kmeans-4-huffman"),
    "another correction": lambda v: v["method"].update(bias_correction=False),
    "another weighting": lambda v: v["method"].update(activation_weighting=False),
    "another compensation": lambda v: v["method"].update(error_compensation=False),
    "another order": lambda v: v.update(successive=True),
    "another pruning": lambda v: v["layers"].update(stem="kmeans-8-huffman-std50"),
    "another seed": lambda v: v["recipe"].update(seed=4),
    "fewer calibration inputs": lambda v: v["recipe"].update(calibration=3),
    "another result": lambda v: v["sha256"]["files"].update({MODEL: "0" * 64}),
    "no result": lambda v: v["sha256"].update(files={}),
    "another runtime": lambda v: v.update(runtime=OTHER[v["runtime"]]),
    "a layer less": lambda v: v["layers"].pop("stem"),
    "a layer more": lambda v: v["layers"].update(more="keep-256-raw"),
    "an unknown scheme": lambda v: v["layers"].update(stem="magic-4-huffman"),
    "too many levels": lambda v: v["layers"].update(stem="kmeans-255-packed"),
}


@pytest.mark.parametrize("tampering", TAMPERED)
def test_a_tampered_plan_is_refused(case: tuple[Files, Problem], tmp_path: Path, tampering: str) -> None:
    files, problem = case
    path = written(problem, tmp_path / "first") / PLAN
    value = json.loads(path.read_text())
    if tampering == "another runtime" and problem.cost.target.chip is not None:
        pytest.skip("its files are those of bqsearch's runtime")
    TAMPERED[tampering](value)
    path.write_text(json.dumps(value))
    with pytest.raises(
        BqsearchError, match=r"is not the plan's|differ in|unknown scheme|has 2 to|cannot code|cannot read"
    ):
        again(PlanFile.read(path), files, tmp_path / "second")
    assert not (tmp_path / "second").exists()


def test_firmware_computes_what_was_scored(case: tuple[Files, Problem], tmp_path: Path) -> None:
    """The point's folder, built for this computer, against the engine that scores the holdout."""
    _, problem = case
    if "firmware" not in file_names(problem.cost.target.runtime):
        pytest.skip("no firmware")
    need(HOST)
    folder = written(problem, tmp_path / "point") / FIRMWARE
    for text in ("model.c", "runtime/bq.c", "main.c", "boards/hifive1/link.ld", "Makefile", "README.md"):
        assert (folder / text).is_file()
    inputs = problem.scorer.inputs[:10]
    outcome = emulator.run(toolchain.build(HOST, folder, tmp_path / "built"), inputs)
    engine = problem.holdout_scorer().engine
    assert isinstance(engine, Streamed)
    wanted = engine.opened(problem.compress(mixed(problem)))(inputs)
    np.testing.assert_array_equal(outcome.outputs, wanted.reshape(10, -1).view(np.uint8))


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"board": "stm32f405"}, r"the firmware/.* \(made with this machine's libraries\) is not the plan's"),
        ({"board": "toaster"}, "cannot read the plan"),
        ({"room": -1}, "cannot read the plan"),
        ({"thrift": 2.0}, "cannot read the plan"),
        ({"room": "much"}, "cannot read the plan"),
    ],
)
def test_firmware_of_other_settings_is_refused(tmp_path: Path, change: dict[str, Any], wanted: str) -> None:
    files = write_files(tmp_path)
    path = written(prepared(files, schemes=SCHEMES), tmp_path / "first") / PLAN
    value = json.loads(path.read_text())
    assert value["firmware"]["board"] == "hifive1"
    value["firmware"].update(change)
    path.write_text(json.dumps(value))
    with pytest.raises(PlanError, match=wanted):
        again(PlanFile.read(path), files, tmp_path / "second")


def test_a_board_without_files_gets_firmware_for_a_computer(tmp_path: Path) -> None:
    board = tmp_path / "mine.toml"
    board.write_text((Path(target.__file__).parent / "targets" / "hifive1.toml").read_text())
    problem = prepared(write_files(tmp_path), target=str(board), schemes=SCHEMES)
    folder = written(problem, tmp_path / "point")
    assert PlanFile.read(folder / PLAN).firmware.board == "host"
    assert not (folder / FIRMWARE / "boards" / "hifive1").exists()


UNREADABLE: dict[str, Any] = {
    "no JSON": "not JSON",
    "no object": [],
    "no hashes": {"sha256": None},
    "a missing hash": {"sha256": {"model": "", "data": ""}},
    "odd hashes": {"sha256": {"model": "", "data": "", "files": ["model.tflite"]}},
    "no runtime": {"runtime": None},
    "an unknown runtime": {"runtime": "onnx"},
    "no recipe": {"recipe": None},
    "an odd recipe": {"recipe": {"model": 3}},
    "another format": {"format": 4},
    "the last format": {"format": 1},
    "no method": {"method": None},
    "an odd method": {"method": {"bias_correction": True}},
    "no order": {"successive": None},
    "an odd pruning": {"layers": {"stem": "kmeans-8-huffman-std5000"}},
    "odd halves": {"layers": {"stem": "binquant-8-huffman-halves1"}},
    "odd layers": {"layers": {"stem": 3}},
}


@pytest.mark.parametrize("kind", UNREADABLE)
def test_an_unreadable_plan(case: tuple[Files, Problem], tmp_path: Path, kind: str) -> None:
    path = written(case[1], tmp_path) / PLAN
    change = UNREADABLE[kind]
    whole = {**json.loads(path.read_text()), **change} if isinstance(change, dict) else change
    path.write_text(whole if isinstance(whole, str) else json.dumps(whole))
    with pytest.raises(PlanError):
        PlanFile.read(path)


def test_a_missing_plan(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="cannot read the plan"):
        PlanFile.read(tmp_path / PLAN)
