"""The ZooModel value: a built-in model, its shipped checkpoint, and the recipe that trains it again."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bqsearch.errors import StudyError

OnEpoch = Callable[[int, int, Mapping[str, float]], None]


@dataclass(frozen=True, kw_only=True)
class TrainingRecipe:
    """The choices of a training run.

    Attributes:
        epochs: Passes over the train split, at least 1.
        batch_size: Images in one step; what is left of an epoch after the last full batch is skipped.
        learning_rate: The peak, reached after the warm-up and brought down to zero by a cosine.
        warmup: Epochs of linear warm-up at the start; a run of fewer epochs ends within it.
        weight_decay: AdamW's decoupled decay, on convolution and dense weights.
        label_smoothing: Share of the target that is spread over all classes, from 0 to below 1. It also
            keeps the logits small, which 8 bits then resolve more finely.
        shift: Largest random shift in each direction, in pixels.
        rotation: Largest random rotation either way, in degrees.
        seed: Seeds the initial weights, the order of the images and the augmentation.

    Raises:
        StudyError: A count or rate outside its range.
    """

    epochs: int = 60
    batch_size: int = 64
    learning_rate: float = 5e-3
    warmup: float = 3.0
    weight_decay: float = 1e-2
    label_smoothing: float = 0.1
    shift: float = 2.0
    rotation: float = 10.0
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
        dataset: The registry name of the dataset that it was trained on.
        checkpoint: The shipped float32 `.tflite` file, batch 1; its input is normalized as the dataset says.
        recipe: The recipe that the checkpoint was trained by.
        train: `(recipe, on_epoch) -> bytes`, a freshly trained model in the form of the checkpoint. It reads the
            dataset's train split only, and calls `on_epoch(epoch, epochs, metrics)` after each epoch, the first
            being 1, with the mean training metrics by name. It raises MissingExtraError without TensorFlow.
    """

    name: str
    summary: str
    dataset: str
    checkpoint: Path
    recipe: TrainingRecipe
    train: Callable[[TrainingRecipe, OnEpoch], bytes]
