"""Pieces of an arena, and the search for a place among them that every memory plan shares."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Buffer:
    """A piece of an arena.

    Attributes:
        tensor: Index of the tensor that it holds; None for scratch.
        offset: Bytes from the arena's start.
        nbytes: Size.
        first: The first step in which it stands: an operator's index, or what else the plan counts time by.
        last: The last one.
    """

    tensor: int | None
    offset: int
    nbytes: int
    first: int
    last: int

    @property
    def end(self) -> int:
        """First byte behind it."""
        return self.offset + self.nbytes


def lowest_gap(spans: list[tuple[int, int]], nbytes: int, alignment: int = 1) -> int:
    """The lowest multiple of `alignment` where `nbytes` fit between spans (start, end), which are sorted in place."""
    spans.sort()
    offset = 0
    for start, end in spans:
        if start - offset >= nbytes:
            break
        if end > offset:
            offset = -(-end // alignment) * alignment
    return offset
