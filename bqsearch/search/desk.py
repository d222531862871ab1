"""The desk that hands plans out to workers, and out again where one died or hung.

It counts on nothing but its own clock and list: what a worker does not answer in time is another's, whatever becomes of
the first one's answer.
"""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from queue import Empty, SimpleQueue
from threading import Event, Thread
from time import monotonic
from typing import Any, Protocol

from bqsearch.errors import PoolError
from bqsearch.plan import Plan
from bqsearch.search.crew import Answer
from bqsearch.search.race import Rival

AHEAD = 2  # plans that a worker has: one under way and the next
ATTEMPTS = 3  # of one plan, whose workers died or hung, and of a worker to begin
_CURE = "is memory short? Try fewer --workers, or more --worker-timeout; --resume goes on"


class WorkerLostError(Exception):
    """A worker has died, or cannot be reached any more."""


class Worker(Protocol):
    """Runs candidates one after another, in the order in which it gets them.

    Its futures raise `WorkerLostError` once it is lost; they may stay open after `end`.

    Attributes:
        ready: Done when it has begun.
    """

    ready: Future[None]

    def record(self, plan: Plan, rivals: Sequence[Rival]) -> Future[Answer]:
        """See `Pool`."""
        ...

    def end(self) -> None:
        """At once, whatever it does; does nothing to one that has ended."""
        ...


@dataclass(eq=False, kw_only=True)
class Errand:
    """A plan on its way.

    Attributes:
        plan: What is run.
        rivals: What it is up against.
        future: Of its record.
        attempts: Workers that it has cost.
    """

    plan: Plan
    rivals: Sequence[Rival]
    future: Future[Answer] = field(default_factory=Future)
    attempts: int = 0


@dataclass(eq=False, kw_only=True)
class _Seat:
    """A place for a worker.

    Attributes:
        worker: Who has it.
        there: Whether that one has begun.
        errands: What it was given, the one under way first.
        since: When it began with that one, or was asked to begin, seconds of the monotonic clock.
        failures: Workers in a row that did not begin.
    """

    worker: Worker
    there: bool = False
    errands: deque[Errand] = field(default_factory=deque)
    since: float = field(default_factory=monotonic)
    failures: int = 0

    @property
    def closed(self) -> bool:
        return self.failures >= ATTEMPTS


class Desk:
    """A pool of workers that are replaced as they are lost.

    Its thread alone knows who does what. Whoever has something to say leaves it there and goes on, for a worker's own
    threads may be needed to end one.

    Args:
        hire: Starts a worker.
        workers: How many.
        patience: Seconds after which one is taken to hang.
    """

    def __init__(self, hire: Callable[[], Worker], workers: int, patience: float) -> None:
        self.workers, self._look = workers, min(1.0, patience / 4)
        self._said = SimpleQueue[Callable[[], None]]()
        self._closed = Event()
        self._roster = Roster(hire, workers, patience, self._said.put)
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def lost(self) -> tuple[str, ...]:
        """See `Pool`."""
        return tuple(self._roster.lost)

    def submit(self, plan: Plan, rivals: Sequence[Rival]) -> Future[Answer]:
        """See `Pool`."""
        errand = Errand(plan=plan, rivals=tuple(rivals))
        if self._closed.is_set():
            errand.future.cancel()
        self._said.put(partial(self._roster.take, errand))
        return errand.future

    def close(self) -> None:
        """End the workers; what is under way is lost."""
        self._closed.set()
        self._said.put(lambda: None)  # wakes it
        self._thread.join()

    def _run(self) -> None:
        looked = monotonic()
        while not self._closed.is_set():
            with suppress(Empty):
                self._attend(self._said.get(timeout=max(0.0, looked + self._look - monotonic())))
                while True:  # also what was said while the whole process stood still
                    self._attend(self._said.get_nowait())
            if monotonic() - looked >= self._look:
                self._attend(self._roster.look)
                looked = monotonic()
        self._roster.dismiss()
        while not self._said.empty():
            self._said.get()()

    def _attend(self, said: Callable[[], None]) -> None:
        try:
            said()
        except Exception as error:  # of a cluster that is gone: it must reach those who wait
            self._roster.fail(f"workers cannot be had ({_in_words(error)}): {_CURE}", error)


