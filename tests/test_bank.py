"""The bank's figures are those of a direct computation over the weights."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from bqsearch.bank import KEEP, LayerBank, Moments, OptionBank, build
from bqsearch.errors import ModelError, PlanError, UnknownNameError
from bqsearch.graph.ir import Graph
from bqsearch.graph.ops import layers
from bqsearch.packing.container import Container
from bqsearch.packing.containers import CONTAINERS
from bqsearch.packing.decode_op import DECODE_OPERATOR
from bqsearch.packing.streams import STREAMS
from bqsearch.plan import Choice
from bqsearch.quantizers.base import offset_codes
from bqsearch.types import Array
from networks import Builder, small_float_network, small_int8_network, small_uint8_network

SCHEMES = ["uniform", "kmeans", "binquant", "binquant_optimal"]
NETWORKS = {"int8": small_int8_network(3), "uint8": small_uint8_network(3)}
_FLOOR = 1e-3


def random_moments(graph: Graph, seed: int = 0) -> dict[str, Moments]:
    """For every weight of every layer moments of its own."""
    rng = np.random.default_rng(seed)
    return {
        layer.name: Moments(mean=rng.normal(20, 30, layer.shape), variance=rng.uniform(0, 900, layer.shape))
        for layer in layers(graph)
    }


MOMENTS = {name: random_moments(graph) for name, graph in NETWORKS.items()}
CASES = [(network, layer.name) for network, graph in NETWORKS.items() for layer in layers(graph)]
SOME = [Choice(scheme=s, levels=n, coding="raw") for s in SCHEMES for n in (2, 7, 16)]


@cache
def bank_of(network: str, corrected: bool = True, container: str = "bqsearch") -> OptionBank:
    return build(NETWORKS[network], MOMENTS[network], SCHEMES, CONTAINERS[container], corrected)


def weights_of(graph: Graph, entry: LayerBank) -> Array:
    data = graph.tensors[entry.layer.weights].data
    assert data is not None
    return data


def moved(graph: Graph, entry: LayerBank, choice: Choice) -> Array:
    """How far the choice's map moves each weight."""
    codes = offset_codes(weights_of(graph, entry))
    return entry.option(choice).table[codes].astype(np.float64) - codes


def squared_scales(graph: Graph, entry: LayerBank) -> Array:
    quantization = graph.tensors[entry.layer.weights].quantization
    assert quantization is not None
    squared = quantization.scales.astype(np.float64) ** 2
    shape = [1] * len(entry.layer.shape)
    shape[quantization.axis] = len(squared)
    return (squared / squared.mean()).reshape(shape)


def zero_point(graph: Graph, entry: LayerBank) -> int:
    quantization = graph.tensors[entry.layer.weights].quantization
    assert quantization is not None
    return int(quantization.zero_points[0])


@pytest.mark.parametrize("corrected", [True, False])
@pytest.mark.parametrize(("network", "layer"), CASES)
def test_distortion_is_that_of_the_weights(network: str, layer: str, corrected: bool) -> None:
    graph, found = NETWORKS[network], MOMENTS[network][layer]
    entry = bank_of(network, corrected).by_name[layer]
    power = found.variance if corrected else found.variance + found.mean**2
    importance = squared_scales(graph, entry) * power
    importance = np.maximum(importance, _FLOOR * importance.mean())
    for choice in SOME:
        expected = float((importance * moved(graph, entry, choice) ** 2).sum())
        assert entry.option(choice).distortion == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("network", "layer"), CASES)
