"""Evaluators that misbehave as workers do: one dies over a plan, one hangs, one does so every time."""

import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bqsearch.plan import Plan
from bqsearch.search.crew import Answer
from bqsearch.search.evaluate import Evaluator
from bqsearch.search.race import Rival


@dataclass(frozen=True, kw_only=True, eq=False)
class Unlucky(Evaluator):
    """Loses its worker over some plans, the first times that they come.

    Attributes:
        folder: Where it notes each loss.
        over: Hashes of those plans.
        times: That each of them costs a worker.
        hangs: Whether the worker hangs; else it is killed.
    """

    folder: Path
    over: tuple[str, ...]
    times: int = 1
    hangs: bool = False

    def record(self, plan: Plan, rivals: Sequence[Rival]) -> Answer:
        """As any evaluator, if it comes to it."""
        lost = len(list(self.folder.glob(f"{plan.hash}.*")))
        if plan.hash in self.over and lost < self.times:
            (self.folder / f"{plan.hash}.{lost}").touch()
            if self.hangs:
                time.sleep(3600)
            os.kill(os.getpid(), signal.SIGKILL)
        return super().record(plan, rivals)


class TwoPartsError(Exception):
    """Cannot be sent: its arguments are not its message."""

    def __init__(self, one: str, other: str) -> None:
        super().__init__(f"{one} and {other}")


class Broken(Evaluator):
    """Has a fault."""

    def record(self, plan: Plan, rivals: Sequence[Rival]) -> Answer:
        """Raises."""
        raise TwoPartsError("this", "that")
