"""A study of any kind: proposals are its distributions', repeat, and find a better front than chance."""

from collections.abc import Callable

import numpy as np
import optuna
import pytest
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import Trial

from bqsearch.search.samplers import rd


@pytest.fixture(autouse=True)
def quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def bits(trial: Trial) -> tuple[float, float]:
    """Layers' bits, as a compression would have them: distortion against size, with a kind that helps some."""
    size = loss = 0.0
    for layer in range(12):
        width = trial.suggest_int(f"bits {layer}", 2, 8)
        scheme = trial.suggest_categorical(f"scheme {layer}", ["uniform", "kmeans"])
        weights = 100 * (layer % 4 + 1)
        size += weights * width
        loss += (layer % 3 + 0.2) * 4.0**-width * weights * (0.6 if scheme == "kmeans" else 1.0)
    return loss, size


def mixed(trial: Trial) -> tuple[float, float]:
    """Numbers of all kinds; a third of the plane is out of bounds."""
    rate = trial.suggest_float("rate", 1e-4, 1e-1, log=True)
    step = trial.suggest_float("step", 0.0, 1.0, step=0.25)
    count = trial.suggest_int("count", 1, 64, log=True)
    even = trial.suggest_int("even", 0, 20, step=2)
    found = (np.log10(rate) + 2) ** 2 + step + even / 20, np.log2(count) + (1 - step) + abs(np.log10(rate) + 3)
    trial.set_constraint("sum", float(found[0] + found[1] - 6))
    return float(found[0]), float(found[1])


def hypervolume(study: optuna.Study, reference: tuple[float, float]) -> float:
    kept = [t.values for t in study.trials if all(limit <= 0 for limit in t.constraints.values())]
    best, area = reference[1], 0.0
    for x, y in sorted(map(tuple, kept)):
        if x < reference[0] and y < best:
            area += (reference[0] - x) * (best - y)
            best = y
    return area


def run(objective: Callable[[Trial], tuple[float, float]], sampler: BaseSampler, count: int) -> optuna.Study:
    study = optuna.create_study(directions=["minimize", "minimize"], sampler=sampler)
    study.optimize(objective, n_trials=count)
    return study


@pytest.mark.parametrize(("objective", "reference"), [(bits, (60.0, 24000.0)), (mixed, (6.0, 8.0))])
def test_it_beats_three_times_as_many_trials_of_chance(
    objective: Callable[[Trial], tuple[float, float]], reference: tuple[float, float]
) -> None:
    seeds = range(5)
    ours = np.median([hypervolume(run(objective, rd(seed), 80), reference) for seed in seeds])
    chance = np.median([hypervolume(run(objective, RandomSampler(seed=s), 240), reference) for s in seeds])
    assert ours > chance


def test_the_same_seed_proposes_the_same() -> None:
    first, second, other = (run(mixed, rd(seed), 30).trials for seed in (1, 1, 2))
    assert [t.params for t in first] == [t.params for t in second] != [t.params for t in other]


def test_one_objective_that_is_maximized_and_a_parameter_that_not_all_trials_have() -> None:
    def objective(trial: Trial) -> float:
        kind = trial.suggest_categorical("kind", ["a", "b", None])
        x = trial.suggest_float("x", -1, 1)
        extra = trial.suggest_int("only a", 1, 3) if kind == "a" else 0
        trial.suggest_int("fixed", 4, 4)
        return -((x - 0.5) ** 2) + (0.5 if kind == "b" else 0) - 0.01 * extra

    study = optuna.create_study(direction="maximize", sampler=rd(0))
    study.optimize(objective, n_trials=60)
    assert study.best_params["kind"] == "b"
    assert abs(study.best_params["x"] - 0.5) < 0.15


def test_little_to_choose_from_is_no_trouble() -> None:
    study = optuna.create_study(direction="minimize", sampler=rd(3))
    study.optimize(lambda trial: float(trial.suggest_int("n", 0, 2)), n_trials=40)
    assert {trial.params["n"] for trial in study.trials} == {0, 1, 2}
