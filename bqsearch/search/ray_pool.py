"""A Ray cluster as a pool: actors hold the problem, this process asks and tells."""

import logging
import os
import re
import socket
import sys
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing, contextmanager, redirect_stdout
from functools import partial
from typing import Any

from bqsearch.errors import MissingExtraError, PoolError
from bqsearch.plan import Plan
from bqsearch.search.crew import LOCAL, Answer, Crew, Pool, shipped
from bqsearch.search.desk import Desk, WorkerLostError
from bqsearch.search.evaluate import Evaluator
from bqsearch.search.race import Rival

try:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray
    from ray.exceptions import RayError, RayTaskError
except ImportError as error:
    raise MissingExtraError("ray", "ray", "a pool on a cluster") from error


@contextmanager
def actors(evaluator: Evaluator, crew: Crew) -> Iterator[Pool]:
    """A pool of actors of a Ray cluster, each on a core.

    Args:
        evaluator: Goes to each, once through each machine's store.
        crew: Where the cluster is, how many actors, and how patient to be.

    Raises:
        PoolError: The cluster cannot be reached, or has no core for an actor.
    """
    with _heard(crew):
        cores = int(ray.cluster_resources().get("CPU", 0))  # type: ignore[no-untyped-call]
        workers = crew.workers or cores
        if not 1 <= workers <= cores:
            raise PoolError(f"the Ray cluster has {cores} cores for {workers} workers: name fewer with --workers")
        try:
            content = ray.put(shipped(evaluator, threads=crew.threads or 1))
        except RayError as error:
            raise PoolError(f"the Ray cluster does not take what is to be scored ({error}): look after it") from error
        with closing(Desk(partial(_Actor, content), workers, crew.patience)) as desk:
            yield desk


class _Actor:
    """See `Worker`.

    Args:
        content: Reference to what it scores with.
    """

    def __init__(self, content: Any) -> None:
        scoring: Any = ray.remote(_Scoring)
        self._actor = scoring.options(num_cpus=1).remote(content)
        self.ready: Future[None] = _answer(self._actor.ready.remote())

    def record(self, plan: Plan, rivals: Sequence[Rival]) -> Future[Answer]:
        """See `Worker`."""
        return _answer(self._actor.record.remote(plan, rivals))

    def end(self) -> None:
        """See `Worker`."""
        ray.kill(self._actor)


def _answer(reference: Any) -> Future[Any]:
    """What an actor answers, or else its error; what Ray has to say of it means that the actor is lost."""
    future: Future[Any] = Future()

    def relay(told: Future[Any]) -> None:
        error = told.exception()
        if error is None:
            future.set_result(told.result())
        elif isinstance(error, RayTaskError):
            future.set_exception(error.cause)
        else:
            future.set_exception(WorkerLostError(str(error).strip().split("\n")[0]))  # the rest is of Ray's inside

    reference.future().add_done_callback(relay)
    return future


class _Scoring:
    """What an actor does."""

    def __init__(self, evaluator: Evaluator) -> None:
        self._evaluator = evaluator

    def ready(self) -> None:
        """Answer as soon as it has begun."""

    def record(self, plan: Plan, rivals: Sequence[Rival]) -> Answer:
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
    reach(crew)
    with _cluster_errors(crew):
        _join(crew.ray or LOCAL, crew.workers)
    try:
        yield
    finally:
        ray.shutdown()


def reach(crew: Crew) -> None:
    """Find out whether anything answers at a crew's address, which Ray would try for minutes.

    Raises:
        PoolError: Nothing does.
    """
    if match := re.fullmatch(r"\[?([^/]+?)\]?:(\d+)", crew.ray or LOCAL):
        with _cluster_errors(crew):
            socket.create_connection((match[1], int(match[2])), timeout=10).close()


@contextmanager
def _cluster_errors(crew: Crew) -> Iterator[None]:
    try:
        yield
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise PoolError(
            f"cannot join the Ray cluster {crew.ray} ({' '.join(str(error).split())}): start one with "
            f"`ray start --head`, or leave its address out"
        ) from error


def _join(address: str, workers: int | None) -> None:
    if address != LOCAL:
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
