"""A Ray cluster as a pool: actors hold the problem, this process asks and tells."""

import logging
import os
import re
import socket
import sys
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass, field
from functools import partial
from threading import Event, RLock, Thread
from time import monotonic
from typing import Any

from bqsearch.errors import MissingExtraError, PoolError
from bqsearch.plan import Plan
from bqsearch.search.evaluate import Evaluator
from bqsearch.search.pool import LOCAL, Answer, Crew, Errand, shipped
from bqsearch.search.race import Rival

try:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray
    from ray.exceptions import ActorDiedError, ActorUnavailableError, RayError, RayTaskError
except ImportError as error:
    raise MissingExtraError("ray", "ray", "a pool on a cluster") from error

AHEAD = 2  # plans that a worker has: one under way and the next


@dataclass(eq=False, kw_only=True)
class _Worker:
    """An actor.

    Attributes:
        actor: Its handle.
        there: Whether it has begun and not died since.
        given: Plans that it has.
        since: When it began with the first of them, or was lost, seconds of the monotonic clock.
    """

    actor: Any
    there: bool = False
    given: int = 0
    since: float = field(default_factory=monotonic)


class RayPool:
    """Actors of a Ray cluster, one on a core.

    Args:
        evaluator: Goes to each, once through each machine's store.
        crew: Where the cluster is, how many actors, and how patient to be.

    Raises:
        PoolError: The cluster cannot be reached, or has no core for an actor.
    """

    def __init__(self, evaluator: Evaluator, crew: Crew) -> None:
        with ExitStack() as unless_whole:
            unless_whole.enter_context(_heard(crew))
            self._begin(evaluator, crew)
            self._held = unless_whole.pop_all()

    def _begin(self, evaluator: Evaluator, crew: Crew) -> None:
        cores = int(ray.cluster_resources().get("CPU", 0))  # type: ignore[no-untyped-call]
        self.workers, self._patience = crew.workers or cores, crew.patience
        if not 1 <= self.workers <= cores:
            raise PoolError(f"the Ray cluster has {cores} cores for {self.workers} workers: name fewer with --workers")
        self._lock, self._closed = RLock(), Event()
        self._failed: BaseException | None = None
        self._waiting: deque[tuple[Plan, tuple[Rival, ...], Future[Answer]]] = deque()
        try:
            self._evaluator = ray.put(shipped(evaluator, threads=crew.threads or 1))
        except RayError as error:
            raise PoolError(f"the Ray cluster does not take what is to be scored ({error}): look after it") from error
        self._workers = [_Worker(actor=self._actor()) for _ in range(self.workers)]
        for worker in self._workers:
            self._await(worker)
        Thread(target=self._watch, daemon=True).start()

    def submit(self, plan: Plan, rivals: Sequence[Rival]) -> Future[Answer]:
        """See `Pool`."""
        return Errand(plan=plan, begin=partial(self._queued, plan, tuple(rivals)), lost=(RayError,)).future

    def close(self) -> None:
        """See `Pool`."""
        with self._lock:
            self._closed.set()
            while self._waiting:
                self._waiting.popleft()[2].cancel()
            for worker in self._workers:
                ray.kill(worker.actor)
        self._held.close()

    def _actor(self) -> Any:
        return ray.remote(_Scoring).options(num_cpus=1, max_restarts=-1).remote(self._evaluator)

    def _queued(self, plan: Plan, rivals: tuple[Rival, ...]) -> Future[Answer]:
        future: Future[Answer] = Future()
        with self._lock:
            if self._closed.is_set():
                future.cancel()
            else:
                self._waiting.append((plan, rivals, future))
                self._hand_out()
        return future

    def _await(self, worker: _Worker) -> None:
        """Give it nothing until it answers."""
        if self._closed.is_set():
            return
        worker.there, worker.since = False, monotonic()
        answer = worker.actor.ready.options(max_task_retries=-1).remote()
        answer.future().add_done_callback(partial(self._begun, worker))

    def _begun(self, worker: _Worker, answer: Future[bool]) -> None:
        with self._lock:
            if self._closed.is_set():
                return
            if answer.exception() is None:
                worker.there = True
                self._hand_out()
            else:
                self._failed = answer.exception()

    def _hand_out(self) -> None:
        while self._waiting and not self._closed.is_set():
            worker = min((w for w in self._workers if w.there), key=lambda worker: worker.given, default=None)
            if worker is None or worker.given >= AHEAD:
                return
            plan, rivals, future = self._waiting.popleft()
            worker.since = worker.since if worker.given else monotonic()
            worker.given += 1
            answer = worker.actor.record.remote(plan, rivals)
            answer.future().add_done_callback(partial(self._ended, worker, future))

    def _ended(self, worker: _Worker, future: Future[Answer], answer: Future[Answer]) -> None:
        error = answer.exception()
        with self._lock:
            worker.given -= 1
            worker.since = monotonic()
            if isinstance(error, ActorDiedError | ActorUnavailableError) and worker.there:
                self._await(worker)
            self._hand_out()
        if error is not None:
            future.set_exception(error.cause if isinstance(error, RayTaskError) else error)
        else:
            future.set_result(answer.result())

    def _watch(self) -> None:
        """End actors that hang, which Ray begins anew; and give up where none of them comes back."""
        while not self._closed.wait(min(1.0, self._patience / 4)):
            with self._lock:
                if self._closed.is_set():
                    return
                late = [worker for worker in self._workers if monotonic() - worker.since > self._patience]
                for worker in late:
                    if worker.there and worker.given:
                        worker.since = monotonic()
                        ray.kill(worker.actor, no_restart=False)
                if len(late) == len(self._workers) and not any(worker.there for worker in late):
                    self._give_up()

    def _give_up(self) -> None:
        reason = f" ({' '.join(str(self._failed).split())})" if self._failed else ""
        while self._waiting:
            self._waiting.popleft()[2].set_exception(
                PoolError(f"no worker of the Ray cluster has answered for {self._patience:g} s{reason}: look after it")
            )


class _Scoring:
    """What an actor does."""

    def __init__(self, evaluator: Evaluator) -> None:
        self._evaluator = evaluator

    def ready(self) -> bool:
        return True

    def record(self, plan: Plan, rivals: tuple[Rival, ...]) -> Answer:
        return self._evaluator.record(plan, rivals)


@contextmanager
def _heard(crew: Crew) -> Iterator[None]:
    """Be part of a crew's cluster, and have what Ray prints about it, like workers that died, on standard error.

    Ray has no setting for that, and standard output is for results.
    """
    with redirect_stdout(sys.stderr), joined(crew):
        yield


@contextmanager
def joined(crew: Crew) -> Iterator[None]:
    """Be part of a crew's cluster; one that this process is part of already is left as it is.

    Raises:
        PoolError: It cannot be reached.
    """
    if ray.is_initialized():
        yield
        return
    try:
        _join(crew.ray or LOCAL, crew.workers)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise PoolError(
            f"cannot join the Ray cluster {crew.ray} ({' '.join(str(error).split())}): start one with "
            f"`ray start --head`, or leave its address out"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _join(address: str, workers: int | None) -> None:
    if address != LOCAL:
        if match := re.fullmatch(r"\[?([^/]+?)\]?:(\d+)", address):  # which Ray would try for minutes
            socket.create_connection((match[1], int(match[2])), timeout=10).close()
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        return
    with warnings.catch_warnings():  # JAX warns of forks; here each is followed by another program at once
        warnings.filterwarnings("ignore", message=r"os\.fork\(\) was called", category=RuntimeWarning)
        ray.init(
            address="local",
            num_cpus=workers,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
