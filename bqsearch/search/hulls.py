"""Plans that are predicted to distort least: for every set of codings, the layers' convex hulls walked down together.

For one set of codings the best plans are those of Everett's Lagrangian (Operations Research 11, 1963): every layer
stands on the lower convex hull of its distortion over its bytes, and steps are taken in the order of the distortion
that each costs for a byte saved. The decoders of a set take flash once, so sets are walked apart and compared.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from bqsearch.bank.hull import hull
from bqsearch.types import Bools, Floats, Ints

_TAKEN_BACK = 64  # steps that are looked at, from the last one on


@dataclass(frozen=True, kw_only=True, eq=False)
class Curves:
    """What layers' choices cost and do; infinite where a layer has fewer than others.

    Attributes:
        nbytes: `(layers, rungs)`.
        distortion: `(layers, rungs)`.
    """

    nbytes: Floats
    distortion: Floats
    _hulls: dict[tuple[int, bytes], Ints] = field(default_factory=dict, repr=False)

    def hull(self, layer: int, allowed: Bools) -> Ints:
        """The rungs of a layer's hull among those that are allowed, least distortion first."""
        key = layer, allowed.tobytes()
        if key not in self._hulls:
            rungs = np.flatnonzero(allowed)
            found = hull(self.nbytes[layer, rungs].astype(np.int64), self.distortion[layer, rungs])
            self._hulls[key] = rungs[found[::-1]]
        return self._hulls[key]

    def distorted(self, chosen: Ints, weights: Floats | float = 1.0) -> float:
        """By `(layers,)` rungs, with factors on the layers."""
        return float((self.distortion[np.arange(len(chosen)), chosen] * weights).sum())


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
        least: Distortion of the first rungs.
    """

    first: Ints
    largest: float
    layer: Ints
    before: Ints
    after: Ints
    saved: Floats
    slope: Floats
    least: float

    @classmethod
    def of(cls, curves: Curves, allowed: Bools, code: int) -> "Walk | None":
        """Of some layers' choices; None if a layer has none of those that are allowed.

        Args:
            curves: All choices.
            allowed: `(layers, rungs)` which of them may be taken.
            code: Bytes of decoders.
        """
        if not allowed.any(axis=1).all():
            return None
        hulls = [curves.hull(layer, own) for layer, own in enumerate(allowed)]
        first = np.array([own[0] for own in hulls])
        layer = np.repeat(np.arange(len(hulls)), [len(own) - 1 for own in hulls])
        before, after = (np.concatenate([own[cut] for own in hulls]) for cut in (slice(None, -1), slice(1, None)))
        saved = curves.nbytes[layer, before] - curves.nbytes[layer, after]
        return cls(
            first=first,
            largest=float(curves.nbytes[np.arange(len(hulls)), first].sum() + code),
            layer=layer,
            before=before,
            after=after,
            saved=saved,
            slope=(curves.distortion[layer, after] - curves.distortion[layer, before]) / saved,
            least=curves.distorted(first),
        )

    @cached_property
    def smallest(self) -> float:
        """Bytes at its end."""
        return self.largest - float(self.saved.sum())

    def distortions(self, sizes: Floats, least: float, weights: Floats | None = None) -> Floats:
        """What is distorted where the walk has come within `(n,)` sizes, `(n,)`; infinite where it never does.

        Args:
            sizes: Bytes.
            least: What its first rungs distort.
            weights: `(layers,)` factors on the layers' distortions; None for 1.
        """
        slope = self.slope if weights is None else self.slope * weights[self.layer]
        order = np.argsort(slope, kind="stable")
        bytes_ = self.largest - np.cumsum(np.append(0.0, self.saved[order]))
        distortion = least + np.cumsum(np.append(0.0, (slope * self.saved)[order]))
        steps = np.searchsorted(-bytes_, -sizes)
        return np.where(steps < len(bytes_), distortion[np.minimum(steps, len(bytes_) - 1)], np.inf)

    def down_to(self, nbytes: float, weights: Floats) -> "Descent":
        """As far down as is needed for so many bytes.

        Args:
            nbytes: To keep within.
            weights: `(layers,)` factors on the layers' distortions.
        """
        slope = self.slope * weights[self.layer]
        order = np.argsort(slope, kind="stable")
        sizes = self.largest - np.cumsum(self.saved[order])
        count = 0 if self.largest <= nbytes else min(int(np.searchsorted(-sizes, -nbytes)) + 1, len(order))
        taken = order[:count]
        size = float(sizes[count - 1]) if count else self.largest
        return Descent(walk=self, taken=taken, size=size, price=float(slope[taken[-1]]) if count else 0.0)

    def bound(self, nbytes: float, price: float, weights: Floats) -> float:
        """What every plan within so many bytes adds at least to the distortion of the first rungs: Everett's dual.

        Args:
            nbytes: To keep within.
            price: Distortion for a byte, any; the nearer to that of the best plan's last step, the closer the bound.
            weights: `(layers,)` factors on the layers' distortions.
        """
        gains = np.minimum(self.slope * weights[self.layer] - price, 0) @ self.saved
        return float(gains) + price * (self.largest - nbytes)


@dataclass(frozen=True, kw_only=True, eq=False)
class Descent:
    """Down a walk to some size.

    Attributes:
        walk: Which.
        taken: `(n,)` its steps, in the order in which they are taken.
        size: Bytes behind them.
        price: Distortion that the last one costs for a byte.
    """

    walk: Walk
    taken: Ints
    size: float
    price: float

    def rungs(self, nbytes: float) -> tuple[Ints, float]:
        """Rungs `(layers,)` and their bytes: of the last steps, those are taken back that are not needed for a size."""
        walk, size = self.walk, self.size
        rungs, needed = walk.first.copy(), set[int]()
        rungs[walk.layer[self.taken]] = walk.after[self.taken]
        last = self.taken[: -_TAKEN_BACK - 1 : -1]
        for layer, saved, before in zip(
            *(of[last].tolist() for of in (walk.layer, walk.saved, walk.before)), strict=True
        ):
            if layer in needed or size + saved > nbytes:
                needed.add(layer)
                continue
            rungs[layer] = before
            size += saved
        return rungs, size


@dataclass(frozen=True, kw_only=True, eq=False)
class Hulls:
    """The walks of the sets of codings that are worth having.

    Attributes:
        walks: At least one.
        curves: What they lead over.
        sizes: `(sizes,)` bytes at which the walks were compared, ascending.
        near: `(sizes, walks)` which of them were worth walking there.
        best: `(sizes,)` which distorts least there.
    """

    walks: tuple[Walk, ...]
    curves: Curves
    sizes: Floats
    near: Bools
    best: Ints

    margin = 1.1  # a set is walked where it is within so much of the best: layers' weights may be others than 1
    most = 4  # sets at a size
    looked_at = 48  # sizes

    @classmethod
    def of(cls, curves: Curves, allowed: Sequence[Bools], codes: Sequence[int]) -> "Hulls":
        """Of layers' choices, and for each set of codings those `(layers, rungs)` that it has, and decoders' bytes."""
        found = [Walk.of(curves, may, code) for may, code in zip(allowed, codes, strict=True)]
        walks = tuple(walk for walk in found if walk is not None)
        low, high = min(walk.smallest for walk in walks), max(walk.largest for walk in walks)
        sizes = np.geomspace(max(low, 1), max(high, 1), cls.looked_at)
        told = np.stack([walk.distortions(sizes, walk.least) for walk in walks], axis=1)
        ranks = told.argsort(axis=1, kind="stable").argsort(axis=1)
        near = (ranks < cls.most) & (told <= told.min(axis=1, keepdims=True) * cls.margin + np.finfo(float).tiny)
        near[0] |= [walk.smallest == low for walk in walks]
        kept = np.flatnonzero(near.any(axis=0))
        best = told[:, kept].argmin(axis=1)
        return cls(walks=tuple(walks[i] for i in kept), curves=curves, sizes=sizes, near=near[:, kept], best=best)

    @cached_property
    def smallest(self) -> float:
        """Bytes of the smallest plan."""
        return min(walk.smallest for walk in self.walks)

    @cached_property
    def largest(self) -> float:
        """Bytes of the smallest plan among those of least distortion."""
        return min((walk.least, walk.largest) for walk in self.walks)[1]

    def distortions(self, sizes: Floats, weights: Floats) -> Floats:
        """What plans within `(n,)` sizes distort, as nearly as whole steps of the walks go, `(n,)`."""
        firsts = [self.curves.distorted(walk.first, weights) for walk in self.walks]
        found = [walk.distortions(sizes, least, weights) for walk, least in zip(self.walks, firsts, strict=True)]
        return np.asarray(np.min(found, axis=0), np.float64)

    def within(self, nbytes: float, weights: Floats) -> Ints:
        """The rungs `(layers,)` of least weighted distortion that were found within so many bytes.

        Args:
            nbytes: To keep within; the smallest plan is given where nothing does.
            weights: `(layers,)` factors on the layers' distortions.
        """
        row = int(np.clip(np.searchsorted(self.sizes, nbytes, side="right") - 1, 0, len(self.sizes) - 1))
        places = np.flatnonzero(self.near[row : row + 2].any(axis=0)).tolist()
        best = self.walks[self.best[row]].down_to(nbytes, weights)
        rungs, size = best.rungs(nbytes)
        distorted = self.curves.distorted(rungs, weights) if size <= nbytes else np.inf
        for walk in (self.walks[place] for place in places if place != self.best[row]):
            least = self.curves.distorted(walk.first, weights)
            if least + walk.bound(nbytes, best.price, weights) >= distorted:
                continue
            others, its = walk.down_to(nbytes, weights).rungs(nbytes)
            told = self.curves.distorted(others, weights) if its <= nbytes else np.inf
            if (told, its) < (distorted, size):
                rungs, size, distorted = others, its, told
        return rungs
