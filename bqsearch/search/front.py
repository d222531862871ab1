"""From trials to the front: pick, read the holdout once, recommend, and describe it all as front.json."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from threading import Lock
from typing import Any

import numpy as np

from bqsearch.errors import ModelError
from bqsearch.graph.ops import operator_names
from bqsearch.measure import Measurements, Scorer
from bqsearch.runtime import int8
from bqsearch.search.driver import Searched, directions
from bqsearch.search.expected import Estimate, estimates
from bqsearch.search.figures import figures, is_memory
from bqsearch.search.folder import RunFolder, write_json
from bqsearch.search.pareto import undominated
from bqsearch.search.planfile import file_names, write_point
from bqsearch.search.prepare import RUNTIME_NAMES, OnStage, Problem
from bqsearch.search.quality import ACCURACY, CONFIDENCE
from bqsearch.search.record import ERROR, INPUTS, Record
from bqsearch.types import Floats

FORMAT = 1
_APART = 1.15  # ratio in flash from which points that are expected to lose the same are both worth showing


@dataclass(frozen=True, kw_only=True, eq=False)
class Point:
    """One point of the front.

    Attributes:
        trial: Number of the trial that found it.
        record: What the search found out.
        estimate: What it is expected to lose.
        measured: Its readings.
        holdout: Its scores on the holdout, `(n,)`.
    """

    trial: int
    record: Record
    estimate: Estimate
    measured: Measurements
    holdout: Floats


@dataclass(frozen=True, kw_only=True, eq=False)
class Front:
    """The result of a search.

    Attributes:
        baseline: The uncompressed network.
        before: Its scores on the search split and on the holdout, `(n,)` each.
        litert: Its scores on the holdout in LiteRT, `(n,)`, which is what others report of it.
        given: The same of the float or uint8 network that it was made from; None where it was searched as it came.
        points: By flash, smallest first.
        refused: Why trials that belong on the front are not there, by number: the board's interpreter aborts.
        recommended: Position in `points`, None if there are none.
        reason: Why, or why none, in words.
        scorer: Of the holdout.
    """

    baseline: Measurements
    before: tuple[Floats, Floats]
    litert: Floats
    given: tuple[Floats, Floats] | None
    points: tuple[Point, ...]
    refused: Mapping[int, str]
    recommended: int | None
    reason: str
    scorer: Scorer


def make_front(problem: Problem, searched: Searched, on_stage: OnStage) -> Front:
    """Choose the points on the search split, read the holdout once for each, and recommend one.

    A point that the board's interpreter aborts on is left out. The holdout's scores have no part in the choice.
    """
    chosen = pareto_trials(problem, searched.records)
    told = _Told(on_stage, RUNTIME_NAMES[problem.cost.target.runtime], len(problem.data.holdout) * (1 + len(chosen)))
    scorer = problem.holdout_scorer(told)
    baseline = searched.baseline
    before = problem.quality.scores(scorer, scorer.reference)
    expected = _expected(problem, searched.records)
    read = {n: _read_point(problem, searched.records[n], n, expected[n], scorer) for n in chosen}
    points = tuple(point for point in read.values() if isinstance(point, Point))
    refused = {number: str(point) for number, point in read.items() if isinstance(point, ModelError)}
    recommended, reason = recommend(problem, [(point.record, point.estimate) for point in points], searched)
    if refused and not points:
        reason = f"every candidate for the front is left out: {next(iter(refused.values()))}"
    given = None
    if problem.given is not None:
        splits = ((problem.data.search, problem.scorer), (problem.data.holdout, scorer))
        given = (problem.given_scores(*splits[0]), problem.given_scores(*splits[1]))
    return Front(
        baseline=baseline,
        before=(problem.quality.scores(baseline.scorer, baseline.outputs), before),
        litert=_litert_scores(problem, scorer, before),
        given=given,
        points=points,
        refused=refused,
        recommended=recommended,
        reason=reason,
        scorer=scorer,
    )


def _litert_scores(problem: Problem, scorer: Scorer, before: Floats) -> Floats:
    if scorer.engine.name == problem.scorer.engine.name:
        return before
    litert = problem.litert_holdout_scorer()
    return problem.quality.scores(litert, litert.reference)


class _Told:
    """Says how far the reading of the holdout is; called from several threads."""

    def __init__(self, on_stage: OnStage, runtime: str, total: int) -> None:
        self._on_stage, self._runtime, self._total, self._done = on_stage, runtime, total, 0
        self._lock = Lock()

    def __call__(self, count: int) -> None:
        with self._lock:
            self._done += count
            self._on_stage(f"reading the holdout on {self._runtime}: {self._done:,} of {self._total:,} inputs")


def _read_point(problem: Problem, record: Record, trial: int, estimate: Estimate, scorer: Scorer) -> Point | ModelError:
    measured = problem.measure(record.plan)
    try:
        scores = problem.quality.scores(scorer, scorer.outputs(measured.model))
    except ModelError as error:
        return error
    return Point(trial=trial, record=record, estimate=estimate, measured=measured, holdout=scores)


def pareto_trials(problem: Problem, records: Sequence[Record]) -> list[int]:
    """Numbers of the trials that keep the limits and that no other of them beats, by flash; twins count once.

    They are compared by the quality that they are expected to have, for the luckiest of many trials would beat all.
    """
    expected = _expected(problem, records)
    kept = [n for n, record in enumerate(records) if _keeps(problem, record, expected.get(n))]
    if not kept:
        return []
    risks = {n: (expected[n].drop, records[n].metrics[ERROR]) for n in kept}
    ranks = {risk: rank for rank, risk in enumerate(sorted(set(risks.values())))}
    values = np.array([_values(problem, records[n], ranks[risks[n]]) for n in kept])
    front = [kept[i] for i in undominated(values, directions(problem))]
    front.sort(key=lambda n: (records[n].metrics["flash_bytes"], n))
    return _thinned(front, records, expected)


def _thinned(front: Sequence[int], records: Sequence[Record], expected: Mapping[int, Estimate]) -> list[int]:
    """Without those that are expected to lose as much as a point of nearly their flash, with no more RAM."""
    kept: list[int] = []
    for number in front:
        metrics = records[number].metrics
        alike = [records[n].metrics for n in kept if expected[n].drop == expected[number].drop]
        near = [m for m in alike if m["flash_bytes"] * _APART > metrics["flash_bytes"]]
        if not any(m["ram_bytes"] <= metrics["ram_bytes"] for m in near):
            kept.append(number)
    return kept


def _expected(problem: Problem, records: Sequence[Record]) -> Mapping[int, Estimate]:
    return estimates(records, problem.spec.max_drop)


def _keeps(problem: Problem, record: Record, estimate: Estimate | None) -> bool:
    """Whether a trial was run, keeps the limits of the board and is expected to keep that of the drop."""
    hard = all(excess <= 0 for name, excess in record.constraints.items() if name != "drop")
    return estimate is not None and hard and estimate.drop <= problem.spec.max_drop


def _values(problem: Problem, record: Record, rank: int) -> list[float]:
    """Of the objectives; for the quality, the rank of what is risked: outputs decide between drops alike."""
    assert record.values is not None
    named = zip(problem.objectives, record.values, strict=True)
    return [-float(rank) if objective.name == problem.quality.name else value for objective, value in named]


def recommend(
    problem: Problem, points: Sequence[tuple[Record, Estimate]], searched: Searched
) -> tuple[int | None, str]:
    """The point to take, and why; the holdout has no part in it."""
    if not points:
        return None, why_nothing(problem, searched)
    count, most, name = len(problem.data.search), problem.spec.max_drop, problem.quality.name
    for index, (record, estimate) in enumerate(points):
        if estimate.bound <= most:
            flash = f"{int(record.metrics['flash_bytes']):,} B"
            return index, (
                f"smallest flash ({flash}) of the points whose drop in {name} has a 95 % bound of at most {most:g} "
                f"(bound {estimate.bound:.2f} points, from the search split, corrected for the choice among "
                f"{len(searched.records)} trials)"
            )
    index = int(np.argmin([estimate.bound for _, estimate in points]))
    finest = 100 * problem.quality.drop_bound(np.zeros(count))
    small = f"; with {count} inputs one that loses nothing has a bound of {finest:.2f}: a larger split would help"
    small = small if finest > most else ""
    return index, (
        f"no point's drop in {name} has a 95 % bound of at most {most:g}; this one comes nearest (bound "
        f"{points[index][1].bound:.2f} points, from the search split, corrected for the choice among "
        f"{len(searched.records)} trials{small})"
    )


def why_nothing(problem: Problem, searched: Searched) -> str:
    """What stands in the way when no trial is feasible, by how much, and what would help."""
    if not searched.records:
        return "no trial was finished"
    reasons = [text for kind in ("ram", "flash") if (text := _over(problem, searched.records, kind))]
    expected = _expected(problem, searched.records)
    run = [estimate.drop for estimate in expected.values()]
    if run and not reasons:
        reasons.append(
            f"the best candidate is expected to lose {min(run):.2f} points of {problem.quality.name}, "
            f"{problem.spec.max_drop:g} are allowed: allow more with --max-drop, or search longer with --trials"
        )
    if not run and not reasons:
        reasons.append(
            f"some keep the limit of {problem.max_flash:,} B of flash and some that of {problem.max_ram:,} B of RAM, "
            f"but none keeps both: raise --max-flash or --max-ram, or search longer with --trials"
        )
    return "no candidate keeps every limit: " + "; ".join(reasons)


def _over(problem: Problem, records: Sequence[Record], kind: str) -> str:
    """How far the nearest candidate is above a board limit, what takes the most, and what would help; or nothing."""
    plans = [problem.bank.baseline, min(records, key=lambda r: r.constraints[kind]).plan]
    read = [problem.measure(plan) for plan in plans]
    measured = min(read, key=lambda m: m.ram.total if kind == "ram" else m.flash.total)
    excess = _excess(problem, measured, kind)
    flash, ram = measured.flash, measured.ram
    part, nbytes = max(asdict(flash).items(), key=lambda item: item[1])
    help_ = {
        "flash": f"its largest part is {part} ({nbytes:,} B); a narrower network or a board with more flash would help",
        "ram": f"{ram.peak} sets the peak ({ram.activations:,} B of activations, {ram.decode_buffer:,} B of decode "
        f"buffer, {ram.stack + ram.static:,} B of stack and statics); a smaller input, fewer channels there or a board "
        f"with more RAM would help",
    }
    return f"{excess}; {help_[kind]}" if excess else ""


def _excess(problem: Problem, measured: Measurements, kind: str) -> str:
    """How far a network is above a board limit, empty if it keeps it."""
    total, limit = {
        "flash": (measured.flash.total, problem.max_flash),
        "ram": (measured.ram.total, problem.max_ram),
    }[kind]
    whose = "the board's" if limit == getattr(problem.cost.target, kind) else f"--max-{kind}"
    return f"{kind} is {total - limit:,} B above the limit of {limit:,} B ({whose})" if total > limit else ""


def write_front(problem: Problem, searched: Searched, front: Front, folder: RunFolder) -> dict[str, Any]:
    """Write the points' files and front.json; returns what front.json holds."""
    folder.clear_points()
    for number, point in enumerate(front.points):
        write_point(problem, point.measured.model, folder.point(number))
    described = describe(problem, searched, front)
    write_json(folder.front, described)
    return described


