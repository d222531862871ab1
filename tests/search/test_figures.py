"""The memory of a network in front.json: what is taken for one."""

from typing import Any

import pytest

from bqsearch.search.figures import is_memory

MEMORY: dict[str, Any] = {
    "bytes": 96,
    "peak": 1,
    "steps": [["whole", 1, [0]], ["strips", 4, [1, 2]]],
    "pieces": [["input", None, 0, 64, 0, 0], ["output", 0, 64, 32, 0, 1]],
}


def test_a_memory_is_one() -> None:
    assert is_memory(MEMORY, 3)


@pytest.mark.parametrize(
    "change",
    [
        {"peak": 2},
        {"peak": None},
        {"steps": [["whole", 1]]},
        {"steps": 3},
        {"steps": [["whole", 1, [0]], ["whole", 1, [3]]]},
        {"pieces": [["output", 0, 64, 32, 0, 2]]},
        {"pieces": [["output", 3, 64, 32, 0, 1]]},
        {"pieces": [["output", "0", 64, 32, 0, 1]]},
        {"pieces": [[]]},
    ],
)
def test_what_cannot_be_drawn_is_none(change: dict[str, Any]) -> None:
    assert not is_memory({**MEMORY, **change}, 3)
    assert not is_memory(None, 3)
    assert not is_memory({key: MEMORY[key] for key in MEMORY if key not in change}, 3)
