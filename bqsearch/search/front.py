"""From trials to the front: pick, read the holdout once, recommend, and describe it all as front.json."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import numpy as np

from bqsearch.measure import Measurements
from bqsearch.search.driver import Searched, directions, static_metrics
from bqsearch.search.folder import RunFolder, write_json
from bqsearch.search.pareto import drop_bound, drop_interval, undominated, wilson_interval
from bqsearch.search.planfile import MODEL, PLAN, write_point
from bqsearch.search.prepare import Problem
from bqsearch.search.record import Record
from bqsearch.types import Array

FORMAT = 1


@dataclass(frozen=True, kw_only=True, eq=False)
class Point:
    """One point of the front.

    Attributes:
        trial: Number of the trial that found it.
        record: What the search found out.
        measured: Its readings.
        holdout: Which inputs of the holdout it gets right.
    """

    trial: int
    record: Record
    measured: Measurements
    holdout: Array


@dataclass(frozen=True, kw_only=True, eq=False)
class Front:
    """The result of a search.

    Attributes:
        baseline: The uncompressed network on the search split.
        baseline_holdout: Which inputs of the holdout it gets right.
        points: By flash, smallest first.
        recommended: Position in `points`, None if there are none.
        reason: Why, or why none, in words.
    """

    baseline: Measurements
    baseline_holdout: Array
    points: tuple[Point, ...]
    recommended: int | None
    reason: str


def make_front(problem: Problem, searched: Searched) -> Front:
    """Choose the points and their recommended one on the search split, then read the holdout, once for each."""
    chosen = pareto_trials(problem, searched.records)
    recommended, reason = recommend(problem, [searched.records[n] for n in chosen], searched)
    scorer = problem.holdout_scorer
    points = []
    for number in chosen:
        measured = problem.measure(searched.records[number].plan)
        right = scorer.correct(measured.model)
        points.append(Point(trial=number, record=searched.records[number], measured=measured, holdout=right))
    return Front(
        baseline=searched.baseline,
        baseline_holdout=scorer.correct(searched.baseline.model),
        points=tuple(points),
        recommended=recommended,
        reason=reason,
    )


def pareto_trials(problem: Problem, records: Sequence[Record]) -> list[int]:
    """Numbers of the feasible trials that no other feasible trial beats, by flash; twins count once."""
    feasible = [n for n, record in enumerate(records) if record.feasible]
    if not feasible:
        return []
    values = np.array([records[n].values for n in feasible])
    kept = [feasible[i] for i in undominated(values, directions(problem))]
    return sorted(kept, key=lambda n: (records[n].metrics["flash_bytes"], n))


def recommend(problem: Problem, records: Sequence[Record], searched: Searched) -> tuple[int | None, str]:
    """The point to take, and why; the holdout has no part in it."""
    if not records:
        return None, why_nothing(problem, searched)
    count, most = len(problem.data.search), problem.spec.max_drop
    bounds = [100 * drop_bound(r.lost or 0, r.gained or 0, count) for r in records]
    for index, (record, bound) in enumerate(zip(records, bounds, strict=True)):
        if bound <= most:
            flash = f"{int(record.metrics['flash_bytes']):,} B of flash"
            return index, (
                f"smallest flash ({flash}) of the points whose drop on the search split has a 95 % bound of at most "
                f"{most:g} (bound {bound:.2f} points; nominal: not corrected for the choice among "
                f"{len(searched.records)} trials)"
            )
    index = int(np.argmin(bounds))
    finest = 100 * drop_bound(0, 0, count)
    small = f"; {count} inputs cannot show less than {finest:.2f}: a larger split would help" if finest > most else ""
    return index, (
        f"no point's drop on the search split has a 95 % bound of at most {most:g}; this one comes nearest "
        f"(bound {bounds[index]:.2f} points{small})"
    )


def why_nothing(problem: Problem, searched: Searched) -> str:
    """What stands in the way when no trial is feasible, by how much, and what would help."""
    if not searched.records:
        return "no trial was finished"
    reasons = [text for kind in ("ram", "flash") if (text := _over(problem, searched.records, kind))]
    run = [r for r in searched.records if r.values is not None]
    if run and not reasons:
        best = min(r.constraints["drop"] for r in run) + problem.spec.max_drop
        reasons.append(
            f"the best candidate loses {best:.2f} points on the search split, {problem.spec.max_drop:g} are allowed: "
            f"allow more with --max-drop, or search longer with --trials"
        )
    if not run and not reasons:
        reasons.append(
            f"some keep the limit of {problem.max_flash:,} B of flash and some that of {problem.max_ram:,} B of RAM, "
            f"but none keeps both: raise --max-flash or --max-ram, or search longer with --trials"
        )
    return "no candidate keeps every limit: " + "; ".join(reasons)


def _over(problem: Problem, records: Sequence[Record], kind: str) -> str:
    """How far the nearest candidate is above a board limit, empty if one keeps it."""
    nearest = min(records, key=lambda r: r.constraints[kind])
    return _over_text(problem, problem.measure(nearest.plan), kind)


def _over_text(problem: Problem, measured: Measurements, kind: str) -> str:
    """How far a network is above a limit, what takes the most, and what would help; empty if it keeps the limit."""
    flash, ram = measured.flash, measured.ram
    total, limit = (flash.total, problem.max_flash) if kind == "flash" else (ram.total, problem.max_ram)
    if total <= limit:
        return ""
    part, nbytes = max(asdict(flash).items(), key=lambda item: item[1])
    help_ = {
        "flash": f"its largest part is {part} ({nbytes:,} B); a narrower network or a board with more flash would help",
        "ram": f"{ram.peak} sets the peak ({ram.activations:,} B of activations, {ram.decode_buffer:,} B of decode "
        f"buffer, {ram.stack + ram.static:,} B of stack and statics); a smaller input, fewer channels there or a board "
        f"with more RAM would help",
    }
    board = problem.cost.target.flash if kind == "flash" else problem.cost.target.ram
    whose = "the board's" if limit == board else f"--max-{kind}"
    return f"{kind} is {total - limit:,} B above the limit of {limit:,} B ({whose}); {help_[kind]}"


def write_front(problem: Problem, searched: Searched, front: Front, folder: RunFolder) -> dict[str, Any]:
    """Write the points' files and front.json; returns what front.json holds."""
    folder.clear_points()
    for number, point in enumerate(front.points):
        write_point(problem, point.measured.model, folder.point(number))
    described = describe(problem, searched, front)
    write_json(folder.front, described)
    return described


