"""The search space: for each layer a ladder of choices worth having, as one integer parameter; and hulls along them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from typing import ClassVar

import numpy as np
from optuna.distributions import BaseDistribution, IntDistribution

from bqsearch.bank.build import OptionBank
from bqsearch.bank.layer import LayerBank
from bqsearch.compress import compress
from bqsearch.hardware.cost import CostModel
from bqsearch.hardware.footprint import Footprint
from bqsearch.plan import Choice, Plan
from bqsearch.search.hulls import Curves, Hulls
from bqsearch.search.placement import Placer, placer
from bqsearch.search.spec import ALONE, OBJECTIVES
from bqsearch.types import Bools, Floats, Ints

SHARE = "(share of the weights in RAM)"  # stands among the layers' names where it is searched
_NEAR = 0.9  # of the RAM that there is: a plan with a choice that needs so much may be over it
_ROOMS = 4  # sizes of RAM that a sweep keeps to, besides all of it


@dataclass(frozen=True, kw_only=True, eq=False)
class Ladder:
    """One layer's choices, most bytes first: each costs less and distorts more than those before it in its coding.

    Attributes:
        layer: Name.
        choices: Rungs.
        nbytes: `(n,)` bytes of flash of each rung.
        distortion: `(n,)` predicted squared error at the network's output.
        ram: `(n,)` bytes of RAM that no plan with this rung can go below.
    """

    layer: str
    choices: tuple[Choice, ...]
    nbytes: Ints
    distortion: Floats
    ram: Ints


@dataclass(frozen=True, kw_only=True)
class Mix:
    """Codings that a plan may have.

    Attributes:
        codings: Names.
        code: Bytes of flash of their decoders.
    """

    codings: frozenset[str]
    code: int


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Which sizes are worth trying.

    Attributes:
        most: Bytes of weights, tables and decoders that the limit of flash leaves.
        frugal: Whether a smaller plan is worth anything; where not, only sizes near the largest are.
    """

    most: float = np.inf
    frugal: bool = True

    near: ClassVar[float] = 0.85  # of the largest size

    def within(self, smallest: float, largest: float) -> tuple[float, float]:
        """The smallest and the largest size to try, of those that there are."""
        largest = max(min(largest, self.most), smallest)
        return (smallest if self.frugal else max(smallest, self.near * largest)), largest


