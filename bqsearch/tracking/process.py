"""Starting the tracker beside a search, and waiting for it at the end."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from bqsearch.errors import BqsearchError
from bqsearch.tracking.mlflow import ARTIFACTS, DATABASE, LOG, local_uri

PATIENCE = 120.0  # seconds that the end of a run waits for a slow tracking server


class TrackerProcess:
    """MLflow's tracker as a child process.

    Args:
        folder: The run's; its events are followed, and the tracker's own output goes to a log in it.
        uri: MLflow's tracking URI.
    """

    def __init__(self, folder: Path, uri: str) -> None:
        self.folder = folder
        with (folder / LOG).open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "bqsearch.tracking.mlflow", str(folder), uri],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=_environment(),
                start_new_session=True,  # Ctrl-C is for the search, which then tells the tracker by its events
            )

    def finish(self) -> None:
        """Wait until everything is logged.

        Raises:
            BqsearchError: The tracker failed or is still not done; the events are kept in the run's folder.
        """
        try:
            status = self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = -1
        self.abandon()
        if status:
            lines = (self.folder / LOG).read_text("utf-8", "replace").strip().splitlines()
            reason = lines[-1] if lines else f"exit status {status}"
            raise BqsearchError(
                f"MLflow was not told everything ({reason}); events.jsonl has it all, "
                f"and the same command with --resume tells it"
            )

    def abandon(self) -> None:
        """Let it finish what is written, and close the run, by itself."""
        if self._process.stdin is not None:
            self._process.stdin.close()


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
    command = ["ui", "--backend-store-uri", local_uri(chosen), "--host", "127.0.0.1", "--port", str(port)]
    command += ["--default-artifact-root", (chosen.resolve() / ARTIFACTS).as_uri()]
    print(f"MLflow UI of {chosen}: http://127.0.0.1:{port} (Ctrl-C ends it)", flush=True)
    server = subprocess.Popen([sys.executable, "-m", "mlflow", *command], env=_environment(), start_new_session=True)
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, signal.default_int_handler)
    try:
        if server.wait():
            raise BqsearchError(f"the MLflow UI ended by itself: is port {port} in use? Try another --port")
    except KeyboardInterrupt:
        os.killpg(server.pid, signal.SIGTERM)  # the server and its workers
        server.wait()


def _environment() -> dict[str, str]:
    """MLflow without reports to its makers, without servers for jobs, and not patient with a server that is gone."""
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    prompt = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}
    return {**prompt, **os.environ, **quiet}


def _latest(runs: Path) -> Path:
    found = sorted(runs.glob(f"*/{DATABASE}"), key=lambda p: p.stat().st_mtime)
    if not found:
        raise BqsearchError("there is no run under runs/: name the output folder of one")
    return found[-1].parent
