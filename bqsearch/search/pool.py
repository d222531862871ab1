"""Pools: where candidates are run. Here, in processes of this machine, or (`ray_pool`) on a cluster.

A worker holds the problem and gives back records; a pool hands plans out, and hands them out again where a worker died
or hung. It owes one thing: a record for every plan, which does not depend on who made it.
"""

import os
import pickle
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing import get_context, resource_tracker
from pathlib import Path
from time import sleep
from types import ModuleType
from typing import IO, ClassVar, Protocol

from pebble import ProcessExpired, ProcessPool

from bqsearch.errors import PoolError
from bqsearch.interrupt import shielded
from bqsearch.plan import Plan
from bqsearch.search.evaluate import Evaluator, Spent
from bqsearch.search.folder import disk_errors
from bqsearch.search.race import Rival
from bqsearch.search.record import Record
from bqsearch.threads import quick_turns

LOCAL = "local"  # address of a cluster that is started for the run
ATTEMPTS = 3  # of one plan, whose workers died or hung
Answer = tuple[Record, Spent]
_LOST = (ProcessExpired, TimeoutError, BrokenProcessPool)
_CURE = "is memory short? Try fewer --workers, or more --worker-timeout; --resume goes on"


@dataclass(frozen=True, kw_only=True)
class Crew:
    """Who runs candidates.

    Attributes:
        workers: How many; None for one beside the search, or on a cluster one for each of its cores.
        ray: Address of a Ray cluster, `"auto"` for the one that this machine is part of, `"local"` for one of its own;
            None for this machine's own processes.
        patience: Seconds after which a candidate's worker is taken to hang.
        threads: Of LiteRT in each worker; None for an even share of this machine's cores, or on a cluster for one.
        pool: Makes the pool, whatever else is said here; None for one of those here.
    """

    workers: int | None = None
    ray: str | None = None
    patience: float = 1800.0  # polishing a network of 224 pixels takes many minutes on a slow machine
    threads: int | None = None
    pool: "Callable[[Evaluator], Pool] | None" = None


class Pool(Protocol):
    """Runs candidates beside the search."""

    @property
    def workers(self) -> int:
        """How many are run at a time."""
        ...

    def submit(self, plan: Plan, rivals: Sequence[Rival]) -> Future[Answer]:
        """A plan's record, as soon as it is there.

        The future raises `PoolError` if the plan's workers have died or hung too often.
        """
        ...

    def close(self) -> None:
        """End the workers; what is under way is lost."""
        ...


@contextmanager
def opened(evaluator: Evaluator, crew: Crew) -> Iterator[Pool]:
    """The pool of a crew, closed at the end.

    Raises:
        PoolError: The cluster cannot be reached.
        MissingExtraError: Ray is not installed.
    """
    pool = _pool(evaluator, crew)
    try:
        yield pool
    finally:
        pool.close()


@contextmanager
def cluster(crew: Crew) -> Iterator[None]:
    """Several pools of a crew after each other, on one cluster if it is one.

    Raises:
        PoolError: The cluster cannot be reached.
        MissingExtraError: Ray is not installed.
    """
    if crew.ray is None:
        yield
        return
    with _ray_pool(crew).joined(crew):
        yield


def check(crew: Crew) -> None:
    """Find out at once what a pool would lack.

    Raises:
        MissingExtraError: Ray is not installed.
    """
    if crew.ray is not None and crew.pool is None:
        _ray_pool(crew)


def _pool(evaluator: Evaluator, crew: Crew) -> Pool:
    if crew.pool is not None:
        return crew.pool(evaluator)
    if crew.ray is not None:
        pool: Pool = _ray_pool(crew).RayPool(evaluator, crew)
        return pool
    return Lane(evaluator) if crew.workers in (None, 1) else LocalPool(evaluator, crew)


def _ray_pool(crew: Crew) -> ModuleType:
    """Its module, which imports Ray; one that is started here is told by then to listen on 127.0.0.1 only."""
    if crew.ray == LOCAL:
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    from bqsearch.search import ray_pool

    return ray_pool


class Lane:
    """One candidate at a time on a thread, while the search reads the next one's static figures.

    Args:
        evaluator: Scores it.
    """

    workers: ClassVar[int] = 1

    def __init__(self, evaluator: Evaluator) -> None:
        self._evaluator, self._lane = evaluator, ThreadPoolExecutor(max_workers=1)
        self._held = ExitStack()
        self._held.enter_context(quick_turns())

    def submit(self, plan: Plan, rivals: Sequence[Rival]) -> Future[Answer]:
        """See `Pool`."""
        return self._lane.submit(self._evaluator.finish, self._evaluator.begin(plan), rivals)

    def close(self) -> None:
        """See `Pool`."""
        self._lane.shutdown(cancel_futures=True)
        self._held.close()