@dataclass(frozen=True, kw_only=True, eq=False)
class Space:
    """The ladders of all layers.

    Attributes:
        bank: Where they come from.
        ladders: In execution order.
        mixes: Sets of codings that a plan may have, the largest last; each brings the code of its decoders.
        placer: Places weights in RAM; None where all lie in flash.
        budget: Which sizes are worth trying.
        ram_counts: Whether plans in less RAM than there is are worth trying.
    """

    bank: OptionBank
    ladders: tuple[Ladder, ...]
    mixes: tuple[Mix, ...]
    placer: Placer | None = None
    budget: Budget = Budget()
    ram_counts: bool = True
    _known: dict[float, Hulls] = field(default_factory=dict, init=False, repr=False)  # by RAM

    @classmethod
    def of(
        cls,
        bank: OptionBank,
        cost: CostModel,
        max_ram: int,
        objectives: tuple[str, ...] = OBJECTIVES,
        budget: Budget | None = None,
    ) -> "Space":
        """The space of a bank on a board, without the rungs that no plan within `max_ram` bytes can hold."""
        ladders = tuple(_ladder(entry, cost.footprint, max_ram) for entry in bank.layers)
        least = max(int(ladder.ram.max()) for ladder in ladders)  # two in a step may take more than either
        return cls(
            bank=bank,
            ladders=ladders,
            mixes=_mixes(ladders, cost.footprint),
            placer=placer(bank, cost, max_ram, objectives),
            budget=budget or Budget(),
            ram_counts="ram" in objectives or least > _NEAR * max_ram,
        )

    @cached_property
    def distributions(self) -> dict[str, BaseDistribution]:
        """Optuna's view: for each layer an integer, the rung; and where there is a choice, the share in RAM."""
        found = {ladder.layer: IntDistribution(0, len(ladder.choices) - 1) for ladder in self.ladders}
        return {**found, **({SHARE: IntDistribution(0, self.shares - 1)} if self.shares > 1 else {})}

    @property
    def shares(self) -> int:
        """How many shares of the weights there are to choose from."""
        return 1 if self.placer is None else len(self.placer.shares)

    def plan(self, rungs: Mapping[str, int]) -> Plan:
        """The plan of a rung for each layer, and of a share."""
        plan = self.bank.plan({ladder.layer: ladder.choices[rungs[ladder.layer]] for ladder in self.ladders})
        if self.placer is None:
            return plan
        return self.placer.placed(self.bank, plan, self.placer.shares[rungs.get(SHARE, 0)])

    def rungs(self, indices: Ints, share: int = 0) -> dict[str, int]:
        """`(layers,)` rung indices by layer name, with the index of a share where there is a choice."""
        found = {ladder.layer: int(index) for ladder, index in zip(self.ladders, indices, strict=True)}
        return {**found, **({SHARE: share} if self.shares > 1 else {})}

    def sizes(self, indices: Ints) -> Ints:
        """Bytes of all layers' weights, tables and decoders under `(..., layers)` rung indices, `(...)`."""
        places = np.arange(len(self.ladders)), indices
        used = (self._coding[places][..., None] == np.arange(len(self._codings))).any(axis=-2)
        return (self._nbytes[places].sum(axis=-1) + self._code[used @ self._bits]).astype(np.int64)

    def distortions(self, indices: Ints) -> Floats:
        """What the bank predicts of each layer under `(..., layers)` rung indices, `(..., layers)`."""
        return np.asarray(self._distortion[np.arange(len(self.ladders)), indices], np.float64)

    def within(self, nbytes: float, weights: Floats | None = None, room: float = np.inf) -> Ints:
        """The rungs of least predicted distortion that keep within so many bytes, `(layers,)`; else of fewest bytes.

        Args:
            nbytes: As `sizes` counts them.
            weights: `(layers,)` factors on the layers' distortions; None for 1.
            room: Bytes of RAM that each rung may need; at least `rooms[0]`.
        """
        return self._hulls(room).within(nbytes, np.ones(len(self.ladders)) if weights is None else weights)

    def distorted_within(self, sizes: Floats, weights: Floats, room: float = np.inf) -> Floats:
        """About what plans distort that keep within `(n,)` sizes, `(n,)`; arguments as of `within`."""
        return self._hulls(room).distortions(sizes, weights)

    def extent(self, room: float = np.inf) -> tuple[float, float]:
        """Bytes of the smallest plan and of the one that is predicted to distort least, in so much RAM."""
        hulls = self._hulls(room)
        return hulls.smallest, hulls.largest

    def _hulls(self, room: float) -> Hulls:
        if room not in self._known:
            fits = self._ram <= room
            allowed = [fits & self._of_coding[codings].any(axis=0) for codings in self._allowed]
            codes = [mix.code for mix in self.mixes]
            self._known[room] = Hulls.of(self._curves, allowed, codes)
        return self._known[room]

    @cached_property
    def rooms(self) -> Ints:
        """The sizes of RAM at which more rungs come within reach, ascending; some plan keeps the first."""
        least = max(int(ladder.ram.min()) for ladder in self.ladders)
        levels = np.unique(np.concatenate([ladder.ram for ladder in self.ladders]))
        return np.append(least, levels[levels > least])

    def tighter(self, count: int) -> list[float]:
        """Up to so many of the `rooms` below the largest, spread evenly, ascending; none where RAM does not count."""
        if not self.ram_counts:
            return []
        steps = np.unique(np.linspace(0, len(self.rooms) - 1, count + 1).round().astype(int))[:-1]
        return [float(room) for room in self.rooms[steps]]

    def sweep(self, count: int) -> list[dict[str, int]]:
        """Up to `count` different points of sweeps along the hulls: without regard to RAM, and in less and less of it.

        Each goes at even ratios of bytes, finest first; where RAM is the same for all plans there is only the first.
        Shares of the weights in RAM take turns.
        """
        free = self._sweep_within(np.inf, count)
        tight: list[dict[str, int]] = []
        rooms = self.tighter(_ROOMS)[::-1]
        for room in rooms:
            within = self._sweep_within(room, count // 2 // len(rooms))
            tight += [point for point in within if point not in free and point not in tight]
        wide = self._sweep_within(np.inf, count - len(tight))
        return wide + [point for point in tight if point not in wide]

    def _sweep_within(self, room: float, count: int) -> list[dict[str, int]]:
        smallest, largest = self.extent(room)
        if np.isfinite(room) and smallest > self.budget.most:
            return []
        low, high = self.budget.within(smallest, largest)
        plans = [self.within(float(size), None, room) for size in np.geomspace(high, low, count)]
        picked = dict.fromkeys(tuple(plan.tolist()) for plan in plans)
        return [self.rungs(np.array(plan), turn % self.shares) for turn, plan in enumerate(picked)]

    @cached_property
    def _curves(self) -> Curves:
        return Curves(nbytes=self._nbytes, distortion=self._distortion)

    @cached_property
    def _codings(self) -> list[str]:
        return sorted(self.mixes[-1].codings)

    @cached_property
    def _bits(self) -> Ints:
        return 1 << np.arange(len(self._codings))

    @cached_property
    def _code(self) -> Ints:
        """Bytes of the decoders of the codings whose bits are set in the index."""
        code = np.full(1 << len(self._codings), self.mixes[-1].code)
        for mix, allowed in zip(self.mixes, self._allowed, strict=True):
            code[int(self._bits[allowed].sum())] = mix.code
        return code

    @cached_property
    def _allowed(self) -> list[Bools]:
        """`(codings,)` of each mix."""
        return [np.array([coding in mix.codings for coding in self._codings]) for mix in self.mixes]

    @cached_property
    def _coding(self) -> Ints:
        """`(layers, rungs)` index of each rung's coding; -1 where there is no rung."""
        rows = [np.array([self._codings.index(c.coding) for c in ladder.choices]) for ladder in self.ladders]
        filled = _stacked(rows)
        return np.where(np.isfinite(filled), filled, -1).astype(np.int64)

    @cached_property
    def _of_coding(self) -> Bools:
        """`(codings, layers, rungs)` whether a rung has the coding."""
        return self._coding == np.arange(len(self._codings))[:, None, None]

    @cached_property
    def _nbytes(self) -> Floats:
        return _stacked([ladder.nbytes for ladder in self.ladders])

    @cached_property
    def _distortion(self) -> Floats:
        return _stacked([ladder.distortion for ladder in self.ladders])

    @cached_property
    def _ram(self) -> Floats:
        return _stacked([ladder.ram for ladder in self.ladders])


def _stacked(rows: Sequence[Floats | Ints]) -> Floats:
    """Rows of different lengths as one matrix, filled up with what no minimum picks."""
    matrix = np.full((len(rows), max(len(row) for row in rows)), np.inf)
    for index, row in enumerate(rows):
        matrix[index, : len(row)] = row
    return matrix


def flash_budget(bank: OptionBank, cost: CostModel, max_flash: int, objectives: Collection[str]) -> Budget:
    """What a limit of flash leaves for weights; and whether anything but quality is an objective."""
    baseline = compress(cost.graph, bank, bank.baseline)
    options = [entry.option for entry in baseline.layers]
    stored = sum(cost.footprint.stored(o.choice.coding, o.stream_bytes, o.table_bytes) for o in options)
    code = cost.footprint.decoder_code({o.choice.coding for o in options})
    rest = cost.flash(baseline).total - stored - code
    return Budget(most=max_flash - rest, frugal=bool(set(objectives) - ALONE))


def _mixes(ladders: Sequence[Ladder], footprint: Footprint) -> tuple[Mix, ...]:
    """All sets of the ladders' codings, or only the largest if decoders take no flash."""
    codings = sorted({choice.coding for ladder in ladders for choice in ladder.choices})
    sets = [frozenset(of) for count in range(1, len(codings) + 1) for of in combinations(codings, count)]
    mixes = tuple(Mix(codings=of, code=footprint.decoder_code(of)) for of in sets)
    return mixes if mixes[-1].code else mixes[-1:]


def _ladder(entry: LayerBank, footprint: Footprint, max_ram: int) -> Ladder:
    """In each coding the choices that no other undercuts in both bytes and distortion, as far as RAM allows."""
    found = [_stored(entry, footprint, *choice) for choice in entry.choices()]
    kept = [c for coding in entry.codings for c in _undominated([f for f in found if f[0].coding == coding])]
    kept.sort(key=lambda c: (-c[1], c[2], str(c[0])))
    ram = np.array([footprint.least_ram(entry.layer, c[0].coding, entry.table_bytes(c[0])) for c in kept], np.int64)
    if (ram <= max_ram).any():
        kept = [c for c, nbytes in zip(kept, ram, strict=True) if nbytes <= max_ram]
        ram = ram[ram <= max_ram]
    return Ladder(
        layer=entry.layer.name,
        choices=tuple(c[0] for c in kept),
        nbytes=np.array([c[1] for c in kept], np.int64),
        distortion=np.array([c[2] for c in kept], np.float64),
        ram=ram,
    )


def _stored(
    entry: LayerBank, footprint: Footprint, choice: Choice, nbytes: int, distortion: float
) -> tuple[Choice, int, float]:
    table = entry.table_bytes(choice)
    return choice, footprint.stored(choice.coding, nbytes - table, table), distortion


def _undominated(found: Sequence[tuple[Choice, int, float]]) -> list[tuple[Choice, int, float]]:
    kept: list[tuple[Choice, int, float]] = []
    for candidate in sorted(found, key=lambda c: (c[1], c[2], str(c[0]))):
        if not kept or candidate[2] < kept[-1][2]:
            kept.append(candidate)
    return kept
