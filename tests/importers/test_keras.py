"""Models of TensorFlow become the networks that its own converter makes; what would run code is refused unread."""

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bqsearch.errors import MissingExtraError, ModelError, UnsupportedError
from bqsearch.importers import keras as importer
from bqsearch.importers import tflite
from bqsearch.runtime.litert import Runner

pytest.importorskip("tensorflow", reason="TensorFlow, the extra `keras`, is not installed")

# Made in a process of its own: TensorFlow in this one would slow all that follows, and warn.
MAKE = """
import os, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import keras, numpy as np, tensorflow as tf
from keras import layers
folder = sys.argv[1]
keras.utils.set_random_seed(0)
image = keras.Input((8, 8, 3))
down = layers.Conv2D(4, 3, strides=2, padding="same", kernel_regularizer="l2")(image)
down = layers.LeakyReLU(0.125)(layers.BatchNormalization()(down))
up = layers.Conv2DTranspose(4, 3, strides=2, padding="same", activation="relu")(down)
up = layers.Concatenate()([layers.UpSampling2D(2, interpolation="nearest")(down), up])
scores = layers.Dense(3, activation="softmax")(layers.Flatten()(up))
model = keras.Model(image, scores)
model.compile("adam", "mse")
x = np.random.default_rng(0).uniform(-1, 1, (5, 8, 8, 3)).astype(np.float32)
np.savez(f"{folder}/data.npz", x=x, y=model.predict(x, verbose=0))
model.save(f"{folder}/net.keras")
model.save(f"{folder}/net.h5")
model.export(f"{folder}/net", verbose=False)
model.save_weights(f"{folder}/only.weights.h5")
lambda_ = keras.Sequential([keras.Input((4,)), layers.Lambda(lambda v: v + 1), layers.Dense(2)])
lambda_.save(f"{folder}/lambda.keras")
lambda_.save(f"{folder}/lambda.h5")
open_ = keras.Sequential([keras.Input((None, None, 3)), layers.Conv2D(2, 3)])
open_.save(f"{folder}/open.keras")

class Reading(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec((1, 4), tf.float32)])
    def call(self, value):
        return value + tf.cast(tf.strings.length(tf.io.read_file("/etc/hostname")), tf.float32)

class Running(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec((1, 4), tf.float32)])
    def call(self, value):
        return tf.py_function(lambda v: v, [value], tf.float32)

class Looking(tf.Module):
    def __init__(self):
        self.table = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer([1, 2], [3.0, 4.0], tf.int32, tf.float32), 0.0)
    @tf.function(input_signature=[tf.TensorSpec((1, 4), tf.int32)])
    def call(self, value):
        return self.table.lookup(value)

class Choosing(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec((1, 4), tf.float32)])
    def one(self, value):
        return value + 1
    @tf.function(input_signature=[tf.TensorSpec((1, 4), tf.float32)])
    def two(self, value):
        return value + 2

for name, module in (("reading", Reading()), ("running", Running()), ("looking", Looking())):
    tf.saved_model.save(module, f"{folder}/{name}", signatures=module.call)
module = Choosing()
tf.saved_model.save(module, f"{folder}/choosing", signatures={"one": module.one, "two": module.two})
"""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of models and of the first one's answers."""
    folder = tmp_path_factory.mktemp("keras")
    subprocess.run([sys.executable, "-c", MAKE, str(folder)], capture_output=True, check=True)
    return folder


@pytest.mark.parametrize("name", ["net.keras", pytest.param("net.h5", marks=pytest.mark.slow), "net"])
def test_a_model_answers_as_keras_does(models: Path, name: str) -> None:
    graph = importer.load(models / name)
    data = np.load(models / "data.npz")
    assert (graph.input.shape, graph.input.dtype, graph.output.dtype) == ((1, 8, 8, 3), "float32", "float32")
    assert {"TRANSPOSE_CONV", "LEAKY_RELU"} <= {op.code for op in graph.ops}
    np.testing.assert_allclose(Runner(graph).run(data["x"])[0], data["y"], atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "scale"), [("resnet8", 255), ("vww_96", 1)])
def test_the_shared_models_are_their_float_baselines(shared_models: Path, name: str, scale: int) -> None:
    graph, baseline = importer.load(shared_models / f"{name}.h5"), tflite.load(shared_models / f"{name}_float.tflite")
    x = np.random.default_rng(0).uniform(0, scale, (32, *graph.input.shape[1:])).astype(np.float32)
    np.testing.assert_allclose(Runner(graph).run(x)[0], Runner(baseline).run(x)[0], atol=1e-5)


REFUSED = {
    "lambda.keras": "has a part 'Lambda' of 'keras.layers'",
    "lambda.h5": "has a part 'Lambda'",
    "only.weights.h5": "weights without a network",
    "open.keras": r"has shape \[None, None, None, 3\]",
    "reading": "it holds ReadFile, StringLength, which bqsearch does not let run",
    "running": "it holds EagerPyFunc",
    "looking": "it holds .*HashTable.*resource",
    "choosing": r"has the signatures \['one', 'two'\]",
    "missing.keras": "No such file",
    "data.npz": "it is no .keras archive",
}


SLOW = ("open.keras", "running", "looking", "choosing")  # TensorFlow is loaded for each


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in REFUSED])
def test_what_cannot_be_converted_is_refused_with_the_reason(models: Path, name: str) -> None:
    with pytest.raises(ModelError, match=REFUSED[name]) as caught:
        importer.load(models / name)
    assert str(models / name) in str(caught.value)
    assert "\n" not in str(caught.value)


def repacked(source: Path, target: Path, change: Callable[[Any], None]) -> Path:
    """A .keras archive with another configuration."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "config.json":
                config = json.loads(content)
                change(config)
                content = json.dumps(config).encode()
            new.writestr(name, content)
    return target


def test_code_in_a_file_is_not_run(models: Path, tmp_path: Path) -> None:
    """A layer out of another module would be imported, and called, by the loader."""
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Conv2D: pass\n")

    def change(config: Any) -> None:
        config["config"]["layers"][1].update(module="evil", registered_name=None)

    with pytest.raises(ModelError, match="has a part 'Conv2D' of 'evil'"):
        importer.load(repacked(models / "net.keras", tmp_path / "evil.keras", change))
    assert not (tmp_path / "ran").exists()


def test_modules_in_the_current_folder_are_not_imported(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "h5py.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match="weights without a network"):
        importer.load(models / "only.weights.h5")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [b"", b"\x89HDF\r\n\x1a\n" + bytes(100), b"PK\x05\x06" + bytes(18)])
def test_a_damaged_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "net.keras"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="cannot convert the model"):
        importer.load(path)


@pytest.mark.slow
def test_a_network_that_bqsearch_does_not_support_is_named(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importer.tflite, "SUPPORTED", {"CONV_2D": tflite.SUPPORTED["CONV_2D"]})
    with pytest.raises(UnsupportedError, match=r"net\.keras: operator"):
        importer.load(models / "net.keras")


def test_a_crash_is_an_error_with_what_was_said_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho first >&2\necho it hurts >&2\nkill -SEGV $$\n")
    python.chmod(0o755)
    monkeypatch.setattr(importer.sys, "executable", str(python))
    with pytest.raises(ModelError, match="TensorFlow ended with status -11: it hurts"):
        importer.load(tmp_path)


def test_without_tensorflow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importer.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'bqsearch\[keras\]'"):
        importer.load(tmp_path / "net.keras")
