"""Every sampler stays inside the space, and its proposal depends on seed and history alone."""

import numpy as np
import optuna
import pytest
from optuna.trial import create_trial

from bqsearch import registry
from bqsearch.search.prepare import Problem
from bqsearch.search.samplers import LagrangeSampler
from bqsearch.search.space import Space
from search.problems import prepared, synthetic, write_files

DIRECTIONS = ["maximize", "minimize", "minimize"]


@pytest.fixture(scope="module")
def problem(tmp_path_factory: pytest.TempPathFactory) -> Problem:
    return prepared(write_files(tmp_path_factory.mktemp("samplers")))


@pytest.fixture(scope="module")
def space(problem: Problem) -> Space:
    return Space.of(problem.bank, problem.cost, problem.max_ram)


@pytest.fixture(autouse=True)
def quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def history(space: Space, count: int) -> list[optuna.trial.FrozenTrial]:
    rng = np.random.default_rng(7)
    trials = []
    for _ in range(count):
        indices = np.array([rng.integers(len(ladder.choices)) for ladder in space.ladders])
        record = synthetic(space.plan(space.rungs(indices)), int(space.sizes(indices)), 3)
        state = optuna.trial.TrialState.PRUNED if record.values is None else optuna.trial.TrialState.COMPLETE
        trials.append(
            create_trial(
                state=state,
                params=space.rungs(indices),
                distributions=space.distributions,
                values=record.values,
                user_attrs={"record": record.to_json()},
            )
        )
    return trials


def propose(name: str, seed: int, space: Space, count: int) -> dict[str, int]:
    study = optuna.create_study(directions=DIRECTIONS, sampler=registry.load("sampler", name)(seed, space))
    study.add_trials(history(space, count))
    return study.ask(space.distributions).params


@pytest.mark.parametrize("name", registry.names("sampler"))
@pytest.mark.parametrize("count", [0, 50])
def test_proposals_are_in_the_space_and_repeat(name: str, space: Space, count: int) -> None:
    proposals = [propose(name, seed, space, count) for seed in range(8)]
    for seed, params in enumerate(proposals):
        assert list(params) == list(space.distributions)
        assert all(space.distributions[layer]._contains(rung) for layer, rung in params.items())
        assert params == propose(name, seed, space, count)
        space.plan(params)
    assert len({tuple(params.values()) for params in proposals}) > 1


def test_random_reaches_everything(space: Space) -> None:
    found = [propose("random", seed, space, 0) for seed in range(60)]
    for layer, distribution in space.distributions.items():
        rungs = [params[layer] for params in found]
        assert min(rungs) < distribution.high / 4
        assert max(rungs) > distribution.high * 3 / 4


def test_lagrange_goes_around_the_smallest_feasible_size(space: Space) -> None:
    feasible = [
        trial.user_attrs["record"]["metrics"]["weight_bytes"]
        for trial in history(space, 50)
        if trial.state == optuna.trial.TrialState.COMPLETE
        and all(excess <= 0 for excess in trial.user_attrs["record"]["constraints"].values())
    ]
    low, high = np.array(LagrangeSampler.around) * min(feasible)
    proposals = [propose("lagrange", seed, space, 50) for seed in range(40)]
    sizes = np.array([space.sizes(np.array(list(params.values()))) for params in proposals])
    assert (sizes <= high).mean() > 0.6
    assert ((sizes > 0.7 * low) & (sizes <= high)).mean() > 0.6
    assert len(set(sizes.tolist())) > 10


def test_lagrange_has_the_whole_space_in_one_draw(space: Space) -> None:
    sampler = registry.load("sampler", "lagrange")(0, space)
    study = optuna.create_study(directions=DIRECTIONS, sampler=sampler)
    with pytest.raises(LookupError, match="'other' is not a layer"):
        sampler.sample_independent(study, None, "other", None)
