"""Successive compression: each layer for the inputs that the compressed layers before it give.

The bank's options are made for the uncompressed network's inputs, so that they are good for any plan. Under one plan,
layer after layer can do better. With x the inputs of a layer in the uncompressed network, y those that the compressed
layers before it give, both less their means, and W its weights, the weights of least squared error on y are

    T = (W E[x y'] + r W D) (E[y y'] + r D)^-1,    D = mean variance of y, times the identity,

a ridge regression that stays nearer to W the fewer samples there are (r); they make up for what earlier layers lost.
T is then assigned to the layer's levels with the errors compensated, and the bias takes up what the mean still lacks.
In this asymmetric form: Li et al., "GPTAQ: Efficient Finetuning-Free Quantization for Asymmetric Calibration", 2025.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from bqsearch.bank.build import OptionBank
from bqsearch.bank.layer import LayerBank, Option
from bqsearch.bank.weights import by_channel
from bqsearch.compress import CompressedLayer, CompressedModel, check, made_layer
from bqsearch.graph import passes
from bqsearch.graph.ir import Graph
from bqsearch.graph.ops import source
from bqsearch.plan import Plan
from bqsearch.runtime.litert import Runner, fitting_batch, fitting_threads
from bqsearch.runtime.moments import independent, maps_of, patches, shrunk, taps_of, zero_point
from bqsearch.types import Array, Floats, Ints

MOST_INPUTS = 256  # calibration inputs that are enough here
_RIDGE = 0.2  # of the mean variance, with endless samples


@dataclass(frozen=True, kw_only=True, eq=False)
class _Seen:
    """What a layer reads.

    Attributes:
        images: Of how many.
        mean: `(channels or 1, columns)` mean input of each weight, zero point taken off.
        samples: `(samples, columns)` or `(channels, samples, columns)` codes; None where none are taken.
    """

    images: int
    mean: Floats
    samples: Array | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Successive:
    """Compresses a network layer after layer.

    Attributes:
        graph: The uncompressed 8-bit network.
        bank: Its options.
        inputs: `(n, ...)` calibration inputs, codes.
    """

    graph: Graph
    bank: OptionBank
    inputs: Array = field(repr=False)

    def compress(self, plan: Plan, on_layer: Callable[[int, int], None] | None = None) -> CompressedModel:
        """Apply a plan.

        Args:
            plan: A choice for each layer of the bank.
            on_layer: Told after each layer how many are done, and of how many.

        Raises:
            PlanError: The plan's layers are not the bank's, or a choice is not in the bank.
        """
        check(self.bank, plan)
        made: list[CompressedLayer] = []
        maps: dict[int, Array] = {}
        for number, tensor in enumerate(self._sources):
            if tensor not in maps:
                maps[tensor] = self._map(made, plan, tensor)
            made.append(self._layer(number, plan, maps[tensor]))
            if tensor not in self._sources[number + 1 :]:
                del maps[tensor]
            if on_layer is not None:
                on_layer(number + 1, len(self.bank.layers))
        return CompressedModel(graph=self.graph, plan=plan, layers=tuple(made))

    def _layer(self, number: int, plan: Plan, codes: Array) -> CompressedLayer:
        entry, before, now = self.bank.layers[number], self._before[number], self._seen(number, codes)
        choice = plan.choices[entry.layer.name]
        option = entry.option(choice)
        if choice.scheme != "keep" and before.samples is not None and now.samples is not None:
            zero = zero_point(self.graph, self._sources[number])
            target, covariance = self._target(entry, before.samples, now.samples, zero)
            option = entry.reassigned(choice, target, covariance)
        shift = _shift(entry, option, before.mean, now.mean) if plan.method.bias_correction else None
        return made_layer(self.graph, entry, option, shift)

    def _target(self, entry: LayerBank, before: Array, now: Array, zero: int) -> tuple[Floats, Floats]:
        """The weights of least squared error, and the covariance of what they read."""
        centered = entry.method.bias_correction
        x, y = (_floats(samples, zero, centered) for samples in (before, now))
        count = y.shape[-2]
        products, cross = (np.matmul(np.swapaxes(s, -1, -2), y).astype(np.float64) / count for s in (y, x))
        samples = independent(len(self.inputs), count)
        columns = y.shape[-1]
        mean = np.trace(products, axis1=-2, axis2=-1)[..., None, None] / columns
        ridge = (_RIDGE + columns / samples) * np.where(mean > 0, mean, 1.0) * np.eye(columns)
        real = entry.weights.codes.astype(np.float64) - entry.weights.zero
        target = _times(
            real, np.linalg.solve(np.swapaxes(products + ridge, -1, -2), np.swapaxes(cross + ridge, -1, -2))
        )
        return target + entry.weights.zero, shrunk(products, samples)

    @cached_property
    def _before(self) -> tuple[_Seen, ...]:
        """What every layer reads in the uncompressed network."""
        chunks = maps_of(self.graph, tuple(dict.fromkeys(self._sources)), self.inputs)
        parts = [[self._seen(n, chunk[tensor]) for n, tensor in enumerate(self._sources)] for chunk in chunks]
        return tuple(_joined(list(seen)) for seen in zip(*parts, strict=True))

    @cached_property
    def _sources(self) -> tuple[int, ...]:
        """The activation that each layer reads."""
        return tuple(source(self.graph.ops[entry.layer.op]) for entry in self.bank.layers)

    def _seen(self, number: int, codes: Array) -> _Seen:
        """At the same positions of all images."""
        entry = self.bank.layers[number]
        mean = codes.mean(axis=0, dtype=np.float64) - zero_point(self.graph, self._sources[number])
        taps = np.broadcast_to(taps_of(self.graph, entry.layer, mean), entry.layer.shape)
        samples = patches(self.graph, entry.layer, codes, np.random.default_rng(number)) if entry.compensated else None
        return _Seen(images=len(codes), mean=by_channel(taps, entry.layer), samples=samples)

    def _map(self, layers: list[CompressedLayer], plan: Plan, tensor: int) -> Array:
        """One activation's codes behind these compressed layers, `(n, ...)`."""
        if tensor in self.graph.inputs:
            return self.inputs
        done = CompressedModel(graph=self.graph, plan=plan, layers=tuple(layers)).decoded()
        part = passes.upto(done, tensor)
        count = len(self.inputs)
        return Runner(part, batch=fitting_batch(part, count), threads=fitting_threads(part, count)).run(self.inputs)[0]


def _joined(parts: list[_Seen]) -> _Seen:
    images = sum(part.images for part in parts)
    samples = [part.samples for part in parts if part.samples is not None]
    return _Seen(
        images=images,
        mean=np.sum([part.mean * part.images for part in parts], axis=0) / images,
        samples=np.concatenate(samples, axis=-2) if samples else None,
    )


def _times(weights: Floats, transposed: Floats) -> Floats:
    """`weights @ transposed.T`, with one matrix for all channels or one for each."""
    if transposed.ndim == 2:
        return weights @ transposed.T
    return np.matmul(transposed, weights[:, :, None])[:, :, 0]


def _floats(samples: Array, zero: int, centered: bool) -> Array:
    values = samples.astype(np.float32) - np.float32(zero)
    return values - values.mean(axis=-2, keepdims=True) if centered else values


def _shift(entry: LayerBank, option: Option, before: Floats, now: Floats) -> Ints:
    """What the layer's accumulators have too much of in the mean, `(channels,)`."""
    zero = float(entry.weights.zero)
    had = ((entry.weights.codes - zero) * before).sum(axis=1)
    has = ((option.codes - zero) * now).sum(axis=1)
    return np.rint(has - had).astype(np.int64)
