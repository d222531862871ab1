"""Candidates are run as far as it takes to know what they are worth, once, and that changes no winner."""

from dataclasses import replace
from pathlib import Path
from threading import Event

import numpy as np
import pytest

from bqsearch.plan import Plan
from bqsearch.search import driver
from bqsearch.search.driver import Searched
from bqsearch.search.evaluate import Evaluator, Spent
from bqsearch.search.front import pareto_trials
from bqsearch.search.prepare import Problem
from bqsearch.search.race import Rival
from bqsearch.search.record import INPUTS, UNSEEN
from bqsearch.search.scores import Scores
from bqsearch.search.space import Space
from search.problems import prepared, search, settings, store_of, timeless, write_files


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return write_files(tmp_path_factory.mktemp("evaluate"))


@pytest.fixture(scope="module")
def problem(files: dict[str, str]) -> Problem:
    return prepared(files, max_drop=2.0)


@pytest.fixture(scope="module")
def plans(problem: Problem) -> list[Plan]:
    space = Space.of(problem.bank, problem.cost, problem.max_ram)
    return [space.plan(point) for point in space.sweep(20)]


def test_racing_gives_up_only_what_loses_too_much(problem: Problem, plans: list[Plan]) -> None:
    raced, whole = Evaluator(problem=problem), Evaluator(problem=problem, racing=False)
    given_up = 0
    for plan in plans:
        (record, spent), (full, all_of_it) = raced.record(plan, []), whole.record(plan, [])
        assert all_of_it.inputs == raced.rows
        assert spent.inputs == record.metrics[INPUTS]
        assert (spent.inputs + spent.left, spent.known) == (raced.rows, 0)
        if record.given_up:
            given_up += 1
            assert full.constraints["drop"] + 2.0 > raced._reach
            assert not record.feasible
            assert record.constraints[UNSEEN] == raced.rows - spent.inputs
        else:
            assert replace(record, seconds=0) == replace(full, seconds=0)
    assert 3 < given_up < len(plans) - 3


def test_a_candidate_is_given_up_where_another_is_no_larger_and_loses_much_less(
    problem: Problem, plans: list[Plan]
) -> None:
    evaluator = Evaluator(problem=problem)
    full = [evaluator.record(plan, [])[0] for plan in plans]
    lossy = next(record for record in full if not record.given_up and record.constraints["drop"] > 2.0)
    assert lossy.values is not None
    small = Rival(costs=tuple(value - 1 for value in lossy.values[1:]), drop=-100.0)
    assert evaluator.record(lossy.plan, [small])[0].given_up
    assert not evaluator.record(lossy.plan, [replace(small, costs=(small.costs[0], small.costs[1] + 9))])[0].given_up
    assert not evaluator.record(lossy.plan, [replace(small, drop=100.0)])[0].given_up


def test_what_is_given_up_is_recorded_as_what_was_lost_on_the_same_inputs(problem: Problem, plans: list[Plan]) -> None:
    evaluator = Evaluator(problem=problem)
    record = next(r for r in (evaluator.record(plan, [])[0] for plan in plans) if r.given_up)
    seen = evaluator.order[: int(record.metrics[INPUTS])]
    measured, before = problem.measure(record.plan), problem.measure(problem.bank.baseline)
    lost = float(before.correct[seen].mean() - measured.correct[seen].mean())
    assert record.constraints["drop"] == pytest.approx(100 * lost - 2.0, abs=1e-6)
    assert record.values is not None
    assert record.values[0] == record.metrics["accuracy_search"] == pytest.approx(before.accuracy - lost)
    assert record.metrics["error_search"] == pytest.approx(1 - measured.fidelities[seen].mean())


@pytest.mark.parametrize("kind", ["accuracy", "fidelity", "both"])
def test_known_scores_give_the_same_record_without_a_run(
    files: dict[str, str], plans: list[Plan], kind: str, tmp_path: Path
) -> None:
    objectives = {"accuracy": ["accuracy", "flash"], "fidelity": ["fidelity", "flash"]}
    problem = prepared(files, max_drop=2.0, objectives=objectives.get(kind, ["accuracy", "fidelity", "flash"]))
    first = Evaluator(problem=problem, scores=Scores(tmp_path))
    cold = [first.record(plan, []) for plan in plans]
    second = Evaluator(problem=problem, scores=Scores(tmp_path))
    warm = [second.record(plan, []) for plan in plans]
    assert [replace(record, seconds=0) for record, _ in warm] == [replace(record, seconds=0) for record, _ in cold]
    ran, known = (sum((spent for _, spent in found), Spent()) for found in (cold, warm))
    assert (ran.inputs, ran.known, ran.left) == (known.known, known.inputs, known.left)
    assert ran.inputs > 0 == known.inputs


def test_what_was_given_up_is_run_on_where_more_is_allowed(
    files: dict[str, str], plans: list[Plan], tmp_path: Path
) -> None:
    strict, lax = (prepared(files, max_drop=drop) for drop in (1.0, 60.0))
    before = [Evaluator(problem=strict, scores=Scores(tmp_path)).record(plan, []) for plan in plans]
    assert any(record.given_up for record, _ in before)
    bare = Evaluator(problem=lax)
    for plan, (early, _) in zip(plans, before, strict=True):
        record, spent = Evaluator(problem=lax, scores=Scores(tmp_path)).record(plan, [])
        assert not record.given_up
        assert spent.inputs == bare.rows - early.metrics[INPUTS]
        assert replace(record, seconds=0) == replace(bare.record(plan, [])[0], seconds=0)


def test_a_second_study_runs_nothing_that_the_first_one_did(files: dict[str, str], tmp_path: Path) -> None:
    """Another board, other objectives: the network and its data are the same."""
    one = prepared(files, sampler="random", trials=30)
    two = prepared(files, sampler="random", trials=30, objectives=["accuracy", "latency"], target="stm32f746")
    first = search_with(one, tmp_path, "a")
    again = search_with(one, tmp_path, "b")
    assert timeless(first) == timeless(again)
    assert first.spent.inputs > 0 == again.spent.inputs
    assert search_with(two, tmp_path, "c").spent.spared > 0


def search_with(problem: Problem, folder: Path, name: str) -> Searched:
    (folder / name).mkdir()
    store = store_of(problem, folder / name)
    return driver.search(problem, store, lambda number, record: None, Event(), scores=Scores(folder / "scores"))


@pytest.mark.parametrize("sampler", ["rd", "random"])
@pytest.mark.parametrize("seed", range(5))
def test_the_front_is_that_of_full_scoring(problem: Problem, seed: int, sampler: str, tmp_path: Path) -> None:
    """All that a search gave up, run to the end: none of it belongs on the front."""
    one = settings(problem, seed=seed, trials=60, sampler=sampler)
    found = search(one, tmp_path)
    assert any(record.given_up for record in found.records)
    whole = Evaluator(problem=one, racing=False)
    full = [whole.record(r.plan, [])[0] if r.given_up else r for r in found.records]
    assert [record.given_up for record in full] == [False] * len(full)
    raced_front, full_front = pareto_trials(one, found.records), pareto_trials(one, full)
    given_up = {n for n, record in enumerate(found.records) if record.given_up}
    assert not given_up & set(full_front)
    assert raced_front[0] == full_front[0]
    assert np.array_equal(raced_front, full_front)