class LocalPool:
    """Processes of this machine.

    Args:
        evaluator: Goes to each.
        crew: How many, and how patient to be.
    """

    def __init__(self, evaluator: Evaluator, crew: Crew) -> None:
        assert crew.workers is not None
        self.workers, self._patience = crew.workers, crew.patience
        threads = crew.threads or max(1, (os.cpu_count() or 1) // crew.workers)
        self._content = _nameless(shipped(evaluator, threads))
        self._pool = ProcessPool(
            max_workers=crew.workers,
            context=get_context("spawn"),
            initializer=_begin,
            initargs=(self._content.fileno(), os.getpid()),
        )
        resource_tracker.ensure_running()  # which would undo the shield
        with shielded():
            _ = self._pool.active  # starts the workers, and the thread that replaces them

    def submit(self, plan: Plan, rivals: Sequence[Rival]) -> Future[Answer]:
        """See `Pool`."""
        begin = partial(self._begin, plan, tuple(rivals))
        return Errand(plan=plan, begin=begin, lost=_LOST).future

    def close(self) -> None:
        """See `Pool`."""
        self._pool.stop()  # type: ignore[no-untyped-call]
        self._pool.join()
        self._content.close()

    def _begin(self, plan: Plan, rivals: tuple[Rival, ...]) -> Future[Answer]:
        try:
            future: Future[Answer] = self._pool.schedule(_answer, args=(plan, rivals), timeout=self._patience)
        except RuntimeError as error:
            future = Future()
            future.set_exception(PoolError(f"a worker died before it had a candidate ({error}): {_CURE}"))
        return future


@dataclass(eq=False, kw_only=True)
class Errand:
    """A plan on its way: handed out until there is a record, or it has cost too many workers.

    Attributes:
        plan: What is run.
        begin: Hands it to a worker.
        lost: Errors that say that the worker died or hung.
        future: Of the record.
    """

    plan: Plan
    begin: Callable[[], Future[Answer]]
    lost: tuple[type[BaseException], ...]
    future: Future[Answer] = field(default_factory=Future)
    attempts: int = 0

    def __post_init__(self) -> None:
        self._hand_out()

    def _hand_out(self) -> None:
        self.attempts += 1
        self.begin().add_done_callback(self._ended)

    def _ended(self, ended: Future[Answer]) -> None:
        if ended.cancelled() or self.future.done():
            self.future.cancel()
            return
        error = ended.exception()
        if error is None:
            self.future.set_result(ended.result())
        elif not isinstance(error, self.lost):
            self.future.set_exception(error)
        elif self.attempts < ATTEMPTS:
            self._hand_out()
        else:
            self.future.set_exception(_too_often(self.plan, error))


def _too_often(plan: Plan, error: BaseException) -> PoolError:
    return PoolError(
        f"a candidate cost {ATTEMPTS} workers ({type(error).__name__}: {' '.join(str(error).split()) or 'no reason'}; "
        f"plan {plan.hash[:12]}): {_CURE}"
    )


def shipped(evaluator: Evaluator, threads: int) -> Evaluator:
    """The evaluator as a worker needs it, with what it would work out first."""
    problem = evaluator.problem
    made = replace(evaluator, problem=replace(problem, scorer=problem.scorer.with_threads(threads)))
    _ = made.before, made.digest
    return made


def _nameless(content: Evaluator) -> IO[bytes]:
    """A file without a name, for workers to read: it goes with this process, however that ends.

    On the disk, for in memory it would take as much once more for as long as the search goes.

    Raises:
        OutputError: The folder for temporary files is full or cannot be written.
    """
    folder = Path(tempfile.gettempdir())
    cure = "workers read there what they score: make room, or name another folder in the environment variable TMPDIR"
    with disk_errors(folder, cure), ExitStack() as unless_whole:
        file = unless_whole.enter_context(tempfile.TemporaryFile(dir=folder))
        pickle.dump(content, file, protocol=5)
        file.flush()
        unless_whole.pop_all()
        return file


_worker: Evaluator | None = None  # of this process, where it is a pool's


def _begin(content: int, parent: int) -> None:
    """A worker begins; without its search there is nothing to do."""
    global _worker  # a process of a pool has nothing else to keep it in
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    with open(f"/proc/{parent}/fd/{content}", "rb") as file:
        _worker = pickle.load(file)  # noqa: S301 - of the search that started this process


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        sleep(1)
    os._exit(1)


def _answer(plan: Plan, rivals: tuple[Rival, ...]) -> Answer:
    assert _worker is not None
    return _worker.record(plan, rivals)
