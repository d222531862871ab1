"""Processes as workers: what they leave behind, and what their search hears of them."""

import multiprocessing
import os
import resource
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from bqsearch.errors import OutputError
from bqsearch.plan import Plan
from bqsearch.search.crew import Crew
from bqsearch.search.evaluate import Evaluator
from bqsearch.search.prepare import Problem
from bqsearch.search.processes import processes
from bqsearch.search.space import Space
from search.crews import Broken
from search.problems import prepared, write_files

CREW = Crew(workers=2)


@pytest.fixture(scope="module")
def problem(tmp_path_factory: pytest.TempPathFactory) -> Problem:
    return prepared(write_files(tmp_path_factory.mktemp("processes")))


@pytest.fixture(scope="module")
def plans(problem: Problem) -> list[Plan]:
    space = Space.of(problem.bank, problem.cost, problem.max_ram)
    return [space.plan(point) for point in space.sweep(4)]


def test_workers_that_die_while_none_has_a_candidate_are_replaced(problem: Problem, plans: list[Plan]) -> None:
    evaluator = Evaluator(problem=problem)
    with processes(evaluator, CREW) as made:
        for moment in range(2):
            for worker in multiprocessing.active_children():
                worker.kill()
            record, _ = made.submit(plans[moment], []).result(timeout=60)
            assert replace(record, seconds=0.0) == replace(evaluator.record(plans[moment], [])[0], seconds=0.0)


@contextmanager
def full_disk() -> Iterator[None]:
    """Nothing longer than 1,000 bytes can be written."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_workers_read_has_no_name_and_a_full_disk_is_one_clear_error(
    problem: Problem, plans: list[Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    evaluator = Evaluator(problem=problem)
    with (
        full_disk(),
        pytest.raises(OutputError, match=f"cannot write to {tmp_path}: .*: make room, .* TMPDIR"),
        processes(evaluator, CREW),
    ):
        raise AssertionError("there are no such workers")
    with processes(evaluator, CREW) as made:
        assert made.submit(plans[0], []).result()[0].plan == plans[0]
        assert list(tmp_path.iterdir()) == []


def test_an_error_that_cannot_be_sent_is_told_in_words(
    problem: Problem, plans: list[Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # workers know of the tests
    with (
        processes(Broken(problem=problem), CREW) as made,
        pytest.raises(RuntimeError, match=r"^TwoPartsError: this and"),
    ):
        made.submit(plans[0], []).result(timeout=60)


def test_an_error_says_where_in_a_worker_it_was_raised(problem: Problem) -> None:
    other = Plan(choices={"no such layer": next(iter(problem.bank.baseline.choices.values()))})
    with processes(Evaluator(problem=problem), CREW) as made:
        error = made.submit(other, []).exception(timeout=60)
    assert error is not None
    assert "in a worker: Traceback" in error.__notes__[0]
