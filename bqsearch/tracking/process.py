"""Starting the tracker beside a search, waiting for it at the end, and starting it once more."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

from bqsearch.errors import BqsearchError, OutputError
from bqsearch.search.folder import opened
from bqsearch.tracking import spool, state
from bqsearch.tracking.mlflow import ARTIFACTS, DATABASE, LOG, check_store, local_uri
from bqsearch.tracking.state import State

OnStage = Callable[[str], None]
_POLL = 0.05  # seconds
_LOWEST = 19  # priority
_STARVED = ("starting", "telling")  # phases that make no progress where others take all time


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long to wait for MLflow, seconds.

    Attributes:
        answer: For the answer to one request.
        starting: Until it has taken anything at all, the making of a store included.
        telling: While it takes nothing more.
        waiting: Once it has failed to answer.
        whole: All in all.
    """

    answer: int
    starting: float
    telling: float
    waiting: float
    whole: float

    def ends(self, now: State, still: float, waited: float) -> bool:
        """Whether it is over: nothing has been taken for `still` seconds, of `waited` in all."""
        limits = {"starting": self.starting, "telling": self.telling, "waiting": self.waiting, "broken": self.waiting}
        return still > limits[now.phase] or waited > self.whole


AT_THE_END = Patience(answer=5, starting=30.0, telling=10.0, waiting=3.0, whole=60.0)  # of a run
IN_SYNC = Patience(answer=30, starting=60.0, telling=90.0, waiting=0.0, whole=float("inf"))


class TrackerProcess:
    """MLflow's tracker as a child process.

    Args:
        folder: The run's; its events are followed, and the tracker's own output goes to a log in it.
        uri: MLflow's tracking URI.
        patience: With MLflow.
        humble: Whether it takes only the time that a search leaves.
    """

    def __init__(self, folder: Path, uri: str, patience: Patience = AT_THE_END, *, humble: bool = True) -> None:
        self.folder, self.patience = folder, patience
        self._command = [sys.executable, "-m", "bqsearch.tracking.follower", str(folder), uri]
        self._humble, self._starved = humble, False
        self._start()

    def finish(self, on_stage: OnStage) -> None:
        """Wait until everything is logged, as long as MLflow takes it in.

        Args:
            on_stage: Told in words how far it is.

        Raises:
            BqsearchError: The tracker failed or is still not done; the events are kept in the run's folder.
        """
        status = self._wait(on_stage)
        if self._starved:
            self._humble = self._starved = False
            self.abandon()
            self._start()
            status = self._wait(on_stage)
        self.abandon()
        if status:
            now = state.read(self.folder)
            reason = now.reason or f"{now.told:,} of {now.known:,} events in time"
            raise BqsearchError(
                f"MLflow was not told everything ({reason}); the results are all in {self.folder}, and "
                f"`bqsearch sync {self.folder}` tells MLflow the rest"
            )

    def abandon(self) -> None:
        """Let it finish what is written, and close the run, by itself."""
        if self._process.stdin is not None:
            self._process.stdin.close()

    def stop(self) -> None:
        """End it at once; does nothing to one that has ended."""
        self._process.kill()
        self._process.wait()

    def _start(self) -> None:
        (self.folder / state.STATE).unlink(missing_ok=True)
        with (self.folder / LOG).open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=_environment(self.patience.answer),
                process_group=0,  # Ctrl-C is for the search, which then tells the tracker by its events
            )
        if self._humble:
            _humble(self._process.pid)

    def _wait(self, on_stage: OnStage) -> int:
        """The exit status; one of a killed process where patience ended."""
        begun = since = monotonic()
        now = state.read(self.folder)
        while self._process.poll() is None:
            before, now = now, state.read(self.folder)
            since = monotonic() if now.ticks != before.ticks else since
            waited = monotonic() - begun
            if self.patience.ends(now, monotonic() - since, waited):
                self._starved = self._humble and now.phase in _STARVED and waited <= self.patience.whole
                self.stop()
                return -signal.SIGKILL
            on_stage(f"telling MLflow: {now.told:,} of {now.known:,} events")
            sleep(_POLL)
        return self._process.returncode


def sync(folder: Path, uri: str | None, on_stage: OnStage) -> str:
    """Tell MLflow what it does not have of a run, and return where.

    Args:
        folder: The run's.
        uri: MLflow's tracking URI; None for the run's own.
        on_stage: Told in words how far it is.

    Raises:
        OutputError: There is no run, or it is going on.
        BqsearchError: MLflow does not take it.
    """
    events = folder / spool.FILE
    if not events.is_file():
        raise OutputError(f"{folder} holds no run: {spool.FILE} is not there")
    with opened(folder, resume=True, needed=0):
        chosen = uri or spool.remembered_uri(events) or local_uri(folder)
        tracker = TrackerProcess(folder, chosen, IN_SYNC, humble=False)
        try:
            tracker.abandon()
            tracker.finish(on_stage)
        finally:
            tracker.stop()
    return chosen


def serve_ui(folder: Path | None, port: int) -> None:
    """Run MLflow's UI on a run's store until Ctrl-C, reachable from this machine only.

    Args:
        folder: The run's; None for the latest under `runs/`.
        port: TCP port on 127.0.0.1.

    Raises:
        BqsearchError: There is no such run, or the server fails.
    """
    chosen = folder or _latest(Path("runs"))
    if not (chosen / DATABASE).is_file():
        raise BqsearchError(
            f"{chosen} holds no MLflow store ({DATABASE}): name the output folder of a run that made one"
        )
    check_store(chosen)
    command = ["ui", "--backend-store-uri", local_uri(chosen), "--host", "127.0.0.1", "--port", str(port)]
    command += ["--default-artifact-root", (chosen.resolve() / ARTIFACTS).as_uri()]
    print(f"MLflow UI of {chosen}: http://127.0.0.1:{port} (Ctrl-C ends it)", flush=True)
    server = subprocess.Popen([sys.executable, "-m", "mlflow", *command], env=_environment(30), start_new_session=True)
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, signal.default_int_handler)
    try:
        if server.wait():
            raise BqsearchError(f"the MLflow UI ended by itself: is port {port} in use? Try another --port")
    except KeyboardInterrupt:
        os.killpg(server.pid, signal.SIGTERM)  # the server and its workers
        server.wait()


def _humble(pid: int) -> None:
    """Have a process take only what the search leaves, even where each of its turns would cost the search one."""
    os.setpriority(os.PRIO_PROCESS, pid, _LOWEST)
    with suppress(OSError):  # some sandboxes know no such policy
        os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0))


def _environment(answer: int) -> dict[str, str]:
    """MLflow without reports to its makers and servers for jobs, and no more patient than the tracker."""
    quiet = {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    }
    prompt = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": str(answer)}
    return {**prompt, **os.environ, **quiet}


def _latest(runs: Path) -> Path:
    found = sorted(runs.glob(f"*/{DATABASE}"), key=lambda p: p.stat().st_mtime)
    if not found:
        raise BqsearchError("there is no run under runs/: name the output folder of one")
    return found[-1].parent
