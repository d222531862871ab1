"""What a trial is expected to add to the front: the expected improvement of its hypervolume in two dimensions.

Of bytes and of what is lost, up to the largest size and the allowed drop (Emmerich, "Single- and multi-objective
evolutionary optimization assisted by Gaussian random field metamodels", 2005); in closed form, because bytes are known
beforehand and a normally distributed loss is cut off at levels of the front.
"""

import numpy as np
from scipy.optimize import isotonic_regression  # type: ignore[import-untyped]
from scipy.special import ndtr  # type: ignore[import-untyped]

from bqsearch.types import Floats

LEAST = 0.1  # percentage points: what two networks of the same error differ by at least


def improvement(front: Floats, largest: float, sizes: Floats, mean: Floats, deviation: Floats, floor: float) -> Floats:
    """What networks of `(n,)` sizes are expected to add, `(n,)`, bytes times percentage points.

    Args:
        front: `(k, 2)` bytes, ascending, and excess of the drop over what is allowed, falling and at most 0.
        largest: Bytes at which the hypervolume ends.
        sizes: Bytes.
        mean: Of the excess of the drop.
        deviation: Of it.
        floor: Less than this counts as this.
    """
    begins = np.append(-np.inf, front[:, 0])
    ends = np.append(front[:, 0], largest)
    levels = np.maximum(np.append(0.0, front[:, 1]), floor)
    widths = np.maximum(np.minimum(ends, largest) - np.maximum(begins, sizes[:, None]), 0)
    gains = _below(levels, mean[:, None], deviation[:, None]) - _below(floor, mean[:, None], deviation[:, None])
    return np.asarray((widths * np.maximum(gains, 0)).sum(axis=1), np.float64)  # where both are tiny, rounding rules


def _below(level: Floats | float, mean: Floats, deviation: Floats) -> Floats:
    """By how much a normally distributed number is expected to lie below a level."""
    z = (level - mean) / deviation
    density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    return np.asarray((level - mean) * ndtr(z) + deviation * density, np.float64)


def losses(errors: Floats, lost: Floats, at: Floats) -> tuple[Floats, Floats]:
    """What networks of some error of their outputs lose, from trials.

    Args:
        errors: `(n,)` of trials, at least one.
        lost: `(n,)` by trials, percentage points, from wherever they are counted.
        at: `(m,)` errors.

    Returns:
        `(m,)` means, which never fall with the error, and `(m,)` standard deviations of single trials.
    """
    order = np.argsort(errors, kind="stable")
    errors, lost = errors[order], lost[order]
    fitted = isotonic_regression(lost).x
    scatter = np.cumsum((lost - fitted) ** 2) / np.arange(1, len(lost) + 1)
    last = np.clip(np.searchsorted(errors, at, side="right") - 1, 0, len(errors) - 1)
    return np.interp(at, errors, fitted), np.maximum(np.sqrt(scatter[last]), LEAST)
