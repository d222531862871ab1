"""`python -m bqsearch.importers.keras_child SOURCE TARGET`: a Keras model or a SavedModel -> a float32 .tflite file.

Ends with `keras.REFUSED` where the model cannot be converted; then TARGET holds the reason in one line.
"""

import importlib
import json
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from bqsearch.errors import ModelError
from bqsearch.importers import vetting
from bqsearch.importers.keras import REFUSED

_LONGEST_REASON = 400


def convert(source: Path, folder: Path) -> bytes:
    """The model as a .tflite flatbuffer of batch 1, by way of files in an empty folder.

    Raises:
        ModelError: It would have to be executed to be read, or has inputs of open size.
        Exception: Whatever TensorFlow raises.
    """
    fixed = folder / "saved_model"
    (_fix_saved_model if source.is_dir() else _fix_keras_file)(source, fixed)
    converter = importlib.import_module("tensorflow").lite.TFLiteConverter.from_saved_model(str(fixed))
    converter.exclude_conversion_metadata = True
    content: bytes = converter.convert()
    return content


def _fix_keras_file(source: Path, target: Path) -> None:
    """Write a Keras model as a SavedModel of batch 1; it is copied first, so that what is vetted is what is read."""
    archive = zipfile.is_zipfile(source)
    copy = Path(shutil.copyfile(source, target.with_name("model.keras" if archive else "model.h5")))
    vetting.check_keras_file(copy)
    if not archive:
        _modernize(copy)
    tf, keras = importlib.import_module("tensorflow"), importlib.import_module("keras")
    model = keras.models.load_model(copy, compile=False, safe_mode=True)
    inputs = [tf.TensorSpec(_fixed(list(t.shape), t.name), t.dtype, t.name) for t in model.inputs]
    archived = keras.export.ExportArchive()
    archived.track(model)
    archived.add_endpoint("serving_default", lambda *given: model(_unpacked(given), training=False), inputs)
    archived.write_out(str(target), verbose=False)


def _unpacked(given: tuple[Any, ...]) -> Any:
    return given[0] if len(given) == 1 else list(given)


def _modernize(copy: Path) -> None:
    """Drop the `groups` that Keras 2 gave depthwise convolutions, where they say nothing and Keras 3 refuses them."""
    with importlib.import_module("h5py").File(copy, "r+") as file:
        config = vetting.hdf5_config(file)
        for part in vetting.dictionaries(config):
            inner = part.get("config")
            if part.get("class_name") == "DepthwiseConv2D" and isinstance(inner, dict) and inner.get("groups") == 1:
                del inner["groups"]
        file.attrs["model_config"] = json.dumps(config)


def _fix_saved_model(source: Path, target: Path) -> None:
    """Write the signature `serving_default`, or the only one, as a SavedModel of batch 1."""
    vetting.check_saved_model(source)
    tf = importlib.import_module("tensorflow")
    module = tf.Module()
    module.loaded = tf.saved_model.load(str(source))
    names = list(module.loaded.signatures)
    if "serving_default" not in names and len(names) != 1:
        raise ModelError(f"it has the signatures {names[:8]}; one of them must be serving_default")
    signature = module.loaded.signatures["serving_default" if "serving_default" in names else names[0]]
    named = signature.structured_input_signature[1]
    inputs = [tf.TensorSpec(_fixed(spec.shape.as_list(), name), spec.dtype, name) for name, spec in named.items()]
    call = tf.function(lambda *given: signature(**dict(zip(named, given, strict=True))))
    tf.saved_model.save(module, str(target), signatures=call.get_concrete_function(*inputs))


def _fixed(shape: list[int | None], name: str) -> list[int]:
    """The shape with batch 1 where the batch is open."""
    if not shape or None in shape[1:] or shape[0] not in (None, 1):
        raise ModelError(
            f"its input {name!r} has shape {shape}; all but the batch must be fixed, and the batch open or 1"
        )
    return [1, *(side for side in shape[1:] if side is not None)]


def main(source: str, target: str) -> int:
    """Convert; the exit status."""
    try:
        with tempfile.TemporaryDirectory(dir=Path(target).parent) as folder:
            Path(target).write_bytes(convert(Path(source), Path(folder)))
    except Exception as error:  # Keras, HDF5 and the converter raise anything
        reason = " ".join(str(error).split()) or type(error).__name__
        Path(target).write_text(reason[:_LONGEST_REASON])
        return REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
