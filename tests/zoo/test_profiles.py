"""The shipped networks on projection profiles are what their descriptions say, and their recipes still train."""

import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bqsearch import registry
from bqsearch.datasets import feed, npz
from bqsearch.datasets.base import Normalize
from bqsearch.datasets.features import FEATURES
from bqsearch.errors import MissingExtraError
from bqsearch.graph.ir import Graph
from bqsearch.graph.ops import layers
from bqsearch.importers import tflite
from bqsearch.runtime.litert import Runner
from bqsearch.zoo.base import TrainingRecipe, ZooModel
from bqsearch.zoo.profiles import MODEL_10, MODEL_50

needs_tensorflow = pytest.mark.skipif(
    find_spec("tensorflow") is None, reason="tensorflow is not installed: the extra 'keras' brings it"
)
BOTH = pytest.mark.parametrize(("model", "hidden"), [(MODEL_10, 10), (MODEL_50, 50)], ids=["10", "50"])
QUICK = TrainingRecipe(epochs=2, batch_size=10, learning_rate=0.1, warmup=0.0, label_smoothing=0.0)


def check_form(graph: Graph, hidden: int) -> None:
    assert [op.code for op in graph.ops] == ["FULLY_CONNECTED", "FULLY_CONNECTED"]
    assert [layer.shape for layer in layers(graph)] == [(hidden, 64), (10, hidden)]
    assert (graph.input.shape, graph.input.dtype, graph.output.shape) == ((1, 64), "float32", (1, 10))


@BOTH
def test_the_checkpoint_is_two_layers_without_softmax(model: ZooModel, hidden: int) -> None:
    assert registry.load("model", f"profiles_64_{hidden}") is model
    assert (model.dataset, model.features) == (None, "profiles")
    check_form(tflite.load(model.checkpoint), hidden)


@BOTH
def test_the_checkpoint_knows_mnist(model: ZooModel, hidden: int, shared_data: Path) -> None:
    """On the search split, which it was not trained on."""
    data = FEATURES["profiles"].of(npz.load(shared_data / "mnist.npz", 0, None, labels=True))
    graph = tflite.load(model.checkpoint)
    assert model.normalize is not None
    inputs = feed.encode(data.search.x, graph.input, Normalize(mean=model.normalize[0], std=model.normalize[1]))
    assert (inputs.min(), inputs.max()) == (0, 1)
    right = Runner(graph, batch=100).run(inputs)[0].argmax(axis=1) == data.search.y
    assert right.mean() >= {10: 0.935, 50: 0.965}[hidden]


@needs_tensorflow
@BOTH
def test_training_gives_a_model_like_the_checkpoint(
    model: ZooModel, hidden: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Twice the same, and it learns which of ten features is white."""
    labels = np.arange(200) % 10
    inputs = np.zeros((200, 64), np.float32)
    inputs[np.arange(200), labels] = 1
    heard: list[tuple[int, int, Mapping[str, float]]] = []
    made = [model.train(QUICK, inputs, labels, lambda *event: heard.append(event)) for _ in range(2)]
    assert capfd.readouterr() == ("", "")
    assert [event[:2] for event in heard] == [(1, 2), (2, 2)] * 2
    assert heard[1][2]["loss"] < heard[0][2]["loss"]
    graphs = []
    for number, content in enumerate(made):
        path = tmp_path / f"{number}.tflite"
        path.write_bytes(content)
        graphs.append(tflite.load(path))
        check_form(graphs[-1], hidden)
    graph, again = graphs
    assert graph.fingerprint == again.fingerprint
    assert (Runner(graph, batch=10).run(inputs[:10])[0].argmax(axis=1) == labels[:10]).mean() >= 0.9


def test_missing_tensorflow_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    nothing: Any = np.zeros((0, 64), np.float32)
    with pytest.raises(MissingExtraError, match=r"training profiles_64_10 needs tensorflow.*bqsearch\[keras\]"):
        MODEL_10.train(QUICK, nothing, np.zeros(0, np.int64), lambda *event: None)
