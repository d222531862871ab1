"""OptionBank: what every choice for every layer costs and does, worked out once before the search.

Every map of codes is scored on a histogram, so the bank never touches a weight after its first pass. The distortion of
a choice is the expected squared error that it adds to the layer's output, in units of squared output codes per input
code:

    sum over weights of  s_c^2 * Var[x] * (w' - w)^2

with s_c the channel's weight scale and x the input of the weight; with bias correction the mean of x has no part in it,
without it E[x^2] takes the variance's place. `sensitivity` makes layers comparable: what a unit of a layer's distortion
adds to the squared error of the network's output.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

import numpy as np

from bqsearch import registry
from bqsearch.errors import ModelError, PlanError, UnknownNameError
from bqsearch.graph.ir import Graph, Tensor
from bqsearch.graph.ops import Layer, layers
from bqsearch.packing.container import UNAVAILABLE, Container, Sizes
from bqsearch.plan import Choice, Plan
from bqsearch.quantizers.base import CODES, Codebook, Histogram, Quantizer, offset_codes
from bqsearch.types import Array, Bytes, Floats, Ints

KEEP = Choice(scheme="keep", levels=CODES, coding="raw")
_FLOOR = 1e-3  # of the mean importance: what a weight whose input never varies is still worth


@dataclass(frozen=True, kw_only=True, eq=False)
class Moments:
    """What calibration saw of a layer's input, by weight position.

    Attributes:
        mean: Broadcasts to the weights' shape: mean of (code - zero point) over images and positions.
        variance: Likewise, its variance.
    """

    mean: Floats
    variance: Floats


@dataclass(frozen=True, kw_only=True, eq=False)
class Option:
    """One choice for one layer.

    Attributes:
        choice: Its name.
        table: `(256,)` uint8, the map of codes.
        counts: `(256,)` occurrences of the codes.
        stream_bytes: Bytes of the coded weights.
        table_bytes: Bytes of what else their decoder needs.
        bias_shift: `(channels,)` what the map adds to each channel's accumulator in the mean, rounded.
        distortion: Expected squared error of the layer's output, times the layer's sensitivity.
    """

    choice: Choice
    table: Bytes
    counts: Ints
    bias_shift: Ints
    stream_bytes: int
    table_bytes: int
    distortion: float

    @property
    def nbytes(self) -> int:
        """Stream and table."""
        return self.stream_bytes + self.table_bytes

    @property
    def codebook(self) -> Codebook:
        """The map as indices and values."""
        return Codebook.of(self.table, self.counts)


@dataclass(frozen=True, kw_only=True, eq=False)
class SchemeRows:
    """One scheme's maps for one layer: row r is for `levels[r]`.

    Attributes:
        levels: Level counts.
        tables: `(n, 256)` uint8.
        sizes: Exact bytes, `(n,)` each.
        distortion: `(n,)` float64, before sensitivity.
    """

    levels: tuple[int, ...]
    tables: Bytes
    sizes: Sizes
    distortion: Floats


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerBank:
    """All options of one layer.

    Attributes:
        layer: Which one.
        container: How its weights are stored.
        dtype: Of its codes, `"int8"` or `"uint8"`.
        zero: The code of a weight of 0, counted from the type's lowest.
        offsets: The codes, counted from the type's lowest, in the weights' shape.
        histogram: Of the codes.
        schemes: By name.
        shift: `(channels, 256)` float64: the mean input that each code of each output channel is multiplied with,
            summed over the channel's weights; bias correction is a product with it.
        sensitivity: Squared error at the network's output for a unit of distortion here.
    """

    layer: Layer
    container: Container
    dtype: str
    zero: int
    offsets: Bytes = field(repr=False)
    histogram: Histogram
    schemes: Mapping[str, SchemeRows]
    shift: Floats
    sensitivity: float = 1.0

    def option(self, choice: Choice) -> Option:
        """One choice, looked up.

        Raises:
            PlanError: The scheme is not in the bank, has no such level count, or the coding cannot hold it.
        """
        if choice not in self._options:
            self._options[choice] = self._make_option(choice)
        return self._options[choice]

    @cached_property
    def _options(self) -> dict[Choice, Option]:
        """What was looked up before: a search comes back to the same options again and again."""
        return {}

    def table_bytes(self, choice: Choice) -> int:
        """Bytes of what a choice's decoder needs besides the weights; raises as `option` does."""
        rows, row = self._row(choice)
        return int(rows.sizes.table[choice.coding][row])

    def _make_option(self, choice: Choice) -> Option:
        rows, row = self._row(choice)
        return Option(
            choice=choice,
            table=rows.tables[row],
            counts=self.histogram.counts,
            bias_shift=self._bias_shift(rows.tables[row]),
            stream_bytes=int(rows.sizes.stream[choice.coding][row]),
            table_bytes=int(rows.sizes.table[choice.coding][row]),
            distortion=float(rows.distortion[row]) * self.sensitivity,
        )

    def _row(self, choice: Choice) -> tuple[SchemeRows, int]:
        rows = self.schemes.get(choice.scheme)
        if rows is None:
            raise PlanError(f"layer {self.layer.name!r}: {UnknownNameError('scheme', choice.scheme, self.schemes)}")
        if choice.levels not in rows.levels:
            offered = f"{rows.levels[0]} to {rows.levels[-1]}"
            raise PlanError(f"layer {self.layer.name!r}: {choice.scheme} has {offered} levels, not {choice.levels}")
        if choice.coding not in self.codings:
            raise PlanError(f"layer {self.layer.name!r}: {UnknownNameError('coding', choice.coding, self.codings)}")
        row = rows.levels.index(choice.levels)
        if rows.sizes.bytes_of(choice.coding)[row] >= UNAVAILABLE:
            symbols = int(rows.sizes.symbols[row])
            raise PlanError(f"layer {self.layer.name!r}: {choice.coding} cannot code {symbols} different weights")
        return rows, row

    @property
    def codings(self) -> tuple[str, ...]:
        """The container's; weights that several operators read stay as they are."""
        return ("raw",) if self.layer.shared else self.container.codings

    def choices(self) -> list[tuple[Choice, int, float]]:
        """Every available choice with its bytes and its distortion."""
        found = []
        for scheme, rows in self.schemes.items():
            for coding in self.codings:
                for levels, size, error in zip(rows.levels, rows.sizes.bytes_of(coding), rows.distortion, strict=True):
                    if size < UNAVAILABLE:
                        choice = Choice(scheme=scheme, levels=levels, coding=coding)
                        found.append((choice, int(size), float(error) * self.sensitivity))
        return found

    def _bias_shift(self, table: Bytes) -> Ints:
        moved = table.astype(np.float64) - np.arange(CODES)
        return np.rint(self.shift @ moved).astype(np.int64)