class Roster:
    """Who does what. One thread's.

    Args:
        hire: Starts a worker.
        workers: How many.
        patience: Seconds after which one is taken to hang.
        say: Takes what is to be called on that thread, on any.
    """

    def __init__(
        self,
        hire: Callable[[], Worker],
        workers: int,
        patience: float,
        say: Callable[[Callable[[], None]], None],
    ) -> None:
        self._hire, self._patience, self._say = hire, patience, say
        self.lost: list[str] = []
        """Why workers were lost."""
        self._waiting: deque[Errand] = deque()
        self._failed: str | None = None
        self._dismissed = False
        self._seats = [_Seat(worker=self._hired()) for _ in range(workers)]
        for seat in self._seats:
            self._await(seat)

    def take(self, errand: Errand) -> None:
        """Have a plan run."""
        if self._dismissed:
            errand.future.cancel()
        elif self._failed is not None:
            errand.future.set_exception(PoolError(self._failed))
        else:
            self._waiting.append(errand)
            self._hand_out()

    def look(self) -> None:
        """Replace workers that hang, and give up where none comes back."""
        for seat in self._seats:
            if seat.there and seat.errands and self._late(seat):
                self._lose(seat, WorkerLostError(f"no answer for {self._patience:g} s"))
        absent = [seat for seat in self._seats if not seat.there and self._late(seat)]
        if len(absent) == len(self._seats):
            self.fail(f"no worker has begun for {self._patience:g} s: {_CURE}")
        for seat in absent:  # on a cluster it may be waiting for a core
            self.lost.append(f"it has not begun for {self._patience:g} s")
            seat.since = monotonic()

    def fail(self, reason: str, cause: Exception | None = None) -> None:
        """Give all plans up, and those that come."""
        self._failed = self._failed or reason
        for errand in self._taken():
            error = PoolError(reason)
            error.__cause__ = cause
            errand.future.set_exception(error)

    def dismiss(self) -> None:
        """End all workers."""
        self._dismissed = True
        for errand in self._taken():
            errand.future.cancel()
        for seat in self._seats:
            _end(seat.worker)

    def _hired(self) -> Worker:
        try:
            return self._hire()
        except Exception as error:  # of a system or a cluster that has no more to give
            return _Absent(error)

    def _await(self, seat: _Seat) -> None:
        self._hear(seat.worker.ready, partial(self._begun, seat, seat.worker))

    def _hear(self, future: Future[Any], call: Callable[[Future[Any]], None]) -> None:
        future.add_done_callback(lambda done: self._say(partial(call, done)))

    def _begun(self, seat: _Seat, worker: Worker, ready: Future[None]) -> None:
        if self._dismissed or seat.worker is not worker:
            return
        error = ready.exception()
        if error is None:
            seat.there, seat.failures = True, 0
            self._hand_out()
            return
        seat.failures += 1
        self.lost.append(_in_words(error))
        if not seat.closed:
            self._replace(seat)
        elif all(other.closed for other in self._seats):
            self.fail(f"workers do not begin ({_in_words(error)}): {_CURE}")

    def _hand_out(self) -> None:
        while self._waiting:
            seat = min((seat for seat in self._seats if seat.there), key=lambda seat: len(seat.errands), default=None)
            if seat is None or len(seat.errands) >= AHEAD:
                return
            errand = self._waiting.popleft()
            seat.since = seat.since if seat.errands else monotonic()
            seat.errands.append(errand)
            answer = seat.worker.record(errand.plan, errand.rivals)
            self._hear(answer, partial(self._ended, seat, seat.worker, errand))

    def _ended(self, seat: _Seat, worker: Worker, errand: Errand, answer: Future[Answer]) -> None:
        if seat.worker is not worker or errand not in seat.errands:  # it is another's by now
            return
        error = answer.exception()
        if isinstance(error, WorkerLostError):
            self._lose(seat, error)
            return
        seat.errands.remove(errand)
        seat.since = monotonic()
        if error is None:
            errand.future.set_result(answer.result())
        else:
            errand.future.set_exception(error)
        self._hand_out()

    def _lose(self, seat: _Seat, error: Exception) -> None:
        """Replace a worker; what it was at is what it was lost over."""
        self.lost.append(_in_words(error))
        lost = seat.errands[0]
        lost.attempts += 1
        if lost.attempts >= ATTEMPTS:
            seat.errands.popleft()
            lost.future.set_exception(_too_often(lost.plan, error))
        self._replace(seat)

    def _replace(self, seat: _Seat) -> None:
        _end(seat.worker)
        self._waiting.extendleft(reversed(seat.errands))
        seat.errands.clear()
        seat.worker, seat.there, seat.since = self._hired(), False, monotonic()
        self._await(seat)
        self._hand_out()

    def _late(self, seat: _Seat) -> bool:
        return monotonic() - seat.since > self._patience

    def _taken(self) -> list[Errand]:
        """All plans, which are nobody's then."""
        taken = [*self._waiting, *(errand for seat in self._seats for errand in seat.errands)]
        self._waiting.clear()
        for seat in self._seats:
            seat.errands.clear()
        return taken


class _Absent:
    """A worker that could not be had."""

    def __init__(self, error: Exception) -> None:
        self.ready: Future[None] = Future()
        self.ready.set_exception(error)

    def record(self, plan: Plan, rivals: Sequence[Rival]) -> Future[Answer]:
        raise AssertionError("it has not begun")

    def end(self) -> None:
        """There is nothing to end."""


def _end(worker: Worker) -> None:
    with suppress(Exception):  # of a cluster that is gone: the others are to be ended too
        worker.end()


def _too_often(plan: Plan, error: Exception) -> PoolError:
    return PoolError(f"a candidate cost {ATTEMPTS} workers ({_in_words(error)}; plan {plan.hash[:12]}): {_CURE}")


def _in_words(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
