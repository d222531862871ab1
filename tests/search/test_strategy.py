"""Proposals: the sweep first, and after a stop exactly those that would have come without it."""

from collections import deque
from collections.abc import Sequence
from pathlib import Path

import pytest
from optuna.trial import FrozenTrial

from bqsearch.plan import Plan
from bqsearch.search.prepare import Problem
from bqsearch.search.record import Record, record_of
from bqsearch.search.space import Space
from bqsearch.search.store import TrialStore, open_journal
from bqsearch.search.strategy import LAG, SWEEP, OptunaStrategy
from search.problems import prepared, synthetic, write_files

DIRECTIONS = ["maximize", "minimize", "minimize"]
TRIALS = 60


@pytest.fixture(scope="module")
def problem(tmp_path_factory: pytest.TempPathFactory) -> Problem:
    return prepared(write_files(tmp_path_factory.mktemp("strategy")), target="nrf52840")


@pytest.fixture(scope="module")
def space(problem: Problem) -> Space:
    return Space.of(problem.bank, problem.cost, problem.max_ram)


def strategy(space: Space, sampler: str, finished: Sequence[FrozenTrial] = (), seed: int = 3) -> OptunaStrategy:
    told = {"directions": DIRECTIONS, "trials": TRIALS, "max_drop": 5.0, "finished": finished}
    return OptunaStrategy(space=space, sampler=sampler, seed=seed, **told)


def answer(problem: Problem, plan: Plan) -> Record:
    options = [problem.bank.by_name[name].option(choice) for name, choice in plan.choices.items()]
    return synthetic(plan, sum(o.nbytes for o in options), max(o.table_bytes for o in options))


def go_on(problem: Problem, made: OptunaStrategy, count: int, store: TrialStore | None = None) -> list[Plan]:
    """Ask and tell as the driver does, `LAG` plans under way; all are told at the end."""
    plans: list[Plan] = []
    running: deque[Plan] = deque()
    while len(plans) < count or running:
        while len(plans) < count and len(running) < LAG:
            plans.append(made.ask())
            running.append(plans[-1])
        trial = made.tell(answer(problem, running.popleft()))
        if store is not None:
            store.add(trial)
    return plans


def new_store(path: Path) -> TrialStore:
    return TrialStore(open_journal(path), "study", DIRECTIONS, {"seed": 3}, True)


def test_the_sweep_comes_first(problem: Problem, space: Space) -> None:
    sweep = space.sweep(SWEEP)
    plans = go_on(problem, strategy(space, "lagrange"), len(sweep) + 12)
    assert plans[: len(sweep)] == [space.plan(point) for point in sweep]
    assert any(plan not in plans[: len(sweep)] for plan in plans[len(sweep) :])


@pytest.mark.parametrize("sampler", ["lagrange", "nsga2", "random", "tpe"])
def test_a_resumed_search_proposes_what_an_uninterrupted_one_would(
    problem: Problem, space: Space, sampler: str, tmp_path: Path
) -> None:
    whole = go_on(problem, strategy(space, sampler), TRIALS)
    path, plans = tmp_path / "trials.journal", []
    for count in (7, 26, 14, TRIALS - 47):  # stopped in the sweep, right behind it, and twice among the sampler's
        store = new_store(path)
        plans += go_on(problem, strategy(space, sampler, store.finished()), count, store)
    assert plans == whole
    stored = [record_of(trial) for trial in new_store(path).finished()]
    assert stored == [answer(problem, plan) for plan in whole]


@pytest.mark.parametrize("seed", range(8))
def test_generations_are_the_same_wherever_a_search_is_stopped(
    problem: Problem, space: Space, seed: int, tmp_path: Path
) -> None:
    """NSGA-II notes a trial's generation when it proposes it, and selects parents when the next generation begins."""
    whole = go_on(problem, strategy(space, "nsga2", seed=seed), TRIALS)
    path, plans = tmp_path / "trials.journal", []
    for count in (
        41,
        1,
        1,
        1,
        1,
        1,
        1,
        1,
        1,
        TRIALS - 49,
    ):  # a tenth of the trials has no values; 40 begin a generation
        store = new_store(path)
        plans += go_on(problem, strategy(space, "nsga2", store.finished(), seed), count, store)
    assert plans == whole


@pytest.mark.parametrize("sampler", ["lagrange", "nsga2", "random", "tpe"])
def test_another_seed_proposes_otherwise_behind_the_sweep(problem: Problem, space: Space, sampler: str) -> None:
    first, second = (go_on(problem, strategy(space, sampler, seed=s), TRIALS) for s in (1, 2))
    count = len(space.sweep(SWEEP))
    assert first[:count] == second[:count]
    assert first[count:] != second[count:]


def test_tell_gives_the_whole_record_with_the_trial(problem: Problem, space: Space) -> None:
    made = strategy(space, "lagrange")
    states = set()
    for _ in range(25):
        record = answer(problem, made.ask())
        trial = made.tell(record)
        assert record_of(trial) == record
        assert trial.values == (None if record.values is None else list(record.values))
        states.add(trial.state.name)
    assert states == {"COMPLETE", "PRUNED"}
