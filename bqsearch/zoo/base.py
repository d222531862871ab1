"""The ZooModel value: a built-in model, its shipped checkpoint, and the recipe that trains it again."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bqsearch.errors import StudyError
from bqsearch.types import Array, Ints

OnEpoch = Callable[[int, int, Mapping[str, float]], None]


@dataclass(frozen=True, kw_only=True)
class TrainingRecipe:
    """The choices of a training run.

    Attributes:
        epochs: Passes over the train split, at least 1.
        batch_size: Inputs in one step; what is left of an epoch after the last full batch is skipped.
        learning_rate: The peak, reached after the warm-up and brought down to zero by a cosine.
        warmup: Epochs of linear warm-up at the start; a run of fewer epochs ends within it.
        weight_decay: AdamW's decoupled decay, on convolution and dense weights.
        label_smoothing: Share of the target that is spread over all classes, from 0 to below 1. It also
            keeps the logits small, which 8 bits then resolve more finely.
        seed: Seeds the initial weights, the order of the inputs and what else is drawn.

    Raises:
        StudyError: A count or rate outside its range.
    """

    epochs: int = 60
    batch_size: int = 64
    learning_rate: float = 5e-3
    warmup: float = 3.0
    weight_decay: float = 1e-2
    label_smoothing: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        for name, low in (("epochs", 1), ("batch_size", 1), ("warmup", 0), ("seed", 0)):
            if getattr(self, name) < low:
                raise StudyError(f"a recipe's {name} must be at least {low}, not {getattr(self, name)}")
        if not 0 <= self.label_smoothing < 1:
            raise StudyError(f"a recipe's label_smoothing must be from 0 to below 1, not {self.label_smoothing}")


@dataclass(frozen=True, kw_only=True)
class ZooModel:
    """A built-in model.

    Attributes:
        name: The name that it is looked up by.
        summary: One line for a list of models.
        dataset: The registry name of the dataset that it was trained on; None where the user has to give it.
        features: What its images are turned into, by name; None for nothing.
        normalize: Mean and standard deviation of its inputs; None where the dataset says them.
        checkpoint: The shipped float32 `.tflite` file, batch 1; its input is normalized as said.
        recipe: The recipe that the checkpoint was trained by.
        train: `(recipe, inputs, labels, on_epoch) -> bytes`, a freshly trained model in the form of the checkpoint. It
            gets the dataset's train split, `(n, ...)` float32 inputs as the model takes them and `(n,)` int64 labels,
            and calls `on_epoch(epoch, epochs, metrics)` after each epoch, the first being 1, with the mean training
            metrics by name. It raises MissingExtraError without TensorFlow.
    """

    name: str
    summary: str
    dataset: str | None
    features: str | None = None
    normalize: tuple[float, float] | None = None
    checkpoint: Path
    recipe: TrainingRecipe
    train: Callable[[TrainingRecipe, Array, Ints, OnEpoch], bytes]
