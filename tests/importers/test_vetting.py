"""Configurations and archives by hand: what is known passes, and nothing else."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from bqsearch.errors import ModelError
from bqsearch.importers import vetting

LAYER = {"module": "keras.layers", "class_name": "Dense", "config": {"units": 2, "activation": "relu"}}


def model(*layers: Any, **extra: Any) -> dict[str, Any]:
    return {"module": "keras", "class_name": "Sequential", "config": {"layers": list(layers)}, **extra}


def passes(config: Any) -> bool:
    try:
        vetting.check_config(config)
    except ModelError:
        return False
    return True


def test_keras_own_layers_pass() -> None:
    assert passes(model({**LAYER, "registered_name": None}, {**LAYER, "registered_name": "Dense"}))
    assert passes({"class_name": "Functional", "config": {"layers": [{"class_name": "Conv2D"}]}})
    assert not passes(model({**LAYER, "registered_name": None}, {**LAYER, "registered_name": "Conv2D"}))
    assert not passes({"class_name": "Functional", "config": {"layers": [{"class_name": "Conv9D"}]}})


@pytest.mark.parametrize(
    "part",
    [
        {**LAYER, "class_name": "Lambda"},
        {**LAYER, "class_name": "TorchModuleWrapper"},
        {**LAYER, "class_name": "TextVectorization"},
        {**LAYER, "class_name": "__lambda__"},
        {**LAYER, "class_name": ["Dense"]},
        {**LAYER, "class_name": None},
        {**LAYER, "module": "os"},
        {**LAYER, "module": "keras.utils"},
        {**LAYER, "module": "keras.layers.evil"},
        {**LAYER, "module": "builtins"},
        {**LAYER, "registered_name": "mine>Dense"},
        {"module": "os", "config": {}},
        {"registered_name": "mine>f"},
    ],
)
@pytest.mark.parametrize("depth", [0, 3])
def test_anything_else_is_refused_at_any_depth(part: dict[str, Any], depth: int) -> None:
    inner: Any = part
    for _ in range(depth):
        inner = {**LAYER, "config": {"kernel_initializer": [inner]}}
    with pytest.raises(ModelError, match="bqsearch reads models made of Keras' own layers"):
        vetting.check_config(model(inner))


@pytest.mark.parametrize("config", [None, [], "Sequential", {}, {"config": {}}])
def test_what_is_no_model(config: Any) -> None:
    with pytest.raises(ModelError, match="is not a model's"):
        vetting.check_config(config)


def test_depth_costs_no_stack() -> None:
    def nested(part: Any) -> Any:
        for _ in range(100_000):
            part = [part]
        return model(part)

    assert passes(nested({}))
    assert not passes(nested({"class_name": "Lambda"}))


def archive(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in members.items():
            made.writestr(name.replace("__", "/").replace("_", "."), content)
    return path


def test_an_archive_with_more_in_it(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"it is no \.keras archive: it holds"):
        vetting.check_keras_file(
            archive(tmp_path / "a.keras", config_json=b"{}", model_weights_h5=b"", assets__x=b"more")
        )


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    bomb = bytes(vetting.MAX_CONFIG + 1)
    with pytest.raises(ModelError, match=r"its config\.json has 16,777,217 B"):
        vetting.check_keras_file(archive(tmp_path / "a.keras", config_json=bomb, model_weights_h5=b""))


def test_the_optimizer_is_not_looked_at(tmp_path: Path) -> None:
    pytest.importorskip("h5py", reason="h5py, of the extra `keras`, is not installed")
    config = json.dumps(model(LAYER, compile_config={"class_name": "Adam", "module": "keras.optimizers"})).encode()
    with pytest.raises(ModelError, match="it is no Keras model"):  # the weights are none; the configuration passed
        vetting.check_keras_file(archive(tmp_path / "a.keras", config_json=config, model_weights_h5=b"no"))
    nested = model(model(LAYER, compile_config={"class_name": "Adam", "module": "keras.optimizers"}))
    with pytest.raises(ModelError, match="has a part 'Adam'"):
        vetting.check_config(nested)


def test_data_in_other_files_is_refused(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py", reason="h5py, of the extra `keras`, is not installed")

    def outside(file: Any) -> None:
        file.create_dataset("w", (4,), "f4", external=[(str(tmp_path / "secret"), 0, 16)])

    def linked(file: Any) -> None:
        file["group/w"] = h5py.ExternalLink("other.h5", "w")

    def named(file: Any) -> None:
        file["w"] = h5py.SoftLink("/elsewhere")

    def huge(file: Any) -> None:
        file.create_dataset("w", (1 << 29,), "f4", chunks=(1 << 16,))

    cases = [(outside, "data in another file"), (linked, "is a link"), (named, "is a link"), (huge, "holds more than")]
    for number, (change, message) in enumerate(cases):
        path = tmp_path / f"{number}.h5"
        with h5py.File(path, "w") as file:
            file.attrs["model_config"] = json.dumps(model(LAYER))
            change(file)
        with pytest.raises(ModelError, match=message):
            vetting.check_keras_file(path)


def test_a_soft_file_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    h5py = pytest.importorskip("h5py", reason="h5py, of the extra `keras`, is not installed")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.attrs["model_config"] = json.dumps(model(LAYER))
        file.create_dataset("group/w", (4,), "f4")
    monkeypatch.setattr(vetting, "MAX_WEIGHTS", 16)
    vetting.check_keras_file(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5") as file:
        assert vetting.hdf5_config(file) == model(LAYER)
    monkeypatch.setattr(vetting, "MAX_WEIGHTS", 15)
    with pytest.raises(ModelError, match="holds more than"):
        vetting.check_keras_file(tmp_path / "a.h5")
