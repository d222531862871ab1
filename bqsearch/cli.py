"""The command line: wiring only."""

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from bqsearch.errors import BqsearchError
from bqsearch.interrupt import EXIT_STATUS, quit_on_interrupt

BESIDES = {  # options of no study
    *("study", "out", "resume", "tracking_uri", "storage", "quiet", "as_json", "debug"),
    *("workers", "ray", "worker_timeout", "scores"),
}
EXIT_ERROR, EXIT_NOTHING_FITS, EXIT_NOT_VERIFIED, EXIT_INTERRUPTED = 1, 3, 4, EXIT_STATUS

app = typer.Typer(
    name="bqsearch",
    help="Search for the smallest versions of a trained network that really fit and run on a microcontroller.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _option(text: str, *, default: str = "", metavar: str | None = None) -> Any:
    """An option whose default stands in the study or the spec, and so only in words here."""
    shown = f"{text} [dim]\\[default: {default}][/dim]" if default else text
    return typer.Option(help=shown, metavar=metavar, show_default=False)


Model = Annotated[
    str | None, _option("Built-in model, .tflite, .keras or .h5 file, or SavedModel folder.", metavar="NAME|PATH")
]
Data = Annotated[
    str | None,
    _option(
        "Built-in data set, .npz (x_train, y_train, x_test, y_test) or folder of class folders; labels may be missing.",
        default="the built-in model's own",
        metavar="NAME|PATH",
    ),
]
Features = Annotated[
    str | None,
    _option(
        "Turn images of 28x28 pixels into features first: profiles.",
        default="the built-in model's own, or none",
        metavar="NAME",
    ),
]
Normalize = Annotated[
    str | None,
    _option(
        "The model's real input is (pixel or feature - MEAN) / STD.", default="pixels as they are", metavar="MEAN,STD"
    ),
]
Classes = Annotated[
    str | None,
    _option(
        "The data's classes in the order of the model's outputs.", default="the data's own order", metavar="A,B,..."
    ),
]
Target = Annotated[str | None, _option("Board, or TOML file that describes one.", metavar="NAME|FILE")]
Study = Annotated[str | None, _option("Study, or TOML file; options given beside it win.", metavar="NAME|FILE")]
Objectives = Annotated[
    str | None,
    _option(
        "What to search for, two or more.",
        default="accuracy,flash,ram; without labels fidelity,flash,ram",
        metavar="A,B,...",
    ),
]
MaxDrop = Annotated[
    float | None,
    _option(
        "Accuracy (or fidelity, without accuracy) that may be lost against the int8 baseline, percentage points.",
        default="1.0",
        metavar="POINTS",
    ),
]
MaxFlash = Annotated[str | None, _option("Limit of flash: bytes, or 64K, 1M.", default="the board's", metavar="BYTES")]
MaxRam = Annotated[str | None, _option("Limit of RAM: bytes, or 12K.", default="the board's", metavar="BYTES")]
Trials = Annotated[
    int | None,
    _option(
        "Trials of the sampler, resumed ones included; more may be given with --resume.", default="200", metavar="COUNT"
    ),
]
Polish = Annotated[
    int | None,
    _option(
        "Trials after them that compress promising candidates once more, layer after layer; as many again where "
        "--resume adds some.",
        default="16",
        metavar="COUNT",
    ),
]
Schemes = Annotated[
    str | None, _option("Quantizers to choose from (see `list schemes`).", default="entropy,kmeans", metavar="A,B,...")
]
Prune = Annotated[
    str | None,
    _option("Prune weights before quantizing: std, percentile, saliency.", default="none", metavar="A,B,..."),
]
Calibration = Annotated[
    int | None, _option("Inputs of the train split that are calibrated on.", default="256", metavar="COUNT")
]
BiasCorrection = Annotated[
    bool | None,
    typer.Option("--bias-correction/--no-bias-correction", help="Biases take up the mean error.", show_default="on"),
]
Weighting = Annotated[
    bool | None,
    typer.Option(
        "--activation-weighting/--no-activation-weighting",
        help="Codebooks are fitted for the layer's output, not for its weights.",
        show_default="on",
    ),
]
Compensation = Annotated[
    bool | None,
    typer.Option(
        "--error-compensation/--no-error-compensation",
        help="Errors of weights are made up for by others.",
        show_default="on",
    ),
]
Equalization = Annotated[
    bool | None,
    typer.Option(
        "--equalization/--no-equalization",
        help="Equalize a float model's layers before it becomes int8.",
        show_default="off",
    ),
]
Timeout = Annotated[
    float | None, _option("Begin no trial after this much searching.", default="none", metavar="SECONDS")
]
Sampler = Annotated[str | None, _option("Who proposes after the first sweep.", default="rd", metavar="NAME")]
Seed = Annotated[int | None, _option("The same seed gives the same front.", default="0", metavar="N")]
Out = Annotated[Path | None, _option("Output folder.", default="runs/STUDY", metavar="DIR")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the run in the output folder.")]
TrackingUri = Annotated[
    str | None,
    _option("MLflow server or store; `none` tracks nothing.", default="SQLite in the output folder", metavar="URI"),
]
Storage = Annotated[
    str | None,
    _option(
        "Database for the trials, postgresql://USER@HOST/DB or sqlite:///FILE.",
        default="journal file in the output folder",
        metavar="URL",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        help="Candidates that are run at a time, each by a process. "
        "[dim]\\[default: 1; with --ray the cluster's cores][/dim]",
        metavar="COUNT",
        show_default=False,
        min=1,
    ),
]
Ray = Annotated[
    str | None,
    _option(
        "Run candidates on a Ray cluster (needs the extra `ray`): its address, `auto` for the one that this machine is "
        "part of; without an address one is started here.",
        default="no cluster",
        metavar="[ADDRESS]",
    ),
]
WorkerTimeout = Annotated[
    float,
    typer.Option(
        help="Seconds after which a worker that is still at a candidate is taken to hang, and replaced. "
        "[dim]\\[default: 1,800][/dim]",
        metavar="SECONDS",
        show_default=False,
        min=0.1,
    ),
]
ScoresFolder = Annotated[
    str | None,
    _option(
        "Folder of scores that are known from other runs; `none` to know of none.",
        default="the user's cache folder",
        metavar="DIR",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but warnings and errors.")]
Json = Annotated[bool, typer.Option("--json", help="Print front.json on standard output, and nothing else there.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show an error's traceback.")]


class Kind(StrEnum):
    """What `bqsearch list` lists."""

    models = "models"
    targets = "targets"
    schemes = "schemes"
    objectives = "objectives"
    datasets = "datasets"
    samplers = "samplers"
    studies = "studies"


@app.command()
def run(
    context: typer.Context,
    model: Model = None,
    data: Data = None,
    features: Features = None,
    normalize: Normalize = None,
    classes: Classes = None,
    target: Target = None,
    study: Study = None,
    objectives: Objectives = None,
    max_drop: MaxDrop = None,
    max_flash: MaxFlash = None,
    max_ram: MaxRam = None,
    trials: Trials = None,
    polish: Polish = None,
    schemes: Schemes = None,
    prune: Prune = None,
    calibration: Calibration = None,
    bias_correction: BiasCorrection = None,
    activation_weighting: Weighting = None,
    error_compensation: Compensation = None,
    equalization: Equalization = None,
    timeout: Timeout = None,
    sampler: Sampler = None,
    seed: Seed = None,
    out: Out = None,
    resume: Resume = False,
    tracking_uri: TrackingUri = None,
    storage: Storage = None,
    workers: Workers = None,
    ray: Ray = None,
    worker_timeout: WorkerTimeout = 1800.0,
    scores: ScoresFolder = None,
    quiet: Quiet = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Search a model for a board, and leave a Pareto front with files.

    Names that may be given: `bqsearch list models`, `targets`, `datasets`, ... Exit status: 0 with a front, 1 on an
    error, 3 where nothing fits, 130 after Ctrl-C (what has been found is kept).
    """
    with errors_in_one_line(debug):
        from bqsearch import session
        from bqsearch.report.progress import View

        spec = session.spec_of(study, _settings(context))
        outcome = session.run(spec, out, _means(context), View(quiet=quiet, as_json=as_json))
    if outcome.interrupted:
        raise typer.Exit(EXIT_INTERRUPTED)
    raise typer.Exit(0 if outcome.found else EXIT_NOTHING_FITS)


def _means(context: typer.Context) -> Any:
    """How runs are made, by the options that are no study's."""
    from bqsearch.search.crew import Crew
    from bqsearch.session import Means

    given = context.params
    crew = Crew(workers=given["workers"], ray=given["ray"], patience=given["worker_timeout"])
    return Means(crew=crew, **{name: given[name] for name in ("resume", "tracking_uri", "storage", "scores")})


@app.command()
def sweep(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="TOML file with models, targets, seeds, settings.", metavar="FILE.toml")],
    out: Annotated[Path | None, _option("Folder of the runs' folders.", default="runs/NAME", metavar="DIR")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the runs in the output folder.")] = False,
    tracking_uri: TrackingUri = None,
    storage: Storage = None,
    workers: Workers = None,
    ray: Ray = None,
    worker_timeout: WorkerTimeout = 1800.0,
    scores: ScoresFolder = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Search every model for every target with every seed, over one pool of workers, and compare what came of it.

    The file has `models` (names, files, or tables with the model's own `data` and other settings), `targets` and
    `seeds`; every other key is a setting of all studies. A run that fails is named and does not end the sweep. Exit
    status: 0 if all runs found a front, 1 if one failed, 3 if for one nothing fits, 130 after Ctrl-C.
    """
    with errors_in_one_line(debug):
        from bqsearch import sweep as sweeps
        from bqsearch.report.progress import View

        swept = sweeps.run(file, out, _means(context), View(quiet=quiet))
    if swept.interrupted:
        raise typer.Exit(EXIT_INTERRUPTED)
    raise typer.Exit(EXIT_ERROR if swept.failed else 0 if swept.found else EXIT_NOTHING_FITS)


def _settings(context: typer.Context) -> dict[str, Any]:
    """The options of `run` that define what is searched, by the names that they have in a study."""
    return {name: value for name, value in context.params.items() if name not in BESIDES}


@app.command("list")
def list_(kind: Annotated[Kind, typer.Argument(help="What to list.")], debug: Debug = False) -> None:
    """List the names that the options of `run` take."""
    with errors_in_one_line(debug):
        from rich.console import Console

        from bqsearch.report import catalog

        Console().print(catalog.table(kind.value))


@app.command()
def apply(
    plan: Annotated[Path, typer.Argument(help="A point's plan.json.", metavar="PLAN.json")],
    model: Annotated[str, typer.Option(help="The model that the plan was made for.", metavar="NAME|FILE")],
    out: Annotated[Path, typer.Option(help="Folder for the point's files.", metavar="DIR")],
    data: Annotated[
        str | None, _option("Where the plan's data lies now.", default="where it was", metavar="NAME|PATH")
    ] = None,
    debug: Debug = False,
) -> None:
    """Make a point's files again, byte for byte."""
    with errors_in_one_line(debug):
        from bqsearch.report.progress import View
        from bqsearch.search import planfile

        view = View()
        with view.stages() as on_stage:
            made = planfile.apply(planfile.PlanFile.read(plan), model, data, out, on_stage)
        files = ", ".join(str(out / name) for name in dict.fromkeys(Path(name).parts[0] for name in made))
        view.out.print(f"made {files}: byte for byte what was scored", highlight=False)


@app.command()
def verify(
    folder: Annotated[Path, typer.Argument(help="A run's output folder.", metavar="DIR")],
    points: Annotated[
        str | None,
        _option("Points to check: their numbers, or `recommended`.", default="all", metavar="N,N,..."),
    ] = None,
    inputs: Annotated[int, typer.Option(help="Inputs of the holdout that are run.", min=1, metavar="COUNT")] = 100,
    model: Annotated[
        str | None, _option("Where the run's model lies now.", default="where it was", metavar="NAME|FILE")
    ] = None,
    data: Annotated[
        str | None, _option("Where the run's data lies now.", default="where it was", metavar="NAME|PATH")
    ] = None,
    debug: Debug = False,
) -> None:
    """Make each point's files again, run them as the board does, and say pass or fail. Exit status 4 on a failure."""
    with errors_in_one_line(debug):
        from bqsearch import session
        from bqsearch.report.progress import View
        from bqsearch.search import verify as verification

        now = verification.Whereabouts(model=model, data=data)
        passed = session.verify(folder, points, inputs, now, View())
    raise typer.Exit(0 if passed else EXIT_NOT_VERIFIED)


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="A run's output folder.", metavar="DIR")], debug: Debug = False
) -> None:
    """Draw report.html and the figures again, and print the table."""
    with errors_in_one_line(debug):
        from bqsearch import session
        from bqsearch.report.progress import View

        described = session.read_front(folder)
        session.draw(described, folder)
        session.show(described, folder, View())


@app.command()
def ui(
    folder: Annotated[
        Path | None, typer.Argument(help="A run's output folder; the latest under runs/ if left out.", metavar="DIR")
    ] = None,
    port: Annotated[int, typer.Option(help="TCP port on 127.0.0.1.", min=1, max=65535)] = 5000,
    debug: Debug = False,
) -> None:
    """Open the MLflow UI on a run's store, on this machine only; Ctrl-C ends it."""
    with errors_in_one_line(debug):
        from bqsearch.tracking import process

        process.serve_ui(folder, port)


@app.command()
def sync(
    folder: Annotated[Path, typer.Argument(help="A run's output folder.", metavar="DIR")],
    tracking_uri: Annotated[
        str | None, _option("MLflow server or store.", default="where the run was tracked", metavar="URI")
    ] = None,
    debug: Debug = False,
) -> None:
    """Tell MLflow what it does not have of a run, as after a server was down. What it has is not told twice."""
    with errors_in_one_line(debug):
        from bqsearch import session
        from bqsearch.report.progress import View

        session.sync(folder, tracking_uri, View())


@app.command()
def train(
    model: Annotated[str, typer.Argument(help="Built-in model.", metavar="NAME")],
    data: Data = None,
    out: Annotated[Path | None, _option("File to write.", default="NAME.tflite", metavar="FILE")] = None,
    epochs: Annotated[
        int | None, _option("Passes over the training split.", default="the recipe's", metavar="COUNT")
    ] = None,
    seed: Annotated[
        int | None, _option("Of weights, order and augmentation.", default="the recipe's", metavar="N")
    ] = None,
    debug: Debug = False,
) -> None:
    """Train a built-in model again (needs the extra `keras`)."""
    with errors_in_one_line(debug):
        from bqsearch import session
        from bqsearch.report.progress import View

        session.train(model, data, out or Path(f"{model}.tflite"), {"epochs": epochs, "seed": seed}, View())


@contextmanager
def errors_in_one_line(debug: bool) -> Iterator[None]:
    """An error of ours ends the program with one clear line, anything else is a fault of the program."""
    quit_on_interrupt()
    try:
        yield
    except BqsearchError as error:
        if debug:
            traceback.print_exc()
        typer.echo(f"error: {' '.join(str(error).split())}", err=True)
        raise typer.Exit(EXIT_ERROR) from None


def main() -> None:
    """The console script."""
    app(_addressed(sys.argv[1:]))


def _addressed(arguments: list[str]) -> list[str]:
    """The arguments with an address behind a `--ray` that has none."""
    if "--ray" not in arguments:
        return arguments
    place = arguments.index("--ray") + 1
    bare = place == len(arguments) or arguments[place].startswith("-")
    return [*arguments[:place], "local", *arguments[place:]] if bare else arguments
