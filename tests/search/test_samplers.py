"""Every sampler stays inside the space, and its proposal depends on seed and history alone."""

from dataclasses import replace

import numpy as np
import optuna
import pytest
from optuna.trial import create_trial

from bqsearch import registry
from bqsearch.search.prepare import Problem
from bqsearch.search.rate_distortion import RateDistortionSampler
from bqsearch.search.record import ERROR
from bqsearch.search.space import Budget, Space
from search.problems import prepared, synthetic, two_rooms, write_files

DIRECTIONS = ["maximize", "minimize", "minimize"]


@pytest.fixture(scope="module")
def problem(tmp_path_factory: pytest.TempPathFactory) -> Problem:
    return prepared(write_files(tmp_path_factory.mktemp("samplers")), error_compensation=False)


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
        error = float(space.distortions(indices).sum() * rng.lognormal(sigma=0.1))
        record = replace(record, metrics={**record.metrics, ERROR: error})
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


def test_rd_spends_no_trials_on_what_loses_too_much(space: Space) -> None:
    """Trials along the hull lose the more the larger their error is, and one in the middle just what is allowed."""
    smallest, largest = space.extent()
    sizes = np.geomspace(smallest, largest, 24)
    plans = [space.within(float(size)) for size in sizes]
    errors = np.array([space.distortions(rungs).sum() for rungs in plans]) + 1e-12
    study = optuna.create_study(directions=DIRECTIONS, sampler=RateDistortionSampler(0, space))
    for rungs, error in zip(plans, errors, strict=True):
        study.add_trial(told(space, rungs.tolist(), 1, float(error / errors[12]) - 1, float(error)))
    found = []
    for _ in range(60):
        params = study.ask(space.distributions).params
        found.append(space.sizes(np.array(list(params.values()))))
    assert (np.array(found) > 0.97 * sizes[12]).mean() > 0.95  # smaller ones lose too much
    assert len(set(map(int, found))) > 20


ROOM = 1000  # of `two_rooms`: the smaller RAM


