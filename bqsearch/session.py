"""One run from its definition to its report: the order in which the rooms are called."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import platformdirs

from bqsearch import registry
from bqsearch.errors import BqsearchError, OutputError
from bqsearch.hardware import target as targets
from bqsearch.interrupt import stop_on_interrupt
from bqsearch.report import facts, html, plots, tables
from bqsearch.report.progress import View
from bqsearch.search import driver, front, prepare
from bqsearch.search import verify as verification
from bqsearch.search.crew import Crew
from bqsearch.search.driver import ALONE
from bqsearch.search.folder import FRONT, RunFolder, disk_errors, opened, write_bytes
from bqsearch.search.prepare import Problem
from bqsearch.search.quality import wilson_interval
from bqsearch.search.record import Record, record_of
from bqsearch.search.scores import Scores
from bqsearch.search.spec import StudySpec, make_spec, read_study
from bqsearch.search.store import TrialStore, open_journal, open_url
from bqsearch.tracking import beginning, process
from bqsearch.tracking.mlflow import local_uri
from bqsearch.tracking.process import TrackerProcess
from bqsearch.tracking.spool import Spool, without_password
from bqsearch.zoo.base import ZooModel

PAGE = "report.html"
NO_TRACKING = NO_SCORES = "none"
_EXPECTED_POINTS = 40  # for the check of free disk
_COPIES = 4  # as a model, as C text of coded weights, and both once more in MLflow's store


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a run ended.

    Attributes:
        found: Whether there is a front.
        interrupted: Whether Ctrl-C ended it.
    """

    found: bool
    interrupted: bool


@dataclass(frozen=True, kw_only=True)
class Means:
    """How a run is made, which has no part in what it finds.

    Attributes:
        resume: Go on with a run that is there.
        tracking_uri: MLflow's; None for a store in the folder, `"none"` for no tracking.
        storage: Optuna's URL; None for a journal in the folder.
        crew: Who runs candidates.
        scores: Folder of scores that are known from other runs; None for the user's cache, `"none"` to know of none.
    """

    resume: bool = False
    tracking_uri: str | None = None
    storage: str | None = None
    crew: Crew = ALONE
    scores: str | None = None


def spec_of(study: str | None, options: Mapping[str, Any]) -> StudySpec:
    """The spec of a study file, where one is named, with the options that were given over it."""
    settings = read_study(study) if study else {}
    return make_spec({**settings, **{key: value for key, value in options.items() if value is not None}})


def run(spec: StudySpec, out: Path | None, means: Means, view: View) -> Outcome:
    """Search, and leave everything in the output folder.

    Args:
        spec: The run's definition.
        out: The folder; None for `runs/STUDY`.
        means: How.
        view: What to show.

    Raises:
        BqsearchError: Anything that a user can mend.
    """
    driver.check_crew(spec, means.crew)
    path = out or Path("runs") / spec.name
    given, _ = prepare.load_model(spec.model)
    nbytes = sum(t.size for t in given.tensors if t.data is not None)  # a byte for each constant, once in 8 bits
    with opened(path, means.resume, _COPIES * _EXPECTED_POINTS * nbytes) as folder:
        with view.stages() as on_stage:
            problem = prepare.prepare(spec, on_stage)
        if problem.data.note:
            view.note(problem.data.note)
        spool = Spool(folder.path)
        store = TrialStore(
            open_url(means.storage) if means.storage else open_journal(folder.journal),
            spec.name,
            driver.directions(problem),
            problem.fingerprint,
            means.resume or means.storage is None,
            alone=means.storage is None,
            driver=spool.run if means.storage else None,
        )
        described = _search(problem, store, spool, folder, means, view)
    interrupted = described["settings"]["stopped"] == "interrupted"
    return Outcome(found=described["recommended"] is not None, interrupted=interrupted)


