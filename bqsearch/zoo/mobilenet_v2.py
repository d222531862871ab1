"""MobileNetV2 (Sandler et al., 2018, arXiv:1801.04381) of width 0.35 on 32x32 gray digits, as Keras builds it."""

import importlib
import os
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from bqsearch import registry
from bqsearch.errors import MissingExtraError
from bqsearch.quiet import silent_stderr
from bqsearch.types import Array, Floats
from bqsearch.zoo.base import OnEpoch, TrainingRecipe, ZooModel

NAME, DATASET = "mobilenet_v2", "digits"
SIDE, CLASSES, WIDTH = 32, 10, 0.35
# Keras' 0.999 suits ImageNet's million steps. After a thousand, the moving averages would still hold their
# initial values, and the trained network would guess at inference.
MOMENTUM = 0.9


def _import(name: str) -> Any:
    """The module `tensorflow` or `keras`, without its greeting.

    Raises:
        MissingExtraError: It is not installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"  # the converter takes no other backend's models
    try:
        with nullcontext() if name in sys.modules else silent_stderr():
            return importlib.import_module(name)
    except ImportError as error:
        raise MissingExtraError("tensorflow", "keras", f"training {NAME}") from error


def build() -> Any:
    """The untrained network, a `keras.Model`: `(n, 32, 32, 1)` floats from 0 to 1 -> `(n, 10)` probabilities.

    Raises:
        MissingExtraError: TensorFlow is not installed.
    """
    _import("tensorflow")
    model = _import("keras").applications.MobileNetV2(
        input_shape=(SIDE, SIDE, 1), alpha=WIDTH, classes=CLASSES, weights=None, classifier_activation="softmax"
    )
    for layer in model.layers:
        if hasattr(layer, "momentum"):
            layer.momentum = MOMENTUM
    return model


def _transforms(count: int, recipe: TrainingRecipe, rng: np.random.Generator) -> Floats:
    """Random rotations about the center with shifts: `(count, 8)` coefficients from output to input pixels."""
    angle = np.deg2rad(rng.uniform(-recipe.rotation, recipe.rotation, count))
    shift_x, shift_y = rng.uniform(-recipe.shift, recipe.shift, (2, count))
    cos, sin, center = np.cos(angle), np.sin(angle), (SIDE - 1) / 2
    offset_x = center * (1 - cos + sin) + shift_x
    offset_y = center * (1 - cos - sin) + shift_y
    zero = np.zeros(count)
    return np.stack([cos, -sin, offset_x, sin, cos, offset_y, zero, zero], axis=1)


def augment(images: Array, recipe: TrainingRecipe, rng: np.random.Generator) -> Array:
    """Shift and rotate each image at random: `(n, 32, 32, 1)` float32 in and out, zeros where nothing was."""
    transforms = _transforms(len(images), recipe, rng).astype(np.float32)
    moved = _import("keras").ops.image.affine_transform(
        images, transforms, interpolation="bilinear", fill_mode="constant", fill_value=0.0, data_format="channels_last"
    )
    return np.asarray(moved)


def _compile(model: Any, recipe: TrainingRecipe, steps: int) -> None:
    """Give the model its optimizer, loss and metric for `steps` steps per epoch."""
    keras = _import("keras")
    warmup = round(recipe.warmup * steps)
    rate = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0,
        decay_steps=max(1, recipe.epochs * steps - warmup),
        warmup_target=recipe.learning_rate,
        warmup_steps=warmup,
    )
    optimizer = keras.optimizers.AdamW(rate, weight_decay=recipe.weight_decay)
    optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    loss = keras.losses.CategoricalCrossentropy(label_smoothing=recipe.label_smoothing)
    model.compile(optimizer=optimizer, loss=loss, metrics=["accuracy"])


def _fit(model: Any, images: Array, targets: Array, recipe: TrainingRecipe, on_epoch: OnEpoch) -> None:
    """Train on `(n, 32, 32, 1)` float32 images and their `(n, 10)` one-hot targets, augmented anew each epoch."""
    rng = np.random.default_rng(recipe.seed)
    steps = max(1, len(images) // recipe.batch_size)
    _compile(model, recipe, steps)
    for epoch in range(recipe.epochs):
        order = rng.permutation(len(images))[: steps * recipe.batch_size]
        batches = augment(images[order], recipe, rng)
        history = model.fit(batches, targets[order], batch_size=recipe.batch_size, shuffle=False, verbose=0).history
        on_epoch(epoch + 1, recipe.epochs, {name: float(values[-1]) for name, values in history.items()})


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


def convert(model: Any) -> bytes:
    """The trained model as a float32 .tflite flatbuffer of batch 1, batch normalization folded away.

    The batch is fixed after the conversion: told of batch 1, the converter takes the 1x1 feature maps for biases
    and puts RESHAPE operators before the last residual additions.
    """
    tf = _import("tensorflow")
    with tempfile.TemporaryDirectory() as folder:
        model.export(folder, format="tf_saved_model", verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        converter.exclude_conversion_metadata = True
        with silent_stderr():
            return _fix_batch(converter.convert())


def train(recipe: TrainingRecipe, on_epoch: OnEpoch) -> bytes:
    """Train on the digits' train split, which is all that is read of them; see `ZooModel.train`.

    Seeds the random states of Python, NumPy and TensorFlow, and turns TensorFlow's op determinism on.

    Raises:
        MissingExtraError: TensorFlow is not installed.
    """
    tf, keras = _import("tensorflow"), _import("keras")
    with silent_stderr():  # it looks for devices at first use, and complains of those that are not there
        keras.utils.set_random_seed(recipe.seed)
        tf.config.experimental.enable_op_determinism()
        model = build()
    dataset = registry.load("dataset", DATASET)()
    images = (dataset.train.x.astype(np.float32) - dataset.normalize.mean) / dataset.normalize.std
    _fit(model, images.astype(np.float32), np.eye(CLASSES, dtype=np.float32)[dataset.train.y], recipe, on_epoch)
    return convert(model)


MODEL = ZooModel(
    name=NAME,
    summary="MobileNetV2, width 0.35, on 32x32 gray digits: 10 classes, 395,000 weights",
    dataset=DATASET,
    checkpoint=Path(__file__).with_name("mobilenet_v2.tflite"),
    recipe=TrainingRecipe(),
    train=train,
)
