"""Every pool owes the same: a record for each plan, whatever becomes of its workers."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest

from bqsearch.errors import PlanError, PoolError
from bqsearch.plan import Plan
from bqsearch.search import driver, pool
from bqsearch.search.crew import Crew, Pool
from bqsearch.search.desk import ATTEMPTS
from bqsearch.search.driver import Searched
from bqsearch.search.evaluate import Evaluator
from bqsearch.search.prepare import Problem
from bqsearch.search.record import Record
from bqsearch.search.space import Space
from search.crews import Unlucky
from search.problems import prepared, store_of, timeless, write_files

WORKERS = 2
KINDS = ["local", "ray"]


@pytest.fixture(scope="module")
def problem(tmp_path_factory: pytest.TempPathFactory) -> Problem:
    return prepared(write_files(tmp_path_factory.mktemp("pool")), trials=44, polish=3, max_drop=1.0)


@pytest.fixture(scope="module")
def plans(problem: Problem) -> list[Plan]:
    space = Space.of(problem.bank, problem.cost, problem.max_ram)
    return [space.plan(point) for point in space.sweep(12)]


@pytest.fixture(scope="module", params=KINDS)
def crew(request: pytest.FixtureRequest) -> Iterator[Crew]:
    if request.param == "ray":
        pytest.importorskip("ray")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # workers know of the tests
        crew = Crew(workers=WORKERS, ray="local" if request.param == "ray" else None, patience=60.0)
        with pool.cluster(crew):
            yield crew


def records(evaluator: Evaluator, crew: Crew, plans: list[Plan]) -> list[Record]:
    with pool.opened(evaluator, crew) as made:
        assert made.workers == WORKERS
        answers = [made.submit(plan, []) for plan in plans]
        return [replace(answer.result()[0], seconds=0.0) for answer in answers]


def alone(problem: Problem, plans: list[Plan]) -> list[Record]:
    evaluator = Evaluator(problem=problem)
    return [replace(evaluator.record(plan, [])[0], seconds=0.0) for plan in plans]


def test_records_are_those_of_this_process(problem: Problem, crew: Crew, plans: list[Plan]) -> None:
    found = records(Evaluator(problem=problem), crew, plans)
    assert found == alone(problem, plans)
    assert any(record.given_up for record in found)


def test_a_worker_that_dies_loses_nothing(problem: Problem, crew: Crew, plans: list[Plan], tmp_path: Path) -> None:
    unlucky = Unlucky(problem=problem, folder=tmp_path, over=(plans[1].hash, plans[7].hash))
    assert records(unlucky, crew, plans) == alone(problem, plans)
    assert len(list(tmp_path.iterdir())) >= 2


def test_a_worker_that_hangs_is_replaced(problem: Problem, crew: Crew, plans: list[Plan], tmp_path: Path) -> None:
    unlucky = Unlucky(problem=problem, folder=tmp_path, over=(plans[4].hash,), hangs=True)
    assert records(unlucky, replace(crew, patience=8.0), plans[:6]) == alone(problem, plans[:6])
    assert len(list(tmp_path.iterdir())) == 1


def test_a_plan_that_costs_every_worker_is_named(
    problem: Problem, crew: Crew, plans: list[Plan], tmp_path: Path
) -> None:
    unlucky = Unlucky(problem=problem, folder=tmp_path, over=(plans[2].hash,), times=99)
    with pool.opened(unlucky, crew) as made:
        answer = made.submit(plans[2], [])
        with pytest.raises(PoolError, match=f"cost {ATTEMPTS} workers .*plan {plans[2].hash[:12]}.*fewer --workers"):
            answer.result()
        assert replace(made.submit(plans[3], []).result()[0], seconds=0.0) == alone(problem, [plans[3]])[0]


def test_an_error_of_ours_is_passed_on(problem: Problem, crew: Crew, plans: list[Plan]) -> None:
    other = Plan(choices={"no such layer": next(iter(plans[0].choices.values()))})
    with pool.opened(Evaluator(problem=problem), crew) as made:
        answer = made.submit(other, [])
        with pytest.raises(PlanError, match="no such layer"):
            answer.result()


def searched(problem: Problem, folder: Path, crew: Crew, last: int | None = None) -> Searched:
    """To its end, or until that trial is told of."""
    folder.mkdir(exist_ok=True)
    stop = Event()

    def on_trial(number: int, record: Record) -> None:
        if number == last:
            stop.set()

    return driver.search(problem, store_of(problem, folder), on_trial, stop, crew)


def test_a_search_is_the_same_by_every_pool_of_as_many_workers(problem: Problem, crew: Crew, tmp_path: Path) -> None:
    found = searched(problem, tmp_path / "a", crew)
    assert len(found.records) == 47
    assert timeless(found) == timeless(searched(problem, tmp_path / "b", Crew(workers=WORKERS)))
    assert found.spent.inputs > 0


def test_a_search_by_workers_goes_on_where_it_was_stopped(problem: Problem, crew: Crew, tmp_path: Path) -> None:
    whole = searched(problem, tmp_path / "whole", crew)
    for last in (12, 37, 45, None):
        part = searched(problem, tmp_path / "parts", crew, last)
    assert timeless(part) == timeless(whole)


def test_a_crew_may_bring_its_own_pool(problem: Problem, plans: list[Plan]) -> None:
    ended = []

    @contextmanager
    def lane(evaluator: Evaluator) -> Iterator[Pool]:
        with pool.lane(evaluator) as made:
            yield made
        ended.append(made)

    with pool.opened(Evaluator(problem=problem), Crew(workers=WORKERS, pool=lane)) as opened:
        assert opened.submit(plans[0], []).result()[0].plan == plans[0]
        assert ended == []
    assert ended == [opened]
    with pytest.raises(RuntimeError, match="shutdown"):
        opened.submit(plans[0], [])
