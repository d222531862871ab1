"""Codebooks: the values that weights may have under a choice, one codebook for all of them or one for each channel."""

from dataclasses import dataclass, field

import numpy as np

from bqsearch.quantizers.base import CODES
from bqsearch.types import Array, Bytes, Floats, Ints

_UNSEEN = 0.5  # weights that a place without any counts as: it would take some bits


@dataclass(frozen=True, kw_only=True, eq=False)
class Codebooks:
    """Values by group and place.

    Attributes:
        values: `(groups, k)` uint8. One group's ascend; those of many ascend behind zero, if all begin with it, and are
            filled up with the last of them.
        shares: `(k,)` of all weights, those at each place.
        zero: Place of zero in all groups, -1 where there is none.
    """

    values: Bytes = field(repr=False)
    shares: Floats = field(repr=False)
    zero: int

    @classmethod
    def of(cls, held: Ints, zero: int, pruned: bool = False) -> "Codebooks":
        """The values that occur.

        Args:
            held: `(groups, 256)` weights of each value.
            zero: The code of a weight of 0.
            pruned: Whether zero must have the same place in all groups; else it has where that makes no group longer.
        """
        used = held > 0
        others = used & (np.arange(CODES) != zero)
        if len(held) > 1 and (pruned or others.sum(axis=1).max() < used.sum(axis=1).max()):
            values, counts = _ascending(others, held, zero)
            values = np.concatenate([np.full((len(held), 1), zero, np.uint8), values], axis=1)
            return cls(values=values, shares=_shares(np.append(held[:, zero].sum(), counts)), zero=0)
        values, counts = _ascending(used, held, zero)
        place = int(used[0, :zero].sum()) if len(held) == 1 and used[0, zero] else -1
        return cls(values=values, shares=_shares(counts), zero=place)

    def places(self, codes: Bytes) -> Bytes:
        """Where `(channels, columns)` codes stand: in their channel's codebook, or in the only one."""
        groups, symbols = self.values.shape
        ranks = np.zeros((groups, CODES), np.uint8)
        rows = np.arange(groups)
        for place in reversed(range(symbols)):  # of equal values the first one counts
            ranks[rows, self.values[:, place]] = place
        return ranks[0][codes] if groups == 1 else ranks[rows[:, None], codes]


def _ascending(used: Array, held: Ints, zero: int) -> tuple[Bytes, Ints]:
    """The used values of each group, filled up to the longest, `(groups, k)`; and the weights at each place, `(k,)`."""
    sizes = used.sum(axis=1)
    values = np.argsort(~used, axis=1, kind="stable")[:, : int(sizes.max())]
    inside = np.arange(values.shape[1]) < sizes[:, None]
    counts = np.where(inside, np.take_along_axis(held, values, axis=1), 0).sum(axis=0)
    last = np.where(sizes > 0, (used * np.arange(CODES)).max(axis=1), zero)
    return np.where(inside, values, last[:, None]).astype(np.uint8), counts


def _shares(counts: Ints) -> Floats:
    return np.maximum(counts, _UNSEEN) / max(int(counts.sum()), 1)
