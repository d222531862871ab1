"""Two small networks on projection profiles of MNIST's digits, as for the HiFive1 (GCCE 2018): 64-10-10 and 64-50-10.

64 features, a hidden layer with ReLU, and a logit for each of 10 classes: the greatest is the answer, and no softmax
changes which one that is. The features are between 0 and 1, divided by the sum of 7 white pixels.
"""

from functools import partial
from pathlib import Path
from typing import Any

from bqsearch.types import Array, Ints
from bqsearch.zoo import training
from bqsearch.zoo.base import OnEpoch, TrainingRecipe, ZooModel

FEATURES, CLASSES = 64, 10
WHITE = 7 * 255.0
RECIPE = TrainingRecipe(
    epochs=80, batch_size=100, learning_rate=2e-2, warmup=1.0, weight_decay=1e-3, label_smoothing=0.0
)


def _name(hidden: int) -> str:
    return f"profiles_64_{hidden}"


def build(hidden: int) -> Any:
    """The untrained network, a `keras.Model`: `(n, 64)` floats from 0 to 1 -> `(n, 10)` logits.

    Raises:
        MissingExtraError: TensorFlow is not installed.
    """
    keras = training.keras(_name(hidden))
    layers = [keras.Input((FEATURES,)), keras.layers.Dense(hidden, activation="relu"), keras.layers.Dense(CLASSES)]
    return keras.Sequential(layers, name=_name(hidden))


def train(hidden: int, recipe: TrainingRecipe, inputs: Array, labels: Ints, on_epoch: OnEpoch) -> bytes:
    """Train a network with so many hidden units; see `ZooModel.train`.

    Raises:
        MissingExtraError: TensorFlow is not installed.
    """
    model = training.build_seeded(_name(hidden), partial(build, hidden), recipe.seed)
    training.fit(model, inputs, labels, recipe, on_epoch)
    return training.convert(model)


def _model(hidden: int) -> ZooModel:
    weights = (FEATURES + CLASSES) * hidden
    return ZooModel(
        name=_name(hidden),
        summary=f"64-{hidden}-10 on projection profiles of MNIST, which --data gives: 10 classes, {weights:,} weights",
        dataset=None,
        features="profiles",
        normalize=(0.0, WHITE),
        checkpoint=Path(__file__).with_name(f"{_name(hidden)}.tflite"),
        recipe=RECIPE,
        train=partial(train, hidden),
    )


MODEL_10, MODEL_50 = _model(10), _model(50)
