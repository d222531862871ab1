"""Proposals: the sweep first, and after a stop exactly those that would have come without it."""

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from optuna.samplers import RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from bqsearch import registry
from bqsearch.plan import Plan
from bqsearch.search.prepare import Problem
from bqsearch.search.record import Record, record_of
from bqsearch.search.space import Space
from bqsearch.search.store import TrialStore, open_journal
from bqsearch.search.strategy import SWEEP, OptunaStrategy, Pace
from search.problems import prepared, synthetic, two_rooms, write_files

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
    """Ask and tell as the driver does, as many plans under way as there may be; all are told at the end."""
    plans: list[Plan] = []
    running: deque[Plan] = deque()
    while len(plans) < count or running:
        while len(plans) < count and len(running) < made.lag:
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
    plans = go_on(problem, strategy(space, "rd"), len(sweep) + 12)
    assert plans[: len(sweep)] == [space.plan(point) for point in sweep]
    assert any(plan not in plans[: len(sweep)] for plan in plans[len(sweep) :])


@pytest.mark.parametrize("sampler", ["rd", "nsga2", "random", "tpe"])
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


def test_the_samplers_trials_do_not_depend_on_what_is_polished_among_them(problem: Problem, space: Space) -> None:
    made = replace(strategy(space, "nsga2"), max_drop=0.5)
    plans = go_on(problem, replace(made, trials=36), TRIALS)
    sampled = [plan for plan in plans if not plan.successive]
    assert 36 < len(sampled) < len(plans)  # where nothing is left to polish, the sampler proposes more
    assert sampled == go_on(problem, made, len(sampled))


def test_plans_under_way_are_not_proposed_again(problem: Problem, space: Space, tmp_path: Path) -> None:
    made = replace(strategy(two_rooms(), "rd"), pace=Pace.of(40))
    for _ in range(60):  # nothing is told meanwhile
        made.ask()
    assert len({tuple(asked.rungs.values()) for asked in made._asked}) == 60
    path, pace = tmp_path / "trials.journal", Pace.of(6)
    whole = go_on(problem, replace(strategy(space, "rd"), pace=pace), TRIALS)
    parts = []
    for count in (9, 11, TRIALS - 20):
        store = new_store(path)
        parts += go_on(problem, replace(strategy(space, "rd", store.finished()), pace=pace), count, store)
    assert parts == whole


class Watching(RandomSampler):
    """Notes which trials have ended when one is proposed, unless what it is to be is known."""

    def __init__(self, seen: dict[int, list[int]]) -> None:
        super().__init__(seed=len(seen))
        self._seen = seen

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        every = study.get_trials(deepcopy=False)
        if "fixed_params" not in trial.system_attrs:
            self._seen[trial.number] = [other.number for other in every if other.state.is_finished()]


def test_paces_keep_workers_busy() -> None:
    assert [Pace().told(number) for number in range(5)] == [0, 0, 1, 2, 3]
    assert Pace.of(1) == Pace()
    for workers in (2, 3, 8, 1000):
        pace = Pace.of(workers)
        told = [pace.told(number) for number in range(5 * workers)]
        assert told == sorted(told)
        assert not any(told[: 2 * workers])
        behind = [number - known for number, known in enumerate(told[2 * workers :], start=2 * workers)]
        assert max(behind) <= 2 * workers - 1 + max(1, workers // 4)


@pytest.mark.parametrize("pace", [Pace(), Pace.of(2), Pace.of(9)], ids=["alone", "two workers", "nine workers"])
@pytest.mark.parametrize("counts", [[TRIALS], [30, 4, 3, 1, 1, 9, 12], [1] * TRIALS])
def test_a_trial_is_proposed_when_those_before_the_pace_have_ended(
    problem: Problem, space: Space, counts: list[int], pace: Pace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[int, list[int]] = {}
    monkeypatch.setattr(registry, "load", lambda kind, name: lambda seed, space: Watching(seen))
    plans = []
    for count in counts:
        store = new_store(tmp_path / "trials.journal")
        made = strategy(space, "random", store.finished())
        plans += go_on(problem, replace(made, trials=34, pace=pace), count, store)
    sampled = sum(not plan.successive for plan in plans)
    assert 34 < sampled < TRIALS == len(plans) or pace != Pace()
    assert set(seen) >= set(range(len(space.sweep(SWEEP)), sampled))
    assert seen == {number: list(range(pace.told(number))) for number in seen}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_polishing_goes_on_wherever_it_is_stopped(problem: Problem, space: Space, seed: int, tmp_path: Path) -> None:
    whole = go_on(problem, strategy(space, "rd", seed=seed), TRIALS + 16)
    polished = [plan.successive for plan in whole]
    assert polished[:TRIALS] == [False] * TRIALS
    assert 5 < sum(polished) <= 16  # where nothing is left, the sampler proposes more
    plans: list[Plan] = []
    for count in (TRIALS - 1, *[1] * 17):
        store = new_store(tmp_path / "trials.journal")
        plans += go_on(problem, strategy(space, "rd", store.finished(), seed), count, store)
    assert plans == whole


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


@pytest.mark.parametrize("sampler", ["rd", "nsga2", "random", "tpe"])
def test_another_seed_proposes_otherwise_behind_the_sweep(problem: Problem, space: Space, sampler: str) -> None:
    first, second = (go_on(problem, strategy(space, sampler, seed=s), TRIALS) for s in (1, 2))
    count = len(space.sweep(SWEEP))
    assert first[:count] == second[:count]
    assert first[count:] != second[count:]


def test_tell_gives_the_whole_record_with_the_trial(problem: Problem, space: Space) -> None:
    made = strategy(space, "rd")
    states = set()
    for _ in range(25):
        record = answer(problem, made.ask())
        trial = made.tell(record)
        assert record_of(trial) == record
        assert trial.values == (None if record.values is None else list(record.values))
        states.add(trial.state.name)
    assert states == {"COMPLETE", "PRUNED"}


def test_the_sweep_ends_where_networks_break_down(problem: Problem, space: Space) -> None:
    """Behind a trial that lost far too much nothing is tried that is predicted to be worse, but by the sampler."""
    made = strategy(space, "rd")
    asked: list[float] = []
    broken = np.inf
    for _ in range(len(space.sweep(SWEEP))):
        plan = made.ask()
        rungs = np.array([ladder.choices.index(plan.choices[ladder.layer]) for ladder in space.ladders])
        asked.append(float(space.distortions(rungs).sum()))
        record = answer(problem, plan)
        if record.values is not None and len(asked) >= 3 and not np.isfinite(broken):
            record, broken = replace(record, constraints={**record.constraints, "drop": 90.0}), asked[-1]
        made.tell(record)
    assert np.isfinite(broken)
    swept = [float(space.distortions(np.array(list(point.values()))).sum()) for point in space.sweep(SWEEP)]
    left = [distortion for distortion in swept if distortion >= broken]
    assert len(left) > 2
    assert sum(distortion in left for distortion in asked) <= 2 + made.lag  # asked for before it was told of
