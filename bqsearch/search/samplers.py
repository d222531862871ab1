"""Samplers by name: each a function of a seed and the space, so that any trial's proposal can be made again."""

import warnings
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import numpy as np
from optuna.distributions import BaseDistribution, IntDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.samplers.nsgaii import PolynomialMutation
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from bqsearch.search.additive import AdditiveSampler
from bqsearch.search.record import ERROR
from bqsearch.search.space import Space
from bqsearch.threads import one_thread
from bqsearch.types import Floats, Ints

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


@final
class RateDistortionSampler(BaseSampler):
    """Proposes points of the predicted hull, after the prediction is corrected by what trials show.

    The error of the outputs is taken as a sum over layers, of each one's predicted distortion times a weight. Weights
    are 1 before anything is known; trials of about the size that is searched for say more (Bayesian linear regression
    of relative errors; Bishop, "Pattern Recognition and Machine Learning", 3.3). A proposal draws weights from what is
    then believed (Thompson, Biometrika 25, 1933), the RAM that it keeps to, and a size, mostly around the smallest that
    has kept every limit there so far or between two points of the front that leave room for a better one (or near the
    largest that the flash holds, where quality is all that counts). It is the best plan of that size if those weights
    were true, and one that was not tried before.

    Args:
        seed: Of the draws, which depend on the trial's number besides.
        space: With the bank's predictions.
    """

    around = (0.75, 1.5)  # of the smallest feasible size in that RAM
    share = 0.8  # of the proposals that go around it or into a gap; the rest spread over the whole front
    gaps = 0.25  # of those, into a gap of the front: one that leaves as much hypervolume as others is as likely
    tight = 0.25  # share of the proposals that keep to less RAM than the board has
    rooms = 8  # such sizes of RAM
    spread = 0.5  # standard deviation of the layers' weights before anything is known
    noise = 0.1  # of the errors that are measured, relative: what a sum over layers leaves out
    memory = 256  # trials, those of the nearest sizes
    near = 0.125  # of an octave: sizes of which the same is believed
    least = 0.05  # weight
    tries = 8  # for a plan that is new

    def __init__(self, seed: int, space: Space) -> None:
        self._seed, self._space = seed, space
        self._seen = _Seen(space)
        self._beliefs: dict[float, _Belief] = {}

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The whole space."""
        del study, trial
        return self._space.distributions

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """A rung for each layer, and a share of the weights."""
        del search_space
        if self._seen.look(study):
            self._beliefs.clear()
        space, rng = self._space, np.random.default_rng([self._seed, trial.number])
        room = float(rng.choice(space.tighter(self.rooms) or [np.inf])) if rng.random() < self.tight else np.inf
        size = self._size(rng, room)
        with one_thread():
            believed = self._believed(size)
        for _ in range(self.tries):
            weights = np.maximum(believed.drawn(rng), self.least)
            share = int(rng.integers(space.shares)) if space.shares > 1 else 0
            proposed = space.rungs(space.within(size, weights, room), share)
            if not self._seen.knows(proposed):
                return proposed
        return self._beside(rng, proposed)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Never needed: every layer is in the relative space."""
        del study, trial, param_distribution
        raise LookupError(f"{param_name!r} is not a layer of the space")

    def _size(self, rng: np.random.Generator, room: float) -> float:
        """What a plan may take, as the space counts bytes."""
        space = self._space
        low, largest = space.budget.within(*space.extent(room))
        high = largest
        if space.budget.frugal:
            smallest = min(self._seen.smallest(room), largest)
            low, high = smallest, largest
            if rng.random() < self.share:
                gap = self._seen.gap(rng, room) if rng.random() < self.gaps else None
                low, high = gap or np.array(self.around) * smallest
        return float(np.exp(rng.uniform(np.log(low), np.log(max(low, min(high, largest))))))

    def _believed(self, size: float) -> "_Belief":
        """The layers' weights as trials of about that size show them."""
        size = float(np.exp2(np.round(np.log2(size) / self.near) * self.near))
        if size not in self._beliefs:
            self._beliefs[size] = self._belief(size)
        return self._beliefs[size]

    def _belief(self, size: float) -> "_Belief":
        rungs, sizes, errors = self._seen.told
        apart = np.abs(np.log(sizes / size))
        nearest = np.argsort(apart, kind="stable")[: self.memory]
        distortions, told = self._space.distortions(rungs[nearest]), errors[nearest]
        usable = (told > 0) & (distortions.sum(axis=1) > 0)
        if not usable.any():
            return _Belief.before(len(self._space.ladders), self.spread)
        distortions, told = distortions[usable], told[usable]
        scale = float(np.median(told / distortions.sum(axis=1)))
        doubt = self.noise * (1 + apart[nearest][usable] / np.log(2))  # doubles at twice the size
        features, targets = scale * distortions / (told * doubt)[:, None], 1 / doubt
        first = _Belief.after(features, targets, self.spread)
        off = float(np.sqrt(np.mean((features @ first.mean - targets) ** 2)))
        if off <= 1:
            return first
        return _Belief.after(features / off, targets / off, self.spread)  # no weights explain it: it says less

    def _beside(self, rng: np.random.Generator, rungs: Mapping[str, int]) -> dict[str, int]:
        """A plan that differs in a rung of one layer; the same if none of those tried is new."""
        names = [ladder.layer for ladder in self._space.ladders]
        for _ in range(self.tries):
            name = names[int(rng.integers(len(names)))]
            distribution = self._space.distributions[name]
            assert isinstance(distribution, IntDistribution)
            moved = {**rungs, name: int(rng.integers(distribution.low, distribution.high + 1))}
            if not self._seen.knows(moved):
                return moved
        return dict(rungs)


