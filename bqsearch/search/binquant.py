"""`binquant`: the search of Bin & Quant (ICASSP 2020), as published; its operator is the scheme of the same name.

Layers go by bytes, largest first. A layer is scored with the 4 bins that the operator begins with, and then with one
bin more at a time. Which bin is halved is found by probing: in turn, the members of each bin are multiplied by 1.2 in
the layer's original weights (fractions are cut, bytes wrap at 256, and a code on an edge is a member of both bins), and
the bin whose probe classifies the fewest inputs right is halved at its middle, of equal ones the lowest. Of the
versions with 4 to `max_bins` bins that stays which is right most often, of equal ones the coarsest, if it loses less
than `max_drop` against what stayed before: every layer may lose as much again. Layers that are done stay as they were
left while the next ones are searched.

Besides:
- A bin is probed once. The published notebook probes all bins at every step, and its successor, after the first step,
  the two halves only; this comes to the same where scoring repeats itself.
- A layer of which no version is good enough stays as it is, where the original fails.
- The original stores indices of a fixed width, and its Huffman codes cannot be run; here each version takes the smaller
  of the two in the container at hand.
- Weights that several operators read are left alone.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import ClassVar, Protocol, final

import numpy as np
from optuna.distributions import IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from bqsearch.bank.build import OptionBank
from bqsearch.bank.layer import LayerBank
from bqsearch.compress import CompressedLayer
from bqsearch.errors import StorageError, StudyError
from bqsearch.plan import Choice, Plan
from bqsearch.quantizers.base import CODES
from bqsearch.quantizers.binquant import halved_edges
from bqsearch.search.prepare import Problem
from bqsearch.search.record import Record, record_of
from bqsearch.search.spec import OBJECTIVES, StudySpec
from bqsearch.types import Bytes

SCHEME = "binquant"
START = 4  # bins
SHARE = 0.2  # of its value, that a probe adds to each member of a bin
CODINGS = ("packed", "huffman")
_RIGHT = "right"  # attribute of a stored trial: how many inputs it classifies right


class Score(Protocol):
    """Runs a network over the search split."""

    def __call__(self, plan: Plan, tables: Mapping[str, Bytes], /) -> int:
        """How many inputs it classifies right.

        Args:
            plan: Of the network.
            tables: `(256,)` maps of codes, by layer, through which the plan's weights go besides.
        """
        ...


@dataclass(kw_only=True)
class _Layer:
    """The layer that is being searched.

    Attributes:
        entry: Its options.
        right: What the best version classifies right; without one, what a version has to exceed.
        best: The version that would stay; None for the layer as it is.
        halves: Of the version told of last; None before the first.
        probed: What probes classify right, by the edges of their bins.
    """

    entry: LayerBank
    right: float
    best: Choice | None = None
    halves: tuple[int, ...] | None = None
    probed: dict[tuple[float, float], int] = field(default_factory=dict)

    def told(self, version: Choice, right: int) -> None:
        """Learn how a version does."""
        self.halves = version.halves
        if right > self.right:
            self.best, self.right = version, right


@final
@dataclass(kw_only=True)
class BinQuantStrategy:
    """Bin & Quant's own search: layer by layer, it halves the bin to which the network is most sensitive.

    It draws nothing at random, and reads from the plans of finished trials which bins were halved; when it is resumed,
    the bins that are there by then are probed once more.

    Attributes:
        bank: The layers, and how they can be stored.
        score: Runs probes, and those versions that break a hard limit, which are not run otherwise.
        inputs: Number of inputs of the search split.
        max_drop: Percentage points that each layer may lose.
        max_bins: Of a layer's finest version.
        trials: Versions after which it ends; it ends by itself, too.
        finished: Trials of an earlier session, in order.
    """

    lag: ClassVar[int] = 1
    shares: ClassVar[bool] = False

    bank: OptionBank
    score: Score
    inputs: int
    max_drop: float
    max_bins: int
    trials: int
    finished: Sequence[FrozenTrial] = ()
    _left: deque[LayerBank] = field(init=False, repr=False)
    _kept: dict[str, Choice] = field(init=False, repr=False, default_factory=dict)
    _layer: _Layer | None = field(init=False, repr=False)
    _reached: float = field(init=False, repr=False)
    _told: int = field(init=False, repr=False, default=0)

    @staticmethod
    def check(spec: StudySpec) -> None:
        """Raise StudyError for a spec that this search cannot serve; its objectives are settled by now."""
        objectives = spec.objectives or OBJECTIVES
        if SCHEME not in spec.schemes:
            listed = ", ".join(spec.schemes)
            raise _unfit(f"halves the bins of the scheme {SCHEME!r}", f"schemes are {listed}", "add it to them")
        if "accuracy" not in objectives:
            listed = ", ".join(objectives)
            raise _unfit("goes by accuracy", f"objectives are {listed}", "add accuracy, or take another sampler")
        if spec.prune:
            raise _unfit("prunes nothing", f"prune is {', '.join(spec.prune)}", "leave it out")

    @classmethod
    def begin(cls, problem: Problem, finished: Sequence[FrozenTrial]) -> "BinQuantStrategy":
        """The search of a problem, gone on with from these trials."""
        return cls(
            bank=problem.bank,
            score=SplitScore(problem),
            inputs=len(problem.scorer.inputs),
            max_drop=problem.spec.max_drop,
            max_bins=problem.spec.max_bins,
            trials=problem.spec.trials,
            finished=finished,
        )

    def __post_init__(self) -> None:
        layers = [entry for entry in self.bank.layers if SCHEME in entry.quantizers]
        self._left = deque(sorted(layers, key=lambda entry: -entry.layer.size))
        self._begin_layer(self.score(self.bank.baseline, {}))
        for trial in self.finished:
            self._replay(trial)

    def ask(self, over: Callable[[], bool], /) -> Plan | None:
        """The layer's next version, once its bins are probed; None if there is none, or if it is `over` before."""
        layer = self._layer
        if layer is None or self._told >= self.trials:
            return None
        if layer.halves is None:
            return self._plan(())
        half = self._most_sensitive(layer, layer.halves, over)
        return None if half is None else self._plan((*layer.halves, half))

    def learn(self, trial: FrozenTrial) -> None:
        """Never called: the next version follows from this search's own alone."""
        raise AssertionError(f"{type(self).__name__} shares nothing, but is told of {trial.number}")

    def tell(self, record: Record) -> FrozenTrial:
        """Go on from there; the trial says how many levels each layer has."""
        right = self._right(record)
        self._learn(record.plan, right)
        levels = {name: choice.levels for name, choice in record.plan.choices.items()}
        return create_trial(
            state=TrialState.PRUNED if record.values is None else TrialState.COMPLETE,
            values=None if record.values is None else list(record.values),
            params=levels,
            distributions=dict.fromkeys(levels, IntDistribution(2, CODES)),
            user_attrs={"record": record.to_json(), _RIGHT: right},
            constraints=dict(record.constraints),
        )

    def _begin_layer(self, right: float) -> None:
        """Take up the next layer, now that the network classifies so many inputs right."""
        floor = right - self.max_drop * self.inputs / 100
        self._layer = _Layer(entry=self._left.popleft(), right=floor) if self._left else None
        self._reached = right

    def _learn(self, plan: Plan, right: int) -> None:
        layer = self._layer
        assert layer is not None
        version = plan.choices[layer.entry.layer.name]
        layer.told(version, right)
        self._told += 1
        if version.levels == self.max_bins:
            self._end_layer(layer)

    def _end_layer(self, layer: _Layer) -> None:
        if layer.best is None:
            self._begin_layer(self._reached)
        else:
            self._kept[layer.entry.layer.name] = layer.best
            self._begin_layer(layer.right)

    def _replay(self, trial: FrozenTrial) -> None:
        plan = record_of(trial).plan
        layer = self._layer
        version = None if layer is None else plan.choices.get(layer.entry.layer.name)
        if version is None or self._plan(version.halves) != plan or _RIGHT not in trial.user_attrs:
            raise StorageError(f"trial {trial.number} of the storage is none of this search: choose another --out")
        self._learn(plan, int(trial.user_attrs[_RIGHT]))

    def _plan(self, halves: tuple[int, ...]) -> Plan:
        """The network with a version of the layer that is being searched."""
        assert self._layer is not None
        entry = self._layer.entry
        return self.bank.plan({**self._kept, entry.layer.name: coded_version(entry, halves)})

    def _most_sensitive(self, layer: _Layer, halves: tuple[int, ...], over: Callable[[], bool]) -> int | None:
        """The bin whose perturbation hurts most."""
        counts = np.bincount(layer.entry.weights.codes.reshape(-1), minlength=CODES).astype(np.int64)
        bins = list(pairwise(halved_edges(counts, halves).tolist()))
        kept = self.bank.plan(self._kept)
        for edges in bins:
            if over():
                return None
            if edges not in layer.probed:
                layer.probed[edges] = self.score(kept, {layer.entry.layer.name: perturbed(*edges)})
        return int(np.argmin([layer.probed[edges] for edges in bins]))

    def _right(self, record: Record) -> int:
        if record.values is None:
            return self.score(record.plan, {})
        return round(record.metrics["accuracy_search"] * self.inputs)


