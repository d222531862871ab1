"""Processes of this machine as workers."""

import os
import pickle
import signal
import tempfile
import traceback
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import partial
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from threading import Lock, Thread
from typing import IO, Any

from bqsearch.interrupt import shielded
from bqsearch.plan import Plan
from bqsearch.search.crew import Answer, Crew, Pool, shipped
from bqsearch.search.desk import Desk, WorkerLostError
from bqsearch.search.evaluate import Evaluator
from bqsearch.search.folder import disk_errors
from bqsearch.search.race import Rival

_CONTEXT = get_context("spawn")
_GONE = (EOFError, OSError)  # says a pipe whose other end has died


@contextmanager
def processes(evaluator: Evaluator, crew: Crew) -> Iterator[Pool]:
    """A pool of processes of this machine.

    Args:
        evaluator: Goes to each.
        crew: How many, and how patient to be.

    Raises:
        OutputError: The folder for temporary files is full or cannot be written.
    """
    workers = crew.workers or 1
    threads = crew.threads or max(1, (os.cpu_count() or 1) // workers)
    resource_tracker.ensure_running()  # which would undo the shield of workers
    with (
        _nameless(shipped(evaluator, threads)) as content,
        closing(Desk(partial(_Process, content.fileno()), workers, crew.patience)) as desk,
    ):
        yield desk


class _Process:
    """See `Worker`.

    Args:
        content: File descriptor of what it scores with.
    """

    def __init__(self, content: int) -> None:
        self.ready: Future[None] = Future()
        self._lock, self._lost = Lock(), False
        self._asked = deque[Future[Any]]([self.ready])  # in the order in which it answers
        self._pipe, theirs = _CONTEXT.Pipe()
        self._process = _CONTEXT.Process(target=_serve, args=(theirs, os.getpid(), content), daemon=True)
        with theirs, suppress(OSError), shielded():  # where it cannot start, the pipe ends here too
            self._process.start()
        self._listener = Thread(target=self._listen, daemon=True)
        self._listener.start()

    def record(self, plan: Plan, rivals: Sequence[Rival]) -> Future[Answer]:
        """See `Worker`."""
        future: Future[Answer] = Future()
        with self._lock:
            if self._lost:
                future.set_exception(WorkerLostError(self._reason()))
                return future
            self._asked.append(future)
        with suppress(OSError):  # heard of by who listens
            self._pipe.send((plan, rivals))
        return future

    def end(self) -> None:
        """See `Worker`."""
        if self._process.pid is not None:
            self._process.kill()
            self._process.join()
        self._listener.join()
        self._pipe.close()

    def _listen(self) -> None:
        try:
            with suppress(*_GONE):
                while True:
                    good, answer = self._pipe.recv()
                    with self._lock:
                        future = self._asked.popleft()
                    (future.set_result if good else future.set_exception)(answer)
        finally:
            with self._lock:
                self._lost = True
            for future in self._asked:
                future.set_exception(WorkerLostError(self._reason()))

    def _reason(self) -> str:
        if self._process.pid is None:
            return "it could not be started"
        self._process.join(1.0)
        status = self._process.exitcode
        if status is not None and status < 0:
            return f"killed by {signal.Signals(-status).name}"
        return f"it ended with exit status {status}"


@contextmanager
def _nameless(content: Evaluator) -> Iterator[IO[bytes]]:
    """A file without a name, for workers to read: it goes with this process, however that ends.

    On the disk, for in memory it would take as much once more for as long as the search goes.
    """
    folder = Path(tempfile.gettempdir())
    cure = "workers read there what they score: make room, or name another folder in the environment variable TMPDIR"
    with ExitStack() as held:
        with disk_errors(folder, cure):
            file = held.enter_context(tempfile.TemporaryFile(dir=folder))
            pickle.dump(content, file, protocol=5)
            file.flush()
        yield file


def _serve(pipe: Connection, parent: int, content: int) -> None:
    """What a worker does: it answers what it is asked, in that order."""
    asked = SimpleQueue[tuple[Plan, Sequence[Rival]]]()
    Thread(target=_receive, args=(pipe, asked), daemon=True).start()
    with suppress(OSError):
        try:
            with open(f"/proc/{parent}/fd/{content}", "rb") as file:
                evaluator: Evaluator = pickle.load(file)  # noqa: S301 - of the search that started this process
        except Exception as error:
            pipe.send((False, WorkerLostError(repr(error))))
            return
        pipe.send((True, None))
        while True:
            pipe.send(_answer(evaluator, *asked.get()))


def _receive(pipe: Connection, asked: "SimpleQueue[tuple[Plan, Sequence[Rival]]]") -> None:
    """Take in what is asked at once, for the search does not wait; and end with the search."""
    with suppress(*_GONE):
        while True:
            asked.put(pipe.recv())
    os._exit(1)


def _answer(evaluator: Evaluator, plan: Plan, rivals: Sequence[Rival]) -> tuple[bool, Any]:
    """Whether all went well, and the record or else the error."""
    try:
        return True, evaluator.record(plan, rivals)
    except Exception as error:
        return False, _portable(error)


def _portable(error: Exception) -> Exception:
    """An error as it can be sent, with where it was raised."""
    error.add_note(f"in a worker: {traceback.format_exc()}")
    try:
        same: Exception = pickle.loads(pickle.dumps(error))  # noqa: S301 - of one's own
    except Exception:  # errors whose arguments are not their message
        return RuntimeError(f"{type(error).__name__}: {error}")
    return same
