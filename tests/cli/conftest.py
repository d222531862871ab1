"""The program as a user types it, and a finished run."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bqsearch.datasets import digits
from decoding import need_tflm
from program import COMMAND, MICRO_COMMAND, POLISH, SMALL_TRIALS, Bqsearch, Run
from search.problems import write_files


@pytest.fixture(scope="session")
def bqsearch() -> Bqsearch:
    """Call the program."""

    def call(*arguments: str | Path, timeout: float = 300) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "bqsearch", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)

    return call


@pytest.fixture(scope="session")
def finished(bqsearch: Bqsearch, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The title's command with fewer trials, MLflow and all."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    done = bqsearch(*COMMAND, "--out", folder)
    assert done.returncode == 0, done.stderr
    return Run(folder, done.stdout, json.loads((folder / "front.json").read_text()))


@pytest.fixture(scope="session")
def small_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A model file and its data, small, for what does not depend on which network it is."""
    return write_files(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="session")
def small_command(small_files: dict[str, str]) -> list[str]:
    """A run of the small network."""
    files = [part for name, path in small_files.items() for part in (f"--{name}", path)]
    return ["run", *files, "--target", "hifive1", "--polish", str(POLISH), "--trials", str(SMALL_TRIALS)]


@pytest.fixture(scope="session")
def finished_small(bqsearch: Bqsearch, small_command: list[str], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """That run, without MLflow."""
    folder = tmp_path_factory.mktemp("runs") / "small"
    done = bqsearch(*small_command, "--tracking-uri", "none", "--out", folder)
    assert done.returncode == 0, done.stderr
    return Run(folder, done.stdout, json.loads((folder / "front.json").read_text()))


@pytest.fixture(scope="session")
def finished_micro(bqsearch: Bqsearch, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The same for a board with TensorFlow Lite Micro, with few trials and without MLflow."""
    need_tflm()
    folder = tmp_path_factory.mktemp("runs") / "micro"
    done = bqsearch(*MICRO_COMMAND, "--out", folder)
    assert done.returncode == 0, done.stderr
    return Run(folder, done.stdout + done.stderr, json.loads((folder / "front.json").read_text()))


@pytest.fixture(scope="session")
def int8_model(finished: Run) -> Path:
    """A real int8 .tflite file: the run's finest point."""
    return finished.folder / finished.front["points"][-1]["files"]["model"]


@pytest.fixture(scope="session")
def one_split(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An .npz with a test split only."""
    data = digits.load()
    path = tmp_path_factory.mktemp("data") / "digits.npz"
    np.savez(path, x_test=data.search.x, y_test=data.search.y)
    return path
