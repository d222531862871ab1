"""A sampler for any Optuna study: what each parameter adds to each objective, learned from trials alone.

It is what the sampler `rd` is without a bank's predictions. Each objective is taken as a sum over parameters, of a
function of each one: of a category its own number, of a number a polygon over a few knots. Their weights are normally
distributed given the trials (Bayesian linear regression; Bishop, "Pattern Recognition and Machine Learning", 3.3). A
proposal draws them (Thompson, Biometrika 25, 1933) and a direction of the front, and takes the best value of each
parameter, which in a sum are independent of each other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.search_space import intersection_search_space
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState
from scipy.special import ndtri  # type: ignore[import-untyped]

from bqsearch.threads import one_thread
from bqsearch.types import Array, Floats

KNOTS = 5  # of a number's polygon
VALUES = 33  # of a number that are looked at
MEMORY = 1000  # trials, the last ones
_NOISE = 0.3  # standard deviation of an objective, which is scaled to 1, around the sum
_SPREAD = 1.0  # of the whole sum before anything is known
_LIMIT = 2.0  # weight of the limits, beside weights of the objectives that sum up to 1


@final
class AdditiveSampler(BaseSampler):
    """Proposes the best point of a front as it is believed to be, one that was not tried before if there is one.

    Args:
        seed: Of the draws, which depend on the trial's number besides.
        startup: Trials that are random; None for twice the number of parameters, at most 20.
    """

    tries = 8  # for a point that is new

    def __init__(self, seed: int, startup: int | None = None) -> None:
        self._seed, self._startup = seed, startup
        self._random = RandomSampler(seed=seed)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Parameters that all trials have had."""
        del trial
        shared = intersection_search_space(study.get_trials(deepcopy=False))
        return {name: distribution for name, distribution in shared.items() if not distribution.single()}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """A value of each parameter; none while trials are random."""
        ended = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        known = [found for found in ended if all(name in found.params for name in search_space)][-MEMORY:]
        startup = min(20, 2 * len(search_space)) if self._startup is None else self._startup
        if not search_space or len(known) < max(startup, 2):
            return {}
        rng = np.random.default_rng([self._seed, trial.number])
        axes = [_Axis.of(name, distribution) for name, distribution in search_space.items()]
        features = np.hstack([axis.features([found.params[axis.name] for found in known]) for axis in axes])
        targets, weights = _targets(known, study.directions, rng)
        with one_thread():
            drawn = _drawn(features, targets, len(axes), rng) @ weights
        tried = {tuple(found.params[axis.name] for axis in axes) for found in known}
        values = _best(axes, drawn)
        for _ in range(self.tries):
            if tuple(values) not in tried:
                break
            place = int(rng.integers(len(axes)))
            values[place] = axes[place].values[int(rng.integers(len(axes[place].values)))]
        return {axis.name: value for axis, value in zip(axes, values, strict=True)}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Uniform: of the first trials, and of parameters that not all trials have."""
        return self._random.sample_independent(study, trial, param_name, param_distribution)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Axis:
    """A parameter.

    Attributes:
        name: Of it.
        values: That are looked at.
        distribution: Where they are from.
        table: `(values, features)` of each value.
    """

    name: str
    values: Sequence[Any]
    distribution: BaseDistribution
    table: Floats

    @classmethod
    def of(cls, name: str, distribution: BaseDistribution) -> "_Axis":
        """Of any of Optuna's distributions."""
        if isinstance(distribution, CategoricalDistribution):
            count = len(distribution.choices)
            return cls(name=name, values=distribution.choices, distribution=distribution, table=np.eye(count))
        assert isinstance(distribution, IntDistribution | FloatDistribution)
        values = _grid(distribution)
        return cls(name=name, values=values, distribution=distribution, table=_hats(_places(distribution, values)))

    def features(self, values: Sequence[Any]) -> Floats:
        """`(n, features)` of the values of trials."""
        if isinstance(self.distribution, CategoricalDistribution):
            return self.table[[self.values.index(value) for value in values]]
        assert isinstance(self.distribution, IntDistribution | FloatDistribution)
        return _hats(_places(self.distribution, values))


def _grid(distribution: IntDistribution | FloatDistribution) -> list[Any]:
    low, high = distribution.low, distribution.high
    spaced = np.geomspace(low, high, VALUES) if distribution.log else np.linspace(low, high, VALUES)
    if distribution.step is not None:
        spaced = low + np.round((spaced - low) / distribution.step) * distribution.step
    kind = int if isinstance(distribution, IntDistribution) else float
    inside = np.clip(np.round(spaced) if kind is int else spaced, low, high)
    return list(dict.fromkeys(kind(value) for value in inside))


def _places(distribution: IntDistribution | FloatDistribution, values: Sequence[Any]) -> Floats:
    """Where numbers lie in their range, 0 to 1."""
    numbers, ends = np.array(values, np.float64), np.array([distribution.low, distribution.high], np.float64)
    if distribution.log:
        numbers, ends = np.log(numbers), np.log(ends)
    return np.asarray((numbers - ends[0]) / (ends[1] - ends[0]), np.float64)


def _hats(places: Floats) -> Floats:
    """`(n, KNOTS)` weights of a polygon's knots."""
    return np.maximum(0.0, 1 - np.abs(places[:, None] * (KNOTS - 1) - np.arange(KNOTS)))


def _targets(
    trials: Sequence[FrozenTrial], directions: Sequence[StudyDirection], rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """`(n, k)` objectives and, where there are limits, by how much they are broken; less is better. And their weights.

    They are taken by their ranks, as quantiles of a normal distribution, so that no outlier counts for more.
    """
    signs = np.array([1.0 if direction == StudyDirection.MINIMIZE else -1.0 for direction in directions])
    values = np.array([trial.values for trial in trials], np.float64) * signs
    weights = rng.dirichlet(np.ones(len(signs)))
    excess = np.array([sum(max(0.0, limit) for limit in trial.constraints.values()) for trial in trials])
    if (excess > 0).any():
        values, weights = np.column_stack([values, excess]), np.append(weights, _LIMIT)
    return np.column_stack([_normal(column) for column in values.T]), weights


def _normal(values: Floats) -> Floats:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts + 1) / 2
    return np.asarray(ndtri((ranks + 0.5) / len(values))[inverse], np.float64)


def _drawn(features: Floats, targets: Floats, parameters: int, rng: np.random.Generator) -> Floats:
    """`(features, k)` weights as they may be."""
    precision = features.T @ features / _NOISE**2 + np.eye(features.shape[1]) * parameters / _SPREAD**2
    root = np.linalg.cholesky(precision)
    mean = np.linalg.solve(precision, features.T @ (targets - targets.mean(axis=0)) / _NOISE**2)
    apart = np.linalg.solve(root.T, rng.standard_normal(mean.shape))
    return np.asarray(mean + apart, np.float64)


def _best(axes: Sequence[_Axis], weights: Array) -> list[Any]:
    """The value of each parameter that adds least."""
    found, start = [], 0
    for axis in axes:
        own = weights[start : start + axis.table.shape[1]]
        found.append(axis.values[int(np.argmin(axis.table @ own))])
        start += axis.table.shape[1]
    return found
