"""Successive compression: what it leaves alone, what it wins, and that it repeats exactly."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from bqsearch.bank.build import OptionBank, build
from bqsearch.compress import CompressedModel, compress
from bqsearch.errors import PlanError
from bqsearch.graph.ir import Graph
from bqsearch.packing.streams import STREAMS
from bqsearch.plan import Choice, Method, Plan
from bqsearch.runtime.calibrate import logits_runner, real_outputs
from bqsearch.runtime.moments import moments
from bqsearch.runtime.successive import Successive
from bqsearch.types import Array
from networks import Builder, newer_network, random_inputs, small_int8_network, small_uint8_network

COARSE = Choice(scheme="kmeans", levels=5, coding="huffman")


def deep_network(dtype: str = "int8", seed: int = 0) -> Graph:
    """Six layers, so that errors of the first reach the last through many."""
    net = Builder(dtype, seed)
    image = net.activation("image", (1, 8, 8, 3))
    value = image
    for number in range(4):
        value = net.conv(f"net/conv{number}", value, 12, size=3)
        value = net.depthwise(f"net/depthwise{number}", value, size=3)
    flat = net.reshape("net/flat", value, (1, 8 * 8 * 12))
    return net.build([image], [net.dense("net/dense", flat, 6)])


def banked(graph: Graph, inputs: Array, **method: bool) -> OptionBank:
    made = Method(**method)
    found = moments(graph, inputs, covariances=made.error_compensation)
    return build(graph, found, ["kmeans", "entropy"], STREAMS, made)


def coarse_plan(bank: OptionBank) -> Plan:
    return bank.plan({entry.layer.name: COARSE for entry in bank.layers})


def error(graph: Graph, bank: OptionBank, model: CompressedModel, inputs: Array) -> float:
    """Mean squared error of the logits."""
    runner = logits_runner(graph, bank, len(inputs))
    before, after = (real_outputs(graph, runner.run(inputs, c)[0]) for c in (None, model.constants))
    return float(np.mean((after - before) ** 2))


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_it_loses_less_on_inputs_that_it_was_not_made_for(dtype: str) -> None:
    ratios = []
    for seed in range(3):
        graph = deep_network(dtype, seed)
        inputs, others = random_inputs(graph, 96, seed), random_inputs(graph, 64, seed + 50)
        bank = banked(graph, inputs)
        plan = coarse_plan(bank)
        successive = Successive(graph=graph, bank=bank, inputs=inputs).compress(replace(plan, successive=True))
        ratios.append(error(graph, bank, successive, others) / error(graph, bank, compress(graph, bank, plan), others))
    assert np.mean(ratios) < 0.9, ratios


@pytest.mark.parametrize("make", [small_int8_network, small_uint8_network, newer_network])
def test_bytes_and_streams_are_those_of_the_weights(make: Callable[[], Graph]) -> None:
    graph = make()
    inputs = random_inputs(graph, 40)
    bank = banked(graph, inputs)
    model = Successive(graph=graph, bank=bank, inputs=inputs).compress(replace(coarse_plan(bank), successive=True))
    for layer in model.layers:
        assert layer.coded.nbytes == layer.option.nbytes
        decoded = layer.container.decode(layer.coded)
        assert np.array_equal(decoded, layer.option.codes.reshape(-1))
        if layer.option.choice.scheme != "keep":
            assert len(np.unique(layer.option.codes)) <= COARSE.levels


def test_the_first_layer_alone_is_the_banks_option_up_to_sampling() -> None:
    """Nothing before it has changed, so that its weights of least squared error are its own."""
    graph = small_int8_network()
    inputs = random_inputs(graph, 64)
    bank = banked(graph, inputs)
    first = bank.layers[0]
    plan = bank.plan({first.layer.name: Choice(scheme="kmeans", levels=16, coding="packed")})
    model = Successive(graph=graph, bank=bank, inputs=inputs).compress(replace(plan, successive=True))
    same = model.layers[0].option.codes == first.option(plan.choices[first.layer.name]).codes
    assert same.mean() > 0.9


def test_layers_that_keep_their_weights_still_correct_their_bias() -> None:
    graph = small_int8_network()
    inputs = random_inputs(graph, 64)
    bank = banked(graph, inputs)
    first, last = bank.layers[0], bank.layers[-1]
    plan = replace(bank.plan({first.layer.name: COARSE}), successive=True)
    model = Successive(graph=graph, bank=bank, inputs=inputs).compress(plan)
    assert np.array_equal(model.layers[-1].weights, graph.tensors[last.layer.weights].data)
    assert last.layer.bias in model.constants
    without = banked(graph, inputs, bias_correction=False)
    plan = replace(without.plan({first.layer.name: COARSE}), successive=True)
    model = Successive(graph=graph, bank=without, inputs=inputs).compress(plan)
    assert np.array_equal(model.constants[last.layer.bias], graph.tensors[last.layer.bias].data)


def test_the_uncompressed_plan_changes_nothing() -> None:
    graph = small_uint8_network()
    inputs = random_inputs(graph, 32)
    bank = banked(graph, inputs)
    model = Successive(graph=graph, bank=bank, inputs=inputs).compress(replace(bank.baseline, successive=True))
    for tensor, values in model.constants.items():
        assert np.array_equal(values, graph.tensors[tensor].data)


def test_it_repeats_exactly_and_tells_how_far_it_is() -> None:
    graph = deep_network()
    inputs = random_inputs(graph, 32)
    told: list[tuple[int, int]] = []
    made = []
    for _ in range(2):
        bank = banked(graph, inputs)
        plan = replace(coarse_plan(bank), successive=True)
        model = Successive(graph=graph, bank=bank, inputs=inputs).compress(plan, lambda *done: told.append(done))
        made.append(model)
    for one, other in zip(*(model.layers for model in made), strict=True):
        assert np.array_equal(one.option.codes, other.option.codes)
        assert np.array_equal(one.bias, other.bias)
    count = len(made[0].layers)
    assert told == [(n + 1, count) for n in range(count)] * 2


def test_inputs_that_never_vary_are_no_matter() -> None:
    graph = small_int8_network()
    inputs = np.repeat(random_inputs(graph, 1), 8, axis=0)
    bank = banked(graph, inputs)
    model = Successive(graph=graph, bank=bank, inputs=inputs).compress(replace(coarse_plan(bank), successive=True))
    assert all(np.isfinite(layer.option.distortion) for layer in model.layers)


def test_a_plan_for_another_model_is_refused() -> None:
    graph = small_int8_network()
    inputs = random_inputs(graph, 8)
    bank = banked(graph, inputs)
    with pytest.raises(PlanError, match="for another model"):
        Successive(graph=graph, bank=bank, inputs=inputs).compress(Plan(choices={}, successive=True))