def describe(problem: Problem, searched: Searched, front: Front) -> dict[str, Any]:
    """The front as plain values; accuracies and fidelities are shares, 1 at best, drops percentage points."""
    spec, data = problem.spec, problem.data
    pareto = {point.trial for point in front.points}
    expected = _expected(problem, searched.records)
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
        "quality": {key: getattr(problem.quality, key) for key in ("name", "summary", "intervals")},
        "objectives": [{"name": o.name, "direction": o.direction, "unit": o.unit} for o in problem.objectives],
        "limits": {"flash_bytes": problem.max_flash, "ram_bytes": problem.max_ram, "max_drop": spec.max_drop},
        "constants": dict(problem.cost.target.sources),
        "settings": _settings(problem, searched),
        "layers": [
            {"name": e.layer.name, "operator": e.layer.operator, "shape": list(e.layer.shape), "weights": e.layer.size}
            for e in problem.bank.layers
        ],
        "operators": list(operator_names(problem.graph)),
        "footprint": problem.cost.footprint.provenance,
        "arena": {"bytes": problem.cost.footprint.activations, "lower_bound": problem.cost.footprint.lower_bound},
        "engines": {"search": problem.scorer.engine.name, "holdout": front.scorer.engine.name},
        "given": _given(problem, front),
        "baseline": _baseline(problem, front),
        "points": [_point(problem, front, number) for number in range(len(front.points))],
        "recommended": front.recommended,
        "reason": front.reason,
        "notes": _notes(problem, front),
        "trials": [_trial(problem, n, r, n in pareto, expected.get(n)) for n, r in enumerate(searched.records)],
    }


