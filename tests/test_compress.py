"""What a plan makes of a network: the bytes that were stated, weights that decode, biases that make up for the mean."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from bqsearch.bank.build import OptionBank, build
from bqsearch.bank.layer import KEEP
from bqsearch.bank.weights import Moments
from bqsearch.compress import CompressedLayer, compress
from bqsearch.errors import PlanError
from bqsearch.graph.ir import Graph
from bqsearch.graph.ops import Layer, layers
from bqsearch.packing.containers import CONTAINERS
from bqsearch.packing.streams import STREAMS
from bqsearch.plan import Choice, Method, Plan, Prune
from bqsearch.quantizers.base import offset_codes, restore_codes
from bqsearch.quantizers.binquant import halved_table
from bqsearch.runtime.litert import Runner
from bqsearch.types import Array, Bytes, Codes
from networks import Builder, random_inputs, small_int8_network, small_uint8_network

SCHEMES = ["uniform", "kmeans", "binquant", "binquant_optimal", "entropy"]
PER_CHANNEL = ["kmeans_channel"]
MANY_ZEROS = {"mask": Prune(rule="std", amount=50), "sparse": Prune(rule="saliency", amount=60)}  # what these are for
NETWORKS = {"int8": small_int8_network(5), "uint8": small_uint8_network(5)}
UNCODED = {("int8", "tflm"): ["huffman"], ("uint8", "tflm"): ["huffman", "packed"]}  # by channel, of one or many scales
CODED = {
    (network, name): [
        *((scheme, coding) for scheme in SCHEMES for coding in container.codings),
        *(
            (s, coding)
            for s in PER_CHANNEL
            for coding in container.codings
            if coding not in UNCODED.get((network, name), [])
        ),
    ]
    for network in NETWORKS
    for name, container in CONTAINERS.items()
}
CASES = [(*where, shift) for where, coded in CODED.items() for shift in range(len(coded))]


@cache
def plain_bank(
    network: str, bias_correction: bool = True, container: str = "bqsearch", correlated: bool = False
) -> OptionBank:
    graph, method = NETWORKS[network], Method(bias_correction=bias_correction)
    moments = {layer.name: made_up(layer, correlated) for layer in layers(graph)}
    return build(graph, moments, [*SCHEMES, *PER_CHANNEL], CONTAINERS[container], method)


def made_up(layer: Layer, correlated: bool) -> Moments:
    """The same mean and variance for every input; those of a channel correlated by a half, if at all."""
    columns = layer.size // layer.channels
    own = [layer.channels] if layer.operator == "DEPTHWISE_CONV_2D" else []
    covariance = np.broadcast_to(50.0 * (np.ones((columns, columns)) + np.eye(columns)), (*own, columns, columns))
    mean, variance = np.full((1, 1), 9.0), np.full((1, 1), 100.0)
    return Moments(mean=mean, variance=variance, covariance=covariance if correlated else None)


def mixed_plan(bank: OptionBank, shift: int) -> Plan:
    """Over all shifts each layer gets each scheme with each coding."""
    made = CODED[bank.layers[0].weights.dtype, bank.layers[0].container.name]
    choices = {}
    for index, entry in enumerate(bank.layers):
        scheme, coding = made[(index * 3 + shift) % len(made)]
        levels = 3 + 5 * index + shift if scheme in SCHEMES else 2 + (5 * index + shift) % 15
        choices[entry.layer.name] = Choice(scheme=scheme, levels=levels, coding=coding, prune=MANY_ZEROS.get(coding))
    return bank.plan(choices)


@pytest.mark.parametrize("correlated", [False, True])
@pytest.mark.parametrize(("network", "container", "shift"), CASES)
def test_streams_have_the_stated_bytes_and_decode_to_the_weights(
    network: str, container: str, shift: int, correlated: bool
) -> None:
    graph, bank = NETWORKS[network], plain_bank(network, container=container, correlated=correlated)
    model = compress(graph, bank, mixed_plan(bank, shift))
    for entry in model.layers:
        choice = entry.option.choice
        assert entry.entry.compensated == correlated
        assert entry.coded.nbytes == entry.option.nbytes
        assert entry.coded.coding == choice.coding
        assert np.array_equal(restore_codes(decoded(entry), network), in_stream(entry))
        assert str(entry.weights.dtype) == network
        assert most_levels(entry) <= choice.levels + (choice.prune is not None)
        assert np.array_equal(model.decoded().tensors[entry.layer.weights].data, entry.weights)


def most_levels(entry: CompressedLayer) -> int:
    """Different weights that share a codebook."""
    if entry.option.choice.scheme not in PER_CHANNEL:
        return len(np.unique(entry.weights))
    return max(len(np.unique(channel)) for channel in np.moveaxis(entry.weights, entry.layer.channel_axis, 0))


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("network", NETWORKS)
def test_bins_halved_by_hand_are_those_of_the_plan(network: str, container: str) -> None:
    graph, bank = NETWORKS[network], plain_bank(network, container=container)
    texts = ["packed-halves0.4", "packed-halves2.2", "huffman-halves3.1", "huffman-std50-halves3.1"]
    choices = [Choice.parse(f"binquant-6-{text}") for text in texts]
    models = [compress(graph, bank, bank.plan({"pointwise": choice})) for choice in choices]
    stored = [model.by_op[2] for model in models]
    assert [entry.option.choice for entry in stored] == choices
    codes = offset_codes(graph.tensors[stored[0].layer.weights].data)
    zero = np.bincount(offset_codes(stored[3].weights).reshape(-1)).argmax()
    for entry in stored:
        assert entry.coded.nbytes == entry.option.nbytes
        assert np.array_equal(restore_codes(decoded(entry), network), in_stream(entry))
        kept = np.ones(codes.shape, bool) if entry.option.choice.prune is None else offset_codes(entry.weights) != zero
        table = halved_table(np.bincount(codes[kept], minlength=256), entry.option.choice.halves)
        assert np.array_equal(offset_codes(entry.weights), np.where(kept, table[codes], zero))
    assert len({entry.weights.tobytes() for entry in stored}) == 4
    assert np.mean(offset_codes(stored[3].weights) == zero) > 0.3


@pytest.mark.parametrize(("container", "coding"), [(name, c) for name in CONTAINERS for c in CONTAINERS[name].codings])
@pytest.mark.parametrize("network", NETWORKS)
def test_what_is_kept_stays_under_every_coding_that_can_hold_it(network: str, container: str, coding: str) -> None:
    graph, bank = NETWORKS[network], plain_bank(network, container=container)
    if coding == "sparse":  # needs zeros
        graph = thinned(graph)
        bank = build(graph, {x.name: made_up(x, False) for x in layers(graph)}, [], CONTAINERS[container], Method())
    kept = Choice(scheme="keep", levels=256, coding=coding)
    model = compress(graph, bank, bank.plan({"depthwise": kept, "dense": kept}))
    assert model.constants == {}
    assert model.decoded().fingerprint == graph.fingerprint
    for entry in model.layers:
        assert np.array_equal(entry.weights, graph.tensors[entry.layer.weights].data)
        assert np.array_equal(restore_codes(decoded(entry), network), in_stream(entry))


def thinned(graph: Graph) -> Graph:
    """Three in four weights are 0."""
    rng, changed = np.random.default_rng(0), {}
    for layer in layers(graph):
        weights = graph.tensors[layer.weights]
        zero = weights.data.dtype.type(weights.quantization.zero_points[0])
        changed[layer.weights] = np.where(rng.random(layer.shape) < 0.75, zero, weights.data)
    return graph.with_data(changed)


def test_layers_are_found_by_their_operator() -> None:
    model = compress(NETWORKS["int8"], plain_bank("int8"), plain_bank("int8").baseline)
    assert {op: entry.layer.name for op, entry in model.by_op.items()} == {
        0: "stem",
        1: "depthwise",
        2: "pointwise",
        5: "dense",
    }


def dense_network(inputs: int, outputs: int, seed: int) -> Graph:
    net = Builder("int8", seed)
    source = net.activation("x", (1, inputs), 0.0, 4.0)
    return net.build([source], [net.dense("dense", source, outputs)])


def accumulators(graph: Graph, codes: Array) -> Array:
    """What a dense layer's accumulators hold, exactly."""
    weights, bias = (graph.tensors[i].data for i in graph.ops[0].inputs[1:])
    assert weights is not None
    assert bias is not None
    assert graph.input.quantization is not None
    return (codes.astype(np.int64) - graph.input.quantization.zero_points[0]) @ weights.astype(np.int64).T + bias


