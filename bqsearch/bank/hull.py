"""The choices that are worth most: the lower convex hull of distortion over bytes."""

import numpy as np

from bqsearch.packing.container import UNAVAILABLE
from bqsearch.types import Floats, Ints


def spread(nbytes: Ints, distortion: Floats, count: int) -> list[int]:
    """Which of `(n,)` choices are the fewest bytes, the least distortion, or the best at a price of a byte between.

    There are `count - 2` prices, at even ratios: at most `count` choices, from 2 on, and all of them on the hull.
    """
    found = hull(nbytes, distortion)
    if len(found) <= count:
        return found
    slopes = -np.diff(distortion[found]) / np.diff(nbytes[found])  # falling
    prices = np.geomspace(slopes[0], slopes[-1], count)[1:-1]
    return [found[i] for i in sorted({0, len(found) - 1, *np.searchsorted(-slopes, -prices).tolist()})]


def hull(nbytes: Ints, distortion: Floats) -> list[int]:
    """Those of `(n,)` choices that are available and on the hull, fewest bytes first."""
    order = np.lexsort((distortion, nbytes))
    order = order[nbytes[order] < UNAVAILABLE]
    least = np.minimum.accumulate(distortion[order])
    found: list[int] = []
    for i in order[np.diff(least, prepend=np.inf) < 0].tolist():
        while len(found) > 1 and _above(nbytes, distortion, found[-2], found[-1], i):
            found.pop()
        found.append(i)
    return found


def _above(nbytes: Ints, distortion: Floats, left: int, middle: int, right: int) -> bool:
    """Whether the middle one lies on or above the line between the others."""
    over, whole = distortion[middle] - distortion[left], distortion[right] - distortion[left]
    return bool(over * (nbytes[right] - nbytes[left]) >= whole * (nbytes[middle] - nbytes[left]))
