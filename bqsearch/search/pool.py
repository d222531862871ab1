"""Pools: where candidates are run. Here, in processes of this machine (`processes`), or on a cluster (`ray_pool`)."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from types import ModuleType
from typing import ClassVar

from bqsearch.plan import Plan
from bqsearch.search.crew import LOCAL, Answer, Crew, Pool
from bqsearch.search.evaluate import Evaluator
from bqsearch.search.processes import processes
from bqsearch.search.race import Rival
from bqsearch.threads import quick_turns


def opened(evaluator: Evaluator, crew: Crew) -> AbstractContextManager[Pool]:
    """The pool of a crew, closed at the end.

    Raises:
        PoolError: The cluster cannot be reached.
        MissingExtraError: Ray is not installed.
    """
    if crew.pool is not None:
        return crew.pool(evaluator)
    if crew.ray is not None:
        made: AbstractContextManager[Pool] = _ray_pool(crew).actors(evaluator, crew)
        return made
    return lane(evaluator) if crew.workers in (None, 1) else processes(evaluator, crew)


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
        PoolError: Nothing answers at the cluster's address.
        MissingExtraError: Ray is not installed.
    """
    if crew.ray is not None and crew.pool is None:
        _ray_pool(crew).reach(crew)


def _ray_pool(crew: Crew) -> ModuleType:
    """Its module, which imports Ray; one that is started here is told by then to listen on 127.0.0.1 only."""
    if crew.ray == LOCAL:
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    from bqsearch.search import ray_pool

    return ray_pool


@contextmanager
def lane(evaluator: Evaluator) -> Iterator[Pool]:
    """One candidate at a time on a thread, while the search reads the next one's static figures."""
    with quick_turns():
        thread = ThreadPoolExecutor(max_workers=1)
        try:
            yield _Lane(evaluator, thread)
        finally:
            thread.shutdown(cancel_futures=True)


class _Lane:
    workers: ClassVar[int] = 1
    lost: ClassVar[Sequence[str]] = ()

    def __init__(self, evaluator: Evaluator, thread: ThreadPoolExecutor) -> None:
        self._evaluator, self._thread = evaluator, thread

    def submit(self, plan: Plan, rivals: Sequence[Rival]) -> Future[Answer]:
        """See `Pool`."""
        return self._thread.submit(self._evaluator.finish, self._evaluator.begin(plan), rivals)
