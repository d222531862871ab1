"""Whatever workers do, each plan gets the record of one of them, or an error that says what it cost."""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from time import sleep

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bqsearch.errors import PoolError
from bqsearch.plan import Choice, Plan
from bqsearch.search.crew import Answer
from bqsearch.search.desk import AHEAD, ATTEMPTS, Desk, Errand, Roster, WorkerLostError
from bqsearch.search.evaluate import Spent
from bqsearch.search.race import Rival
from search.problems import synthetic

LONG = 3600.0  # seconds of patience


class Scripted:
    """A worker that does what a test says, when it says so."""

    def __init__(self) -> None:
        self.ready: Future[None] = Future()
        self.asked: list[tuple[Plan, Future[Answer]]] = []
        self.ended = False

    def record(self, plan: Plan, rivals: Sequence[Rival]) -> Future[Answer]:
        self.asked.append((plan, Future()))
        if self.ended:  # as a process that died unheard of
            self.asked[-1][1].set_exception(WorkerLostError("gone"))
        return self.asked[-1][1]

    def end(self) -> None:
        self.ended = True

    @property
    def under_way(self) -> list[tuple[Plan, Future[Answer]]]:
        return [(plan, future) for plan, future in self.asked if not future.done()]

    def answer(self) -> None:
        plan, future = self.under_way[0]
        future.set_result(answer_to(plan))

    def die(self) -> None:
        for future in [self.ready, *(future for _, future in self.under_way)]:
            if not future.done():
                future.set_exception(WorkerLostError("killed"))


def answer_to(plan: Plan) -> Answer:
    return synthetic(plan, 1000, 1000), Spent()


def plan(number: int) -> Plan:
    return Plan(choices={"layer": Choice(scheme="kmeans", levels=2 + number, coding="packed")})


class Office:
    """A roster, what is said to it, and all workers that it has ever hired."""

    def __init__(self, workers: int, patience: float = LONG, begun: bool = True) -> None:
        self.hired: list[Scripted] = []
        self.said = deque[Callable[[], None]]()
        self.roster = Roster(self.hire, workers, patience, self.said.append)
        for worker in self.hired if begun else []:
            worker.ready.set_result(None)
        self.attend()

    def hire(self) -> Scripted:
        self.hired.append(Scripted())
        return self.hired[-1]

    def attend(self) -> None:
        while self.said:
            self.said.popleft()()

    def take(self, number: int) -> Future[Answer]:
        errand = Errand(plan=plan(number), rivals=())
        self.roster.take(errand)
        self.attend()
        return errand.future

    def die(self, worker: Scripted) -> None:
        worker.die()
        self.attend()

    def begin(self, worker: Scripted) -> None:
        worker.ready.set_result(None)
        self.attend()

    def answer(self, worker: Scripted) -> None:
        worker.answer()
        self.attend()


def test_a_worker_has_one_plan_and_the_next_and_they_are_shared_out_evenly() -> None:
    office = Office(2)
    futures = [office.take(i) for i in range(7)]
    first, second = office.hired
    assert [asked for asked, _ in first.asked] == [plan(0), plan(2)]
    assert [asked for asked, _ in second.asked] == [plan(1), plan(3)]
    office.answer(second)
    assert futures[1].result(timeout=0) == answer_to(plan(1))
    assert [asked for asked, _ in second.asked] == [plan(1), plan(3), plan(4)]


def test_only_what_was_under_way_counts_as_an_attempt() -> None:
    office = Office(1)
    futures = [office.take(i) for i in range(3)]
    for attempt in range(ATTEMPTS):
        assert [asked for asked, _ in office.hired[-1].asked] == [plan(0), plan(1)]
        office.die(office.hired[-1])
        office.begin(office.hired[-1])
        assert len(office.hired) == attempt + 2
    with pytest.raises(PoolError, match=f"cost {ATTEMPTS} workers .killed; plan {plan(0).hash[:12]}"):
        futures[0].result(timeout=0)
    office.answer(office.hired[-1])
    office.answer(office.hired[-1])
    assert [future.result(timeout=0) for future in futures[1:]] == [answer_to(plan(1)), answer_to(plan(2))]


def test_errors_of_a_plan_cost_no_worker() -> None:
    office = Office(1)
    future = office.take(0)
    office.hired[0].asked[0][1].set_exception(ValueError("of the plan"))
    office.attend()
    with pytest.raises(ValueError, match="of the plan"):
        future.result(timeout=0)
    assert len(office.hired) == 1


def test_a_worker_that_hangs_is_replaced_and_what_it_says_late_is_not_heard() -> None:
    office = Office(1, patience=0.1)
    future = office.take(0)
    office.roster.look()
    assert len(office.hired) == 1
    sleep(0.2)
    office.roster.look()
    assert len(office.hired) == 2
    assert office.hired[0].ended
    office.begin(office.hired[1])
    office.answer(office.hired[0])
    assert not future.done()
    office.answer(office.hired[1])
    assert future.result(timeout=0) == answer_to(plan(0))


def test_workers_that_do_not_begin_are_given_up_one_by_one() -> None:
    office = Office(2, begun=False)
    future, other = office.take(0), office.hired[1]
    for _ in range(ATTEMPTS):
        office.die(next(worker for worker in office.hired if not worker.ready.done() and worker is not other))
    assert not future.done()
    office.begin(other)
    office.answer(other)
    assert future.result(timeout=0) == answer_to(plan(0))
    assert len(office.hired) == 1 + ATTEMPTS