_PARTS = {
    "study": str,
    "model": str,
    "target_title": str,
    "data": dict,
    "quality": dict,
    "engines": dict,
    "footprint": str,
    "arena": dict,
    "limits": dict,
    "settings": dict,
    "layers": list,
    "operators": list,
}
_PARTS |= {"baseline": dict, "points": list, "trials": list, "objectives": list, "reason": str, "notes": list}
_SETTINGS = {"inputs_run", "inputs_spared", "inputs_known"}
_TRIAL = {"number", INPUTS, "given_up", "feasible"}
_FIGURES = {"flash_bytes", "ram_bytes", "latency_ms", "energy_mj", "flash", "ram", "memory", "interval_holdout"}


def is_front(value: Any) -> bool:
    """Whether plain values have the form that `describe` gives."""
    if not isinstance(value, dict) or value.get("format") != FORMAT or not {"recommended", "given"} <= set(value):
        return False
    if not all(isinstance(value.get(key), kind) for key, kind in _PARTS.items()):
        return False
    if not (set(value["settings"]) >= _SETTINGS and all(set(trial) >= _TRIAL for trial in value["trials"])):
        return False
    wanted = _FIGURES | {f"{value['quality'].get('name')}_{split}" for split in ("search", "holdout")}
    entries, count = (value["baseline"], *value["points"]), len(value["operators"])
    return all(isinstance(e, dict) and set(e) >= wanted and is_memory(e["memory"], count) for e in entries)


