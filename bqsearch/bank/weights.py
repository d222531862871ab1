"""LayerWeights: a layer's codes by output channel, and what an error of each costs the layer's output."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from bqsearch.errors import ModelError
from bqsearch.graph.ir import Graph, Tensor
from bqsearch.graph.ops import Layer
from bqsearch.plan import Prune
from bqsearch.quantizers.base import CODES, Histogram, offset_codes
from bqsearch.quantizers.prune import prune_mask
from bqsearch.types import Array, Bytes, Floats

_FLOOR = 1e-3  # of the mean importance: what a weight whose input never varies is still worth


@dataclass(frozen=True, kw_only=True, eq=False)
class Moments:
    """What calibration saw of a layer's input.

    Attributes:
        mean: Broadcasts to the weights' shape: mean of (code - zero point) over images and positions.
        variance: Likewise, its variance.
        covariance: Of the inputs that one output channel reads, in the order of its weights: `(columns, columns)`, or
            `(channels, columns, columns)` where each channel reads inputs of its own; None where it was not taken.
    """

    mean: Floats
    variance: Floats
    covariance: Floats | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerWeights:
    """One layer's 8-bit weights, output channel by output channel.

    The distortion of other codes w' is the expected squared error that they add to the layer's output, in squared
    output codes per input code, with s_c the channel's weight scale (normed to a mean square of 1) and x the inputs:

        sum over channels c of  s_c^2 * E[((w' - w) . (x - E[x]))^2]

    The mean of x has no part in it where biases are corrected; where they are not, E[x] is not taken off. Where no
    covariance is known, or none is asked for, inputs count as uncorrelated.

    Attributes:
        layer: Which one.
        dtype: `"int8"` or `"uint8"`.
        zero: The code of a weight of 0, counted from the type's lowest.
        codes: `(channels, columns)` uint8, counted from the type's lowest.
        scales: `(channels,)` float64 real size of a code step.
        per_channel: Whether the model has a scale for each channel, or one for all.
        mean: `(channels or 1, columns)` mean of each weight's input.
        power: Likewise, what a squared error of the weight costs: the input's variance or mean square, floored.
        covariance: `(columns, columns)` or `(channels, columns, columns)`, or None.
    """

    layer: Layer
    dtype: str
    zero: int
    codes: Bytes = field(repr=False)
    scales: Floats = field(repr=False)
    per_channel: bool
    mean: Floats = field(repr=False)
    power: Floats = field(repr=False)
    covariance: Floats | None = field(repr=False)

    @classmethod
    def of(cls, graph: Graph, layer: Layer, moments: Moments, centered: bool) -> "LayerWeights":
        """A layer of a graph, with what calibration saw of its input.

        Args:
            graph: 8-bit weights.
            layer: One of its layers.
            moments: Of the layer's input.
            centered: Whether the mean error is made up for, so that only the variance costs.

        Raises:
            ModelError: A moment is infinite or not a number.
        """
        tensor = graph.tensors[layer.weights]
        assert tensor.data is not None
        _check(layer, moments)
        mean, variance = (by_channel(m, layer) for m in (moments.mean, moments.variance))
        power = variance if centered else variance + mean**2
        covariance = moments.covariance
        if covariance is not None and not centered:
            outer = mean[:, :, None] * mean[:, None, :]
            covariance = covariance + (outer if covariance.ndim == 3 else outer[0])
        codes = by_channel(offset_codes(tensor.data), layer)
        return cls(
            layer=layer,
            dtype=tensor.dtype,
            zero=_zero(tensor),
            codes=codes,
            scales=_scales(tensor, layer),
            per_channel=tensor.quantization is not None and tensor.quantization.per_channel,
            mean=mean,
            power=_floored(power),
            covariance=covariance,
        )

    @cached_property
    def squared_scales(self) -> Floats:
        """`(channels, 1)` squared scales, normed to a mean of 1."""
        squared = self.scales[:, None] ** 2
        mean = squared.mean()
        return squared / mean if mean > 0 else np.ones_like(squared)

    @cached_property
    def importance(self) -> Floats:
        """`(channels, columns)`: what a squared error of one code step of each weight costs."""
        return np.broadcast_to(self.squared_scales * self.power, self.codes.shape)

    def restore(self, codes: Bytes) -> Bytes:
        """Codes by channel, `(channels, columns)`, in the weights' own shape."""
        shape = self.layer.shape
        axis = self.layer.channel_axis
        return np.moveaxis(codes.reshape(shape[axis], *shape[:axis], *shape[axis + 1 :]), 0, axis)

    def mask(self, prune: Prune) -> Array:
        """`(channels, columns)` bool: the weights that pruning keeps."""
        amount = prune.amount / 100 if prune.rule == "std" else float(prune.amount)
        real = self.scales[:, None] * (self.codes.astype(np.float64) - self.zero)
        power = np.broadcast_to(self.power, self.codes.shape)
        return prune_mask(prune.rule, amount, real, power)

    def histogram(self, per_channel: bool, weighted: bool, kept: Array | None = None) -> Histogram:
        """Of all weights, or of each channel's, without those that pruning took.

        Args:
            per_channel: Whether each channel is a group.
            weighted: Whether weights are as important as they are for the output, or all alike.
            kept: `(channels, columns)` bool; None for all.
        """
        channels = len(self.codes)
        groups = channels if per_channel else 1
        share = np.ones(self.codes.shape) if kept is None else kept.astype(np.float64)
        spread = self.importance if weighted else np.full(self.codes.shape, self.importance.mean())
        keys = self.codes + (CODES * np.arange(channels)[:, None] if per_channel else 0)
        counts, importance = (
            np.bincount(keys.reshape(-1), weights=values.reshape(-1), minlength=CODES * groups)
            .reshape(groups, CODES)
            .astype(np.float64)
            for values in (share, share * spread)
        )
        scale = self.scales if per_channel else np.array([np.sqrt((self.scales**2).mean())])
        return Histogram(counts=np.rint(counts).astype(np.int64), importance=importance, zero=self.zero, scale=scale)

    def distortion(self, codes: Bytes, correlated: bool) -> float:
        """What these `(channels, columns)` codes add to the output's squared error."""
        error = codes.astype(np.float64) - self.codes
        if not correlated or self.covariance is None:
            return float((self.importance * error**2).sum())
        shared = self.covariance.ndim == 2
        seen = error @ self.covariance if shared else np.matmul(error[:, None, :], self.covariance)[:, 0]
        return float((self.squared_scales[:, 0] * np.maximum((seen * error).sum(axis=1), 0.0)).sum())

    def bias_shift(self, codes: Bytes) -> Floats:
        """`(channels,)`: what these codes add to each channel's accumulator in the mean."""
        return ((codes.astype(np.float64) - self.codes) * self.mean).sum(axis=1)


def by_channel(values: Array, layer: Layer) -> Array:
    """Values that broadcast to the weights' shape, `(channels or 1, columns)`."""
    axis, shape = layer.channel_axis, list(layer.shape)
    values = values.reshape((1,) * (len(shape) - values.ndim) + values.shape)
    shape[axis] = values.shape[axis]
    spread = np.moveaxis(np.broadcast_to(values, shape), axis, 0)
    return np.ascontiguousarray(spread.reshape(shape[axis], -1))


def _zero(weights: Tensor) -> int:
    """The code of 0, counted from the type's lowest; all channels share it (TFLite's 8-bit specification)."""
    point = 0 if weights.quantization is None else int(weights.quantization.zero_points[0])
    return point - int(np.iinfo(weights.dtype).min)


def _scales(weights: Tensor, layer: Layer) -> Floats:
    channels = layer.shape[layer.channel_axis]
    quantization = weights.quantization
    if quantization is None or (quantization.per_channel and quantization.axis != layer.channel_axis):
        return np.ones(channels)
    scales = np.broadcast_to(quantization.scales.astype(np.float64), (channels,))
    return np.array(scales)


def _floored(power: Floats) -> Floats:
    mean = power.mean()
    return np.maximum(power, _FLOOR * mean) if mean > 0 else np.ones_like(power)


def _check(layer: Layer, moments: Moments) -> None:
    for what, values in (("mean", moments.mean), ("variance", moments.variance), ("covariance", moments.covariance)):
        if values is not None and not np.isfinite(values).all():
            raise ModelError(
                f"layer {layer.name!r}: the {what} of its input over the calibration data is infinite or not a "
                f"number: look for NaN and infinite values in the data"
            )
