"""Litters: plans that take some of their layers from one on the front and the others from a new one."""

from dataclasses import dataclass

import numpy as np

from bqsearch.search.belief import Belief
from bqsearch.search.improvement import LEAST, Losses, improvement
from bqsearch.search.kinship import Kinship
from bqsearch.search.seen import Seen
from bqsearch.search.space import Space
from bqsearch.types import Floats, Ints

_KIN = 64  # trials of the nearest sizes that it is told by
_LEAST = 0.2  # percentage points: what trials of the same error differ by at least
_MIXED = 0.6  # of the layers that a plan takes from the new one, at most
_SMALLER = 0.06  # natural logarithm: by how much the new one is smaller than the one on the front, at most


@dataclass(frozen=True, kw_only=True, eq=False)
class Parents:
    """The plans on a front, and what is known of them.

    Attributes:
        space: Theirs.
        room: Bytes of RAM that they keep to.
        rungs: `(n, layers)`.
        sizes: `(n,)` bytes.
        errors: `(n,)` of the outputs.
        front: `(n, 2)` bytes and excess of the drop.
        floor: Excess that is luck to go below.
        weights: `(layers,)` error of the outputs for a unit of distortion of each.
        believed: Of the layers' weights.
        losses: Of all trials.
        kinship: Of those of about their size.
    """

    space: Space
    room: float
    rungs: Ints
    sizes: Floats
    errors: Floats
    front: Floats
    floor: float
    weights: Floats
    believed: Belief
    losses: Losses
    kinship: Kinship

    @classmethod
    def of(cls, space: Space, seen: Seen, believed: Belief, losses: Losses, least: float, room: float) -> "Parents":
        """Of a front that is not empty."""
        rungs, sizes, errors = seen.told
        own = seen.on_front(room)
        middle = np.median(sizes[own])
        near = np.union1d(np.argsort(np.abs(np.log(sizes / middle)), kind="stable")[:_KIN], own)
        weights = believed.scale * np.maximum(believed.mean, least)
        mean, deviation = losses.at(errors[near], _LEAST)
        kinship = Kinship.of(
            rungs[near], weights * space.distortions(rungs[near]), (seen.excess[near] - mean) / deviation
        )
        return cls(
            space=space,
            room=room,
            rungs=rungs[own],
            sizes=sizes[own],
            errors=errors[own],
            front=seen.front(room),
            floor=min(float(seen.excess[np.argmin(errors)]), -LEAST),
            weights=weights,
            believed=believed,
            losses=losses,
            kinship=kinship,
        )

    def litter(self, rng: np.random.Generator, count: int, least: float) -> tuple[Ints, Floats]:
        """So many plans `(count, layers)`, and what each is expected to add to the front."""
        parents = rng.integers(len(self.sizes), size=count)
        sizes = self.sizes[parents] * np.exp(-rng.uniform(0, _SMALLER, count))
        weights = np.maximum(self.believed.drawn(rng, count), least)
        pairs = zip(sizes.tolist(), weights, strict=True)
        new = np.array([self.space.within(size, own, self.room) for size, own in pairs])
        mixed = rng.random(new.shape) < rng.uniform(0, _MIXED, count)[:, None]
        plans = np.where(mixed, new, self.rungs[parents])
        return plans, self._added(plans, parents)

    def _added(self, plans: Ints, parents: Ints) -> Floats:
        errors = self.weights * self.space.distortions(plans)
        before = (self.weights * self.space.distortions(self.rungs)).sum(axis=1)
        told = np.maximum(self.errors[parents] + errors.sum(axis=1) - before[parents], 0)
        mean, scatter = self.losses.at(told, _LEAST)
        beyond, unsure = self.kinship.deviations(plans, errors)
        sizes = self.space.sizes(plans).astype(np.float64)
        largest = self.space.extent()[1]
        return improvement(self.front, largest, sizes, mean + scatter * beyond, scatter * unsure, self.floor)
