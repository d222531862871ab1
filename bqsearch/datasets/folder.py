"""A folder with one folder of images a class, or with such folders under `train` and `test` (or `val`).

Without labels, images directly in the folder, or in its `train` and `test`.
"""

from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from bqsearch.datasets import splits
from bqsearch.datasets.base import Dataset, Normalize, Split
from bqsearch.errors import DatasetError
from bqsearch.types import Shape

_TRAIN, _TEST = "train", ("test", "val", "validation", "holdout")
_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".ppm", ".pgm"}


def load(path: Path, seed: int, normalize: Normalize | None, shape: Shape, labels: bool) -> Dataset:
    """Read the images, resized (bilinear) and made gray or RGB to fit `shape`.

    Args:
        path: The folder.
        seed: For the split.
        normalize: Passed on.
        shape: `(height, width, channels)` of the model's input.
        labels: Whether class folders, where there are any, are labels.

    Raises:
        DatasetError: No class folders with images and no images, an image that cannot be read, or a model that takes no
        images.
    """
    if len(shape) != 3 or shape[2] not in (1, 3):
        raise DatasetError(f"images do not fit a model input of shape {shape}; it must be (height, width, 1 or 3)")
    train, test = path / _TRAIN, next((path / t for t in _TEST if (path / t).is_dir()), None)
    parts = [p for p in (train if train.is_dir() else None, test) if p is not None] or [path]
    classes = tuple(sorted({c.name for part in parts for c in part.iterdir() if c.is_dir() and c.name[0] != "."}))
    read = [_split(part, classes, shape) for part in parts]
    if not labels:
        classes, read = (), [Split(x=split.x) for split in read]
    if len(read) == 2:
        return splits.from_two(str(path), classes, read[0], read[1], seed, normalize)
    return splits.from_one(str(path), classes, read[0], seed, normalize)


def _split(root: Path, classes: tuple[str, ...], shape: Shape) -> Split:
    """The images in the class folders, or without classes those in the folder itself."""
    files = [(f, label) for label, name in enumerate(classes) for f in _images(root / name)]
    files = files if classes else [(f, 0) for f in _images(root)]
    if not files:
        where = "no images in its class folders" if classes else "neither class folders nor images"
        raise DatasetError(f"{root} has {where}; known suffixes: {', '.join(sorted(_SUFFIXES))}")
    x = np.stack([_read(file, shape) for file, _ in files])
    return Split(x=x, y=np.array([label for _, label in files], np.int64) if classes else None)


def _images(folder: Path) -> list[Path]:
    return sorted(f for f in folder.glob("*") if f.suffix.lower() in _SUFFIXES)


def _read(file: Path, shape: Shape) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    height, width, channels = shape
    try:
        with Image.open(file) as image:
            colored = _in_bytes(image).convert("L" if channels == 1 else "RGB")
            fitted = colored.resize((width, height), Image.Resampling.BILINEAR)
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError, ValueError) as error:
        raise DatasetError(f"cannot read the image {file}: {error}") from error
    return np.asarray(fitted, np.uint8).reshape(shape)


def _in_bytes(image: Image.Image) -> Image.Image:
    """16-bit gray by its upper byte, which Pillow would clip to white; other images as they are."""
    if not image.mode.startswith("I"):
        return image
    return Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))
