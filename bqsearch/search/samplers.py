"""Samplers by name: each a function of a seed and the space, so that any trial's proposal can be made again."""

import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from optuna.distributions import BaseDistribution, IntDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.samplers.nsgaii import PolynomialMutation
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from bqsearch.search.record import ERROR
from bqsearch.search.space import Space
from bqsearch.types import Floats, Ints

POPULATION = 40


def rd(seed: int, space: Space) -> BaseSampler:
    """The bank's rate-distortion hull, corrected by what trials show, around the smallest size that keeps the drop."""
    return RateDistortionSampler(seed, space)


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
class RateDistortionSampler(BaseSampler):
    """Proposes points of the predicted hull, after the prediction is corrected by what trials show.

    The error of the outputs is taken as a sum over layers, of each one's predicted distortion times a weight. Weights
    are 1 before anything is known; trials of about the size that is searched for say more (Bayesian linear regression
    of relative errors; Bishop, "Pattern Recognition and Machine Learning", 3.3). A proposal draws weights from what is
    then believed (Thompson, Biometrika 25, 1933), the RAM that it keeps to, and a size, mostly around the smallest that
    has kept every limit there so far (or near the largest that the flash holds, where quality is all that counts). It
    is the best plan of that size if those weights were true, and one that was not tried before.

    Args:
        seed: Of the draws.
        space: With the bank's predictions.
    """

    around = (0.75, 1.5)  # of the smallest feasible size in that RAM
    share = 0.8  # of the proposals that go around it; the rest spread over the whole front
    tight = 0.25  # share of the proposals that keep to less RAM than the board has
    spread = 0.5  # standard deviation of the layers' weights before anything is known
    noise = 0.1  # of the errors that are measured, relative: what a sum over layers leaves out
    memory = 256  # trials, those of the nearest sizes
    least = 0.05  # weight
    tries = 8  # for a plan that is new

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
        states = (TrialState.COMPLETE, TrialState.PRUNED)
        trials = study.get_trials(deepcopy=False, states=states)
        known = {tuple(found.params.values()) for found in trials}
        complete = [found for found in trials if found.state == TrialState.COMPLETE]
        space, rng = self._space, self._rng
        room = float(rng.choice(space.rooms)) if rng.random() < self.tight else np.inf
        size = self._size(complete, room)
        believed = self._believed(complete, size)
        for _ in range(self.tries):
            weights = np.maximum(believed.drawn(rng), self.least)
            share = int(rng.integers(space.shares)) if space.shares > 1 else 0
            proposed = space.rungs(space.cheapest_within(size, weights, room), share)
            if tuple(proposed.values()) not in known:
                return proposed
        return self._beside(proposed, known)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Never needed: every layer is in the relative space."""
        del study, trial, param_distribution
        raise LookupError(f"{param_name!r} is not a layer of the space")

    def _size(self, trials: Sequence[FrozenTrial], room: float) -> float:
        """What a plan may take, as the space counts bytes."""
        space, rng = self._space, self._rng
        finest, coarsest = (float(space.sizes(space.cheapest(price, room=room))) for price in space.prices)
        low, largest = space.budget.within(coarsest, finest)
        high = largest
        if space.budget.frugal:
            feasible = [found for found in trials if _keeps(found.user_attrs["record"], room)]
            smallest = float(space.sizes(self._rungs(feasible)).min()) if feasible else largest
            low, high = np.array(self.around) * smallest if rng.random() < self.share else (smallest, largest)
        return float(np.exp(rng.uniform(np.log(low), np.log(max(low, min(high, largest))))))

    def _believed(self, trials: Sequence[FrozenTrial], size: float) -> "_Belief":
        """The layers' weights as trials of about that size show them."""
        count = len(self._space.ladders)
        if not trials:
            return _Belief.before(count, self.spread)
        rungs = self._rungs(trials)
        errors = np.array([found.user_attrs["record"]["metrics"][ERROR] for found in trials])
        apart = np.abs(np.log(self._space.sizes(rungs) / size))
        nearest = np.argsort(apart, kind="stable")[: self.memory]
        distortions = self._space.distortions(rungs[nearest])
        told = errors[nearest]
        usable = (told > 0) & (distortions.sum(axis=1) > 0)
        if not usable.any():
            return _Belief.before(count, self.spread)
        distortions, told = distortions[usable], told[usable]
        scale = float(np.median(told / distortions.sum(axis=1)))
        features = scale * distortions / told[:, None]
        doubt = self.noise * (1 + apart[nearest][usable] / np.log(2))  # doubles at twice the size
        first = _Belief.after(features / doubt[:, None], 1 / doubt, self.spread)
        off = float(np.sqrt(np.mean(((features @ first.mean - 1) / doubt) ** 2)))
        doubt *= max(1.0, off)  # where no weights explain what was measured, it says less
        return _Belief.after(features / doubt[:, None], 1 / doubt, self.spread)

    def _beside(self, rungs: Mapping[str, int], known: Collection[tuple[int, ...]]) -> dict[str, int]:
        """A plan that differs in a rung of one layer; the same if none of those tried is new."""
        names = [ladder.layer for ladder in self._space.ladders]
        for _ in range(self.tries):
            name = names[int(self._rng.integers(len(names)))]
            distribution = self._space.distributions[name]
            assert isinstance(distribution, IntDistribution)
            moved = {**rungs, name: int(self._rng.integers(distribution.low, distribution.high + 1))}
            if tuple(moved.values()) not in known:
                return moved
        return dict(rungs)

    def _rungs(self, trials: Sequence[FrozenTrial]) -> Ints:
        """`(trials, layers)`."""
        return np.array([[found.params[ladder.layer] for ladder in self._space.ladders] for found in trials])


@dataclass(frozen=True, kw_only=True, eq=False)
class _Belief:
    """Normally distributed weights.

    Attributes:
        mean: `(layers,)`.
        root: `(layers, layers)` upper triangular; its transpose times itself is the inverse of the covariance.
    """

    mean: Floats
    root: Floats

    @classmethod
    def before(cls, count: int, spread: float) -> "_Belief":
        """Before anything is known."""
        return cls(mean=np.ones(count), root=np.eye(count) / spread)

    @classmethod
    def after(cls, features: Floats, targets: Floats, spread: float) -> "_Belief":
        """After `(n, layers)` features times the weights were seen to be `(n,)` targets, each with an error of 1."""
        prior = np.eye(features.shape[1]) / spread**2
        precision = features.T @ features + prior
        mean = np.linalg.solve(precision, features.T @ targets + prior @ np.ones(features.shape[1]))
        return cls(mean=np.asarray(mean, np.float64), root=np.asarray(np.linalg.cholesky(precision).T, np.float64))

    def drawn(self, rng: np.random.Generator) -> Floats:
        """`(layers,)` weights."""
        return np.asarray(self.mean + np.linalg.solve(self.root, rng.standard_normal(len(self.mean))), np.float64)


def _keeps(record: Mapping[str, Any], room: float) -> bool:
    """Whether a stored record keeps every limit, in this RAM."""
    return record["metrics"]["ram_bytes"] <= room and all(excess <= 0 for excess in record["constraints"].values())
