"""The options of all layers together: plans, sums and weights of distortion, and what a bank is refused for."""

from dataclasses import replace

import numpy as np
import pytest

from bank.samples import LAYERS, NETWORKS, PRUNES, bank_of, fresh_bank, moments_of
from bqsearch.bank.build import OptionBank, build
from bqsearch.bank.layer import KEEP
from bqsearch.bank.weights import Moments
from bqsearch.errors import ModelError, PlanError, UnknownNameError
from bqsearch.graph.ir import Graph
from bqsearch.graph.ops import layers
from bqsearch.packing.container import Container
from bqsearch.packing.containers import CONTAINERS
from bqsearch.packing.streams import STREAMS
from bqsearch.plan import Choice, Method
from networks import Builder, newer_network, small_float_network

METHOD = Method()
COARSE = Choice(scheme="kmeans", levels=4, coding="packed")


def flat_moments(graph: Graph) -> dict[str, Moments]:
    """The same for all inputs of all layers."""
    return {
        layer.name: Moments(mean=np.full((1,) * len(layer.shape), 5.0), variance=np.full((1,) * len(layer.shape), 80.0))
        for layer in layers(graph)
    }


def test_layers_are_in_execution_order() -> None:
    bank = bank_of("int8 per channel")
    assert [entry.layer.name for entry in bank.layers] == list(bank.by_name) == list(LAYERS)
    assert bank.method == METHOD
    assert [entry.layer for entry in bank.layers] == list(layers(NETWORKS["int8 per channel"]))


def test_a_plan_fills_up_with_what_is_kept() -> None:
    bank = bank_of("int8 per channel")
    plan = bank.plan({"dense": COARSE})
    assert list(plan.choices) == list(LAYERS)
    assert plan.choices == dict.fromkeys(LAYERS, KEEP) | {"dense": COARSE}
    assert bank.baseline == bank.plan({})
    assert set(bank.baseline.choices.values()) == {KEEP}
    assert not plan.successive


@pytest.mark.parametrize(
    "method",
    [METHOD, Method(bias_correction=False), Method(activation_weighting=False), Method(error_compensation=False)],
    ids=repr,
)
def test_a_plan_says_how_its_bank_makes_up_for_errors(method: Method) -> None:
    bank = fresh_bank("int8 per channel", method=method)
    assert bank.plan({}).method == method
    assert all(entry.method == method for entry in bank.layers)
    assert all(entry.compensated == method.error_compensation for entry in bank.layers)


def test_distortions_add_up_and_are_weighed() -> None:
    bank = bank_of("int8 per channel")
    choices = dict.fromkeys(LAYERS, COARSE)
    alone = [bank.by_name[name].option(COARSE).distortion for name in LAYERS]
    assert bank.distortion(bank.plan(choices)) == pytest.approx(sum(alone))
    assert bank.distortion(bank.baseline) == 0.0
    weighed = bank.with_sensitivity({"stem": 3.0, "dense": 0.5})
    expected = sum(factor * lost for factor, lost in zip((3.0, 1.0, 1.0, 0.5), alone, strict=True))
    assert weighed.distortion(weighed.plan(choices)) == pytest.approx(expected)
    assert weighed.method == bank.method
    assert bank.distortion(bank.plan(choices)) == pytest.approx(sum(alone))


def test_weighing_anew_replaces_the_last_weights() -> None:
    bank = bank_of("int8 per channel").with_sensitivity({"stem": 3.0, "dense": 7.0}).with_sensitivity({"dense": 2.0})
    assert [entry.sensitivity for entry in bank.layers] == [1.0, 1.0, 1.0, 2.0]


def test_what_is_kept_is_always_there() -> None:
    for schemes in ((), ("kmeans",), ("keep", "kmeans", "keep")):
        bank = fresh_bank("uint8", schemes=schemes)
        assert all(list(entry.quantizers) == list(dict.fromkeys(["keep", *schemes])) for entry in bank.layers)
        assert all(KEEP in {choice for choice, _, _ in entry.choices()} for entry in bank.layers)