def _notes(problem: Problem, front: Front) -> list[str]:
    """What a careful reader should know."""
    notes = [*_limit_notes(problem, front), *_runtime_notes(problem, front)]
    notes += (_accuracy_notes if problem.quality is ACCURACY else _fidelity_notes)(problem, front)
    if front.recommended is not None:
        drop = _point(problem, front, front.recommended)["drop_holdout"]
        if drop > problem.spec.max_drop:
            notes.append(
                f"the recommended point loses {drop:.2f} points of {problem.quality.name} on the holdout, more than "
                f"the {problem.spec.max_drop:g} allowed on the search split: each split's inputs have luck of their own"
            )
    return notes


def _limit_notes(problem: Problem, front: Front) -> Iterator[str]:
    over = [text for kind in ("ram", "flash") if (text := _excess(problem, front.baseline, kind))]
    if over:
        yield f"the {_kind(problem)} baseline does not fit: {'; '.join(over)}"
    for kind in ("ram", "flash"):
        given, board = getattr(problem.spec, f"max_{kind}"), getattr(problem.cost.target, kind)
        if given is not None and given > board:
            yield f"--max-{kind} of {given:,} B is more than the board has: the limit is {board:,} B"


def _accuracy_notes(problem: Problem, front: Front) -> Iterator[str]:
    if problem.data.halved or front.scorer.engine.name != problem.scorer.engine.name:
        halves = (front.before[0], front.litert)
        shown = halves if problem.data.halved else (front.litert,)
        where = "both halves of the data together" if problem.data.halved else "the holdout"
        figures = f"the {_kind(problem)} baseline is right on {_share_of(shown)}"
        if front.given is not None:
            figures += f", the {_given_kind(problem)} network on {_share_of(front.given[-len(shown) :])}"
        yield f"in LiteRT, on {where}: {figures}"
    reached, guessing = float(front.before[1].mean()), 1 / len(problem.data.classes)
    if reached <= guessing:
        yield (
            f"the baseline is right on {100 * reached:.2f} % of the holdout, and guessing would be on "
            f"{100 * guessing:.2f} %: check --normalize, and that the data's classes ({_listed(problem.data.classes)}) "
            f"come in the order of the model's outputs; if not, --classes A,B,... orders them"
        )


def _fidelity_notes(problem: Problem, front: Front) -> Iterator[str]:
    if any((scorer.reference == scorer.reference[0]).all() for scorer in (problem.scorer, front.scorer)):
        yield f"the {_kind(problem)} baseline gives one and the same output for a whole split: fidelity says little"
    if front.given is not None:
        kept = 100 * front.given[1].mean()
        yield (
            f"the {_given_kind(problem)} network's outputs have a fidelity of {kept:.2f} % to the baseline's on "
            f"the holdout: what quantizing changed comes on top of a point's drop"
        )


def _given(problem: Problem, front: Front) -> dict[str, Any] | None:
    """The scores of the network as it was given, and in what type."""
    return None if front.given is None else {"kind": _given_kind(problem), **_scored(problem, *front.given)}


