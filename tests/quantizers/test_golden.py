"""One row for each scheme: the levels of a fixed tensor, so that no change to a method goes unseen."""

import numpy as np
import pytest

from bqsearch import registry
from bqsearch.quantizers.base import CODES
from bqsearch.testing.quantizers import histogram_of

CODE = np.arange(CODES)
# 88,440 weights: a bell with a comb in it
BELL = np.rint(1000 * np.exp(-(((CODE - 120) / 35) ** 2) / 2)).astype(int) + np.where(CODE % 7 == 0, 20, 0)

GOLDEN: dict[tuple[str, int], list[int]] = {
    ("binary", 2): [99, 157],
    ("binquant", 6): [21, 63, 102, 137, 180, 230],
    ("binquant_optimal", 6): [29, 75, 107, 136, 170, 222],
    ("entropy", 8): [20, 52, 83, 113, 143, 174, 205, 238],
    ("fixed_point", 8): [64, 80, 96, 112, 128, 144, 160, 176],
    ("keep", 256): np.flatnonzero(BELL).tolist(),
    ("kmeans", 6): [53, 84, 109, 132, 157, 190],
    ("kmeans_channel", 7): [47, 78, 101, 120, 140, 163, 194],
    ("log2", 9): [0, 64, 96, 112, 120, 136, 144, 160, 192],
    ("log2_dlq", 17): [64, 96, 112, 120, 124, 126, 127, 128, 129, 130, 132, 136, 144, 160, 192],
    ("log2_iot", 17): [0, 64, 96, 112, 120, 124, 132, 136, 144, 160, 192, 255],
    ("ternary", 3): [83, 128, 173],
    ("uniform", 6): [57, 84, 111, 137, 164, 190],
    ("uniform_symmetric", 7): [57, 81, 104, 128, 152, 175, 199],
}


@pytest.mark.parametrize(("name", "levels"), GOLDEN)
def test_levels_of_a_fixed_tensor(name: str, levels: int) -> None:
    quantizer = registry.load("scheme", name)
    tables = quantizer.fit(histogram_of(CODE.repeat(BELL).astype(np.uint8), scale=1 / 64))
    found = np.unique(tables[0, quantizer.levels.index(levels)][BELL > 0])
    assert found.tolist() == GOLDEN[name, levels]


def test_every_scheme_has_a_row() -> None:
    assert sorted({name for name, _ in GOLDEN}) == registry.names("scheme")