def known_inputs(graph: Graph, correlated: bool = False) -> tuple[Array, dict[str, Moments]]:
    """Inputs whose features have means far from zero and from each other, and their exact moments."""
    rng = np.random.default_rng(1)
    features = graph.input.shape[1]
    noise = rng.normal(0, 12, (400, features))
    if correlated:
        noise = noise @ rng.normal(0, 1 / np.sqrt(features), (features, features)) + noise[:, :1]
    codes = np.clip(rng.uniform(-100, 100, features) + noise, -128, 127).astype(np.int8)
    assert graph.input.quantization is not None
    values = codes.astype(np.float64) - graph.input.quantization.zero_points[0]
    covariance = np.cov(values.T, bias=True) if correlated else None
    return codes, {
        "dense": Moments(mean=values.mean(axis=0)[None], variance=values.var(axis=0)[None], covariance=covariance)
    }


def without_correction(plan: Plan) -> Plan:
    return replace(plan, method=replace(plan.method, bias_correction=False))


@pytest.mark.parametrize("correlated", [False, True])
@pytest.mark.parametrize("scheme", [*SCHEMES, *PER_CHANNEL])
@pytest.mark.parametrize("levels", [2, 4, 16])
def test_the_mean_error_vanishes_within_rounding(scheme: str, levels: int, correlated: bool) -> None:
    graph = dense_network(48, 12, 6)
    codes, moments = known_inputs(graph, correlated)
    bank = build(graph, moments, [scheme], STREAMS, Method())
    plan = bank.plan({"dense": Choice(scheme=scheme, levels=levels, coding="raw")})
    reference = accumulators(graph, codes)
    corrected = accumulators(compress(graph, bank, plan).decoded(), codes) - reference
    plain = accumulators(compress(graph, bank, without_correction(plan)).decoded(), codes) - reference
    assert np.abs(corrected.mean(axis=0)).max() <= 0.5 + 1e-6
    assert np.abs(plain.mean(axis=0)).max() > 100
    np.testing.assert_allclose(corrected.var(axis=0), plain.var(axis=0))


