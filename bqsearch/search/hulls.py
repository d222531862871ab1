"""Plans that are predicted to distort least: for every set of codings, the layers' convex hulls walked down together.

For one set of codings the best plans are those of Everett's Lagrangian (Operations Research 11, 1963): every layer
stands on the lower convex hull of its distortion over its bytes, and steps are taken in the order of the distortion
that each costs for a byte saved. The decoders of a set take flash once, so sets are walked apart and compared.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bqsearch.bank.hull import hull
from bqsearch.types import Bools, Floats, Ints

_TAKEN_BACK = 64  # steps that are looked at, from the last one on


@dataclass(frozen=True, kw_only=True, eq=False)
class Walk:
    """Down the hulls of one set of codings.

    Attributes:
        first: `(layers,)` rungs of least distortion.
        largest: Bytes of those, decoders included.
        layer: `(steps,)` where each step is taken.
        before: `(steps,)` rung that it leaves.
        after: `(steps,)` rung that it leads to.
        saved: `(steps,)` bytes.
        slope: `(steps,)` distortion taken on for each byte saved, rising within a layer.
    """

    first: Ints
    largest: float
    layer: Ints
    before: Ints
    after: Ints
    saved: Floats
    slope: Floats

    @classmethod
    def of(cls, nbytes: Floats, distortion: Floats, allowed: Bools, code: int) -> "Walk | None":
        """Of `(layers, rungs)` tables and the rungs that may be taken; None if a layer has none of them.

        Args:
            nbytes: Of each rung.
            distortion: Of each rung.
            allowed: Whether it may be taken.
            code: Bytes of decoders.
        """
        if not allowed.any(axis=1).all():
            return None
        hulls = [_hull(*row) for row in zip(nbytes, distortion, allowed, strict=True)]
        first = np.array([rungs[0] for rungs in hulls])
        layer = np.repeat(np.arange(len(hulls)), [len(rungs) - 1 for rungs in hulls])
        before, after = (np.concatenate([rungs[cut] for rungs in hulls]) for cut in (slice(None, -1), slice(1, None)))
        saved = nbytes[layer, before] - nbytes[layer, after]
        return cls(
            first=first,
            largest=float(nbytes[np.arange(len(hulls)), first].sum() + code),
            layer=layer,
            before=before,
            after=after,
            saved=saved,
            slope=(distortion[layer, after] - distortion[layer, before]) / saved,
        )

    @property
    def smallest(self) -> float:
        """Bytes at its end."""
        return self.largest - float(self.saved.sum())

    def within(self, nbytes: float, weights: Floats) -> tuple[Ints, float]:
        """Rungs `(layers,)` that do not exceed so many bytes, and their bytes; at its end where there are none.

        Steps are taken until the plan is small enough. Of the last ones, those are taken back that were not needed.

        Args:
            nbytes: To keep within.
            weights: `(layers,)` factors on the layers' distortions.
        """
        order = np.argsort(self.slope * weights[self.layer], kind="stable")
        sizes = self.largest - np.cumsum(self.saved[order])
        count = 0 if self.largest <= nbytes else min(int(np.searchsorted(-sizes, -nbytes)) + 1, len(order))
        taken = order[:count]
        rungs = self.first.copy()
        rungs[self.layer[taken]] = self.after[taken]
        size = float(sizes[count - 1]) if count else self.largest
        return rungs, self._taken_back(rungs, taken, size, nbytes)

    def _taken_back(self, rungs: Ints, taken: Ints, size: float, nbytes: float) -> float:
        needed: set[int] = set()
        for step in taken[: -_TAKEN_BACK - 1 : -1].tolist():
            layer = int(self.layer[step])
            if layer in needed or size + self.saved[step] > nbytes:
                needed.add(layer)
                continue
            rungs[layer] = self.before[step]
            size += float(self.saved[step])
        return size


@dataclass(frozen=True, kw_only=True, eq=False)
class Hulls:
    """The walks of the sets of codings that are worth having.

    Attributes:
        walks: At least one.
        distortion: `(layers, rungs)`.
        sizes: `(sizes,)` bytes at which the walks were compared, ascending.
        near: `(sizes, walks)` which of them were worth walking there.
    """

    walks: tuple[Walk, ...]
    distortion: Floats
    sizes: Floats
    near: Bools

    margin = 1.1  # a set is walked where it is within so much of the best: layers' weights may be others than 1
    looked_at = 48  # sizes

    @classmethod
    def of(cls, nbytes: Floats, distortion: Floats, allowed: Sequence[Bools], codes: Sequence[int]) -> "Hulls":
        """Of `(layers, rungs)` tables, and for each set of codings the rungs that it has and its decoders' bytes."""
        found = [Walk.of(nbytes, distortion, may, code) for may, code in zip(allowed, codes, strict=True)]
        walks = tuple(walk for walk in found if walk is not None)
        low, high = min(walk.smallest for walk in walks), max(walk.largest for walk in walks)
        sizes = np.geomspace(max(low, 1), max(high, 1), cls.looked_at)
        told = np.array([[_at(walk, float(nbytes), distortion) for walk in walks] for nbytes in sizes])
        near = told <= told.min(axis=1, keepdims=True) * cls.margin + np.finfo(float).tiny
        near[0] |= [walk.smallest == low for walk in walks]
        kept = np.flatnonzero(near.any(axis=0))
        return cls(walks=tuple(walks[i] for i in kept), distortion=distortion, sizes=sizes, near=near[:, kept])

    @property
    def smallest(self) -> float:
        """Bytes of the smallest plan."""
        return min(walk.smallest for walk in self.walks)

    @property
    def largest(self) -> float:
        """Bytes of the smallest plan among those of least distortion."""
        return min((_distortion(walk.first, self.distortion), walk.largest) for walk in self.walks)[1]

    def within(self, nbytes: float, weights: Floats) -> Ints:
        """The rungs `(layers,)` of least weighted distortion that were found within so many bytes.

        Args:
            nbytes: To keep within; the smallest plan is given where nothing does.
            weights: `(layers,)` factors on the layers' distortions.
        """
        row = int(np.clip(np.searchsorted(self.sizes, nbytes, side="right") - 1, 0, len(self.sizes) - 1))
        places = np.flatnonzero(self.near[row : row + 2].any(axis=0))
        found = [(*self.walks[place].within(nbytes, weights), int(place)) for place in places]
        fitting = [one for one in found if one[1] <= nbytes]
        if not fitting:
            return min(found, key=lambda one: one[1:])[0]
        return min(fitting, key=lambda one: (_distortion(one[0], self.distortion, weights), one[1], one[2]))[0]


def _at(walk: Walk, nbytes: float, distortion: Floats) -> float:
    """What a walk's plan within so many bytes distorts; infinite where it has none."""
    if walk.smallest > nbytes:
        return np.inf
    return _distortion(walk.within(nbytes, np.ones(len(distortion)))[0], distortion)


def _distortion(rungs: Ints, distortion: Floats, weights: Floats | float = 1.0) -> float:
    return float((distortion[np.arange(len(rungs)), rungs] * weights).sum())


def _hull(nbytes: Floats, distortion: Floats, allowed: Bools) -> Ints:
    """Rungs of a layer's hull, least distortion first."""
    rungs = np.flatnonzero(allowed)
    return rungs[hull(nbytes[rungs].astype(np.int64), distortion[rungs])[::-1]]
