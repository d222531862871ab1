"""Racing: a candidate is given up as soon as what it lost on the inputs seen so far rules out that it is worth more.

Inputs come in growing batches, in one random order for all candidates, so that what was seen is a sample of the split
without replacement (Maron & Moore, "Hoeffding races", NIPS 1993). The bound is that of the quality's interval, at a
high confidence, drawn in by the finite population correction: of a split seen whole there is no doubt left.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

from bqsearch.search.quality import Quality
from bqsearch.types import Floats, Ints

PARTS = (1 / 8, 1 / 4, 1 / 2, 1.0)  # of the split, at which candidates are looked at
SURE = 0.9999  # one-sided: a search looks at hundreds of candidates three times each
FEWEST = 24  # rows from which a bound says anything
# The same order for every study, so that scores of one hold for the next. Any seed would do, but which candidates are
# given up where depends on it, and so does what a study finds.
_ORDER_SEED = 20_110_201


@dataclass(frozen=True, kw_only=True)
class Rival:
    """A candidate that keeps every limit.

    Attributes:
        costs: Its static objectives, turned so that less is better.
        drop: Percentage points that it loses on the whole split.
    """

    costs: tuple[float, ...]
    drop: float


def order(rows: int) -> Ints:
    """In which rows of a split are run, `(rows,)`."""
    return np.random.default_rng(_ORDER_SEED).permutation(rows)


def stops(rows: int) -> list[int]:
    """Numbers of rows after which a candidate is looked at, ascending; the last one is all."""
    return sorted({round(rows * part) for part in PARTS if round(rows * part) >= FEWEST} | {rows})


def allowed(reach: float, luck: float, costs: Sequence[float], rivals: Iterable[Rival]) -> float:
    """Percentage points that a candidate of these costs may lose to be worth anything.

    Args:
        reach: That any candidate may.
        luck: By how much it may lose more than one that is no worse otherwise: some of what a trial lost is luck, and
            may be taken for such in the end.
        costs: Its static objectives, turned so that less is better.
        rivals: What it is up against.
    """
    beaten = (rival.drop + luck for rival in rivals if all(a <= b for a, b in zip(rival.costs, costs, strict=True)))
    return min([reach, *beaten])


def least_drop(quality: Quality, drops: Floats, rows: int) -> float:
    """Percentage points that a candidate loses on all `rows` at least, when its first `(n,)` drops are these."""
    mean = float(drops.mean())
    low = quality.drop_interval(drops, 2 * SURE - 1)[0]
    return 100 * (mean - max(mean - low, 0.0) * sqrt(1 - len(drops) / rows))