def test_where_none_begins_all_plans_are_given_up() -> None:
    office = Office(1, begun=False)
    future = office.take(0)
    for _ in range(ATTEMPTS):
        office.die(office.hired[-1])
    for failed in (future, office.take(1)):
        with pytest.raises(PoolError, match=r"workers do not begin \(killed\): is memory short"):
            failed.result(timeout=0)


def test_where_none_has_begun_in_time_all_plans_are_given_up() -> None:
    office = Office(2, patience=0.1, begun=False)
    future = office.take(0)
    sleep(0.2)
    office.roster.look()
    with pytest.raises(PoolError, match=r"no worker has begun for 0\.1 s"):
        future.result(timeout=0)


def test_who_is_dismissed_hears_nothing_more() -> None:
    office = Office(2)
    futures = [office.take(i) for i in range(9)]
    office.roster.dismiss()
    assert all(future.cancelled() for future in futures)
    assert all(worker.ended for worker in office.hired)
    office.answer(office.hired[0])
    office.die(office.hired[1])
    assert office.take(0).cancelled()
    assert len(office.hired) == 2


@given(st.integers(1, 3), st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["begin", "answer", "die"]))))
def test_whatever_happens_each_plan_ends_once(workers: int, events: list[tuple[int, str]]) -> None:
    office = Office(workers, begun=False)
    futures = [office.take(i) for i in range(8)]
    for place, event in events:
        act(office.hired[max(0, len(office.hired) - workers) :], place, event)
        office.attend()
        assert all(len(worker.under_way) <= AHEAD for worker in office.hired)
    while not all(worker.ready.done() and not worker.under_way for worker in office.hired):
        for worker in list(office.hired):  # and from now on nothing bad happens
            act([worker], 0, "begin")
            act([worker], 0, "answer")
            office.attend()
    for number, future in enumerate(futures):
        if future.exception(timeout=0) is None:
            assert future.result() == answer_to(plan(number))
        else:
            assert isinstance(future.exception(), PoolError)
            assert sum(event == "die" for _, event in events) >= ATTEMPTS


def act(workers: list[Scripted], place: int, event: str) -> None:
    worker = workers[place % len(workers)]
    if event == "begin" and not worker.ready.done():
        worker.ready.set_result(None)
    elif event == "answer" and worker.under_way:
        worker.answer()
    elif event == "die":
        worker.die()


class Prompt(Scripted):
    """Answers at once, on a thread that also has to end it: it may not be kept waiting."""

    def __init__(self, thread: ThreadPoolExecutor) -> None:
        super().__init__()
        self.thread = thread
        thread.submit(self.ready.set_result, None)

    def record(self, plan: Plan, rivals: Sequence[Rival]) -> Future[Answer]:
        future = super().record(plan, rivals)
        self.thread.submit(future.set_result, answer_to(plan))
        return future

    def end(self) -> None:
        self.thread.submit(super().end).result(timeout=10)


def test_a_desk_is_closed_while_its_workers_answer() -> None:
    with ThreadPoolExecutor(1) as thread:
        for _ in range(30):
            with closing(Desk(lambda: Prompt(thread), 3, LONG)) as desk:
                futures = [desk.submit(plan(i), []) for i in range(50)]
                assert futures[9].result(timeout=10) == answer_to(plan(9))
            assert all(future.done() for future in futures)
            assert desk.submit(plan(0), []).cancelled()


def test_a_desk_that_cannot_hire_says_so() -> None:
    hired: list[Scripted] = []

    def hire() -> Scripted:
        if hired:
            raise OSError("the cluster is gone")
        hired.append(Scripted())
        hired[0].ready.set_result(None)
        return hired[0]

    with closing(Desk(hire, 1, LONG)) as desk:
        future = desk.submit(plan(0), [])
        while not hired[0].asked:
            sleep(0.01)
        hired[0].die()
        with pytest.raises(PoolError, match=r"workers do not begin \(the cluster is gone\)"):
            future.result(timeout=10)


def test_a_desk_that_can_hire_only_some_goes_on_with_those() -> None:
    hired: list[Scripted] = []

    def hire() -> Scripted:
        if hired:
            raise OSError("too many open files")
        hired.append(Scripted())
        hired[0].ready.set_result(None)
        return hired[0]

    with closing(Desk(hire, 3, LONG)) as desk:
        future = desk.submit(plan(0), [])
        while not hired[0].asked:
            sleep(0.01)
        hired[0].answer()
        assert future.result(timeout=10) == answer_to(plan(0))
        while len(desk.lost) < 2 * ATTEMPTS:
            sleep(0.01)
        assert set(desk.lost) == {"too many open files"}
    assert hired[0].ended


def test_who_cannot_be_ended_keeps_nobody_else() -> None:
    office = Office(3)

    def fail() -> None:
        raise OSError("the cluster is gone")

    office.hired[0].end = fail  # type: ignore[method-assign]
    office.roster.dismiss()
    assert [worker.ended for worker in office.hired] == [False, True, True]


def test_who_does_not_begin_while_others_do_is_told_of() -> None:
    office = Office(2, patience=0.1, begun=False)
    office.begin(office.hired[0])
    sleep(0.2)
    office.roster.look()
    office.roster.look()
    assert office.roster.lost == ["it has not begun for 0.1 s"]
