"""The hypervolume: how much of the objectives' space a front dominates (Zitzler and Thiele, PPSN 1998)."""

import numpy as np

from bqsearch.types import Floats


def hypervolume(points: Floats, corner: Floats) -> float:
    """The volume that points dominate, up to a corner, exactly; less is better in everything.

    Args:
        points: `(n, m)`; those that are not better than the corner in everything add nothing.
        corner: `(m,)`.
    """
    return _volume(points[(points < corner).all(axis=1)], corner)


def _volume(points: Floats, corner: Floats) -> float:
    """Point by point what the ones before do not dominate (While et al., IEEE Trans. Evol. Comput. 16, 2012).

    The worst in the last objective come first: all others reach as far there, which leaves one objective less.
    """
    if len(points) == 0:
        return 0.0
    if len(corner) == 1:
        return float(corner[0] - points.min())
    if len(corner) == 2:
        return _area(points, corner)
    ordered = _undominated(points)
    ordered = ordered[np.argsort(-ordered[:, -1])]
    boxes = np.prod(corner[:-1] - ordered[:, :-1], axis=1)
    shared = [_volume(np.maximum(ordered[n + 1 :, :-1], p[:-1]), corner[:-1]) for n, p in enumerate(ordered)]
    return float(((corner[-1] - ordered[:, -1]) * (boxes - shared)).sum())


def _area(points: Floats, corner: Floats) -> float:
    """Under the stairs of the best second objective so far, by the first one."""
    ordered = points[np.argsort(points[:, 0])]
    heights = corner[1] - np.minimum.accumulate(ordered[:, 1])
    return float(np.diff(ordered[:, 0], append=corner[0]) @ heights)


def _undominated(points: Floats) -> Floats:
    different = np.unique(points, axis=0)
    no_worse = (different[None] <= different[:, None]).all(axis=-1)
    return np.asarray(different[no_worse.sum(axis=1) == 1])
