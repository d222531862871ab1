"""scikit-learn's handwritten digits: 1,797 gray images of 8x8, enlarged to 32x32."""

import numpy as np
from PIL import Image

from bqsearch.datasets.base import Dataset, Normalize, Split, stratified

TRAIN, SEARCH = 1097, 350  # the remaining 350 are the holdout
SPLIT_SEED = 0  # fixed: the shipped checkpoint was trained on this very split


def load(seed: int = 0) -> Dataset:
    """The set as `(n, 32, 32, 1)` uint8 pixels in a fixed stratified split; `seed` does not move it."""
    del seed
    from sklearn.datasets import load_digits

    raw = load_digits()
    small = np.round(raw.images * (255 / 16)).astype(np.uint8)
    images = np.stack([np.asarray(Image.fromarray(i).resize((32, 32), Image.Resampling.BILINEAR)) for i in small])
    labels = raw.target.astype(np.int64)
    every = Split(x=images[..., None], y=labels)
    train, rest = stratified(labels, TRAIN, SPLIT_SEED)
    search, holdout = stratified(labels[rest], SEARCH, SPLIT_SEED)
    return Dataset(
        name="digits",
        classes=tuple(str(c) for c in raw.target_names),
        train=every.take(train),
        search=every.take(rest[search]),
        holdout=every.take(rest[holdout]),
        normalize=Normalize(mean=0.0, std=255.0),
    )