def describe(problem: Problem, searched: Searched, front: Front) -> dict[str, Any]:
    """The front as plain values; accuracies are shares from 0 to 1, drops percentage points."""
    spec, data = problem.spec, problem.data
    pareto = {point.trial for point in front.points}
    return {
        "format": FORMAT,
        "version": version("bqsearch"),
        "created": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "study": spec.name,
        "model": spec.model,
        "target": spec.target,
        "target_title": problem.cost.target.title,
        "data": {
            "name": data.name,
            "classes": len(data.classes),
            "calibration": min(spec.calibration, len(data.train)),
            **{part: len(getattr(data, part)) for part in ("train", "search", "holdout")},
            "fingerprint": data.fingerprint,
            "note": data.note,
        },
        "objectives": [{"name": o.name, "direction": o.direction, "unit": o.unit} for o in problem.objectives],
        "limits": {"flash_bytes": problem.max_flash, "ram_bytes": problem.max_ram, "max_drop": spec.max_drop},
        "constants": dict(problem.cost.target.sources),
        "settings": _settings(problem, searched),
        "layers": [
            {"name": e.layer.name, "operator": e.layer.operator, "shape": list(e.layer.shape), "weights": e.layer.size}
            for e in problem.bank.layers
        ],
        "arena": {"bytes": problem.cost.arena.nbytes, "lower_bound": problem.cost.arena.lower_bound},
        "baseline": _baseline(problem, front),
        "points": [_point(problem, front, number) for number in range(len(front.points))],
        "recommended": front.recommended,
        "reason": front.reason,
        "notes": _notes(problem, front),
        "trials": [_trial(n, record, n in pareto) for n, record in enumerate(searched.records)],
    }


_PARTS = {
    "study": str,
    "model": str,
    "target_title": str,
    "data": dict,
    "limits": dict,
    "settings": dict,
    "layers": list,
}
_PARTS |= {"baseline": dict, "points": list, "trials": list, "objectives": list, "reason": str, "notes": list}
_FIGURES = {
    "accuracy_search",
    "accuracy_holdout",
    "flash_bytes",
    "ram_bytes",
    "latency_ms",
    "energy_mj",
    "flash",
    "ram",
}


