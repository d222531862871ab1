"""How a search went: the lowest cost and the hypervolume after each trial, in the plane of the quality and one cost.

Only trials that keep all limits count. The hypervolume (Zitzler and Thiele, PPSN 1998) is the area that they dominate,
up to the highest cost and the lowest quality among them; the baseline's cost counts there too.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bqsearch.report import facts
from bqsearch.report.facts import Front
from bqsearch.search.hypervolume import hypervolume

COSTS = ("flash_bytes", "ram_bytes", "latency_ms", "energy_mj", "weight_bytes")
_LESS = np.array([1, -1])  # is better: of the cost, and of the quality turned round


@dataclass(frozen=True, kw_only=True)
class Course:
    """Both figures wherever they change, by the number of the trial.

    Attributes:
        best: The lowest cost so far.
        volume: The hypervolume as a share of the last one; empty if that is 0.
    """

    best: tuple[tuple[int, float], ...]
    volume: tuple[tuple[int, float], ...]


def courses(front: Front) -> dict[str, Course]:
    """The course of each cost that the trials have, by key."""
    return {cost: _course(front, cost) for cost in COSTS if any(t.get(cost) is not None for t in front["trials"])}


def _course(front: Front, cost: str) -> Course:
    quality = facts.quality_key(front, "search")
    kept = [
        (trial["number"], (trial[cost], trial[quality]))
        for trial in front["trials"]
        if trial["feasible"] and trial.get(cost) is not None and trial[quality] is not None
    ]
    return Course(best=tuple(_best(kept)), volume=tuple(_volume(kept, front["baseline"][cost])))


_Trial = tuple[int, tuple[float, float]]  # number, (cost, quality)


def _best(kept: Sequence[_Trial]) -> list[tuple[int, float]]:
    found: list[tuple[int, float]] = []
    for number, (cost, _) in kept:
        if not found or cost < found[-1][1]:
            found.append((number, cost))
    return found


def _volume(kept: Sequence[_Trial], start: float) -> list[tuple[int, float]]:
    worst = max((cost for _, (cost, _) in kept), default=start), min((pair[1] for _, pair in kept), default=0.0)
    corner = np.array([max(worst[0], start), worst[1]])
    steps: list[tuple[float, float]] = []
    areas: list[tuple[int, float]] = []
    for number, pair in kept:
        if (better := facts.staircase([*steps, pair])) != steps:
            steps = better
            areas.append((number, hypervolume(np.array(steps) * _LESS, corner * _LESS)))
    last = areas[-1][1] if areas else 0.0
    return [(number, area / last) for number, area in areas] if last > 0 else []
