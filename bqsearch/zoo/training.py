"""What the recipes of the built-in models share: Keras, the optimizer, the epochs, and the way to a .tflite file."""

import importlib
import os
import sys
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from bqsearch.errors import MissingExtraError
from bqsearch.quiet import silent_stderr
from bqsearch.types import Array, Ints
from bqsearch.zoo.base import OnEpoch, TrainingRecipe


def tensorflow(name: str) -> Any:
    """TensorFlow's module, without its greeting, for training the model `name`.

    Raises:
        MissingExtraError: It is not installed.
    """
    return _import("tensorflow", name)


def keras(name: str) -> Any:
    """Keras' module, likewise."""
    _import("tensorflow", name)
    return _import("keras", name)


def _import(module: str, name: str) -> Any:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"  # the converter takes no other backend's models
    try:
        with nullcontext() if module in sys.modules else silent_stderr():
            return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError("tensorflow", "keras", f"training {name}") from error


def build_seeded(name: str, build: Callable[[], Any], seed: int) -> Any:
    """An untrained network, whose training will be the same each time.

    Seeds the random states of Python, NumPy and TensorFlow, and turns TensorFlow's op determinism on.
    """
    tf = tensorflow(name)
    with silent_stderr():  # it looks for devices at first use, and complains of those that are not there
        keras(name).utils.set_random_seed(seed)
        tf.config.experimental.enable_op_determinism()
        return build()


def fit(
    model: Any,
    inputs: Array,
    labels: Ints,
    recipe: TrainingRecipe,
    on_epoch: OnEpoch,
    *,
    augment: Callable[[Array, np.random.Generator], Array] | None = None,
) -> None:
    """Train a Keras model.

    Args:
        model: It gives logits, or probabilities where its last layer has an activation.
        inputs: `(n, ...)` float32.
        labels: `(n,)`.
        recipe: How.
        on_epoch: See `ZooModel`.
        augment: Changes an epoch's inputs at random; None for not at all.
    """
    rng = np.random.default_rng(recipe.seed)
    steps = max(1, len(inputs) // recipe.batch_size)
    targets = np.eye(model.output_shape[-1], dtype=np.float32)[labels]
    _compile(model, recipe, steps)
    for epoch in range(recipe.epochs):
        order = rng.permutation(len(inputs))[: steps * recipe.batch_size]
        batches = inputs[order] if augment is None else augment(inputs[order], rng)
        history = model.fit(batches, targets[order], batch_size=recipe.batch_size, shuffle=False, verbose=0).history
        on_epoch(epoch + 1, recipe.epochs, {name: float(values[-1]) for name, values in history.items()})


def _compile(model: Any, recipe: TrainingRecipe, steps: int) -> None:
    """Give the model its optimizer, loss and metric for `steps` steps per epoch."""
    keras = _import("keras", model.name)
    warmup = round(recipe.warmup * steps)
    rate = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0,
        decay_steps=max(1, recipe.epochs * steps - warmup),
        warmup_target=recipe.learning_rate,
        warmup_steps=warmup,
    )
    optimizer = keras.optimizers.AdamW(rate, weight_decay=recipe.weight_decay)
    optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    logits = model.layers[-1].activation is keras.activations.linear
    loss = keras.losses.CategoricalCrossentropy(from_logits=logits, label_smoothing=recipe.label_smoothing)
    model.compile(optimizer=optimizer, loss=loss, metrics=["accuracy"])


def convert(model: Any) -> bytes:
    """A trained Keras model as a float32 .tflite flatbuffer of batch 1, batch normalization folded away.

    The batch is fixed after the conversion: told of batch 1, the converter takes 1x1 feature maps for biases and puts
    RESHAPE operators before residual additions.
    """
    tf = tensorflow(model.name)
    with tempfile.TemporaryDirectory() as folder:
        model.export(folder, format="tf_saved_model", verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        converter.exclude_conversion_metadata = True
        with silent_stderr():
            return _fix_batch(converter.convert())


def _fix_batch(flatbuffer: bytes) -> bytes:
    """The model with batch 1 where it said "any": the shapes hold a 1 already, only their signatures hold -1."""
    data = bytearray(flatbuffer)
    graph = schema.Model.GetRootAs(data).Subgraphs(0)
    for index in range(graph.TensorsLength()):
        tensor = graph.Tensors(index)
        if tensor.ShapeSignatureLength():
            signature = tensor.ShapeSignatureAsNumpy()  # a view of `data`
            signature[signature == -1] = 1
    return bytes(data)
