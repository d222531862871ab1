"""What a trial is expected to add to the front: the expected improvement of its hypervolume in two dimensions.

Of bytes and of what is lost, up to the largest size and the allowed drop (Emmerich, "Single- and multi-objective
evolutionary optimization assisted by Gaussian random field metamodels", 2005); in closed form, because bytes are known
beforehand and a normally distributed loss is cut off at levels of the front.
"""

from dataclasses import dataclass

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


@dataclass(frozen=True, kw_only=True, eq=False)
class Losses:
    """What networks of some error of their outputs lose, from trials.

    Attributes:
        errors: `(n,)` ascending.
        fitted: `(n,)` percentage points, never falling, from wherever the losses of trials are counted.
        scatter: `(n,)` standard deviation of the trials up to each.
    """

    errors: Floats
    fitted: Floats
    scatter: Floats

    @classmethod
    def of(cls, errors: Floats, lost: Floats) -> "Losses":
        """Of `(n,)` trials, at least one."""
        order = np.argsort(errors, kind="stable")
        lost = lost[order]
        fitted = np.asarray(isotonic_regression(lost).x, np.float64)
        variance = np.cumsum((lost - fitted) ** 2) / np.arange(1, len(lost) + 1)
        return cls(errors=errors[order], fitted=fitted, scatter=np.sqrt(variance))

    def at(self, errors: Floats, least: float = LEAST) -> tuple[Floats, Floats]:
        """`(m,)` means at `(m,)` errors, and `(m,)` standard deviations of single trials, at least so large."""
        last = np.clip(np.searchsorted(self.errors, errors, side="right") - 1, 0, len(self.errors) - 1)
        return np.interp(errors, self.errors, self.fitted), np.maximum(self.scatter[last], least)