def test_the_predicted_distortion_is_the_error_that_comes() -> None:
    """Independent inputs: the layer's mean squared error, scale by scale, is the sum that the bank states."""
    graph = dense_network(48, 12, 6)
    codes, moments = known_inputs(graph)
    bank = build(graph, moments, ["kmeans"], STREAMS, Method())
    choice = Choice(scheme="kmeans", levels=8, coding="raw")
    model = compress(graph, bank, bank.plan({"dense": choice}))
    quantization = graph.tensors[graph.ops[0].inputs[1]].quantization
    assert quantization is not None
    error = (accumulators(model.decoded(), codes) - accumulators(graph, codes)).astype(np.float64)
    weighed = (error**2).mean(axis=0) * quantization.scales**2 / (quantization.scales**2).mean()
    assert weighed.sum() == pytest.approx(bank.by_name["dense"].option(choice).distortion, rel=0.15)


@pytest.mark.parametrize(("prune", "most"), [(None, 0.7), (Prune(rule="saliency", amount=50), 0.9)])
def test_with_covariances_the_predicted_distortion_is_exact(prune: Prune | None, most: float) -> None:
    """Of correlated inputs; and compensated errors are smaller than those of a plain map of the same codebook."""
    graph = dense_network(48, 12, 6)
    codes, moments = known_inputs(graph, correlated=True)
    choice = Choice(scheme="kmeans", levels=4, coding="raw", prune=prune)
    quantization = graph.tensors[graph.ops[0].inputs[1]].quantization
    assert quantization is not None
    measured = []
    for method in (Method(), Method(error_compensation=False)):
        bank = build(graph, moments, ["kmeans"], STREAMS, method)
        model = compress(graph, bank, bank.plan({"dense": choice}))
        error = (accumulators(model.decoded(), codes) - accumulators(graph, codes)).astype(np.float64)
        measured.append((error.var(axis=0) * quantization.scales**2 / (quantization.scales**2).mean()).sum())
        if method.error_compensation:
            assert measured[0] == pytest.approx(bank.by_name["dense"].option(choice).distortion, rel=1e-6)
    assert measured[0] < most * measured[1]


