"""With what a kernel can take a layer's weights times its inputs: multiplications, shifts, or additions alone."""

from typing import Literal

import numpy as np

from bqsearch.types import Ints

Arithmetic = Literal["multiply", "shift", "binary"]
_SHIFTS = frozenset({0, *(2**n for n in range(8)), *(3 * 2**n for n in range(7))})


def arithmetic(steps: Ints, coding: str) -> Arithmetic:
    """How the runtime computes with a layer's weights.

    Args:
        steps: `(channels, columns)` weights less their zero point.
        coding: How they are coded.

    Returns:
        `"binary"` where each channel's weights are two, +a and -a; `"shift"` where all are 0 or a sum of at most two
        shifts; else `"multiply"`.
    """
    if coding == "raw":
        return "multiply"
    sizes = np.abs(steps)
    if (sizes == sizes[:, :1]).all() and sizes.all() and (steps > 0).any() and (steps < 0).any():
        return "binary"
    return "shift" if are_shifts(np.flatnonzero(np.bincount(sizes.reshape(-1)))) else "multiply"


def are_shifts(steps: Ints) -> bool:
    """Whether all of some weights less their zero point are 0 or a sum of at most two shifts."""
    return _SHIFTS.issuperset(np.abs(steps).tolist())