def told(space: Space, rungs: list[int], ram: int, drop: float, error: float | None = None) -> optuna.trial.FrozenTrial:
    """A trial; `weight_bytes` leaves out what the board stores beside the weights."""
    indices = np.array(rungs)
    known = 1e-3 * float(rungs[0] + 1) if error is None else error
    metrics = {"weight_bytes": int(space.sizes(indices)) // 3, "ram_bytes": ram, ERROR: known}
    return create_trial(
        params=space.rungs(indices),
        distributions=space.distributions,
        values=[0.9, 1.0, 1.0],
        user_attrs={"record": {"constraints": {"flash": -1.0, "ram": -1.0, "drop": drop}, "metrics": metrics}},
    )


def sizes_by_room(space: Space, trials: list[optuna.trial.FrozenTrial]) -> tuple[np.ndarray, np.ndarray]:
    """Of proposals that the smaller RAM can hold, and of the others."""
    proposals = []
    for seed in range(160):
        study = optuna.create_study(directions=DIRECTIONS, sampler=RateDistortionSampler(seed, space))
        study.add_trials(trials)
        proposals.append(list(study.ask(space.distributions).params.values()))
    plans = np.array(proposals)
    ram = np.array([[ladder.ram[rung] for ladder, rung in zip(space.ladders, plan, strict=True)] for plan in plans])
    tight, sizes = ram.max(axis=1) <= ROOM, space.sizes(plans)
    return sizes[tight], sizes[~tight]


def test_rd_adds_to_the_front_of_the_ram_that_it_keeps_to() -> None:
    """A small plan that needs all RAM leaves nothing to find among larger ones but in half of it."""
    space = two_rooms()
    trials = [told(space, [0, 0, 0], ROOM, -1.0), told(space, [15, 15, 15], 2 * ROOM, -1.0)]
    assert [int(space.sizes(np.array(list(trial.params.values())))) for trial in trials] == [300, 75]
    tight, free = sizes_by_room(space, trials)
    assert len(tight) >= 10
    assert tight.min() >= 165  # all that there is in half of it
    assert len(set(tight.tolist())) > 5
    assert (free <= 75).mean() > 0.7


def test_rd_has_the_whole_space_in_one_draw(space: Space) -> None:
    sampler = registry.load("sampler", "rd")(0, space)
    study = optuna.create_study(directions=DIRECTIONS, sampler=sampler)
    with pytest.raises(LookupError, match="'other' is not a layer"):
        sampler.sample_independent(study, None, "other", None)


@pytest.mark.parametrize("frugal", [True, False])
def test_rd_keeps_to_what_the_flash_holds(frugal: bool) -> None:
    """And goes near it where only quality counts."""
    space = replace(two_rooms(), budget=Budget(most=200, frugal=frugal))
    trials = [told(space, [15, 15, 15], 2 * ROOM, 0.0)]
    tight, free = sizes_by_room(space, trials)
    sizes = np.concatenate([tight, free])
    assert sizes.max() <= 200
    assert ((sizes >= 0.8 * 200).mean() == 1) is not frugal


def test_rd_learns_which_layers_matter_more_than_predicted(space: Space) -> None:
    """Errors are those of other weights of the layers, which its plans come to be the best for."""
    rng = np.random.default_rng(3)
    true = np.where(np.arange(len(space.ladders)) % 2 == 0, 4.0, 0.25)
    trials = []
    for size in np.geomspace(*space.extent(), 60):
        indices = space.within(size, rng.lognormal(sigma=0.7, size=len(true)))
        record = synthetic(space.plan(space.rungs(indices)), int(space.sizes(indices)), 3)
        error = float((space.distortions(indices) * true).sum())
        metrics = {**record.metrics, ERROR: error, "ram_bytes": 1.0}
        told = replace(record, values=(0.5, 1.0, 1.0), constraints={"drop": -1.0}, metrics=metrics)
        trials.append(
            create_trial(
                params=space.rungs(indices),
                distributions=space.distributions,
                values=[0.5, 1.0, 1.0],
                user_attrs={"record": told.to_json()},
            )
        )
    sampler = RateDistortionSampler(0, space)
    for trial in trials:
        sampler.learn(trial)
    size = float(np.median(sampler._seen.told[1]))
    shares = np.log(np.maximum(sampler._believed(size).mean, 0.01))
    assert np.corrcoef(shares, np.log(true))[0, 1] > 0.7


def test_rd_proposes_what_is_new_as_long_as_there_is_something(space: Space) -> None:
    study = optuna.create_study(directions=DIRECTIONS, sampler=RateDistortionSampler(0, space))
    study.add_trials(history(space, 5))
    for _ in range(60):
        trial = study.ask(space.distributions)
        assert trial.params not in [found.params for found in study.get_trials(deepcopy=False)[: trial.number]]
        indices = np.array([trial.params[ladder.layer] for ladder in space.ladders])
        record = synthetic(space.plan(trial.params), int(space.sizes(indices)), 3)
        metrics = {**record.metrics, ERROR: float(space.distortions(indices).sum()) + 1e-9}
        told = replace(record, values=(0.5, 1.0, 1.0), constraints={"drop": -1.0}, metrics=metrics)
        trial.set_user_attr("record", told.to_json())
        study.tell(trial, [0.5, 1.0, 1.0])


def test_rd_goes_where_the_front_has_room() -> None:
    """Two trials keep the drop, far apart in size and in what they lose: some proposals lie between them."""
    space = two_rooms()
    trials = [told(space, [0, 0, 0], ROOM, -1.0), told(space, [9, 9, 9], ROOM, -0.1)]
    smallest, largest = (int(space.sizes(np.array(rungs))) for rungs in ([9, 9, 9], [0, 0, 0]))
    tight, free = sizes_by_room(space, trials)
    sizes = np.concatenate([tight, free])
    assert ((sizes > smallest) & (sizes < largest)).mean() > 0.2


@pytest.mark.parametrize("most", [1.0, 120.0, 165.0])
def test_rd_goes_on_where_one_size_is_left(most: float) -> None:
    """The limit of flash is below the smallest plan, or below that of less RAM."""
    space = replace(two_rooms(), budget=Budget(most=most))
    for seed in range(10):
        sampler = RateDistortionSampler(seed, space)
        for number in range(40):
            drawn = sampler.draw(number)
            assert set(drawn) == {"a", "b", "c"}
            sampler.note(drawn)


def test_one_error_that_is_no_sum_over_layers_does_not_change_what_is_believed(space: Space) -> None:
    found = []
    for far in (1.0, 1e-9):
        sampler = RateDistortionSampler(0, space)
        trials = [trial for trial in history(space, 60) if trial.values]
        trials[7].user_attrs["record"]["metrics"][ERROR] *= far
        for trial in trials:
            sampler.learn(trial)
        size = float(np.median(sampler._seen.told[1]))
        found.append(sampler._believed(size).mean)
    assert np.abs(found[0] - found[1]).max() < 0.3
