"""Who runs candidates, and what they owe: a record for every plan, which does not depend on who made it."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Protocol

from bqsearch.plan import Plan
from bqsearch.search.evaluate import Evaluator, Spent
from bqsearch.search.race import Rival
from bqsearch.search.record import Record

LOCAL = "local"  # address of a cluster that is started for the run
Answer = tuple[Record, Spent]


class Pool(Protocol):
    """Runs candidates beside the search."""

    @property
    def workers(self) -> int:
        """How many are run at a time."""
        ...

    @property
    def lost(self) -> Sequence[str]:
        """Why workers were replaced, one by one."""
        ...

    def submit(self, plan: Plan, rivals: Sequence[Rival]) -> Future[Answer]:
        """A plan's record, as soon as it is there.

        The future raises `PoolError` if the plan's workers have died or hung too often, or no worker can be had.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Crew:
    """Who runs candidates.

    Attributes:
        workers: How many; None for one beside the search, or on a cluster one for each of its cores.
        ray: Address of a Ray cluster, `"auto"` for the one that this machine is part of, `"local"` for one of its own;
            None for this machine's own processes.
        patience: Seconds after which a candidate's worker is taken to hang.
        threads: Of LiteRT in each worker; None for an even share of this machine's cores, or on a cluster for one.
        pool: Opens the pool, whatever else is said here; None for one of those of `pool.opened`.
    """

    workers: int | None = None
    ray: str | None = None
    patience: float = 1800.0  # polishing a network of 224 pixels takes many minutes on a slow machine
    threads: int | None = None
    pool: Callable[[Evaluator], AbstractContextManager[Pool]] | None = None


def shipped(evaluator: Evaluator, threads: int) -> Evaluator:
    """The evaluator as a worker needs it, with what it would work out first.

    Args:
        evaluator: The search's own.
        threads: Of LiteRT.
    """
    problem = evaluator.problem
    made = replace(evaluator, problem=replace(problem, scorer=problem.scorer.with_threads(threads)))
    _ = made.before, made.digest
    return made
