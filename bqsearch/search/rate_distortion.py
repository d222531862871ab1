"""The sampler `rd`: the bank's rate-distortion hull, corrected by what trials show."""

from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any, final

import numpy as np
from optuna.distributions import BaseDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from bqsearch.search.belief import Belief
from bqsearch.search.improvement import LEAST, Losses, improvement
from bqsearch.search.litter import Parents
from bqsearch.search.proposer import Independent, Rungs
from bqsearch.search.seen import Seen
from bqsearch.search.space import Space
from bqsearch.threads import one_thread
from bqsearch.types import Floats


@final
class RateDistortionSampler(BaseSampler, Independent):
    """Proposes points of the predicted hull, after the prediction is corrected by what trials show.

    The error of the outputs is taken as a sum over layers, of each one's predicted distortion times a weight. Weights
    are 1 before anything is known; trials of about the size that is searched for say more (Bayesian linear regression
    of relative errors; Bishop, "Pattern Recognition and Machine Learning", 3.3). A proposal draws weights from what is
    then believed (Thompson, Biometrika 25, 1933), the RAM that it keeps to, and a size: the more hypervolume a plan of
    that size is expected to add to the front in that RAM, the likelier (or near the largest that the flash holds, where
    quality is all that counts). It is the best plan of that size if those weights were true, and one that was not
    proposed before.

    While trials are few, every second proposal is the most promising of a litter: plans a little smaller than one on
    the front, with most of its layers and the others from such a draw. What they lose is foretold by their error, and
    by what trials with which they share layers lost beyond theirs.

    Args:
        seed: Of the draws, which depend on the trial's number besides.
        space: With the bank's predictions.
    """

    bred = 0.5  # share of the proposals that come of a litter
    litter = 24  # plans that one of those is picked from
    enough = 6  # trials before that
    plenty = 200  # trials from which on a proposal is not worth so much time any more
    share = 0.9  # of the proposals whose size is drawn by what it promises; the rest spread over the whole front
    cells = 32  # sizes that are looked at for that
    finest = 8  # of those, the largest, which are tried where nothing promises anything
    tight = 0.25  # share of the proposals that keep to less RAM than the board has
    rooms = 8  # such sizes of RAM
    spread = 0.5  # standard deviation of the layers' weights before anything is known
    noise = 0.1  # of the errors that are measured, relative: what a sum over layers leaves out
    apart = 4.0  # times as large or small as foretold: such errors are no sums over layers, and say nothing of them
    memory = 256  # trials, those of the nearest sizes
    near = 0.125  # of an octave: sizes of which the same is believed
    least = 0.05  # weight
    tries = 4  # for a plan that is new

    def __init__(self, seed: int, space: Space) -> None:
        self._seed, self._space = seed, space
        self._seen = Seen(space)
        self._beliefs: dict[float, Belief] = {}
        self._promised: dict[float, tuple[Floats, Floats]] = {}  # by RAM
        self._known: dict[float, Parents | None] = {}  # by RAM
        self._lost: Losses | None = None
        self._open: deque[int] = deque()  # trials of a study that had not ended, ascending
        self._looked = 0  # at so many of them

    def learn(self, trial: FrozenTrial) -> None:
        """See `Independent`."""
        self._seen.add(trial)
        self._beliefs.clear()
        self._promised.clear()
        self._known.clear()
        self._lost = None

    def draw(self, number: int) -> Rungs:
        """A rung for each layer, and a share of the weights."""
        space, rng = self._space, np.random.default_rng([self._seed, number])
        room = float(rng.choice(self._tighter)) if rng.random() < self.tight else np.inf
        if space.budget.frugal and rng.random() < self.bred and self._few:
            bred = self._bred(rng, room)
            if bred is not None:
                return bred
        for _ in range(self.tries):
            size = self._size(rng, room)
            weights = np.maximum(self._believed(size).drawn(rng, 1)[0], self.least)
            share = int(rng.integers(space.shares)) if space.shares > 1 else 0
            proposed = space.rungs(space.within(size, weights, room), share)
            if not self._seen.knows(proposed):
                return proposed
        return self._beside(rng, proposed)

    def note(self, rungs: Rungs) -> None:
        """See `Independent`."""
        self._seen.note(rungs)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The whole space."""
        del study, trial
        return self._space.distributions

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """What is drawn for the trial's number, from all trials before the first one that has not ended."""
        del search_space
        trials = study.get_trials(deepcopy=False)
        self._open.extend(range(self._looked, len(trials)))
        self._looked = len(trials)
        while self._open and trials[self._open[0]].state.is_finished():
            self.learn(trials[self._open.popleft()])
        drawn = self.draw(trial.number)
        self.note(drawn)
        return drawn

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Never needed: every layer is in the relative space."""
        del study, trial, param_distribution
        raise LookupError(f"{param_name!r} is not a layer of the space")

    def _bred(self, rng: np.random.Generator, room: float) -> Rungs | None:
        """The most promising of a litter; None where none promises anything that was not proposed before."""
        with one_thread():
            parents = self._parents(room)
            if parents is None:
                return None
            plans, added = parents.litter(rng, self.litter, self.least)
        share = int(rng.integers(self._space.shares)) if self._space.shares > 1 else 0
        for place in np.argsort(-added, kind="stable"):
            rungs = self._space.rungs(plans[place], share)
            if added[place] <= 0:
                return None
            if not self._seen.knows(rungs):
                return rungs
        return None

    @property
    def _few(self) -> bool:
        """Whether something is known, and so little that a proposal is worth its time."""
        return self.enough <= len(self._seen.told[1]) < self.plenty

    def _parents(self, room: float) -> Parents | None:
        """Those of the front in so much RAM; None while there is none or little is known, and when much is."""
        if room not in self._known:
            front = self._seen.front(room)
            self._known[room] = None
            if len(front) and self._few:
                believed = self._believed(float(np.median(front[:, 0])))
                self._known[room] = Parents.of(self._space, self._seen, believed, self._losses, self.least, room)
        return self._known[room]

    @property
    def _losses(self) -> Losses:
        if self._lost is None:
            self._lost = Losses.of(self._seen.told[2], self._seen.excess)
        return self._lost

    @cached_property
    def _tighter(self) -> list[float]:
        space = self._space
        return [room for room in space.tighter(self.rooms) if space.extent(room)[0] <= space.budget.most] or [np.inf]

    def _size(self, rng: np.random.Generator, room: float) -> float:
        """What a plan may take, as the space counts bytes."""
        space = self._space
        low, high = space.budget.within(*space.extent(room))
        if space.budget.frugal:
            if rng.random() < self.share:
                ends, odds = self._promises(room)
                cell = int(np.searchsorted(odds, rng.random(), side="right"))
                low, high = ends[cell], ends[cell + 1]
            else:
                low = min(self._seen.smallest(room), high)
        return float(np.exp(rng.uniform(np.log(low), np.log(high))))

    def _promises(self, room: float) -> tuple[Floats, Floats]:
        """Ends of cells of sizes, and how likely each or one before it is tried: by what it may add to the front."""
        if room not in self._promised:
            low, high = self._space.budget.within(*self._space.extent(room))
            ends = np.maximum.accumulate(np.clip(np.geomspace(low, high, self.cells + 1), low, high))  # rounding
            added = self._added(np.sqrt(ends[1:] * ends[:-1]), room)
            if not added.sum() > 0:  # nothing is known, or nothing can be hoped for: what distorts least is
                added = (np.arange(self.cells) >= self.cells - self.finest).astype(np.float64)
            odds = np.cumsum(added)
            self._promised[room] = ends, odds / odds[-1]
        return self._promised[room]

    def _added(self, sizes: Floats, room: float) -> Floats:
        seen, space = self._seen, self._space
        _, _, errors = seen.told
        if not len(errors):
            return np.zeros(len(sizes))
        front, largest = seen.front(room), space.extent()[1]
        believed = self._believed(float(front[0, 0]) if len(front) else largest)
        foretold = believed.scale * space.distorted_within(sizes, np.maximum(believed.mean, self.least), room)
        mean, deviation = self._losses.at(foretold)
        floor = min(float(seen.excess[np.argmin(errors)]), -LEAST)  # to lose less than that one is luck
        return improvement(front, largest, sizes, mean, deviation, floor)

    def _believed(self, size: float) -> Belief:
        """The layers' weights as trials of about that size show them."""
        size = float(np.exp2(np.round(np.log2(size) / self.near) * self.near))
        if size not in self._beliefs:
            with one_thread():
                self._beliefs[size] = self._belief(size)
        return self._beliefs[size]

    def _belief(self, size: float) -> Belief:
        rungs, sizes, errors = self._seen.told
        apart = np.abs(np.log(sizes / size))
        nearest = np.argsort(apart, kind="stable")[: self.memory]
        distortions, told = self._space.distortions(rungs[nearest]), errors[nearest]
        usable = (told > 0) & (distortions.sum(axis=1) > 0)
        if not usable.any():
            return Belief.before(len(self._space.ladders), self.spread)
        ratios = told[usable] / distortions[usable].sum(axis=1)
        scale = float(np.median(ratios))
        usable[usable] = np.abs(np.log(ratios / scale)) <= np.log(self.apart)
        distortions, told = distortions[usable], told[usable]
        doubt = self.noise * (1 + apart[nearest][usable] / np.log(2))  # doubles at twice the size
        features, targets = scale * distortions / (told * doubt)[:, None], 1 / doubt
        first = Belief.after(features, targets, self.spread)
        off = float(np.sqrt(np.mean((features @ first.mean - targets) ** 2)))
        if off <= 1:
            return replace(first, scale=scale)
        less = Belief.after(features / off, targets / off, self.spread)  # no weights explain it: it says less
        return replace(less, scale=scale)

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
