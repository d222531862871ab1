"""The shipped MobileNetV2 is what its description says, and its recipe still trains."""

import importlib.util
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from bqsearch import registry
from bqsearch.datasets import digits
from bqsearch.datasets.base import Dataset
from bqsearch.errors import MissingExtraError, StudyError
from bqsearch.types import Array
from bqsearch.zoo import mobilenet_v2
from bqsearch.zoo.base import TrainingRecipe
from bqsearch.zoo.mobilenet_v2 import MODEL

needs_tensorflow = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is None, reason="tensorflow is not installed: the extra 'keras' brings it"
)
BUILTINS = {code: name for name, code in vars(schema.BuiltinOperator).items() if not name.startswith("_")}


@pytest.fixture(scope="module")
def data() -> Dataset:
    return digits.load()


def operators(content: bytes) -> list[str]:
    model = schema.ModelT.InitFromPackedBuf(content)
    return [BUILTINS[model.operatorCodes[op.opcodeIndex].builtinCode] for op in model.subgraphs[0].operators]


def predict(content: bytes, pixels: Array) -> Array:
    """`(n, 32, 32, 1)` uint8 -> `(n, 10)` outputs, one image at a time."""
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    source, sink = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    outputs = []
    for image in pixels.astype(np.float32) / 255:
        interpreter.set_tensor(source, image[None])
        interpreter.invoke()
        outputs.append(interpreter.get_tensor(sink)[0])
    return np.stack(outputs)


def test_registry_knows_the_model() -> None:
    assert registry.load("model", "mobilenet_v2") is MODEL
    assert MODEL.dataset in registry.names("dataset")
    assert MODEL.recipe == TrainingRecipe()


def test_checkpoint_takes_and_gives_one_float() -> None:
    interpreter = Interpreter(model_path=str(MODEL.checkpoint))
    (source,), (sink,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert (source["dtype"], sink["dtype"]) == (np.float32, np.float32)
    assert source["shape_signature"].tolist() == source["shape"].tolist() == [1, 32, 32, 1]
    assert sink["shape_signature"].tolist() == sink["shape"].tolist() == [1, 10]


def test_checkpoint_is_a_plain_folded_chain() -> None:
    names = operators(MODEL.checkpoint.read_bytes())
    assert {name: names.count(name) for name in names} == {
        "CONV_2D": 35,
        "DEPTHWISE_CONV_2D": 17,
        "ADD": 10,
        "MEAN": 1,
        "FULLY_CONNECTED": 1,
        "SOFTMAX": 1,
    }
    assert names[-1] == "SOFTMAX"


def test_checkpoint_is_accurate_on_the_search_split(data: Dataset) -> None:
    outputs = predict(MODEL.checkpoint.read_bytes(), data.search.x)
    np.testing.assert_allclose(outputs.sum(axis=1), 1, atol=1e-5)
    assert np.mean(outputs.argmax(axis=1) == data.search.y) >= 0.98


@needs_tensorflow
def test_training_gives_a_model_like_the_checkpoint(data: Dataset, capfd: pytest.CaptureFixture[str]) -> None:
    images = data.train.x[:64]
    heard: list[tuple[int, int, Mapping[str, float]]] = []
    inputs, recipe = (images / 255).astype(np.float32), TrainingRecipe(epochs=2, batch_size=32)
    content = MODEL.train(recipe, inputs, data.train.y[:64], lambda *event: heard.append(event))
    assert capfd.readouterr() == ("", "")
    assert [event[:2] for event in heard] == [(1, 2), (2, 2)]
    assert all(set(metrics) == {"loss", "accuracy"} for _, _, metrics in heard)
    assert operators(content) == operators(MODEL.checkpoint.read_bytes())
    assert predict(content, images[:2]).shape == (2, 10)


@needs_tensorflow
def test_network_has_the_fast_batch_norm_and_a_softmax() -> None:
    model = mobilenet_v2.build()
    momenta = {layer.momentum for layer in model.layers if type(layer).__name__ == "BatchNormalization"}
    assert momenta == {mobilenet_v2.MOMENTUM}
    assert model.layers[-1].activation.__name__ == "softmax"


@needs_tensorflow
def test_augmentation_without_motion_changes_nothing(data: Dataset) -> None:
    images = data.train.x[:4].astype(np.float32) / 255
    still = mobilenet_v2.augment(images, np.random.default_rng(0), shift=0, rotation=0)
    np.testing.assert_allclose(still, images, atol=1e-5)


@needs_tensorflow
def test_augmentation_moves_each_image_a_little_and_repeats_by_seed(data: Dataset) -> None:
    images = np.repeat(data.train.x[:1].astype(np.float32) / 255, 3, axis=0)
    first, again = (mobilenet_v2.augment(images, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert first.shape == images.shape
    assert first.min() >= 0
    assert first.max() <= 1 + 1e-6
    assert not np.allclose(first[0], first[1])
    np.testing.assert_allclose(first.sum(axis=(1, 2, 3)), images[0].sum(), rtol=0.1)


def train_nothing() -> bytes:
    return MODEL.train(TrainingRecipe(), np.zeros((0, 32, 32, 1)), np.zeros(0, np.int64), lambda *event: None)


@pytest.mark.parametrize("use", [mobilenet_v2.build, train_nothing])
def test_missing_tensorflow_names_the_extra(use: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(MissingExtraError, match=r"training mobilenet_v2 needs tensorflow.*bqsearch\[keras\]"):
        use()


def test_importing_the_model_loads_no_tensorflow() -> None:
    code = "import sys, bqsearch.zoo.mobilenet_v2; sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    "choice", [{"epochs": 0}, {"batch_size": 0}, {"seed": -1}, {"warmup": -1}, {"label_smoothing": 1.0}]
)
def test_recipe_refuses_bad_choices(choice: dict[str, Any]) -> None:
    (name,) = choice
    with pytest.raises(StudyError, match=name):
        TrainingRecipe(**choice)