@final
@dataclass(frozen=True)
class SplitScore:
    """A problem's search split, run by LiteRT."""

    problem: Problem

    def __call__(self, plan: Plan, tables: Mapping[str, Bytes], /) -> int:
        """See `Score`."""
        model = self.problem.compress(plan)
        changed = replace(model, layers=tuple(_through(entry, tables) for entry in model.layers))
        scorer = self.problem.scorer
        return int(scorer.correct(scorer.outputs(changed)).sum())


def _through(entry: CompressedLayer, tables: Mapping[str, Bytes]) -> CompressedLayer:
    """A layer whose codes go through its table, if it has one; no plan makes it, and its bias stays as it is."""
    table = tables.get(entry.layer.name)
    if table is None:
        return entry
    version = Choice(scheme=SCHEME, levels=CODES, coding="raw")
    return replace(entry, option=replace(entry.option, choice=version, codes=table[entry.option.codes]))


def perturbed(low: float, high: float) -> Bytes:
    """The `(256,)` map that multiplies the members of a bin by 1.2, as bytes do."""
    codes = np.arange(CODES)
    moved = (codes + SHARE * codes).astype(np.int64) % CODES
    return np.where((low <= codes) & (codes <= high), moved, codes).astype(np.uint8)


def coded_version(entry: LayerBank, halves: tuple[int, ...]) -> Choice:
    """The start bins with these of them halved, in the coding that takes the fewest bytes."""
    raw = Choice(scheme=SCHEME, levels=START + len(halves), coding="raw", halves=halves)
    sizes = entry.sizes(entry.symbols_of(entry.option(raw)))
    codings = [coding for coding in CODINGS if coding in entry.codings]
    return replace(raw, coding=min(codings, key=lambda coding: int(sizes.bytes_of(coding)[0])))


def _unfit(what: str, found: str, cure: str) -> StudyError:
    return StudyError(f"the sampler 'binquant' {what}, but {found}: {cure}")
