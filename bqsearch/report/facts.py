"""Reads a parsed `front.json`: which points there are, which one is recommended, and which figures break a limit."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

Front = Mapping[str, Any]
Point = Mapping[str, Any]


def uncompressed(front: Front) -> list[Point]:
    """The networks that the points come from: as it was given, if it was converted, without sizes; and the baseline."""
    given = front["given"]
    return [*([{"id": given["kind"], **given}] if given else []), front["baseline"]]


def title(front: Front) -> str:
    """The network, by its file's name if it came from one, and the board."""
    return f"{Path(front['model']).name} on {front['target_title']}"


def by_flash(front: Front) -> list[Point]:
    """The points of the front, the smallest flash first."""
    return sorted(front["points"], key=lambda point: (point["flash_bytes"], point["id"]))


def recommended(front: Front) -> Point | None:
    """The recommended point, or None where the run recommends none."""
    chosen = front.get("recommended")
    return next((point for point in front["points"] if point["id"] == chosen), None)


def shown_point(front: Front) -> Point | None:
    """The point that stands for the run: the recommended one, or else the best on the search split, if any."""
    key = quality_key(front, "search")
    return recommended(front) or max(front["points"], key=lambda point: point[key], default=None)


def over_limits(point: Point, limits: Mapping[str, Any]) -> frozenset[str]:
    """Names of the figures of `point` that break a limit: any of "flash", "ram" and "drop"."""
    figures = {
        "flash": (point.get("flash_bytes"), limits.get("flash_bytes")),
        "ram": (point.get("ram_bytes"), limits.get("ram_bytes")),
        "drop": (point.get("drop_holdout"), limits.get("max_drop")),
    }
    return frozenset(
        name
        for name, (value, limit) in figures.items()
        if value is not None and limit is not None and value > limit + 1e-9
    )


def thinned(points: Sequence[Point], keep: Point | None, count: int) -> list[Point]:
    """At most `count` of `points`, evenly spaced and in order, with both ends and always with `keep`."""
    if len(points) <= count:
        return list(points)
    last = len(points) - 1
    chosen = {round(step * last / (count - 1)) for step in range(count)}
    if keep is not None:
        wanted = points.index(keep)
        inner = chosen - {0, last, wanted}
        if wanted not in chosen:
            chosen.discard(min(inner, key=lambda index: (abs(index - wanted), index)))
            chosen.add(wanted)
    return [points[index] for index in sorted(chosen)]


def trials_by_end(front: Front) -> dict[str, list[Point]]:
    """Trials that keep all limits, that break one, and that were given up, whose quality is an estimate."""
    kinds: dict[str, list[Point]] = {"kept": [], "broken": [], "given up": []}
    for trial in front["trials"]:
        kinds["given up" if trial["given_up"] else "kept" if trial["feasible"] else "broken"].append(trial)
    return kinds


def quality_key(front: Front, split: str) -> str:
    """The key of the run's quality on `split`, "search" or "holdout": `accuracy_search`, `fidelity_holdout`, ..."""
    return f"{front['quality']['name']}_{split}"


def has_holdout(front: Front) -> bool:
    """Whether every point was read on the holdout split, so that the front can be drawn on it."""
    key = quality_key(front, "holdout")
    return bool(front["points"]) and all(point.get(key) is not None for point in front["points"])


def shown_split(front: Front) -> str:
    """The split that all points were read on: "holdout", or "search" where one was not read on it."""
    return "holdout" if has_holdout(front) else "search"


def quality_floor(front: Front, key: str) -> float | None:
    """The lowest quality that the limits allow: the baseline's less `max_drop`."""
    start, drop = front["baseline"].get(key), front["limits"].get("max_drop")
    return None if start is None or drop is None else start - drop / 100


def staircase(pairs: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """The (cost, quality) pairs that no other pair beats in both, the cheapest first."""
    steps: list[tuple[float, float]] = []
    for cost, quality in sorted(pairs, key=lambda pair: (pair[0], -pair[1])):
        if not steps or quality > steps[-1][1]:
            steps.append((cost, quality))
    return steps