def _scores(folder: str | None, view: View) -> Scores | None:
    """Scores of other runs; a cache folder that cannot be used is no reason not to search."""
    if folder == NO_SCORES:
        return None
    if folder is not None:
        return Scores(Path(folder))
    try:
        return Scores(platformdirs.user_cache_path("bqsearch"))
    except OutputError as error:
        view.note(f"{error}; until then candidates that were run before are run again")
        return None


def _search(
    problem: Problem, store: TrialStore, spool: Spool, folder: RunFolder, means: Means, view: View
) -> dict[str, Any]:
    uri, scores = means.tracking_uri, _scores(means.scores, view)
    tracked = uri != NO_TRACKING
    told = beginning.params(problem), beginning.tags(problem), beginning.axes(problem)
    spool.start(problem.spec.name, *told, uri if tracked else None)
    tracker = TrackerProcess(folder.path, uri or local_uri(folder.path)) if tracked else None

    def on_trial(number: int, record: Record) -> None:
        spool.trial(number, record)
        bar(number, record)

    try:
        with stop_on_interrupt() as stop:
            trials = driver.all_trials(problem.spec, [record_of(trial) for trial in store.finished()])
            with view.trials(trials, problem.quality.name) as bar:
                searched = driver.search(problem, store, on_trial, stop, means.crew, scores)
            if searched.lost:
                view.warn(_losses(searched.lost))
            with view.stages() as on_stage:
                on_stage("reading the holdout")
                (folder.path / verification.VERIFIED).unlink(missing_ok=True)  # it is of another front
                described = front.write_front(problem, searched, front.make_front(problem, searched, on_stage), folder)
                on_stage("drawing the report")
                draw(described, folder.path)
            spool.example(problem.scorer.inputs[:1])
            spool.end(*_ending(described))
            show(described, folder.path, view)
        if tracker is not None:
            _finish(tracker, view)
        return described
    finally:
        if tracker is not None:
            tracker.abandon()


def _losses(lost: Sequence[str]) -> str:
    times = "once" if len(lost) == 1 else f"{len(lost)} times"
    return f"a worker was lost and replaced {times} ({'; '.join(sorted(set(lost)))}); no trial was lost by that"


def _finish(tracker: TrackerProcess, view: View) -> None:
    try:
        with view.stages() as on_stage:
            tracker.finish(on_stage)
    except BqsearchError as error:
        view.warn(str(error))


def sync(path: Path, tracking_uri: str | None, view: View) -> None:
    """Tell MLflow what it does not have of a run."""
    with view.stages() as on_stage:
        where = process.sync(path, tracking_uri, on_stage)
    view.out.print(f"MLflow has all of {path}: {without_password(where)}", highlight=False)


def draw(described: Mapping[str, Any], path: Path) -> None:
    """Write the figures and `report.html`, with what `verify` found of this front."""
    with disk_errors(path):
        plots.draw(described, path)
    write_bytes(path / PAGE, html.report_html(described, verification.read(path)).encode())


def show(described: Mapping[str, Any], path: Path, view: View) -> None:
    """Print the table, what is recommended and where the files are; or the JSON."""
    if view.as_json:
        print(json.dumps(described, indent=1))
        return
    view.out.print(tables.front_table(described, view.out.width))
    view.out.print(tables.summary(described))
    for note in described["notes"]:
        view.note(note)
    files = [PAGE, *plots.FIGURES, FRONT, *(["points/"] if described["points"] else [])]
    view.out.print(f"files: {path}/ ({', '.join(files)})", highlight=False)
    if view.quiet and described["recommended"] is None:
        view.warn(described["reason"])


def verify(path: Path, points: str | None, inputs: int, now: verification.Whereabouts, view: View) -> bool:
    """Check a run's points as they are on the board, and print pass or fail for each; whether all pass.

    Args:
        path: The run's folder.
        points: Their numbers, separated by commas, or `"recommended"`; None for all.
        inputs: How many of the holdout's inputs to run.
        now: Where the run's model and data lie.
        view: What to show.

    Raises:
        OutputError: The run has no points, or not those.
        BqsearchError: What the points were made from is gone or has changed.
    """
    described = read_front(path)
    if not described["points"]:
        raise OutputError(f"{path} has no points to verify: {described['reason']}")
    with view.stages() as on_stage:
        target = targets.load(described["target"])
        chosen = {**described, "points": _chosen(described, points)}
        checked = list(verification.verify(chosen, path, target, inputs, now, on_stage))
    view.out.print(tables.verification(checked))
    verification.write(checked, path)
    draw(described, path)
    return all(point.passed for point in checked)