def test_no_pruning_is_always_there() -> None:
    assert all(entry.prunes == (None,) for entry in fresh_bank("uint8").layers)
    assert all(entry.prunes == (None, *PRUNES) for entry in fresh_bank("uint8", prunes=PRUNES).layers)


def test_a_choice_of_another_pruning_than_offered_can_be_looked_up() -> None:
    """A plan names its own."""
    entry = fresh_bank("uint8").by_name["dense"]
    choice = replace(COARSE, prune=PRUNES[0])
    other = fresh_bank("uint8", prunes=PRUNES).by_name["dense"]
    assert np.array_equal(entry.option(choice).codes, other.option(choice).codes)


def shared(container: Container) -> tuple[Graph, OptionBank]:
    """Two layers that read the same weights, and one that has its own."""
    net = Builder("int8", 4)
    source = net.activation("x", (1, 6))
    middle = net.dense("a", net.dense("b", net.dense("c", source, 6), 6), 6)
    net.ops[1] = replace(net.ops[1], inputs=(net.ops[1].inputs[0], *net.ops[0].inputs[1:]))
    graph = net.build([source], [middle])
    return graph, build(graph, flat_moments(graph), ["kmeans", "entropy"], container, METHOD, PRUNES)


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
    offered = {choice.coding for choice, _, _ in bank.layers[2].choices()}
    assert offered <= set(container.codings)
    assert offered >= {"raw", "packed", "huffman", "mask"}


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_layers_without_covariances_are_mapped_among_others_that_are_compensated(dtype: str) -> None:
    """Transposed convolutions have none."""
    graph = newer_network(dtype)
    found = flat_moments(graph)
    for layer in layers(graph):
        if layer.operator == "FULLY_CONNECTED":
            found[layer.name] = replace(found[layer.name], covariance=80.0 * np.eye(layer.size // layer.channels))
    bank = build(graph, found, ["kmeans"], STREAMS, METHOD)
    assert {e.layer.operator for e in bank.layers if e.compensated} == {"FULLY_CONNECTED"}
    for entry in bank.layers:
        option = entry.option(COARSE)
        coded = entry.container.encode(entry.symbols_of(option), "packed")
        assert coded.nbytes == option.nbytes
        assert len(np.unique(option.codes)) <= 4
        back = entry.weights.restore(option.codes)
        assert back.shape == entry.layer.shape
        stream = entry.container.decode(coded)
        assert np.array_equal(stream, np.moveaxis(back, entry.layer.channel_axis, 0).reshape(-1))
    plan = bank.plan(dict.fromkeys(bank.by_name, COARSE))
    assert bank.distortion(plan) == pytest.approx(sum(entry.option(COARSE).distortion for entry in bank.layers))


def test_a_zero_mean_input_needs_no_correction() -> None:
    graph = NETWORKS["int8 per channel"]
    still = {name: replace(m, mean=np.zeros_like(m.mean)) for name, m in moments_of("int8 per channel").items()}
    for entry in build(graph, still, ["kmeans"], STREAMS, METHOD).layers:
        assert not entry.option(Choice(scheme="kmeans", levels=2, coding="raw")).bias_shift.any()


def test_a_network_without_8_bit_weights_is_refused() -> None:
    graph = small_float_network()
    with pytest.raises(ModelError, match="nothing to compress"):
        build(graph, flat_moments(graph), ["kmeans"], STREAMS, METHOD)


def test_an_unknown_scheme_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="unknown scheme 'vq'"):
        fresh_bank("uint8", schemes=("vq",))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_moments_that_are_no_numbers_are_refused_before_anything_is_fitted(value: float) -> None:
    for name in LAYERS:
        found = dict(moments_of("uint8"))
        covariance = np.array(found[name].covariance)
        covariance.reshape(-1)[0] = value
        found[name] = replace(found[name], covariance=covariance)
        with pytest.raises(ModelError, match=f"layer '{name}': the covariance of its input"):
            build(NETWORKS["uint8"], found, ["kmeans"], STREAMS, METHOD)