@dataclass(frozen=True, kw_only=True, eq=False)
class OptionBank:
    """The options of all layers of a graph.

    Attributes:
        layers: In execution order.
        bias_correction: What the distortions assume, and what plans made from this bank do.
    """

    layers: tuple[LayerBank, ...]
    bias_correction: bool = True

    @cached_property
    def by_name(self) -> Mapping[str, LayerBank]:
        """Layers by name."""
        return {entry.layer.name: entry for entry in self.layers}

    @property
    def baseline(self) -> Plan:
        """Every layer as it is."""
        return self.plan({})

    def plan(self, choices: Mapping[str, Choice]) -> Plan:
        """These choices, and `keep-256-raw` for every other layer."""
        full = {name: choices.get(name, KEEP) for name in self.by_name}
        return Plan(choices=full, bias_correction=self.bias_correction)

    def with_sensitivity(self, sensitivity: Mapping[str, float]) -> "OptionBank":
        """The same options, weighed against each other by layer."""
        weighed = tuple(replace(e, sensitivity=sensitivity.get(e.layer.name, 1.0)) for e in self.layers)
        return replace(self, layers=weighed)

    def distortion(self, plan: Plan) -> float:
        """Predicted squared error of the network's output: the sum over layers."""
        return sum(self.by_name[name].option(choice).distortion for name, choice in plan.choices.items())


def build(
    graph: Graph,
    moments: Mapping[str, Moments],
    schemes: Iterable[str],
    container: Container,
    bias_correction: bool = True,
) -> OptionBank:
    """Work out every option.

    Args:
        graph: 8-bit weights.
        moments: By layer name.
        schemes: Registry names; `keep` is always there.
        container: How the board's runtime wants weights stored.
        bias_correction: See `OptionBank`.

    Raises:
        ModelError: The graph has no layer with constant 8-bit weights.
        UnknownNameError: No scheme has that name.
    """
    names = list(dict.fromkeys(["keep", *schemes]))
    quantizers: dict[str, Quantizer] = {name: registry.load("scheme", name) for name in names}
    found = [layer for layer in layers(graph) if graph.tensors[layer.weights].dtype in ("int8", "uint8")]
    if not found:
        raise ModelError("the model has no layer with constant 8-bit weights: there is nothing to compress")
    make = partial(_layer_bank, graph, quantizers=quantizers, container=container, bias_correction=bias_correction)
    entries = tuple(make(layer, moments[layer.name]) for layer in found)
    return OptionBank(layers=entries, bias_correction=bias_correction)


