"""The recommended point in MLflow's registry: it predicts what LiteRT does on the point's file."""

from collections.abc import Iterator
from pathlib import Path

import mlflow.pyfunc
import numpy as np
import pytest
from mlflow import MlflowClient

from bqsearch.runtime.litert import Runner
from bqsearch.tracking.mlflow import local_uri
from networks import litert_outputs, random_inputs, small_int8_network
from tracked import example, replay, spooled


@pytest.fixture
def uri(tmp_path: Path) -> Iterator[str]:
    """A store of its own, which MLflow's own calls use as well."""
    made = local_uri(tmp_path)
    before = mlflow.get_tracking_uri(), mlflow.get_registry_uri()
    mlflow.set_tracking_uri(made)
    mlflow.set_registry_uri(made)
    yield made
    mlflow.set_tracking_uri(before[0])
    mlflow.set_registry_uri(before[1])


def test_a_registered_model_predicts_what_litert_does(tmp_path: Path, uri: str) -> None:
    folder = spooled(tmp_path, "net", recommended=0)
    tracker = replay(folder, uri)
    loaded = mlflow.pyfunc.load_model("models:/net/1")
    graph = small_int8_network()
    inputs = random_inputs(graph, 7)
    predicted = loaded.predict(inputs)
    assert predicted.dtype == np.int8
    assert np.array_equal(predicted, Runner(graph).run(inputs)[0])
    one = litert_outputs((folder / "points/0/model.tflite").read_bytes(), inputs[:1])
    assert np.array_equal(predicted[:1], one)
    assert loaded.metadata.run_id == tracker.parent
    assert loaded.metadata.signature.inputs.input_types() == [np.dtype(np.int8)]
    assert loaded.metadata.signature.outputs.inputs[0].shape == (-1, *predicted.shape[1:])
    assert np.array_equal(loaded.input_example, example(folder))


def test_nothing_of_bqsearch_or_a_pickle_is_needed_to_serve_it(tmp_path: Path, uri: str) -> None:
    replay(spooled(tmp_path, "net", recommended=0), uri)
    kept = Path(mlflow.artifacts.download_artifacts("models:/net/1"))
    names = {path.name for path in kept.rglob("*") if path.is_file()}
    assert kept.is_relative_to(tmp_path)
    assert not any(name.endswith((".pkl", ".pickle")) for name in names)
    assert {"served.py", "model.tflite", "input_example.json", "MLmodel"} <= names
    assert "import bqsearch" not in (kept / "served.py").read_text()
    assert "bqsearch" not in (kept / "requirements.txt").read_text()


def test_a_version_for_each_network_and_an_alias_for_the_last(tmp_path: Path, uri: str) -> None:
    client = MlflowClient(tracking_uri=uri)
    folder = spooled(tmp_path, "net", recommended=0)
    replay(folder, uri)
    replay(spooled(folder, "net", trials=4, recommended=0), uri)  # gone on with: the same network
    assert [v.version for v in client.search_model_versions("name = 'net'")] == [1]
    path = folder / "points/0/model.tflite"
    spooled(folder, "net", trials=5, recommended=0)
    path.write_bytes(path.read_bytes() + bytes(16))
    replay(folder, uri)
    versions = client.search_model_versions("name = 'net'")
    assert sorted(v.version for v in versions) == [1, 2]
    assert client.get_model_version_by_alias("net", "recommended").version == 2
    assert versions[0].tags["point"] == "0"