def test_the_bias_shift_is_the_mean_of_what_the_weights_add(network: str, layer: str) -> None:
    graph, entry = NETWORKS[network], bank_of(network).by_name[layer]
    others = tuple(i for i in range(len(entry.layer.shape)) if i != entry.layer.channel_axis)
    for choice in SOME:
        exact = (MOMENTS[network][layer].mean * moved(graph, entry, choice)).sum(axis=others)
        shift = entry.option(choice).bias_shift
        assert shift.shape == (entry.layer.channels,)
        assert np.abs(shift - exact).max() <= 0.5 + 1e-6


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize(("network", "layer"), CASES)
def test_every_choice_states_its_exact_bytes(network: str, layer: str, container: str) -> None:
    entry = bank_of(network, container=container).by_name[layer]
    assert entry.container is CONTAINERS[container]
    assert entry.zero == (128 if network == "int8" else zero_point(NETWORKS[network], entry))
    listed = entry.choices()
    assert len({choice for choice, _, _ in listed}) == len(listed)
    assert {choice.scheme for choice, _, _ in listed} == {"keep", *SCHEMES}
    assert {choice.coding for choice, _, _ in listed} == set(entry.codings) == set(entry.container.codings)
    for choice, size, error in listed[:: len(listed) // 60]:
        option = entry.option(choice)
        codebook = option.codebook
        indices = codebook.assignment[entry.offsets].reshape(-1)
        coded = entry.container.encode(indices, codebook.values, choice.coding, entry.zero)
        assert (len(coded.stream), len(coded.table)) == (option.stream_bytes, option.table_bytes)
        assert size == coded.nbytes == option.nbytes
        assert entry.table_bytes(choice) == len(coded.table)
        assert error == option.distortion


def test_what_is_kept_costs_no_error() -> None:
    for entry in bank_of("int8").layers:
        option = entry.option(KEEP)
        assert (option.distortion, option.nbytes) == (0.0, entry.layer.size)
        assert not option.bias_shift.any()


def test_a_plan_fills_up_with_what_is_kept() -> None:
    bank = bank_of("int8")
    choice = Choice(scheme="kmeans", levels=4, coding="packed")
    plan = bank.plan({"dense": choice})
    assert list(plan.choices) == [entry.layer.name for entry in bank.layers]
    assert {name for name, chosen in plan.choices.items() if chosen != KEEP} == {"dense"}
    assert bank.baseline == bank.plan({})
    assert plan.bias_correction


def test_distortions_add_up_and_are_weighed() -> None:
    bank = bank_of("int8")
    choices = {name: Choice(scheme="kmeans", levels=4, coding="raw") for name in bank.by_name}
    alone = [bank.by_name[name].option(choice).distortion for name, choice in choices.items()]
    assert bank.distortion(bank.plan(choices)) == pytest.approx(sum(alone))
    weighed = bank.with_sensitivity({"stem": 3.0, "dense": 0.5})
    factors = {"stem": 3.0, "dense": 0.5}
    expected = sum(factors.get(name, 1.0) * error for name, error in zip(choices, alone, strict=True))
    assert weighed.distortion(weighed.plan(choices)) == pytest.approx(expected)
    assert bank.distortion(bank.plan(choices)) == pytest.approx(sum(alone))


def test_a_zero_mean_input_needs_no_correction() -> None:
    graph = NETWORKS["int8"]
    still = {name: replace(m, mean=np.zeros_like(m.mean)) for name, m in MOMENTS["int8"].items()}
    for entry in build(graph, still, ["kmeans"], STREAMS).layers:
        assert not entry.option(Choice(scheme="kmeans", levels=2, coding="raw")).bias_shift.any()


def test_an_input_that_never_varies_leaves_a_plain_codebook() -> None:
    """Importance of zero everywhere must not make all maps equally good."""
    graph = NETWORKS["uint8"]
    dead = {
        n: Moments(mean=np.zeros(m.mean.shape), variance=np.zeros(m.mean.shape)) for n, m in MOMENTS["uint8"].items()
    }
    entry = build(graph, dead, ["kmeans"], STREAMS).by_name["dense"]
    choice = Choice(scheme="kmeans", levels=8, coding="raw")
    assert entry.option(choice).distortion == pytest.approx(float((moved(graph, entry, choice) ** 2).sum()))
    assert entry.option(choice).distortion > 0


def test_moments_may_broadcast() -> None:
    graph = NETWORKS["int8"]
    flat = {layer.name: Moments(mean=np.full((1, 1), 5.0), variance=np.full((1, 1), 2.0)) for layer in layers(graph)}
    full = {
        layer.name: Moments(mean=np.full(layer.shape, 5.0), variance=np.full(layer.shape, 2.0))
        for layer in layers(graph)
    }
    choice = Choice(scheme="uniform", levels=5, coding="raw")
    banks = [build(graph, moments, SCHEMES, STREAMS).layers for moments in (flat, full)]
    for left, right in zip(*banks, strict=True):
        assert left.option(choice).distortion == pytest.approx(right.option(choice).distortion)
        assert np.array_equal(left.option(choice).bias_shift, right.option(choice).bias_shift)


def shared(container: Container = STREAMS) -> tuple[Graph, OptionBank]:
    """Two layers that read the same weights, and one that has its own."""
    net = Builder("int8", 4)
    source = net.activation("x", (1, 6))
    middle = net.dense("a", net.dense("b", net.dense("c", source, 6), 6), 6)
    net.ops[1] = replace(net.ops[1], inputs=(net.ops[1].inputs[0], *net.ops[0].inputs[1:]))
    graph = net.build([source], [middle])
    return graph, build(graph, random_moments(graph), SCHEMES, container)


@pytest.mark.parametrize("container", CONTAINERS.values(), ids=CONTAINERS)
def test_shared_weights_are_only_kept_and_only_raw(container: Container) -> None:
    _, bank = shared(container)
    assert [entry.layer.shared for entry in bank.layers] == [True, True, False]
    for entry in bank.layers[:2]:
        assert [str(choice) for choice, _, _ in entry.choices()] == ["keep-256-raw"]
        assert entry.codings == ("raw",)
        with pytest.raises(PlanError, match="unknown scheme 'kmeans'; known: keep"):
            entry.option(Choice(scheme="kmeans", levels=4, coding="raw"))
        with pytest.raises(PlanError, match="unknown coding 'huffman'; known: raw"):
            entry.option(Choice(scheme="keep", levels=256, coding="huffman"))
    assert {choice.coding for choice, _, _ in bank.layers[2].choices()} == set(container.codings)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ("kmeens-4-raw", "layer 'stem': unknown scheme 'kmeens'.* Did you mean 'kmeans'"),
        ("kmeans-200-raw", "layer 'stem': kmeans has 2 to 128 levels, not 200"),
        ("keep-16-raw", "layer 'stem': keep has 256 to 256 levels, not 16"),
        ("kmeans-4-mask", "layer 'stem': unknown coding 'mask'; known: huffman, packed, raw"),
    ],
)
def test_a_choice_that_the_bank_does_not_have_is_refused(choice: str, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        bank_of("int8").by_name["stem"].option(Choice.parse(choice))


@pytest.mark.parametrize(
    ("container", "offered"),
    [(STREAMS, {"raw"}), (DECODE_OPERATOR, {"raw", "huffman", "mask"})],
    ids=["bqsearch", "tflm"],
)
def test_a_coding_that_cannot_hold_the_weights_is_refused_and_not_offered(
    container: Container, offered: set[str]
) -> None:
    net = Builder("int8", 0)
    source = net.activation("x", (1, 64))
    graph = net.build([source], [net.dense("wide", source, 64)])
    weights = graph.ops[0].inputs[1]
    graph = graph.with_data({weights: np.arange(4096).astype(np.uint8).view(np.int8).reshape(64, 64)})
    (entry,) = build(graph, random_moments(graph), [], container).layers
    assert {str(choice) for choice, _, _ in entry.choices()} == {f"keep-256-{coding}" for coding in offered}
    for coding in set(container.codings) - offered:
        with pytest.raises(PlanError, match=f"layer 'wide': {coding} cannot code 256 different weights"):
            entry.option(Choice(scheme="keep", levels=256, coding=coding))


def test_a_network_without_8_bit_weights_is_refused() -> None:
    graph = small_float_network()
    with pytest.raises(ModelError, match="nothing to compress"):
        build(graph, random_moments(graph), SCHEMES, STREAMS)


def test_an_unknown_scheme_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="unknown scheme 'vq'"):
        build(NETWORKS["int8"], MOMENTS["int8"], ["vq"], STREAMS)
