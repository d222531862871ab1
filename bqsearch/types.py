"""Aliases for the arrays that every room passes on."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Codes = NDArray[Any]  # int8 or uint8: a weight tensor as the runtime stores it
Bytes = NDArray[np.uint8]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Shape = tuple[int, ...]