def _layer_bank(
    graph: Graph,
    layer: Layer,
    moments: Moments,
    quantizers: Mapping[str, Quantizer],
    container: Container,
    bias_correction: bool,
) -> LayerBank:
    weights = graph.tensors[layer.weights]
    assert weights.data is not None
    offsets = offset_codes(weights.data)
    power = moments.variance if bias_correction else moments.variance + moments.mean**2
    histogram = _histogram(offsets, _squared_scales(graph, layer) * power)
    usable = {"keep": quantizers["keep"]} if layer.shared else quantizers
    zero = _zero(weights)
    return LayerBank(
        layer=layer,
        container=container,
        dtype=weights.dtype,
        zero=zero,
        offsets=offsets,
        histogram=histogram,
        schemes={name: _rows(quantizer, histogram, container, zero) for name, quantizer in usable.items()},
        shift=_shift(offsets, moments.mean, layer.channel_axis),
    )


def _zero(weights: Tensor) -> int:
    """The code of 0, counted from the type's lowest; all channels share it (TFLite's 8-bit specification)."""
    point = 0 if weights.quantization is None else int(weights.quantization.zero_points[0])
    return point - int(np.iinfo(weights.dtype).min)


def _squared_scales(graph: Graph, layer: Layer) -> Array:
    """Squared weight scales, normed to a mean of 1, in a shape that broadcasts to the weights."""
    quantization = graph.tensors[layer.weights].quantization
    if quantization is None or not quantization.per_channel:
        return np.ones((1,) * len(layer.shape))
    shape = [1] * len(layer.shape)
    shape[quantization.axis] = -1
    squared = quantization.scales.astype(np.float64) ** 2
    return (squared / max(squared.mean(), np.finfo(np.float64).tiny)).reshape(shape)


def _histogram(offsets: Bytes, importance: Array) -> Histogram:
    spread = np.broadcast_to(importance, offsets.shape).reshape(-1)
    mean = spread.mean()
    floored = np.maximum(spread, _FLOOR * mean) if mean > 0 else np.ones_like(spread)
    flat = offsets.reshape(-1)
    return Histogram(
        counts=np.bincount(flat, minlength=CODES).astype(np.int64),
        importance=np.bincount(flat, weights=floored, minlength=CODES).astype(np.float64),
    )


def _rows(quantizer: Quantizer, histogram: Histogram, container: Container, zero: int) -> SchemeRows:
    tables = quantizer.fit(histogram)
    moved = (tables.astype(np.float64) - np.arange(CODES)) ** 2
    return SchemeRows(
        levels=quantizer.levels,
        tables=tables,
        sizes=container.sizes(_symbol_counts(tables, histogram.counts), zero),
        distortion=moved @ histogram.importance,
    )


def _symbol_counts(tables: Bytes, counts: Ints) -> Ints:
    """How often each value occurs under each table, `(n, 256)`."""
    keys = tables.astype(np.int64) + CODES * np.arange(len(tables))[:, None]
    spread = np.broadcast_to(counts, tables.shape)
    summed = np.bincount(keys.reshape(-1), weights=spread.reshape(-1), minlength=CODES * len(tables))
    return np.rint(summed).astype(np.int64).reshape(len(tables), CODES)


def _shift(offsets: Bytes, mean: Array, channel_axis: int) -> Floats:
    by_channel = np.moveaxis(offsets, channel_axis, 0)
    inputs = np.moveaxis(np.broadcast_to(mean, offsets.shape), channel_axis, 0)
    channels = by_channel.shape[0]
    keys = by_channel.reshape(channels, -1).astype(np.int64) + CODES * np.arange(channels)[:, None]
    summed = np.bincount(keys.reshape(-1), weights=inputs.reshape(-1), minlength=CODES * channels)
    return summed.astype(np.float64).reshape(channels, CODES)
