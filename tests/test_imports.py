"""`import bqsearch` and `--help` stay light, and the built wheel has all that a run needs."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
HEAVY = ("jax", "tensorflow", "ray", "mlflow", "sklearn", "matplotlib", "optuna", "ai_edge_litert", "tflite_micro")


def loaded_after(code: str) -> list[str]:
    """Which heavy packages a fresh interpreter has loaded after running `code`."""
    probe = f"import sys\n{code}\nprint('loaded:', *[m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1].removeprefix("loaded:").split()


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert loaded_after("import bqsearch") == []


@pytest.mark.parametrize(
    "arguments", [["--help"], ["run", "--help"], ["list", "--help"], ["verify", "--help"], ["sync", "--help"]]
)
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    code = f"import contextlib\nfrom bqsearch.cli import app\nwith contextlib.suppress(SystemExit): app({arguments!r})"
    assert loaded_after(code) == []


def test_an_unloaded_module_is_noticed() -> None:
    assert loaded_after("import sklearn") == ["sklearn"]


def test_the_wheel_holds_the_checkpoint_the_boards_the_page_and_the_studies(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {
        "bqsearch/zoo/mobilenet_v2.tflite",
        "bqsearch/hardware/targets/hifive1.toml",
        "bqsearch/hardware/code/fe310.json",
        "bqsearch/hardware/targets/mimxrt1060_evk.toml",
        "bqsearch/runtime/tflm_child.py",
        "bqsearch/report/page/page.html",
        "bqsearch/report/page/start.js",
        "bqsearch/firmware/source/bq.h",
        "bqsearch/firmware/boards/main.c",
        "bqsearch/firmware/boards/fe310/start.S",
        "bqsearch/firmware/boards/hifive1/link.ld",
        "bqsearch/firmware/templates/CMakeLists.txt",
        "bqsearch/py.typed",
        "objectives/accuracy.py",
        "studies/mobilenet_v2-hifive1.toml",
    } <= names
    assert not any(name.startswith(("tests/", "benchmarks/", "runs/")) for name in names)