def test_the_runtime_sees_the_correction() -> None:
    graph = dense_network(48, 12, 6)
    codes, moments = known_inputs(graph)
    bank = build(graph, moments, ["kmeans"], STREAMS, Method())
    plan = bank.plan({"dense": Choice(scheme="kmeans", levels=4, coding="raw")})
    outputs = [
        Runner(g, batch=50).run(codes)[0].astype(np.float64)
        for g in (graph, *(compress(graph, bank, p).decoded() for p in (plan, without_correction(plan))))
    ]
    corrected, plain = (np.abs((o - outputs[0]).mean(axis=0)).max() for o in outputs[1:])
    assert corrected < 0.5 < plain


@pytest.mark.parametrize("network", NETWORKS)
def test_without_correction_biases_stay(network: str) -> None:
    graph, bank = NETWORKS[network], plain_bank(network, bias_correction=False)
    plan = mixed_plan(bank, 0)
    assert not plan.method.bias_correction
    model = compress(graph, bank, plan)
    for entry in model.layers:
        assert np.array_equal(model.decoded().tensors[entry.layer.bias].data, graph.tensors[entry.layer.bias].data)
    assert set(model.constants) >= {entry.layer.weights for entry in model.layers}


def test_corrected_biases_keep_their_type_and_saturate() -> None:
    graph = dense_network(48, 12, 6)
    bias = graph.ops[0].inputs[2]
    top = graph.with_data({bias: np.full(12, np.iinfo(np.int32).max, np.int32)})
    _, moments = known_inputs(graph)
    bank = build(top, moments, ["kmeans"], STREAMS, Method())
    choice = Choice(scheme="kmeans", levels=2, coding="raw")
    (entry,) = compress(top, bank, bank.plan({"dense": choice})).layers
    shift = bank.by_name["dense"].option(choice).bias_shift
    assert shift.min() < 0 < shift.max()
    assert entry.bias.dtype == np.int32
    assert (entry.bias[shift < 0] == np.iinfo(np.int32).max).all()
    assert (entry.bias[shift > 0] == np.iinfo(np.int32).max - shift[shift > 0]).all()


def test_a_layer_without_bias_is_compressed_all_the_same() -> None:
    graph = dense_network(48, 12, 6)
    bare = replace(graph, ops=(replace(graph.ops[0], inputs=graph.ops[0].inputs[:2]),))
    _, moments = known_inputs(graph)
    bank = build(bare, moments, ["kmeans"], STREAMS, Method())
    model = compress(bare, bank, bank.plan({"dense": Choice(scheme="kmeans", levels=2, coding="packed")}))
    assert model.layers[0].bias is None
    assert set(model.constants) == {bare.ops[0].inputs[1]}