def _chosen(described: Mapping[str, Any], points: str | None) -> list[Mapping[str, Any]]:
    """The points that are named."""
    every = {str(point["id"]): point for point in described["points"]}
    if points is None:
        return list(every.values())
    if points == "recommended":
        if described["recommended"] is None:
            raise OutputError("the run recommends no point: name points by their numbers")
        return [described["points"][described["recommended"]]]
    names = [name.strip() for name in points.split(",")]
    if unknown := [name for name in names if name not in every]:
        raise OutputError(f"the run has no point {unknown[0]!r}: it has {', '.join(every)}, or `recommended`")
    return [every[name] for name in dict.fromkeys(names)]


def read_front(path: Path) -> dict[str, Any]:
    """The front.json of a run's folder.

    Raises:
        OutputError: There is none, or it is not one of ours.
    """
    try:
        described = json.loads((path / FRONT).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise OutputError(f"{path} holds no finished run: cannot read {FRONT} ({error})") from error
    if not front.is_front(described):
        raise OutputError(f"{path / FRONT} is not a front of this version of bqsearch")
    return described


def train(name: str, data: str | None, out: Path, choices: Mapping[str, int | None], view: View) -> None:
    """Train a built-in model again, and say what it reaches.

    Args:
        name: Registry name.
        data: Name or path of what it is trained on; None for its own set.
        out: The .tflite file to write.
        choices: Fields of the recipe that are to differ; None leaves one as it is.
        view: What to show.
    """
    zoo: ZooModel = registry.load("model", name)
    recipe = replace(zoo.recipe, **{key: value for key, value in choices.items() if value is not None})
    if out.exists():
        raise OutputError(f"{out} exists and is not overwritten: choose another --out")
    with disk_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    loaded = prepare.training_data(zoo, data)
    split = loaded.train
    assert split.y is not None
    with view.epochs(recipe.epochs) as on_epoch:
        content = zoo.train(recipe, split.x, split.y, on_epoch)
    write_bytes(out, content)
    right, count = prepare.float_score(out, loaded)
    low, high = wilson_interval(right, count)
    view.out.print(
        f"wrote {out} ({len(content):,} B): {100 * right / count:.2f} % of the search split's {count} inputs "
        f"(95 % interval {100 * low:.2f} to {100 * high:.2f}), in float",
        highlight=False,
    )


def _ending(
    described: Mapping[str, Any],
) -> tuple[str, dict[int, dict[str, float]], dict[str, float], list[str], int | None]:
    """What the tracker is told at the end: status, the front's final figures, the run's, files, what is recommended."""
    status = "KILLED" if described["settings"]["stopped"] == "interrupted" else "FINISHED"
    search, holdout = (facts.quality_key(described, split) for split in ("search", "holdout"))
    pareto = {
        point["trial"]: {key: point[key] for key in (holdout, "drop_holdout", "ratio")} for point in described["points"]
    }
    metrics = {f"baseline_{key}": described["baseline"][key] for key in (search, holdout, "flash_bytes", "ram_bytes")}
    if (given := described["given"]) is not None:
        metrics |= {f"{given['kind']}_{key}": given[key] for key in (search, holdout)}
    if described["recommended"] is not None:
        best = described["points"][described["recommended"]]
        keys = (search, holdout, "flash_bytes", "ram_bytes", "latency_ms", "energy_mj", "ratio")
        metrics |= {f"recommended_{key}": best[key] for key in keys}
    files = [FRONT, PAGE, *plots.FIGURES, *(["points"] if described["points"] else [])]
    return status, pareto, metrics, files, described["recommended"]
