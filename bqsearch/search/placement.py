"""Placement: which layers' stored weights are copied to RAM at the start, so that no inference fetches them from flash.

What a layer saves, and what it takes of the RAM, follow from plan and cost model: the best placement in so much RAM is
an exact solution of the 0/1 knapsack problem, and only how much RAM to spend is left to search. Activations come first:
weights get what the arena leaves.
"""

from dataclasses import dataclass, replace

import numpy as np

from bqsearch.bank.build import OptionBank
from bqsearch.compress import compress
from bqsearch.hardware.cost import CostModel
from bqsearch.hardware.streamed import resident_bytes
from bqsearch.plan import Plan
from bqsearch.types import Floats, Ints

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)  # of the weights' bytes, or of what is free if that is less
TIMED = frozenset({"latency", "energy"})  # objectives that fetching from flash is part of


@dataclass(frozen=True, kw_only=True, eq=False)
class Placer:
    """Places the weights of a network's plans.

    Attributes:
        cost: Of the network on its board.
        max_ram: Bytes that may be taken in all.
        shares: What may be spent on weights, of what there is to spend, ascending.
    """

    cost: CostModel
    max_ram: int
    shares: tuple[float, ...]

    def placed(self, bank: OptionBank, plan: Plan, share: float) -> Plan:
        """The plan, all of it in flash before, with the layers in RAM whose weights would take longest to fetch.

        A plan that is compressed successively may then take a few bytes more or less than this one.
        """
        model = compress(self.cost.graph, bank, plan)
        fetching = self.cost.fetching(model)
        saved = np.array([fetching[entry.layer.op] for entry in model.layers])
        nbytes = np.array([resident_bytes(entry.option) for entry in model.layers], np.int64)
        free = max(self.max_ram - self.cost.ram(model).total, 0)
        chosen = most_valuable(saved, nbytes, int(share * min(free, int(nbytes.sum()))))
        moved = [model.layers[i].layer.name for i in chosen]
        resident = {name: replace(plan.choices[name], placement="ram") for name in moved}
        return replace(plan, choices={**plan.choices, **resident})


def placer(bank: OptionBank, cost: CostModel, max_ram: int, objectives: tuple[str, ...]) -> Placer | None:
    """Who places the weights of a search for these objectives; None where all lie in flash.

    That is where no objective has time in it, or where the board's runtime has one place only. Where RAM is no
    objective, weights get all that is free.
    """
    if not TIMED & set(objectives) or any("ram" not in entry.container.placements for entry in bank.layers):
        return None
    return Placer(cost=cost, max_ram=max_ram, shares=SHARES if "ram" in objectives else SHARES[-1:])


def most_valuable(values: Floats, nbytes: Ints, capacity: int) -> list[int]:
    """Which of `(n,)` things, each of so many bytes, have the greatest sum of values within `capacity` bytes.

    By dynamic programming over all capacities (Bellman, Dynamic Programming, 1957); things without value are left out.
    """
    best = np.zeros(capacity + 1)
    taken = np.zeros((len(values), capacity + 1), np.bool_)
    for i, (value, size) in enumerate(zip(values, nbytes, strict=True)):
        if size <= capacity:
            with_it = best[: capacity + 1 - size] + value
            taken[i, size:] = with_it > best[size:]
            best[size:] = np.maximum(with_it, best[size:])
    chosen, left = [], capacity
    for i in reversed(range(len(values))):
        if taken[i, left]:
            chosen.append(i)
            left -= int(nbytes[i])
    return chosen[::-1]