def is_front(value: Any) -> bool:
    """Whether plain values have the form that `describe` gives."""
    if not isinstance(value, dict) or value.get("format") != FORMAT or "recommended" not in value:
        return False
    if not all(isinstance(value.get(key), kind) for key, kind in _PARTS.items()):
        return False
    return all(isinstance(entry, dict) and set(entry) >= _FIGURES for entry in (value["baseline"], *value["points"]))


def _notes(problem: Problem, front: Front) -> list[str]:
    """What a careful reader should know."""
    notes = []
    for kind in ("ram", "flash"):
        over = _over_text(problem, front.baseline, kind)
        if over:
            notes.append(f"the int8 baseline does not fit: {over}")
        given, board = getattr(problem.spec, f"max_{kind}"), getattr(problem.cost.target, kind)
        if given is not None and given > board:
            notes.append(f"--max-{kind} of {given:,} B is more than the board has: the limit is {board:,} B")
    reached, guessing = float(front.baseline_holdout.mean()), 1 / len(problem.data.classes)
    if reached <= guessing:
        notes.append(
            f"the baseline is right on {100 * reached:.2f} % of the holdout, and guessing would be on "
            f"{100 * guessing:.2f} %: check that the data's classes come in the order of the model's outputs, "
            f"and --normalize"
        )
    if front.recommended is not None:
        drop = _point(problem, front, front.recommended)["drop_holdout"]
        if drop > problem.spec.max_drop:
            notes.append(
                f"the recommended point loses {drop:.2f} points on the holdout, more than the "
                f"{problem.spec.max_drop:g} allowed on the search split: choosing among many favors lucky ones"
            )
    return notes


def _settings(problem: Problem, searched: Searched) -> dict[str, Any]:
    spec = problem.spec
    return {
        "seed": spec.seed,
        "sampler": spec.sampler,
        "schemes": list(spec.schemes),
        "bias_correction": spec.bias_correction,
        "trials": spec.trials,
        "trials_done": len(searched.records),
        "timeout": spec.timeout,
        "stopped": searched.stopped,
        "seconds": round(searched.seconds, 3),
        "litert_seconds": round(searched.litert_seconds, 3),
    }


def _figures(measured: Measurements, accuracy: float, holdout: Array) -> dict[str, Any]:
    right, count = int(holdout.sum()), len(holdout)
    ram = asdict(measured.ram)
    return {
        "accuracy_search": accuracy,
        "accuracy_holdout": right / count,
        "interval_holdout": list(wilson_interval(right, count)),
        **static_metrics(measured),
        "flash": asdict(measured.flash),
        "peak": ram.pop("peak"),
        "ram": ram,
        "layers": [_layer(entry) for entry in measured.model.layers],
    }


def _layer(entry: Any) -> dict[str, Any]:
    choice = entry.option.choice
    return {
        "name": entry.layer.name,
        "choice": str(choice),
        "scheme": choice.scheme,
        "levels": choice.levels,
        "coding": choice.coding,
        "bytes": entry.option.nbytes,
        "weights": entry.layer.size,
        "bits_per_weight": round(8 * entry.option.nbytes / entry.layer.size, 4),
    }


def _baseline(problem: Problem, front: Front) -> dict[str, Any]:
    measured = front.baseline
    fits = measured.flash.total <= problem.max_flash and measured.ram.total <= problem.max_ram
    return {**_figures(measured, measured.accuracy, front.baseline_holdout), "feasible": fits}


def _point(problem: Problem, front: Front, number: int) -> dict[str, Any]:
    point, before = front.points[number], front.baseline_holdout
    lost, gained = int((before & ~point.holdout).sum()), int((point.holdout & ~before).sum())
    low, high = drop_interval(lost, gained, len(before))
    return {
        "id": number,
        "trial": point.trial,
        **_figures(point.measured, point.record.metrics["accuracy_search"], point.holdout),
        "drop_holdout": 100 * (lost - gained) / len(before),
        "drop_interval": [100 * low, 100 * high],
        "ratio": front.baseline.weight_bytes / point.measured.weight_bytes,
        "feasible": point.record.feasible,
        "plan": point.record.plan.to_json(),
        "files": {"plan": f"points/{number}/{PLAN}", "model": f"points/{number}/{MODEL}"},
    }


def _trial(number: int, record: Record, pareto: bool) -> Mapping[str, Any]:
    return {
        "number": number,
        "accuracy_search": record.metrics.get("accuracy_search"),
        **{key: value for key, value in record.metrics.items() if key != "accuracy_search"},
        "feasible": record.feasible,
        "pareto": pareto,
    }
