"""The constants of a .tflite file, as views into its bytes."""

from collections.abc import Sequence
from math import prod

import numpy as np

from bqsearch.errors import ModelError
from bqsearch.importers.reader import Reader, Table
from bqsearch.types import Array, Shape

_OVERLAP = 2  # how often each byte may lie in the buffers of different spans
_SHARING = 16  # how often each byte may be named by tensors: whoever hashes or copies each tensor pays for it


class Constants:
    """A file's buffers. Each span of bytes becomes one array for each dtype and shape, however many tensors name it.

    Args:
        reader: Of the file.
        buffers: Its buffer tables.

    Raises:
        ModelError: A buffer ends beyond the file.
    """

    def __init__(self, reader: Reader, buffers: Sequence[Table]) -> None:
        self._reader = reader
        self._spans = [self._span(table, index) for index, table in enumerate(buffers)]
        self._made: dict[tuple[int, int, str, Shape], Array] = {}
        self._finite: set[tuple[int, int, str]] = set()
        self._checkable = _OVERLAP * len(reader.content)
        self._nameable = _SHARING * len(reader.content)

    def get(self, buffer: int, shape: Shape, dtype: str, where: str) -> Array | None:
        """The values of the tensor that `where` names, read-only; None if its buffer is empty: it is an activation.

        Raises:
            ModelError: There is no such buffer, or its bytes do not fit the shape, or are NaN or infinite.
        """
        if buffer >= len(self._spans):
            raise ModelError(f"{where} names buffer {buffer}, but the file has {len(self._spans)} buffers")
        start, end = self._spans[buffer]
        if start == end:
            return None
        expected = prod(shape) * np.dtype(dtype).itemsize
        if end - start != expected:
            raise ModelError(f"{where} has {end - start} B of data; shape {shape} of {dtype} needs {expected} B")
        self._nameable -= expected
        if self._nameable < 0:
            raise self._reader.damage("its constants are named by too many tensors")
        key = (start, end, dtype, shape)
        if key not in self._made:
            self._made[key] = self._reader.view(start, end).view(dtype).reshape(shape)
            self._check_finite(self._made[key], key[:3], where)
        return self._made[key]

    def _check_finite(self, data: Array, key: tuple[int, int, str], where: str) -> None:
        if data.dtype.kind != "f" or key in self._finite:
            return
        self._checkable -= data.nbytes
        if self._checkable < 0:
            raise self._reader.damage("its buffers overlap")
        if not (np.isfinite(data.min()) and np.isfinite(data.max())):  # which hand NaN on, and need no memory
            raise ModelError(f"{where} holds NaN or infinite values")
        self._finite.add(key)

    def _span(self, table: Table, index: int) -> tuple[int, int]:
        """From start to end; some writers put buffers behind the flatbuffer, by offset and size."""
        start, size = table.scalar(1, "Q"), table.scalar(2, "Q")
        limit = len(self._reader.content)
        if start + size > limit:
            raise ModelError(
                f"{self._reader.origin} is truncated: buffer {index} ends at byte {start + size}, the file at {limit}"
            )
        return (start, start + size) if start > 1 else table.span(0) or (0, 0)
