"""What kernels may compute with, by hand."""

import numpy as np
import pytest

from bqsearch.quantizers.arithmetic import arithmetic


@pytest.mark.parametrize(
    ("steps", "coding", "wanted"),
    [
        ([[3, -3], [7, 7]], "packed", "binary"),
        ([[3, -3], [7, 6]], "packed", "multiply"),
        ([[3, 3], [7, 7]], "packed", "multiply"),
        ([[0, 0], [3, -3]], "packed", "shift"),
        ([[0, 64], [-96, 1]], "huffman", "shift"),
        ([[0, 5], [-96, 1]], "huffman", "multiply"),
        ([[3, -3], [7, 7]], "raw", "multiply"),
    ],
)
def test_arithmetic_by_the_weights(steps: list[list[int]], coding: str, wanted: str) -> None:
    assert arithmetic(np.array(steps), coding) == wanted
