"""What a run shows while it goes on: the stage, then a bar with trials done, rate, time left and the best so far."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from bqsearch.search.record import Record


@dataclass(frozen=True, kw_only=True)
class View:
    """Where and how much to show. Progress goes to standard error, results to standard output.

    Attributes:
        quiet: Only warnings and errors.
        as_json: Standard output is kept for JSON.
    """

    quiet: bool = False
    as_json: bool = False

    @property
    def out(self) -> Console:
        """For results."""
        return Console(quiet=self.quiet or self.as_json)

    @property
    def err(self) -> Console:
        """For progress and warnings."""
        return Console(stderr=True)

    def warn(self, text: str) -> None:
        """A line that is shown even when quiet."""
        self.err.print(f"[yellow]warning:[/] {_plain(text)}", highlight=False)

    def note(self, text: str) -> None:
        """A line that people should see, unless quiet."""
        if not self.quiet:
            self.err.print(f"[cyan]note:[/] {_plain(text)}", highlight=False)

    @contextmanager
    def stages(self) -> Iterator["Stages"]:
        """Show what is being prepared."""
        with Console(stderr=True, quiet=self.quiet).status("starting") as status:
            yield Stages(status.update)

    @contextmanager
    def trials(self, total: int, quality: str) -> Iterator["TrialBar"]:
        """Show the search; `quality` is the name of what is to be kept."""
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[best]}"),
        )
        console = self.err
        hidden = self.quiet or not console.is_terminal
        with Progress(*columns, console=console, disable=hidden, transient=True, expand=True) as progress:
            yield TrialBar(progress, total, quality)

    @contextmanager
    def epochs(self, total: int) -> Iterator[Callable[[int, int, Mapping[str, float]], None]]:
        """Show a training run."""
        columns = (
            SpinnerColumn(),
            TextColumn("epoch"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[metrics]}"),
        )
        with Progress(*columns, console=self.err, disable=self.quiet, transient=True, expand=True) as progress:
            task = progress.add_task("training", total=total, metrics="")

            def on_epoch(epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
                shown = "  ".join(f"{key} {value:.4f}" for key, value in metrics.items())
                progress.update(task, completed=epoch, total=epochs, metrics=shown)

            yield on_epoch


class Stages:
    """Says in words what is being done."""

    def __init__(self, update: object) -> None:
        self._update = update

    def __call__(self, text: str) -> None:
        """Now doing `text`."""
        if callable(self._update):
            self._update(f"{text} ...")


class TrialBar:
    """The bar of a search."""

    def __init__(self, progress: Progress, total: int, quality: str) -> None:
        self._progress, self._quality = progress, quality
        self._task = progress.add_task("searching", total=total, rate="", best="")
        self._best: Record | None = None

    def __call__(self, number: int, record: Record) -> None:
        """A trial is finished."""
        if record.feasible and (self._best is None or _flash(record) < _flash(self._best)):
            self._best = record
        speed = self._progress.tasks[self._task].speed
        self._progress.update(
            self._task, completed=number + 1, rate=f"{speed:.1f}/s" if speed else "", best=self._describe()
        )

    def _describe(self) -> str:
        if self._best is None:
            return "nothing fits yet"
        reached = self._best.metrics[f"{self._quality}_search"]
        return f"best {_flash(self._best) / 1024:,.1f} KiB at {100 * reached:.2f} % {self._quality}"


def _flash(record: Record) -> float:
    return record.metrics["flash_bytes"]


def _plain(text: str) -> str:
    return text.replace("[", r"\[")