class _Seen:
    """What the finished trials of a study say, each read once, as soon as all before it have ended.

    A study with a thousand workers has as many open trials, which are not to be looked at for each proposal.

    Args:
        space: Of the trials.
    """

    def __init__(self, space: Space) -> None:
        self._space = space
        self._open: deque[int] = deque()  # numbers that had not ended, ascending
        self._looked = 0  # at so many trials
        self._plans: set[bytes] = set()
        self._rows: list[Ints] = []
        self._figures: list[tuple[float, float, float, float]] = []  # bytes, error, RAM that it keeps to, drop

    def look(self, study: Study) -> bool:
        """Read what has ended since; whether there was anything."""
        trials = study.get_trials(deepcopy=False)
        self._open.extend(range(self._looked, len(trials)))
        self._looked = len(trials)
        new = []
        while self._open and trials[self._open[0]].state.is_finished():
            new.append(trials[self._open.popleft()])
        for trial in new:
            self._plans.add(_key(trial.params))
            if trial.state == TrialState.COMPLETE:
                self._add(trial)
        if new:
            self.__dict__.pop("told", None)
            self.__dict__.pop("_kept", None)
        return bool(new)

    def _add(self, trial: FrozenTrial) -> None:
        rungs = np.array([trial.params[ladder.layer] for ladder in self._space.ladders])
        record = trial.user_attrs["record"]
        kept = all(excess <= 0 for excess in record["constraints"].values())
        ram = float(record["metrics"]["ram_bytes"]) if kept else np.inf
        self._rows.append(rungs)
        drop = float(record["constraints"].get("drop", 0.0))
        self._figures.append((float(self._space.sizes(rungs)), float(record["metrics"][ERROR]), ram, drop))

    def knows(self, rungs: Mapping[str, int]) -> bool:
        """Whether a plan was tried."""
        return _key(rungs) in self._plans

    @cached_property
    def told(self) -> tuple[Ints, Floats, Floats]:
        """Of those that were run: `(n, layers)` rungs, `(n,)` bytes and `(n,)` errors of the outputs."""
        rungs = np.array(self._rows, np.int64).reshape(-1, len(self._space.ladders))
        figures = np.array(self._figures, np.float64).reshape(-1, 4)
        return rungs, figures[:, 0], figures[:, 1]

    def smallest(self, room: float) -> float:
        """Bytes of the smallest plan that kept every limit in this RAM; infinite where none did."""
        sizes, ram, _ = self._kept
        return float(sizes[ram <= room].min(initial=np.inf))

    def gap(self, rng: np.random.Generator, room: float) -> tuple[float, float] | None:
        """Bytes of two neighbors on the front in this RAM, drawn by the area between them; None where there is none."""
        sizes, ram, drops = self._kept
        front: list[tuple[float, float]] = []
        for size, drop in sorted(zip(sizes[ram <= room].tolist(), drops[ram <= room].tolist(), strict=True)):
            if not front or drop < front[-1][1]:
                front.append((size, drop))
        if len(front) < 2:
            return None
        steps = np.diff(np.array(front), axis=0)
        areas = steps[:, 0] * -steps[:, 1]
        place = int(rng.choice(len(areas), p=areas / areas.sum()))
        return front[place][0], front[place + 1][0]

    @cached_property
    def _kept(self) -> tuple[Floats, Floats, Floats]:
        """Bytes, RAM and drops of those that kept every limit."""
        kept = [(size, ram, drop) for size, _, ram, drop in self._figures if ram < np.inf]
        sizes, ram, drops = np.array(kept, np.float64).reshape(-1, 3).T
        return sizes, ram, drops


def _key(rungs: Mapping[str, int]) -> bytes:
    return np.fromiter(rungs.values(), np.int32, len(rungs)).tobytes()


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
        from scipy.linalg import cho_solve, cholesky  # type: ignore[import-untyped]

        prior = np.full(features.shape[1], spread**-2)
        precision = features.T @ features + np.diag(prior)
        root = cholesky(precision, check_finite=False)
        mean = cho_solve((root, False), features.T @ targets + prior, check_finite=False)
        return cls(mean=np.asarray(mean, np.float64), root=np.asarray(root, np.float64))

    def drawn(self, rng: np.random.Generator) -> Floats:
        """`(layers,)` weights."""
        from scipy.linalg import solve_triangular

        apart = solve_triangular(self.root, rng.standard_normal(len(self.mean)), check_finite=False)
        return np.asarray(self.mean + apart, np.float64)
