"""Words the figures of a front: one spelling for the terminal, the figure and the page."""

import math
import re
from collections.abc import Sequence

from bqsearch.report import facts
from bqsearch.report.facts import Front, Point

NONE = "\u2013"


def number(value: float | None, digits: int = 0) -> str:
    """A number with thousands separators, or a dash where there is none."""
    if value is None or not math.isfinite(value):
        return NONE
    return f"{round(value, digits) + 0.0:,.{digits}f}"  # the sum turns -0.0 into 0.0


def figure(value: float | None) -> str:
    """A measured quantity with three significant digits, never in exponents: 0.042, 3.18, 31.8, 1,204."""
    if value is None or not math.isfinite(value):
        return NONE
    whole = len(str(int(abs(value)))) if abs(value) >= 1 else 0
    return number(value, max(0, 3 - whole))


def size(value: float | None) -> str:
    """A number of bytes, exact: `172,340 B`."""
    return NONE if value is None else f"{number(value)} B"


def short_size(value: float) -> str:
    """A number of bytes for an axis: `172 kB` (decimal, so that it agrees with the exact figure)."""
    for unit, scale in (("MB", 1e6), ("kB", 1e3)):
        if value >= scale:
            return f"{value / scale:.3g} {unit}"
    return f"{value:.3g} B"


def percent(fraction: float | None, digits: int = 2) -> str:
    """A fraction as a bare percentage: 0.9857 is `98.57`."""
    return NONE if fraction is None else number(100 * fraction, digits)


def span(interval: Sequence[float] | None, *, scale: float = 1.0, digits: int = 1, link: str = " to ") -> str:
    """Both ends of an interval, or nothing where there is none."""
    if interval is None:
        return ""
    low, high = interval
    return f"{number(scale * low, digits)}{link}{number(scale * high, digits)}"


def ratio(value: float | None) -> str:
    """How many times smaller, with the multiplication sign."""
    return NONE if value is None else f"{number(value, 1)}\u00d7"


def headline(front: Front) -> str:
    """The run's result in one or two sentences."""
    chosen = facts.recommended(front)
    if chosen is not None:
        return f"{_quality_sentence(front, chosen)} {_size_sentence(chosen)}"
    return "No point is recommended." if front["points"] else "This run ended without a point on the front."


def stop_note(front: Front) -> str:
    """A sentence on a run that ended before all its trials, or nothing."""
    settings = front["settings"]
    if settings.get("stopped") in (None, "trials", "complete"):
        return ""
    cause = {"timeout": "ran out of time", "interrupted": "was interrupted"}.get(settings["stopped"], "stopped")
    return f"The run {cause} after {settings.get('trials_done')} of {settings.get('trials')} trials."


def inputs_note(front: Front) -> str:
    """A sentence on how many inputs were run and how many spared, or nothing where no candidate had any."""
    run, spared, known = (front["settings"][f"inputs_{what}"] for what in ("run", "spared", "known"))
    if not run + spared:
        return ""
    if not spared:
        return f"This session took {number(run)} inferences to score its candidates."
    parts = ((known, "scores that were known"), (spared - known, "giving candidates up early"))
    ways = ", ".join(f"{'all' if count == spared else number(count)} by {way}" for count, way in parts if count)
    share = number(100 * spared / (run + spared))
    return f"This session spared {number(spared)} of {number(run + spared)} inferences ({share} %), {ways}."


def moment(stamp: str) -> str:
    """An ISO time in UTC as people write it: `2026-01-15 09:30 UTC`; anything else as it is."""
    return re.sub(r"^(\d{4}-\d\d-\d\d)T(\d\d:\d\d)(:[\d.]+)?(Z|\+00:00)$", r"\1 \2 UTC", stamp)


def _quality_sentence(front: Front, point: Point) -> str:
    name, quality = f"Point {point['id']}", front["quality"]["name"]
    searched, held = (point.get(facts.quality_key(front, split)) for split in ("search", "holdout"))
    if held is None:
        return f"{name} reaches {percent(searched)} % {quality} on the search split; the holdout split was not read."
    within = _within(span(point.get("interval_holdout"), scale=100))
    kept = f"{name} keeps {percent(held)} % {quality} on the holdout split{within}"
    if point.get("drop_holdout") is None:
        return f"{kept}."
    return f"{kept}, a drop of {number(point['drop_holdout'], 2)} points{_within(span(point.get('drop_interval')))}."


def _within(ends: str) -> str:
    return f" (95 % interval {ends})" if ends else ""


def _size_sentence(point: Point) -> str:
    needs = f"It needs {size(point['flash_bytes'])} of flash and {size(point['ram_bytes'])} of RAM"
    if point.get("ratio") is None:
        return f"{needs}."
    return f"{needs}; its weights are {number(point['ratio'], 1)} times smaller than the baseline's."
