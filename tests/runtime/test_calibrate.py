"""Sensitivities: what a unit of a layer's distortion adds to the error of the logits."""

import numpy as np
import pytest

from bqsearch import registry
from bqsearch.bank.build import OptionBank, build
from bqsearch.compress import compress
from bqsearch.graph.ir import Graph
from bqsearch.graph.ops import layers
from bqsearch.packing.streams import STREAMS
from bqsearch.plan import Choice, Method
from bqsearch.runtime import calibrate
from bqsearch.runtime.moments import moments
from bqsearch.types import Array
from networks import activation_values, random_inputs, small_int8_network


def bank_of(graph: Graph, inputs: Array, schemes: list[str], compensated: bool = False) -> OptionBank:
    method = Method(error_compensation=compensated)
    return build(graph, moments(graph, inputs, compensated), schemes, STREAMS, method)


QUANTIZING = [name for name in registry.names("scheme") if name != "keep"]


@pytest.mark.parametrize("compensated", [False, True])
@pytest.mark.parametrize("schemes", [*([name] for name in QUANTIZING), ["kmeans", "uniform"], ["binary", "kmeans"]])
def test_sensitivities_are_positive_and_finite(schemes: list[str], compensated: bool) -> None:
    graph = small_int8_network()
    inputs = random_inputs(graph, 40)
    bank = bank_of(graph, inputs, schemes, compensated)
    found = calibrate.sensitivity(graph, bank, inputs)
    assert set(found) == set(bank.by_name)
    assert all(np.isfinite(value) and value > 0 for value in found.values())
    assert found == calibrate.sensitivity(graph, bank, inputs)


def test_no_scheme_has_no_sensitivity() -> None:
    graph = small_int8_network()
    inputs = random_inputs(graph, 8)
    bank = bank_of(graph, inputs, ["keep"])
    assert calibrate.sensitivity(graph, bank, inputs) == {}


@pytest.mark.parametrize("compensated", [False, True])
def test_sensitivity_is_logit_error_for_distortion(compensated: bool) -> None:
    graph = small_int8_network()
    inputs = random_inputs(graph, 40)
    bank = bank_of(graph, inputs, ["kmeans"], compensated)
    name = layers(graph)[0].name
    choice = Choice(scheme="kmeans", levels=calibrate.PROBE_LEVELS, coding="raw")
    option = bank.by_name[name].option(choice)
    changed = compress(graph, bank, bank.plan({name: choice})).decoded()
    logits = graph.ops[-1].inputs[0]
    scale = float(graph.tensors[logits].quantization.scales[0])
    error = (activation_values(changed, logits, inputs) - activation_values(graph, logits, inputs)) * scale
    wanted = float((error**2).mean()) / option.distortion
    assert calibrate.sensitivity(graph, bank, inputs)[name] == pytest.approx(wanted)


def test_every_shipped_scheme_is_probed() -> None:
    assert {"kmeans", "uniform", "binquant", "binquant_optimal", "binary", "ternary"} <= set(QUANTIZING)
