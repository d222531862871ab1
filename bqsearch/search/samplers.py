"""Samplers by name: each a function of a seed and the space, so that any trial's proposal can be made again."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any, final

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.samplers.nsgaii import PolynomialMutation
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from bqsearch.search.additive import AdditiveSampler
from bqsearch.search.rate_distortion import RateDistortionSampler
from bqsearch.search.space import Space

POPULATION = 40


def rd(seed: int, space: Space | None = None) -> BaseSampler:
    """The bank's rate-distortion hull, corrected by what trials show, around the smallest size that keeps the drop.

    Without a space it serves any Optuna study, and learns from its trials alone.
    """
    return AdditiveSampler(seed) if space is None else RateDistortionSampler(seed, space)


def nsga2(seed: int, space: Space) -> BaseSampler:
    """Deb et al.'s NSGA-II: evolves what has been found; its proposals cost little."""

    def make(seed: int) -> BaseSampler:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            return _UncachedParents(population_size=POPULATION, mutation=PolynomialMutation(), seed=seed)

    return FixedSpace(make, seed, space)


def tpe(seed: int, space: Space) -> BaseSampler:
    """Multivariate tree-structured Parzen estimator: learns from few trials, but proposes slowly over many layers."""

    def make(seed: int) -> BaseSampler:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            return TPESampler(seed=seed, n_startup_trials=0, multivariate=True)

    return FixedSpace(make, seed, space)


def random(seed: int, space: Space) -> BaseSampler:
    """Uniform over the ladders: what any other sampler should beat."""
    return FixedSpace(lambda seed: RandomSampler(seed=seed), seed, space)


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
    """Optuna's samplers, which are told the space where they would compare those of all trials at each proposal.

    One is made anew for each trial, so that a proposal depends on seed, number and trials before alone.

    Args:
        make: A sampler of a seed.
        seed: The run's.
        space: Of every trial.
    """

    def __init__(self, make: Callable[[int], BaseSampler], seed: int, space: Space) -> None:
        self._make, self._seed = make, seed
        self._sampler = make(seed)
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
        """As a new sampler does."""
        self._sampler = self._make(int(np.random.SeedSequence([self._seed, trial.number]).generate_state(1)[0]))
        self._sampler.before_trial(study, trial)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """As the sampler does."""
        self._sampler.after_trial(study, trial, state, values)