def test_the_runtime_computes_with_the_compressed_weights() -> None:
    """Overwritten constants and a file written anew are one and the same network."""
    graph, bank = NETWORKS["int8"], plain_bank("int8")
    model = compress(graph, bank, mixed_plan(bank, 1))
    inputs = random_inputs(graph, 6)
    runner = Runner(graph, tuple(model.constants), batch=3)
    before = runner.run(inputs)[0]
    overwritten = runner.run(inputs, model.constants)[0]
    assert np.array_equal(overwritten, Runner(model.decoded()).run(inputs)[0])
    assert not np.array_equal(overwritten, before)
    assert np.array_equal(runner.run(inputs)[0], before)


def test_a_plan_for_another_model_is_refused() -> None:
    graph, bank = NETWORKS["int8"], plain_bank("int8")
    missing = Plan(choices=dict.fromkeys(list(bank.by_name)[1:], KEEP))
    with pytest.raises(PlanError, match="for another model: its layers differ in stem"):
        compress(graph, bank, missing)
    with pytest.raises(PlanError, match="its layers differ in extra"):
        compress(graph, bank, Plan(choices={**bank.baseline.choices, "extra": KEEP}))
    with pytest.raises(PlanError, match="the order"):
        compress(graph, bank, Plan(choices=dict(reversed(bank.baseline.choices.items()))))
    with pytest.raises(PlanError, match="differ in"):
        compress(graph, bank, Plan(choices={}))


def test_a_choice_that_the_bank_does_not_have_is_refused() -> None:
    graph, bank = NETWORKS["int8"], plain_bank("int8")
    with pytest.raises(PlanError, match="layer 'stem': unknown scheme 'log2'"):
        compress(graph, bank, bank.plan({"stem": Choice(scheme="log2", levels=4, coding="raw")}))
    with pytest.raises(PlanError, match="layer 'dense': kmeans has 2 to 128 levels, not 129"):
        compress(graph, bank, bank.plan({"dense": Choice(scheme="kmeans", levels=129, coding="raw")}))
    with pytest.raises(PlanError, match="cannot halve bin 7 of 5"):
        compress(graph, bank, bank.plan({"stem": Choice.parse("binquant-6-raw-halves1.7")}))
    with pytest.raises(
        PlanError, match=r"layer 'stem': sparse cannot code its weights: [1-9]\d* of \d+ are zero, too few"
    ):
        compress(graph, bank, bank.plan({"stem": Choice.parse("kmeans-16-sparse")}))
    micro = plain_bank("int8", container="tflm")
    with pytest.raises(PlanError, match="layer 'stem': unknown coding 'sparse'; known: huffman, mask, packed, raw"):
        compress(graph, micro, micro.plan({"stem": Choice.parse("kmeans-16-sparse-std100")}))
    with pytest.raises(PlanError, match="layer 'stem': huffman cannot code its weights: a Huffman table serves all"):
        compress(graph, micro, micro.plan({"stem": Choice.parse("kmeans_channel-16-huffman")}))


def decoded(entry: CompressedLayer) -> Bytes:
    return entry.container.decode(entry.coded)


def in_stream(entry: CompressedLayer) -> Codes:
    """The weights in the order of their stream: one output channel after the other, or as they lie in memory."""
    weights = entry.weights
    if entry.container.by_channel:
        weights = np.moveaxis(weights, entry.layer.channel_axis, 0)
    return weights.reshape(-1)


def test_masks_leave_out_the_weights_that_are_zero() -> None:
    """In int8 the code 0, in uint8 the zero point."""
    for network, graph in NETWORKS.items():
        bank = plain_bank(network, container="tflm")
        masked = dict.fromkeys(bank.by_name, Choice(scheme="kmeans", levels=5, coding="mask"))
        for entry in compress(graph, bank, bank.plan(masked)).layers:
            zero = int(graph.tensors[entry.layer.weights].quantization.zero_points[0])
            ones = np.unpackbits(np.frombuffer(entry.coded.stream, np.uint8))[: entry.layer.size]
            assert np.array_equal(ones, (entry.weights != zero).reshape(-1))
            assert len(entry.coded.table) == 16 + int(ones.sum())
