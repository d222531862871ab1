"""Files and folders find their importer."""

from pathlib import Path

import pytest

from bqsearch.errors import ModelError
from bqsearch.graph.flatbuffer import serialize
from bqsearch.importers import files
from networks import small_int8_network


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.tflite", "tflite"), ("a.TFLite", "tflite"), ("a.keras", "keras"), ("a.h5", "h5"), ("a.hdf5", "hdf5")],
)
def test_a_suffix_names_the_importer(name: str, kind: str) -> None:
    assert files.kind(Path(name)) == kind


def test_a_saved_model_is_known_by_what_it_holds(tmp_path: Path) -> None:
    assert files.kind(tmp_path) is None
    (tmp_path / "saved_model.pb").touch()
    assert files.kind(tmp_path) == "saved_model"


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "net.tflite"
    path.write_bytes(serialize(small_int8_network()))
    assert files.load(path).fingerprint == small_int8_network().fingerprint


@pytest.mark.parametrize("name", ["net.onnx", "net", "net.saved_model.txt"])
def test_another_kind_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(ModelError, match=r"known kinds: \.h5, \.hdf5, \.keras, \.tflite, and SavedModel folders"):
        files.load(Path(name))
