"""Features that are worked out from images before a network sees them, by name.

profiles    projection profiles, as for the HiFive1 (GCCE 2018): a 28x28 image is cut into 4x4 zones of 7x7 pixels,
            and of each zone there are the greatest sums along its 7 rows, 7 columns, 13 diagonals and 13
            anti-diagonals. 64 features for 784 pixels
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from bqsearch.datasets.base import Dataset, Split
from bqsearch.errors import DatasetError
from bqsearch.types import Array, Shape

ZONES, SIDE = 4, 7  # of an image in each direction, and of a zone in pixels


@dataclass(frozen=True, kw_only=True)
class Features:
    """A way from images to features.

    Attributes:
        name: The name that it is looked up by.
        image: Shape of the images that it is made for: height, width and one channel, which may be left out.
        make: From `(n, height, width)` images to `(n, features)` float32, in the unit of a pixel.
    """

    name: str
    image: Shape
    make: Callable[[Array], Array]

    def of(self, data: Dataset) -> Dataset:
        """The data with its images as features.

        Raises:
            DatasetError: The data are no such images.
        """
        if data.shape not in (self.image, self.image[:2]):
            height, width, _ = self.image
            raise DatasetError(
                f"the features {self.name!r} are of gray images of {height}x{width} pixels, but the inputs of "
                f"{data.name} have the shape {data.shape}"
            )
        changed = data.each(lambda split: Split(x=self.make(split.x.reshape(-1, *self.image[:2])), y=split.y))
        return replace(changed, note=f"{data.note} Its images are turned into {changed.shape[0]} {self.name}.".strip())


def profiles(images: Array) -> Array:
    """Projection profiles.

    Args:
        images: `(n, 28, 28)` pixels of any type.

    Returns:
        `(n, 64)` float32: zone after zone, row by row, the greatest row, column, diagonal and anti-diagonal sum.
    """
    zones = images.astype(np.float32).reshape(-1, ZONES, SIDE, ZONES, SIDE).swapaxes(2, 3)
    sums = (zones.sum(axis=-1), zones.sum(axis=-2), _diagonals(zones), _diagonals(zones[..., ::-1]))
    return np.stack([each.max(axis=-1) for each in sums], axis=-1).reshape(len(images), -1)


def _diagonals(zones: Array) -> Array:
    """Sums along the diagonals of the last two axes, `(..., 13)`."""
    return np.stack([zones.trace(offset, -2, -1) for offset in range(1 - SIDE, SIDE)], axis=-1)


FEATURES: Mapping[str, Features] = {
    "profiles": Features(name="profiles", image=(ZONES * SIDE, ZONES * SIDE, 1), make=profiles)
}
