"""LayerBank: all options of one layer.

Without error compensation an option is a map of codes, its bytes and its distortion follow from a histogram, and all
level counts of a scheme are worked out together. With it, the codes of an option are worked out weight by weight; that
is done for the choices on the hull of what the maps cost and do, and for others when they are looked up.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from bqsearch.bank import maps
from bqsearch.bank.codebooks import Codebooks
from bqsearch.bank.coding import LayerCoding, part
from bqsearch.bank.hull import spread
from bqsearch.bank.maps import SchemeRows
from bqsearch.bank.weights import LayerWeights
from bqsearch.errors import PlanError, UnknownNameError
from bqsearch.graph.ops import Layer
from bqsearch.packing.container import UNAVAILABLE, Container, Sizes, Symbols
from bqsearch.plan import Choice, Method, Prune
from bqsearch.quantizers.arithmetic import Arithmetic, are_shifts, arithmetic
from bqsearch.quantizers.base import CODES, Quantizer, worded
from bqsearch.quantizers.binquant import halved_table
from bqsearch.quantizers.compensate import Factor, Levels, compensate, factorize
from bqsearch.types import Array, Bytes, Floats, Ints

KEEP = Choice(scheme="keep", levels=CODES, coding="raw")
RUNGS = 16  # maps that are compensated for the search, of the hull of all codings
OWN_RUNGS = 4  # and of the hull of each coding alone: where RAM or time is short, another may not do
_FAINT = 1e-30  # squared scale of a channel whose bits are priced as if it had one


@dataclass(frozen=True, kw_only=True, eq=False)
class Option:
    """One choice for one layer.

    Attributes:
        choice: Its name.
        codes: `(channels, columns)` uint8, what the weights become.
        zero: The code of a weight of 0.
        stream_bytes: Bytes of the coded weights.
        table_bytes: Bytes of what else their decoder needs.
        bias_shift: `(channels,)` what the codes add to each channel's accumulator in the mean, rounded.
        distortion: Expected squared error of the layer's output, times the layer's sensitivity.
    """

    choice: Choice
    codes: Bytes = field(repr=False)
    zero: int
    stream_bytes: int
    table_bytes: int
    bias_shift: Ints = field(repr=False)
    distortion: float

    @property
    def nbytes(self) -> int:
        """Stream and table."""
        return self.stream_bytes + self.table_bytes

    @property
    def kept(self) -> int:
        """Weights that are not zero."""
        return self.codes.size - int(self._tally[self.zero])

    @cached_property
    def arithmetic(self) -> Arithmetic:
        """How a kernel can compute with the weights."""
        if self.choice.coding == "raw":
            return "multiply"
        steps = np.flatnonzero(self._tally) - self.zero
        if 0 not in steps and len(steps) <= 2 * len(self.codes):  # it may be signs
            return arithmetic(self.codes.astype(np.int64) - self.zero, self.choice.coding)
        return "shift" if are_shifts(steps) else "multiply"

    @cached_property
    def _tally(self) -> Ints:
        """How often each code is among the weights, `(256,)`."""
        return np.bincount(self.codes.reshape(-1), minlength=CODES)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Weighed:
    """What a choice makes of the weights, the same in all codings.

    Attributes:
        codes: As in an option.
        bias_shift: Likewise.
        distortion: Likewise, but before sensitivity.
        sizes: Exact bytes, `(1,)` each.
    """

    codes: Bytes
    bias_shift: Ints
    distortion: float
    sizes: Sizes


@dataclass(kw_only=True, eq=False)
class _Memory:
    """What was worked out before, whatever the sensitivity: a search comes back to the same options again and again."""

    rows: dict[tuple[str, Prune | None], SchemeRows] = field(default_factory=dict)
    masks: dict[Prune, Array] = field(default_factory=dict)
    weighed: dict[Choice, _Weighed] = field(default_factory=dict)  # by the choice in raw, in flash
    options: dict[tuple[Choice, float], Option] = field(default_factory=dict)  # by choice and sensitivity
    offers: list[tuple[Choice, int, float]] | None = None
    factor: Factor | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerBank:
    """All options of one layer.

    Attributes:
        weights: What is to be coded.
        container: How it is stored.
        method: How coarser weights are made up for.
        quantizers: By scheme.
        prunes: What may be pruned first; None is no pruning.
        sensitivity: Squared error at the network's output for a unit of distortion here.
    """

    weights: LayerWeights
    container: Container
    method: Method
    quantizers: Mapping[str, Quantizer]
    prunes: tuple[Prune | None, ...] = (None,)
    sensitivity: float = 1.0
    _memory: _Memory = field(repr=False, default_factory=_Memory)

    @property
    def layer(self) -> Layer:
        """Which one."""
        return self.weights.layer

    @property
    def codings(self) -> tuple[str, ...]:
        """The container's; weights that several operators read stay as they are."""
        return self._coding.codings

    @property
    def compensated(self) -> bool:
        """Whether errors of some weights are made up for by others."""
        return self.method.error_compensation and self.weights.covariance is not None

    def option(self, choice: Choice) -> Option:
        """One choice, looked up.

        Raises:
            PlanError: The scheme is not in the bank, has no such level count, or the coding cannot hold it.
        """
        key, known = (choice, self.sensitivity), self._memory.options
        if key not in known:
            self._row(choice)
            known[key] = self._option(choice, self._weighed([choice])[0])
        return known[key]

    def choices(self) -> list[tuple[Choice, int, float]]:
        """The choices to search among, with their bytes and their distortion."""
        if self._memory.offers is None:
            self._memory.offers = self._compensated_offers() if self.compensated else self._mapped_offers()
        return [(choice, nbytes, lost * self.sensitivity) for choice, nbytes, lost in self._memory.offers]

    def table_bytes(self, choice: Choice) -> int:
        """Bytes of what a choice's decoder needs besides the weights; raises as `option` does."""
        if self.compensated or choice.halves:
            return self.option(choice).table_bytes
        _, row = self._row(choice)
        return int(self.rows(choice.scheme, choice.prune).sizes.table[choice.coding][row])

    def rows(self, scheme: str, prune: Prune | None = None) -> SchemeRows:
        """A scheme's maps."""
        found = self._memory.rows.get((scheme, prune))
        return self._rows([(scheme, prune)])[0] if found is None else found

    def reassigned(self, choice: Choice, target: Floats, covariance: Floats) -> Option:
        """A choice whose levels are assigned to other weights than the layer's, for other inputs.

        Args:
            choice: With its codebook.
            target: `(channels, columns)` weights to come near to, in code steps counted from the type's lowest.
            covariance: Of the inputs, as in `LayerWeights`.
        """
        (assigned,) = compensate(target, factorize(covariance), [self._levels(choice)], self.weights.zero)
        lost = self.weights.distortion(assigned.codes, correlated=self.compensated)
        return self._option(choice, self._weigh([choice], [(assigned.codes, lost)])[0])

    def symbols_of(self, option: Option) -> Symbols:
        """An option's weights, ready for the container."""
        return self._coding.symbols(self._codebooks(option.choice), option.codes)

    def sizes(self, symbols: Symbols) -> Sizes:
        """Exact bytes of one coding of the layer."""
        return self._coding.sizes([self._coding.tally(symbols)])[0]

    @property
    def _coding(self) -> LayerCoding:
        return LayerCoding(weights=self.weights, container=self.container)

    def _mapped_offers(self) -> list[tuple[Choice, int, float]]:
        """Every available choice as a plain map of codes."""
        found = []
        for scheme, prune, rows in self._all_rows():
            for coding in self.codings:
                nbytes = rows.sizes.bytes_of(coding)
                for levels, size, lost in zip(rows.maps.levels, nbytes, rows.distortion, strict=True):
                    if size < UNAVAILABLE:
                        choice = Choice(scheme=scheme, levels=levels, coding=coding, prune=prune)
                        found.append((choice, int(size), float(lost)))
        return found

    def _compensated_offers(self) -> list[tuple[Choice, int, float]]:
        """The maps that are worth it, compensated, in every coding that holds them."""
        rungs = self._rungs()
        found = []
        for choice, weighed in zip(rungs, self._weighed(rungs), strict=True):
            for coding in self.codings:
                size = int(weighed.sizes.bytes_of(coding)[0])
                if size < UNAVAILABLE:
                    found.append((replace(choice, coding=coding), size, weighed.distortion))
        self._forget_all_but({(choice.scheme, choice.prune) for choice in rungs})
        return found

    def _rungs(self) -> list[Choice]:
        """The maps to compensate, named in raw."""
        names, sizes, lost = [], [], []
        for scheme, prune, rows in self._all_rows():
            names += [(scheme, levels, prune) for levels in rows.maps.levels]
            sizes.append(np.stack([rows.sizes.bytes_of(coding) for coding in self.codings]))
            lost.append(rows.distortion)
        nbytes, distortion = np.concatenate(sizes, axis=1), np.concatenate(lost)
        picked = spread(nbytes.min(axis=0), distortion, RUNGS)
        picked += [i for own in nbytes for i in spread(own, distortion, OWN_RUNGS)]
        chosen = [names[i] for i in dict.fromkeys(picked)]
        return [Choice(scheme=scheme, levels=levels, coding="raw", prune=prune) for scheme, levels, prune in chosen]

    def _all_rows(self) -> Iterator[tuple[str, Prune | None, SchemeRows]]:
        keys = [(s, prune) for s in self.quantizers for prune in (self.prunes if s != "keep" else (None,))]
        for (scheme, prune), rows in zip(keys, self._rows(keys), strict=True):
            yield scheme, prune, rows

    def _rows(self, keys: Sequence[tuple[str, Prune | None]]) -> list[SchemeRows]:
        memory, weighted = self._memory.rows, self.method.activation_weighting
        missing = [key for key in keys if key not in memory]
        fits = [maps.fit(self.quantizers[s], self._fitted, self._kept(prune), weighted) for s, prune in missing]
        memory.update(zip(missing, maps.weigh(self._coding, fits), strict=True))
        return [memory[key] for key in keys]

    @property
    def _fitted(self) -> LayerWeights:
        """The weights, with what an error of each costs once those assigned after it make up for it."""
        if not self.compensated:
            return self.weights
        factor = self._factor
        power = np.empty(factor.order.shape)
        np.put_along_axis(power, factor.order, factor.growth.T, axis=1)
        return replace(self.weights, power=power)

    def _kept(self, prune: Prune | None) -> Array | None:
        """What pruning leaves; None for all."""
        if prune is None:
            return None
        masks = self._memory.masks
        if prune not in masks:
            masks[prune] = self.weights.mask(prune)
        return masks[prune]

    def _forget_all_but(self, needed: set[tuple[str, Prune | None]]) -> None:
        """Free the maps that are not needed, and what took part in working the others out."""
        memory = self._memory
        memory.rows = {key: rows for key, rows in memory.rows.items() if key in needed}
        memory.masks, memory.factor = {}, None

    def _row(self, choice: Choice) -> tuple[maps.Maps, int]:
        if choice.scheme not in self.quantizers:
            raise PlanError(
                f"layer {self.layer.name!r}: {UnknownNameError('scheme', choice.scheme, list(self.quantizers))}"
            )
        own = self.rows(choice.scheme, choice.prune).maps
        if choice.levels not in own.levels:
            raise PlanError(
                f"layer {self.layer.name!r}: {choice.scheme} has {worded(own.levels)} levels, not {choice.levels}"
            )
        if choice.coding not in self.codings:
            raise PlanError(f"layer {self.layer.name!r}: {UnknownNameError('coding', choice.coding, self.codings)}")
        if choice.placement not in self.container.placements:
            known = self.container.placements
            raise PlanError(f"layer {self.layer.name!r}: {UnknownNameError('placement', choice.placement, known)}")
        return own, own.levels.index(choice.levels)

    def _option(self, choice: Choice, weighed: _Weighed) -> Option:
        if weighed.sizes.bytes_of(choice.coding)[0] >= UNAVAILABLE:
            symbols = self._coding.symbols(self._codebooks(choice), weighed.codes)
            reason = self.container.refusal(self._coding.tally(symbols), choice.coding)
            raise PlanError(f"layer {self.layer.name!r}: {choice.coding} cannot code its weights: {reason}")
        return Option(
            choice=choice,
            codes=weighed.codes,
            zero=self.weights.zero,
            stream_bytes=int(weighed.sizes.stream[choice.coding][0]),
            table_bytes=int(weighed.sizes.table[choice.coding][0]),
            bias_shift=weighed.bias_shift,
            distortion=weighed.distortion * self.sensitivity,
        )

    def _weighed(self, choices: Sequence[Choice]) -> list[_Weighed]:
        memory, bare = self._memory.weighed, [replace(c, coding="raw", placement="flash") for c in choices]
        missing = [choice for choice in dict.fromkeys(bare) if choice not in memory]
        memory.update((choice, self._as_map(choice)) for choice in missing if self._is_map(choice))
        others = [choice for choice in missing if not self._is_map(choice)]
        if others:
            memory.update(zip(others, self._weigh(others, self._moved(others)), strict=True))
        return [memory[choice] for choice in bare]

    def _is_map(self, choice: Choice) -> bool:
        """Whether it is one of its scheme's maps, uncompensated."""
        return not choice.halves and (choice.scheme == "keep" or not self.compensated)

    def _as_map(self, choice: Choice) -> _Weighed:
        rows, (own, row) = self.rows(choice.scheme, choice.prune), self._row(choice)
        codes = maps.mapped(self.weights, own.tables[:, row], own.kept)
        return _Weighed(
            codes=codes,
            bias_shift=self._bias_shift(codes),
            distortion=float(rows.distortion[row]),
            sizes=part(rows.sizes, slice(row, row + 1)),
        )

    def _moved(self, choices: Sequence[Choice]) -> list[tuple[Bytes, float]]:
        """Codes and distortion of what is no plain map."""
        weights = self.weights
        if not self.compensated:
            codes = [maps.mapped(weights, self._tables(choice), self._row(choice)[0].kept) for choice in choices]
            return [(own, weights.distortion(own, correlated=False)) for own in codes]
        codebooks = [self._levels(choice) for choice in choices]
        assigned = compensate(weights.codes.astype(np.float64), self._factor, codebooks, weights.zero)
        return [(one.codes, float(one.lost @ weights.squared_scales[:, 0])) for one in assigned]

    def _weigh(self, choices: Sequence[Choice], moved: Sequence[tuple[Bytes, float]]) -> list[_Weighed]:
        """What codes cost and do, given them and their distortion."""
        coding, books = self._coding, [self._codebooks(choice) for choice in choices]
        symbols = [coding.symbols(own, codes) for own, (codes, _) in zip(books, moved, strict=True)]
        made = coding.sizes([coding.tally(one) for one in symbols])
        return [
            _Weighed(codes=codes, bias_shift=self._bias_shift(codes), distortion=lost, sizes=nbytes)
            for (codes, lost), nbytes in zip(moved, made, strict=True)
        ]

    def _bias_shift(self, codes: Bytes) -> Ints:
        return np.rint(self.weights.bias_shift(codes)).astype(np.int64)

    @property
    def _factor(self) -> Factor:
        if self._memory.factor is None:
            assert self.weights.covariance is not None
            self._memory.factor = factorize(self.weights.covariance)
        return self._memory.factor

    def _levels(self, choice: Choice) -> Levels:
        """What a choice lets weights become."""
        (own, row), books = self._row(choice), self._codebooks(choice)
        prices = np.broadcast_to(own.prices[:, row], len(self.weights.codes))
        scales = np.maximum(self.weights.squared_scales[:, 0], _FAINT)
        return Levels(values=books.values, bits=-np.log2(books.shares), price=prices / scales, kept=own.kept)

    def _tables(self, choice: Choice) -> Bytes:
        """A choice's `(groups, 256)` maps."""
        own, row = self._row(choice)
        if choice.halves:
            return halved_table(maps.occurrences(self.weights, 1, own.kept)[0], choice.halves)[None]
        return own.tables[:, row]

    def _codebooks(self, choice: Choice) -> Codebooks:
        return maps.codebooks(self.weights, self._tables(choice), self._row(choice)[0].kept)
