"""A point's firmware on the emulated board: what passes, what fails, and what is skipped with what to install."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bqsearch.firmware import emulator
from bqsearch.firmware.board import HIFIVE1, HOST, Board
from bqsearch.firmware.emulator import Outcome
from bqsearch.hardware.streamed import StreamedFootprint
from bqsearch.search import onboard
from bqsearch.search.check import Check
from bqsearch.search.planfile import FIRMWARE, write_point
from bqsearch.search.prepare import Problem
from firmware.sample import need
from search.problems import prepared, write_files

INPUTS = 4


@pytest.fixture(scope="module")
def problem(tmp_path_factory: pytest.TempPathFactory) -> Problem:
    return prepared(write_files(tmp_path_factory.mktemp("onboard")), schemes="kmeans")


@pytest.fixture(scope="module")
def point(problem: Problem, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("point")
    write_point(problem, problem.compress(problem.bank.baseline), folder)
    return folder / FIRMWARE


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("objects")


def checked(problem: Problem, folder: Path, out: Path, board: Board = HIFIVE1, stack: int = 768) -> list[Check]:
    model, footprint = problem.compress(problem.bank.baseline), problem.cost.footprint
    assert isinstance(footprint, StreamedFootprint)
    ram = replace(footprint.ram(model), stack=stack)
    predicted = onboard.Predicted(flash=footprint.flash(model), ram=ram)
    inputs = problem.holdout_scorer().inputs[:INPUTS]
    return list(onboard.check(board, folder, model, footprint.schedule(model), predicted, inputs, out))


def test_firmware_passes(problem: Problem, point: Path, objects: Path) -> None:
    need(HIFIVE1)
    linker, outputs, stack = checked(problem, point, objects)
    assert (linker.name, outputs.name, stack.name) == ("linker", "outputs", "stack")
    assert linker.passed
    assert outputs.passed
    assert stack.passed
    assert all(f"{section} " in linker.detail for section in (".text", ".rodata", ".data", ".bss"))
    assert outputs.detail.startswith(f"{INPUTS} of {INPUTS} on the emulated board bit for bit as here, with ")
    assert int(outputs.detail.split(" with ")[1].split()[0].replace(",", "")) > 10_000
    peak = int(stack.detail.split()[0].replace(",", ""))
    assert checked(problem, point, objects, stack=peak)[-1].passed
    assert checked(problem, point, objects, stack=peak - 1)[-1].passed is False


def test_other_weights_on_the_board_fail(problem: Problem, point: Path, objects: Path, tmp_path: Path) -> None:
    need(HIFIVE1)
    other = replace(problem.bank.baseline, choices={**problem.bank.baseline.choices})
    model = problem.compress(other)
    write_point(problem, model, tmp_path)
    text = (tmp_path / FIRMWARE / "model.c").read_text()
    begin = text.index("bias_0")
    changed = text[:begin] + text[begin:].replace("{\n    ", "{\n    99", 1)
    (tmp_path / FIRMWARE / "model.c").write_text(changed)
    outputs = checked(problem, tmp_path / FIRMWARE, objects)[1]
    assert (outputs.name, outputs.passed) == ("outputs", False)
    assert f"of {INPUTS} on the emulated board" in outputs.detail


def test_firmware_that_does_not_build_fails_with_the_reason(problem: Problem, objects: Path, tmp_path: Path) -> None:
    need(HIFIVE1)
    (found,) = checked(problem, tmp_path, objects)
    assert (found.name, found.passed) == ("linker", False)
    assert "riscv64-unknown-elf-gcc" in found.detail


def test_missing_tools_are_named_and_nothing_is_passed(
    problem: Problem, point: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = checked(problem, point, tmp_path)
    assert [(check.name, check.passed) for check in found] == [("linker", None), ("outputs", None), ("stack", None)]
    assert all(check.detail.startswith("skipped: ") for check in found)
    assert all("apt-get install gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf" in c.detail for c in found)


def test_a_missing_emulator_leaves_the_linker(problem: Problem, point: Path, objects: Path) -> None:
    need(HIFIVE1)
    assert HIFIVE1.emulator is not None
    board = replace(HIFIVE1, emulator=replace(HIFIVE1.emulator, command="qemu-system-none", package="no-qemu"))
    linker, outputs, stack = checked(problem, point, objects, board)
    assert linker.passed
    assert (outputs.passed, stack.passed) == (None, None)
    assert outputs.detail.endswith("which is not installed: apt-get install no-qemu")


def test_a_board_of_the_users_own_is_skipped(problem: Problem, point: Path, tmp_path: Path) -> None:
    found = checked(problem, point, tmp_path, HOST)
    assert [check.passed for check in found] == [None, None, None]


def test_a_board_that_stops_fails(
    problem: Problem, point: Path, objects: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need(HIFIVE1)

    def silent(program: object, inputs: np.ndarray) -> Outcome:
        raise onboard.BoardError("no answer after 60 s; it printed nothing")

    monkeypatch.setattr(emulator, "run", silent)
    _, outputs = checked(problem, point, objects)
    assert (outputs.name, outputs.passed) == ("outputs", False)
    assert "no answer after 60 s" in outputs.detail
