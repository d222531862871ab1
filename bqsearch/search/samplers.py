"""Samplers by name: each a function of a seed and the space, so that any trial's proposal can be made again."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, final

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.samplers.nsgaii import PolynomialMutation
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from bqsearch.search.space import Space

POPULATION = 40


def lagrange(seed: int, space: Space) -> BaseSampler:
    """The bank's hull with jittered layer weights, at sizes around the smallest that keeps the allowed drop."""
    return LagrangeSampler(seed, space)


def nsga2(seed: int, space: Space) -> BaseSampler:
    """Deb et al.'s NSGA-II: evolves what has been found; its proposals cost little."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        sampler = _UncachedParents(population_size=POPULATION, mutation=PolynomialMutation(), seed=seed)
    return FixedSpace(sampler, space)


def tpe(seed: int, space: Space) -> BaseSampler:
    """Multivariate tree-structured Parzen estimator: learns from few trials, but proposes slowly over many layers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        sampler = TPESampler(seed=seed, n_startup_trials=0, multivariate=True)
    return FixedSpace(sampler, space)


def random(seed: int, space: Space) -> BaseSampler:
    """Uniform over the ladders: what any other sampler should beat."""
    return FixedSpace(RandomSampler(seed=seed), space)


@final
class _UncachedParents(NSGAIISampler):
    """NSGA-II that selects a generation's parents anew for each proposal.

    Optuna keeps them in the study from the first proposal on, without trials of their generation that end later. A
    resumed run, whose study is a new one, would have those too and go on otherwise.
    """

    def get_parent_population(self, study: Study, generation: int) -> list[FrozenTrial]:
        """The best of all trials of earlier generations that have ended."""
        return [] if generation == 0 else self.select_parent(study, generation)


@final
class FixedSpace(BaseSampler):
    """A sampler of Optuna's that is told the space, where it would compare the spaces of all trials at each proposal.

    Args:
        sampler: Who proposes.
        space: Of every trial.
    """

    def __init__(self, sampler: BaseSampler, space: Space) -> None:
        self._sampler = sampler
        self._relative = {name: d for name, d in space.distributions.items() if not d.single()}

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The whole space; random sampling takes each layer on its own."""
        del study, trial
        return {} if isinstance(self._sampler, RandomSampler) else self._relative

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """As the sampler does."""
        return self._sampler.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """As the sampler does."""
        return self._sampler.sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """As the sampler does."""
        self._sampler.before_trial(study, trial)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """As the sampler does."""
        self._sampler.after_trial(study, trial, state, values)


@final
class LagrangeSampler(BaseSampler):
    """Proposes points of the predicted hull, with errors of the prediction tried out.

    Each proposal draws the RAM that it keeps to, a size, mostly around the smallest that has kept every limit there so
    far (or near the largest that the flash holds, where quality is all that counts), and a factor for each layer's
    distortion; it is the best plan of that size if those factors were true.

    Args:
        seed: Of the draws.
        space: With the bank's predictions.
    """

    jitter = (0.1, 0.8)  # standard deviation of the factors' logarithms, drawn evenly
    around = (0.75, 1.5)  # of the smallest feasible size in that RAM
    share = 0.8  # of the proposals that go around it; the rest spread over the whole front
    tight = 0.25  # share of the proposals that keep to less RAM than the board has

    def __init__(self, seed: int, space: Space) -> None:
        self._rng = np.random.default_rng(seed)
        self._space = space

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The whole space."""
        del study, trial
        return self._space.distributions

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """A rung for each layer, and a share of the weights."""
        del trial, search_space
        space, rng = self._space, self._rng
        room = float(rng.choice(space.rooms)) if rng.random() < self.tight else np.inf
        finest, coarsest = (float(space.sizes(space.cheapest(price, room=room))) for price in space.prices)
        low, largest = space.budget.within(coarsest, finest)
        if space.budget.frugal:
            smallest = self._smallest_feasible(study, room, largest)
            low, high = np.array(self.around) * smallest if rng.random() < self.share else (smallest, largest)
        else:
            high = largest
        size = np.exp(rng.uniform(np.log(low), np.log(max(low, min(high, largest)))))
        weights = np.exp(rng.uniform(*self.jitter) * rng.standard_normal(len(space.ladders)))
        share = int(rng.integers(space.shares)) if space.shares > 1 else 0
        return space.rungs(space.cheapest_within(size, weights, room), share)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Never needed: every layer is in the relative space."""
        del study, trial, param_distribution
        raise LookupError(f"{param_name!r} is not a layer of the space")

    def _smallest_feasible(self, study: Study, room: float, largest: float) -> float:
        """Bytes, as the space counts them, of a trial that needs no more RAM than `room`; `largest` without any."""
        trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        feasible = [trial.params for trial in trials if _keeps(trial.user_attrs["record"], room)]
        return min((self._size(params) for params in feasible), default=largest)

    def _size(self, params: Mapping[str, int]) -> float:
        return float(self._space.sizes(np.array([params[ladder.layer] for ladder in self._space.ladders])))


def _keeps(record: Mapping[str, Any], room: float) -> bool:
    """Whether a stored record keeps every limit, in this RAM."""
    return record["metrics"]["ram_bytes"] <= room and all(excess <= 0 for excess in record["constraints"].values())
