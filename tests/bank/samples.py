"""Small networks with every kind of layer, and inputs of each layer to compare with what is expected of them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from bqsearch import registry
from bqsearch.bank.build import OptionBank, build
from bqsearch.bank.weights import Moments
from bqsearch.graph.ir import Graph, Quantization
from bqsearch.graph.ops import Layer, layers
from bqsearch.packing.containers import CONTAINERS
from bqsearch.plan import Method, Prune
from bqsearch.types import Array, Bytes, Floats
from networks import small_int8_network, small_uint8_network

SCHEMES = tuple(registry.names("scheme"))
PRUNES = (Prune(rule="percentile", amount=40), Prune(rule="saliency", amount=80), Prune(rule="std", amount=75))
SAMPLES = 300


def per_tensor(graph: Graph) -> Graph:
    """The same codes, with one scale for all channels."""
    weights = {layer.weights for layer in layers(graph)}
    tensors = list(graph.tensors)
    for index in weights:
        found = tensors[index].quantization
        assert found is not None
        alone = Quantization(scales=found.scales[:1], zero_points=found.zero_points[:1])
        tensors[index] = replace(tensors[index], quantization=alone)
    return replace(graph, tensors=tuple(tensors))


NETWORKS = {
    "int8 per channel": small_int8_network(3),
    "int8 per tensor": per_tensor(small_int8_network(4)),
    "uint8": small_uint8_network(3),
}
LAYERS = ("stem", "depthwise", "pointwise", "dense")


@dataclass(frozen=True, kw_only=True, eq=False)
class Sampled:
    """What a layer reads.

    Attributes:
        inputs: `(1 or channels, samples, columns)` codes less their zero point.
    """

    inputs: Floats

    @classmethod
    def of(cls, layer: Layer, seed: int) -> "Sampled":
        """Correlated inputs with means of their own, of which one column never varies."""
        rng = np.random.default_rng(seed)
        groups = layer.channels if layer.operator == "DEPTHWISE_CONV_2D" else 1
        columns = layer.size // layer.channels
        common = rng.normal(size=(groups, SAMPLES, 4)) @ rng.normal(size=(groups, 4, columns))
        spread = rng.uniform(1, 20, (groups, 1, columns))
        spread[:, :, columns // 2] = 0.0
        noise = common + 0.5 * rng.normal(size=common.shape)
        return cls(inputs=np.rint(spread * noise + rng.normal(10, 20, (groups, 1, columns))))

    def moments(self, layer: Layer) -> Moments:
        """Of these very inputs, in the shapes that calibration gives them."""
        centered = self.inputs - self.inputs.mean(axis=1, keepdims=True)
        covariance = np.swapaxes(centered, 1, 2) @ centered / SAMPLES
        return Moments(
            mean=in_shape(self.inputs.mean(axis=1), layer),
            variance=in_shape(self.inputs.var(axis=1), layer),
            covariance=covariance if len(covariance) > 1 else covariance[0],
        )

    def added(self, errors: Floats) -> Floats:
        """What errors of `(channels, columns)` weights add to the outputs, `(samples, channels)`."""
        added: Floats = np.einsum("gsk,gk->sg" if len(self.inputs) > 1 else "gsk,ck->sc", self.inputs, errors)
        return added


def in_shape(values: Array, layer: Layer) -> Array:
    """`(1 or channels, columns)` values, in a shape that broadcasts to the weights."""
    others = [d for axis, d in enumerate(layer.shape) if axis != layer.channel_axis]
    return np.moveaxis(values.reshape(len(values), *others), 0, layer.channel_axis)


@cache
def sampled(network: str) -> Mapping[str, Sampled]:
    """By layer name."""
    return {layer.name: Sampled.of(layer, number) for number, layer in enumerate(layers(NETWORKS[network]))}


@cache
def moments_of(network: str) -> Mapping[str, Moments]:
    """By layer name."""
    found = {layer.name: layer for layer in layers(NETWORKS[network])}
    return {name: inputs.moments(found[name]) for name, inputs in sampled(network).items()}


def fresh_bank(
    network: str,
    container: str = "bqsearch",
    method: Method | None = None,
    prunes: tuple[Prune, ...] = (),
    schemes: tuple[str, ...] = SCHEMES,
) -> OptionBank:
    """A bank that has worked out nothing yet."""
    made = method or Method()
    return build(NETWORKS[network], moments_of(network), schemes, CONTAINERS[container], made, prunes)


@cache
def bank_of(
    network: str, container: str = "bqsearch", method: Method | None = None, prunes: tuple[Prune, ...] = ()
) -> OptionBank:
    """A bank of all schemes."""
    return fresh_bank(network, container, method, prunes)


def codes_of(network: str, layer: Layer) -> Bytes:
    """The network's own codes, `(channels, columns)`, counted from the type's lowest."""
    data = NETWORKS[network].tensors[layer.weights].data
    assert data is not None
    lowest = np.iinfo(data.dtype).min
    moved = np.moveaxis(data.astype(np.int64) - lowest, layer.channel_axis, 0)
    return moved.reshape(layer.channels, -1).astype(np.uint8)


def scales_of(network: str, layer: Layer) -> Floats:
    """Real size of a code step in each channel, `(channels,)`."""
    quantization = NETWORKS[network].tensors[layer.weights].quantization
    assert quantization is not None
    return np.broadcast_to(quantization.scales.astype(np.float64), layer.channels)


def zero_of(network: str, layer: Layer) -> int:
    """The code of a weight of 0, counted from the type's lowest."""
    tensor = NETWORKS[network].tensors[layer.weights]
    assert tensor.quantization is not None
    return int(tensor.quantization.zero_points[0]) - int(np.iinfo(tensor.dtype).min)
