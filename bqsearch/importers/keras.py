"""A Keras model (.keras, .h5) or a TensorFlow SavedModel folder -> Graph, by TensorFlow's own converter.

The conversion runs in a process of its own (`keras_child`), so that TensorFlow's memory, noise and crashes stay there.
Nothing in a model file is executed: `vetting` reads it first.
"""

import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from bqsearch.errors import MissingExtraError, ModelError
from bqsearch.graph.ir import Graph
from bqsearch.importers import tflite

REFUSED = 3  # exit status of the child when the output file holds the reason
_PATIENCE = 1800.0  # seconds


def load(path: Path) -> Graph:
    """Convert and read a model: batch 1, float32 throughout.

    Args:
        path: A .keras or .h5 file, or a SavedModel folder.

    Raises:
        ModelError: The file cannot be read or converted, or holds what would have to be executed.
        UnsupportedError: The converted network uses an operator or type that bqsearch does not support.
        MissingExtraError: TensorFlow is not installed.
    """
    if importlib.util.find_spec("tensorflow") is None:
        raise MissingExtraError("tensorflow", "keras", f"reading {path}")
    if not path.exists():
        raise ModelError(f"cannot read the model {path}: No such file or directory")
    with tempfile.TemporaryDirectory(prefix="bqsearch-") as folder:
        return tflite.parse(_converted(path, Path(folder)), str(path))


def _converted(path: Path, folder: Path) -> bytes:
    """The model as a .tflite flatbuffer, by way of a file in an empty folder."""
    target = folder / "model.tflite"
    # -P: else Python would look for its modules in the current folder first, where the model's author may have been.
    command = [sys.executable, "-P", "-m", "bqsearch.importers.keras_child", str(path.absolute()), str(target)]
    try:
        done = subprocess.run(command, env=_environment(folder), capture_output=True, timeout=_PATIENCE)
    except subprocess.TimeoutExpired as error:
        raise ModelError(f"cannot convert the model {path}: not done after {_PATIENCE:.0f} s") from error
    if done.returncode == REFUSED:
        raise ModelError(f"cannot convert the model {path}: {target.read_text()}")
    if done.returncode != 0 or not target.exists():
        said = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["no message"]
        raise ModelError(f"cannot convert the model {path}: TensorFlow ended with status {done.returncode}: {said[-1]}")
    return target.read_bytes()


def _environment(folder: Path) -> dict[str, str]:
    """A quiet TensorFlow on the CPU; Keras' user configuration, which could turn channels around, is not looked at."""
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    return {**os.environ, **quiet, "KERAS_BACKEND": "tensorflow", "KERAS_HOME": str(folder / "keras")}
