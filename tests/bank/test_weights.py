"""Codes by channel, and what an error of each costs, are those of a direct computation."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bank.samples import LAYERS, NETWORKS, Sampled, codes_of, in_shape, moments_of, sampled, scales_of, zero_of
from bqsearch.bank.weights import LayerWeights, Moments, by_channel
from bqsearch.errors import ModelError
from bqsearch.graph.ir import Graph, Quantization
from bqsearch.graph.ops import Layer, layers
from bqsearch.plan import Prune
from bqsearch.quantizers.prune import prune_mask
from bqsearch.types import Array
from networks import Builder

CASES = [(network, layer) for network in NETWORKS for layer in LAYERS]
FLOOR = 1e-3


def layer_of(network: str, name: str) -> Layer:
    return next(layer for layer in layers(NETWORKS[network]) if layer.name == name)


def weights_of(network: str, name: str, centered: bool = True) -> LayerWeights:
    layer = layer_of(network, name)
    return LayerWeights.of(NETWORKS[network], layer, moments_of(network)[name], centered)


def importance_of(network: str, name: str, centered: bool) -> Array:
    """Of each weight, from the inputs; those that never vary count a little."""
    layer, inputs = layer_of(network, name), sampled(network)[name].inputs
    power = inputs.var(axis=1) if centered else (inputs**2).mean(axis=1)
    squared = scales_of(network, layer) ** 2
    floored = np.maximum(power, FLOOR * power.mean())
    return np.broadcast_to((squared / squared.mean())[:, None] * floored, (layer.channels, power.shape[1]))


def random_codes(weights: LayerWeights, seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(0, 256, weights.codes.shape).astype(np.uint8)


@pytest.mark.parametrize(("network", "name"), CASES)
def test_codes_scales_and_zero_are_the_models(network: str, name: str) -> None:
    layer, weights = layer_of(network, name), weights_of(network, name)
    assert np.array_equal(weights.codes, codes_of(network, layer))
    assert np.array_equal(weights.scales, scales_of(network, layer))
    assert weights.zero == zero_of(network, layer)
    assert weights.dtype == network.split()[0]
    assert weights.per_channel == (network == "int8 per channel")
    assert weights.squared_scales.mean() == pytest.approx(1.0)


@pytest.mark.parametrize(("network", "name"), CASES)
def test_codes_go_back_to_where_they_were(network: str, name: str) -> None:
    weights = weights_of(network, name)
    data = NETWORKS[network].tensors[weights.layer.weights].data
    assert data is not None
    back = weights.restore(weights.codes)
    assert np.array_equal(back.astype(np.int64) + np.iinfo(data.dtype).min, data)
    codes = random_codes(weights)
    assert np.array_equal(by_channel(weights.restore(codes), weights.layer), codes)


@pytest.mark.parametrize("centered", [True, False])
@pytest.mark.parametrize(("network", "name"), CASES)
def test_distortion_is_what_the_inputs_show(network: str, name: str, centered: bool) -> None:
    weights = weights_of(network, name, centered)
    squared = scales_of(network, weights.layer) ** 2
    for seed in range(3):
        codes = random_codes(weights, seed)
        added = sampled(network)[name].added(codes.astype(np.float64) - weights.codes)
        error = added.var(axis=0) if centered else (added**2).mean(axis=0)
        assert weights.distortion(codes, True) == pytest.approx((squared / squared.mean() * error).sum(), rel=1e-9)
    assert weights.distortion(weights.codes, True) == weights.distortion(weights.codes, False) == 0.0


@pytest.mark.parametrize("centered", [True, False])
@pytest.mark.parametrize(("network", "name"), CASES)
def test_without_a_covariance_inputs_count_as_uncorrelated(network: str, name: str, centered: bool) -> None:
    weights = weights_of(network, name, centered)
    importance = importance_of(network, name, centered)
    assert weights.importance == pytest.approx(importance, rel=1e-9)
    codes = random_codes(weights)
    expected = (importance * (codes.astype(np.float64) - weights.codes) ** 2).sum()
    assert weights.distortion(codes, False) == pytest.approx(expected, rel=1e-9)
    assert replace(weights, covariance=None).distortion(codes, True) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("network", "name"), CASES)
def test_the_bias_shift_is_the_mean_of_what_is_added(network: str, name: str) -> None:
    weights = weights_of(network, name)
    codes = random_codes(weights)
    added = sampled(network)[name].added(codes.astype(np.float64) - weights.codes)
    assert weights.bias_shift(codes) == pytest.approx(added.mean(axis=0), rel=1e-9, abs=1e-6)


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("pruned", [True, False])
@pytest.mark.parametrize(("network", "name"), CASES[::3])
def test_a_histogram_counts_what_is_kept(
    network: str, name: str, per_channel: bool, weighted: bool, pruned: bool
) -> None:
    weights, layer = weights_of(network, name), layer_of(network, name)
    kept = np.random.default_rng(1).random(weights.codes.shape) < 0.6 if pruned else np.ones(weights.codes.shape, bool)
    found = weights.histogram(per_channel, weighted, kept if pruned else None)
    importance = importance_of(network, name, True)
    worth = importance if weighted else np.full(importance.shape, importance.mean())
    for group in range(layer.channels if per_channel else 1):
        rows = slice(group, group + 1) if per_channel else slice(None)
        for code in range(256):
            members = (weights.codes[rows] == code) & kept[rows]
            assert found.counts[group, code] == members.sum()
            assert found.importance[group, code] == pytest.approx(worth[rows][members].sum(), rel=1e-9, abs=1e-9)
    scales = scales_of(network, layer)
    assert found.scale == pytest.approx(scales if per_channel else np.sqrt((scales**2).mean()))
    assert found.zero == weights.zero


@pytest.mark.parametrize("prune", [("std", 150), ("percentile", 30), ("saliency", 60)])
@pytest.mark.parametrize(("network", "name"), CASES)
def test_a_mask_is_that_of_the_rule_on_real_weights(network: str, name: str, prune: tuple[str, int]) -> None:
    weights, layer = weights_of(network, name), layer_of(network, name)
    rule, amount = prune
    real = scales_of(network, layer)[:, None] * (codes_of(network, layer).astype(np.float64) - zero_of(network, layer))
    saliency = importance_of(network, name, True) / weights.squared_scales
    expected = prune_mask(rule, amount / 100 if rule == "std" else amount, real, saliency)
    assert np.array_equal(weights.mask(Prune(rule=rule, amount=amount)), expected)
    if rule != "std":
        assert (~expected).sum() == round(layer.size * amount / 100)


def dense_network(channels: int, columns: int) -> tuple[Graph, Layer]:
    net = Builder("int8", 0)
    source = net.activation("x", (1, columns))
    graph = net.build([source], [net.dense("wide", source, channels)])
    return graph, layers(graph)[0]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("what", ["mean", "variance", "covariance"])
def test_a_moment_that_is_no_number_is_refused_by_the_layers_name(what: str, value: float) -> None:
    graph, layer = dense_network(3, 4)
    found = Sampled.of(layer, 0).moments(layer)
    bad = np.array(getattr(found, what))
    bad.reshape(-1)[-1] = value
    with pytest.raises(ModelError, match=f"layer 'wide': the {what} of its input .* infinite or not a number"):
        LayerWeights.of(graph, layer, replace(found, **{what: bad}), centered=True)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), channels=st.integers(1, 5), columns=st.integers(1, 7), centered=st.booleans())
def test_any_shape_of_layer(seed: int, channels: int, columns: int, centered: bool) -> None:
    graph, layer = dense_network(channels, columns)
    inputs = Sampled.of(layer, seed)
    weights = LayerWeights.of(graph, layer, inputs.moments(layer), centered)
    codes = random_codes(weights, seed)
    added = inputs.added(codes.astype(np.float64) - weights.codes)
    error = added.var(axis=0) if centered else (added**2).mean(axis=0)
    expected = (weights.squared_scales[:, 0] * error).sum()
    assert weights.distortion(codes, True) == pytest.approx(expected, rel=1e-9, abs=1e-6)


def test_moments_may_be_those_of_all_weights() -> None:
    graph = NETWORKS["int8 per channel"]
    for layer in layers(graph):
        flat = Moments(mean=np.full((1,) * len(layer.shape), 5.0), variance=np.full((1,) * len(layer.shape), 2.0))
        full = Moments(mean=np.full(layer.shape, 5.0), variance=np.full(layer.shape, 2.0))
        left, right = (LayerWeights.of(graph, layer, moments, True) for moments in (flat, full))
        codes = random_codes(left)
        assert left.distortion(codes, False) == pytest.approx(right.distortion(codes, False))
        assert left.bias_shift(codes) == pytest.approx(right.bias_shift(codes))
        assert np.array_equal(
            left.mask(Prune(rule="saliency", amount=50)), right.mask(Prune(rule="saliency", amount=50))
        )


def test_inputs_that_never_vary_leave_all_weights_alike() -> None:
    graph, layer = dense_network(2, 5)
    still = Moments(mean=np.zeros((1, 5)), variance=np.zeros((1, 5)), covariance=np.zeros((5, 5)))
    weights = LayerWeights.of(graph, layer, still, centered=True)
    assert np.array_equal(weights.importance, np.broadcast_to(weights.squared_scales, (2, 5)))
    assert weights.distortion(random_codes(weights), True) == 0.0
    assert weights.distortion(random_codes(weights), False) > 0.0


@pytest.mark.parametrize("scales", [[0.0, 0.0], [0.0, 0.5], [1e-20, 0.5]])
def test_scales_of_nothing_are_defined(scales: list[float]) -> None:
    """A dead channel, or a dead layer."""
    graph, layer = dense_network(2, 5)
    tensors = list(graph.tensors)
    quantization = Quantization(scales=np.array(scales, np.float32), zero_points=np.zeros(2, np.int64))
    tensors[layer.weights] = replace(tensors[layer.weights], quantization=quantization)
    dead = replace(graph, tensors=tuple(tensors))
    weights = LayerWeights.of(dead, layer, Sampled.of(layer, 0).moments(layer), centered=True)
    assert weights.squared_scales.sum() == pytest.approx(2.0)
    assert np.isfinite(weights.importance).all()
    assert np.isfinite(weights.histogram(True, True).importance).all()


def test_a_scale_on_another_axis_is_left_out_of_account() -> None:
    graph, layer = dense_network(3, 3)
    tensors = list(graph.tensors)
    odd = Quantization(scales=np.array([1, 2, 3], np.float32), zero_points=np.zeros(3, np.int64), axis=1)
    tensors[layer.weights] = replace(tensors[layer.weights], quantization=odd)
    moments = Sampled.of(layer, 0).moments(layer)
    weights = LayerWeights.of(replace(graph, tensors=tuple(tensors)), layer, moments, centered=True)
    assert weights.scales.tolist() == [1.0, 1.0, 1.0]
    bare = replace(tensors[layer.weights], quantization=None)
    tensors[layer.weights] = bare
    weights = LayerWeights.of(replace(graph, tensors=tuple(tensors)), layer, moments, centered=True)
    assert (weights.scales.tolist(), weights.zero) == ([1.0, 1.0, 1.0], 128)


def test_shapes_in_and_out() -> None:
    """The helper of these tests is the inverse of the code's."""
    for layer in layers(NETWORKS["int8 per channel"]):
        values = np.random.default_rng(0).normal(size=(layer.channels, layer.size // layer.channels))
        assert np.array_equal(by_channel(in_shape(values, layer), layer), values)
