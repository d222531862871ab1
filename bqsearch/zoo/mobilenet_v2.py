"""MobileNetV2 (Sandler et al., 2018, arXiv:1801.04381) of width 0.35 on 32x32 gray digits, as Keras builds it."""

from pathlib import Path
from typing import Any

import numpy as np

from bqsearch.types import Array, Floats, Ints
from bqsearch.zoo import training
from bqsearch.zoo.base import OnEpoch, TrainingRecipe, ZooModel

NAME, DATASET = "mobilenet_v2", "digits"
SIDE, CLASSES, WIDTH = 32, 10, 0.35
SHIFT, ROTATION = 2.0, 10.0  # most of the augmentation: pixels in each direction, degrees either way
# Keras' 0.999 suits ImageNet's million steps. After a thousand, the moving averages would still hold their
# initial values, and the trained network would guess at inference.
MOMENTUM = 0.9


def build() -> Any:
    """The untrained network, a `keras.Model`: `(n, 32, 32, 1)` floats from 0 to 1 -> `(n, 10)` probabilities.

    Raises:
        MissingExtraError: TensorFlow is not installed.
    """
    model = training.keras(NAME).applications.MobileNetV2(
        input_shape=(SIDE, SIDE, 1), alpha=WIDTH, classes=CLASSES, weights=None, classifier_activation="softmax"
    )
    for layer in model.layers:
        if hasattr(layer, "momentum"):
            layer.momentum = MOMENTUM
    return model


def _transforms(count: int, shift: float, rotation: float, rng: np.random.Generator) -> Floats:
    """Random rotations about the center with shifts: `(count, 8)` coefficients from output to input pixels."""
    angle = np.deg2rad(rng.uniform(-rotation, rotation, count))
    shift_x, shift_y = rng.uniform(-shift, shift, (2, count))
    cos, sin, center = np.cos(angle), np.sin(angle), (SIDE - 1) / 2
    offset_x = center * (1 - cos + sin) + shift_x
    offset_y = center * (1 - cos - sin) + shift_y
    zero = np.zeros(count)
    return np.stack([cos, -sin, offset_x, sin, cos, offset_y, zero, zero], axis=1)


def augment(images: Array, rng: np.random.Generator, *, shift: float = SHIFT, rotation: float = ROTATION) -> Array:
    """Shift and rotate each image at random: `(n, 32, 32, 1)` float32 in and out, zeros where nothing was."""
    transforms = _transforms(len(images), shift, rotation, rng).astype(np.float32)
    moved = training.keras(NAME).ops.image.affine_transform(
        images, transforms, interpolation="bilinear", fill_mode="constant", fill_value=0.0, data_format="channels_last"
    )
    return np.asarray(moved)


def train(recipe: TrainingRecipe, inputs: Array, labels: Ints, on_epoch: OnEpoch) -> bytes:
    """Train on augmented images; see `ZooModel.train`.

    Raises:
        MissingExtraError: TensorFlow is not installed.
    """
    model = training.build_seeded(NAME, build, recipe.seed)
    training.fit(model, inputs, labels, recipe, on_epoch, augment=augment)
    return training.convert(model)


MODEL = ZooModel(
    name=NAME,
    summary="MobileNetV2, width 0.35, on 32x32 gray digits: 10 classes, 395,000 weights",
    dataset=DATASET,
    checkpoint=Path(__file__).with_name("mobilenet_v2.tflite"),
    recipe=TrainingRecipe(),
    train=train,
)
