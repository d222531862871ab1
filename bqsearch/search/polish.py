"""Polishing: the candidates of a search that are worth compressing once more, layer after layer.

Options are made for the uncompressed network's inputs, so that thousands of plans cost nothing to put together; the
same plan compressed successively (`bqsearch.runtime.successive`) loses less and takes about as many bytes. So plans
that lost a little too much may now keep the allowed drop. Every second proposal looks for the smallest of them by
bisection, the others go evenly over the rest of the front. Where quality is the only objective, the best plans are
tried in order.
"""

from collections.abc import Sequence

import numpy as np

from bqsearch.measure import Direction
from bqsearch.plan import Choice
from bqsearch.search.pareto import undominated
from bqsearch.search.record import Record

REACH = 6.0  # times the allowed drop, plus a point: what a candidate may have lost to be tried again


def next_to_polish(
    records: Sequence[Record], asked: Sequence[int], directions: Sequence[Direction], max_drop: float
) -> int | None:
    """Position of the record whose plan should be compressed successively next.

    Args:
        records: All that is known, in order; those of successive plans say how polishing went.
        asked: Positions of the plans that were asked for before.
        directions: Of the objectives.
        max_drop: Allowed drop, percentage points.

    Returns:
        None where nothing is left.
    """
    worth = _candidates(records, directions, max_drop)
    left = [n for n in worth if n not in set(asked)]
    if not left:
        return None
    if len(directions) == 1:
        return max(left, key=lambda n: (_quality(records[n]), -n))
    if len(asked) % 2 == 0:
        return _middle(records, worth, left)
    return _farthest(records, left, asked)


def reach(max_drop: float) -> float:
    """Percentage points that a candidate may have lost to be tried again."""
    return REACH * max_drop + 1


def _candidates(records: Sequence[Record], directions: Sequence[Direction], max_drop: float) -> list[int]:
    """Plans on the front of what was searched (all, where there is none) that lost what is within reach, by flash."""
    run = [n for n, record in enumerate(records) if record.values is not None and not record.plan.successive]
    near = [n for n in run if records[n].constraints["drop"] + max_drop <= reach(max_drop) and _fits(records[n])]
    if not near:
        return []
    values = np.array([records[n].values for n in near])
    kept = range(len(near)) if len(directions) == 1 else undominated(values, directions)
    changed = [near[i] for i in kept if any(_coarser(choice) for choice in records[near[i]].plan.choices.values())]
    return sorted(changed, key=lambda n: (records[n].metrics["flash_bytes"], n))


def _quality(record: Record) -> float:
    assert record.values is not None
    return record.values[0]


def _coarser(choice: Choice) -> bool:
    return choice.scheme != "keep"


def _fits(record: Record) -> bool:
    return all(excess <= 0 for name, excess in record.constraints.items() if name != "drop")


def _middle(records: Sequence[Record], worth: Sequence[int], left: Sequence[int]) -> int:
    """Halfway between the largest plan that is known to lose too much and the smallest that is known not to."""
    flash = [records[n].metrics["flash_bytes"] for n in worth]
    told = [record for record in records if record.plan.successive and record.values is not None]
    kept = [r.metrics["flash_bytes"] for r in told if r.feasible]
    kept += [records[n].metrics["flash_bytes"] for n in worth if records[n].feasible]
    high = min(kept, default=max(flash))
    lost = [r.metrics["flash_bytes"] for r in told if not r.feasible and r.metrics["flash_bytes"] < high]
    low = max(lost, default=min(flash))
    return min(left, key=lambda n: (abs(records[n].metrics["flash_bytes"] - (low + high) / 2), n))


def _farthest(records: Sequence[Record], left: Sequence[int], asked: Sequence[int]) -> int:
    """The one whose size is farthest, as a ratio, from those that were asked for."""
    sizes = np.log([records[n].metrics["flash_bytes"] for n in asked])
    distance = [float(np.abs(sizes - np.log(records[n].metrics["flash_bytes"])).min()) for n in left]
    return left[int(np.argmax(distance))]