def _kind(problem: Problem) -> str:
    return problem.graph.input.dtype


def _given_kind(problem: Problem) -> str:
    assert problem.given is not None
    return "float" if int8.is_float(problem.given) else "uint8"


def _runtime_notes(problem: Problem, front: Front) -> Iterator[str]:
    """What is particular to the board's runtime."""
    if problem.obstacle is not None:
        yield (
            f"accuracy and fidelity on the holdout are LiteRT's, whose rounding may differ from the board's by a step, "
            f"for its runtime cannot be built here: {problem.obstacle}"
        )
    if front.given is not None and _given_kind(problem) == "uint8":
        yield (
            "TensorFlow Lite Micro has no uint8 kernels: the network is converted to int8, activations exactly, "
            "weights to symmetric codes of each channel, which rounds again; the uint8 line is LiteRT's"
        )
    for trial, reason in front.refused.items():
        yield f"trial {trial} would be on the front, but is left out: {reason}"


def _share_of(halves: tuple[Floats, ...]) -> str:
    right = np.concatenate(halves)
    return f"{int(right.sum()):,} of {len(right):,} ({100 * right.mean():.2f} %)"


def _listed(names: tuple[str, ...], most: int = 6) -> str:
    return ", ".join(names if len(names) <= most else (*names[: most - 1], "..."))


def _settings(problem: Problem, searched: Searched) -> dict[str, Any]:
    spec = problem.spec
    return {
        "seed": spec.seed,
        "sampler": spec.sampler,
        "max_bins": spec.max_bins,
        "schemes": list(spec.schemes),
        "prune": list(spec.prune),
        **asdict(spec.method),
        "equalization": spec.equalization,
        "trials": searched.trials,
        "polish": spec.polish,
        "trials_done": len(searched.records),
        "timeout": spec.timeout,
        "stopped": searched.stopped,
        "seconds": round(searched.seconds, 3),
        "litert_seconds": round(searched.spent.seconds, 3),
        "inputs_run": searched.spent.inputs,
        "inputs_spared": searched.spent.spared,
        "inputs_known": searched.spent.known,
    }


def _scored(problem: Problem, search: Floats, holdout: Floats) -> dict[str, Any]:
    """A network's scores on both splits."""
    name = problem.quality.name
    return {
        f"{name}_search": float(search.mean()),
        f"{name}_holdout": float(holdout.mean()),
        "interval_holdout": list(problem.quality.interval(holdout, CONFIDENCE)),
    }


def _baseline(problem: Problem, front: Front) -> dict[str, Any]:
    measured = front.baseline
    fits = measured.flash.total <= problem.max_flash and measured.ram.total <= problem.max_ram
    return {**_scored(problem, *front.before), **figures(measured), "feasible": fits}


def _point(problem: Problem, front: Front, number: int) -> dict[str, Any]:
    point, quality = front.points[number], problem.quality
    drops = front.before[1] - point.holdout
    return {
        "id": number,
        "trial": point.trial,
        **{key: value for key, value in point.record.metrics.items() if key.endswith("_search")},
        f"{quality.name}_holdout": float(point.holdout.mean()),
        "interval_holdout": list(quality.interval(point.holdout, CONFIDENCE)),
        **figures(point.measured),
        "drop_expected": point.estimate.drop,
        "drop_bound": point.estimate.bound,
        "drop_holdout": 100 * float(drops.mean()),
        "drop_interval": [100 * end for end in quality.drop_interval(drops, CONFIDENCE)],
        "ratio": front.baseline.weight_bytes / point.measured.weight_bytes,
        "feasible": _keeps(problem, point.record, point.estimate),
        "plan": point.record.plan.to_json(),
        "files": {key: f"points/{number}/{name}" for key, name in file_names(problem.cost.target.runtime).items()},
    }


def _trial(problem: Problem, number: int, record: Record, pareto: bool, estimate: Estimate | None) -> Mapping[str, Any]:
    """Figures of one that was given up are estimates, from as many inputs as it was run on."""
    return {
        "number": number,
        f"{problem.quality.name}_search": None,
        INPUTS: 0,
        **record.metrics,
        "given_up": record.given_up,
        "drop_expected": None if estimate is None else estimate.drop,
        "feasible": _keeps(problem, record, estimate),
        "pareto": pareto,
    }
