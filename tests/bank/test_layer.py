"""Whatever is offered costs and does what is said of it: streams of these bytes, and errors that the inputs show."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from bank.samples import (
    LAYERS,
    NETWORKS,
    PRUNES,
    SCHEMES,
    Sampled,
    bank_of,
    codes_of,
    fresh_bank,
    in_shape,
    moments_of,
    sampled,
    scales_of,
)
from bqsearch import registry
from bqsearch.bank.build import build
from bqsearch.bank.layer import KEEP, LayerBank, Option
from bqsearch.bank.weights import Moments
from bqsearch.errors import ModelError, PlanError
from bqsearch.graph.ir import Graph
from bqsearch.graph.ops import layers
from bqsearch.packing.container import UNAVAILABLE, Container
from bqsearch.packing.containers import CONTAINERS
from bqsearch.packing.decode_op import DECODE_OPERATOR
from bqsearch.packing.streams import STREAMS
from bqsearch.plan import Choice, Method, Prune
from bqsearch.quantizers.binquant import halved_table
from bqsearch.quantizers.compensate import compensate, factorize
from bqsearch.types import Array, Bytes
from networks import Builder

PLAIN, FULL = Method(error_compensation=False), Method()
METHODS = {"maps": PLAIN, "compensated": FULL}
WAYS = [(network, container, method) for network in NETWORKS for container in CONTAINERS for method in METHODS]
RULE = {network: (prune,) for network, prune in zip(NETWORKS, PRUNES, strict=True)}  # one of pruning for each
TRIED = 40  # of the choices of a layer, where there are more
FLOOR = 1e-3


def some(entry: LayerBank, count: int = TRIED) -> list[tuple[Choice, int, float]]:
    """Choices from all over the list: others for each layer, so that all tests together see all kinds."""
    listed = entry.choices()
    rng = np.random.default_rng([len(listed), entry.layer.size, *entry.container.name.encode()])
    places = rng.choice(len(listed), min(count, len(listed)), replace=False)
    return [listed[place] for place in sorted(places.tolist())]


def in_stream(codes: Bytes, entry: LayerBank) -> Bytes:
    """Raw bytes, one after the other: channel by channel, or as the tensor lies in memory."""
    return (codes if entry.container.by_channel else in_shape(codes, entry.layer)).reshape(-1)


def error_of(network: str, entry: LayerBank, codes: Bytes) -> float:
    """Expected squared error of the output, in the unit of a layer whose squared scales have a mean of 1."""
    errors = codes.astype(np.float64) - codes_of(network, entry.layer)
    squared = scales_of(network, entry.layer)[:, None] ** 2
    inputs = sampled(network)[entry.layer.name]
    centered = entry.method.bias_correction
    if entry.compensated:
        added = inputs.added(errors)
        return float(
            (squared[:, 0] * (added.var(axis=0) if centered else (added**2).mean(axis=0))).sum() / squared.mean()
        )
    power = inputs.inputs.var(axis=1) if centered else (inputs.inputs**2).mean(axis=1)
    return float((squared * np.maximum(power, FLOOR * power.mean()) * errors**2).sum() / squared.mean())


def check(network: str, entry: LayerBank, choice: Choice, nbytes: int, distortion: float) -> None:
    """Assert all that is said of a choice."""
    option = entry.option(choice)
    assert option.choice == choice
    symbols = entry.symbols_of(option)
    coded = entry.container.encode(symbols, choice.coding)
    assert (len(coded.stream), len(coded.table)) == (option.stream_bytes, option.table_bytes)
    assert coded.nbytes == option.nbytes == nbytes
    assert entry.table_bytes(choice) == option.table_bytes
    assert int(entry.sizes(symbols).bytes_of(choice.coding)[0]) == nbytes
    assert np.array_equal(entry.container.decode(coded), in_stream(option.codes, entry))
    assert distortion == pytest.approx(option.distortion, rel=1e-12)
    assert distortion == pytest.approx(error_of(network, entry, option.codes), rel=1e-7, abs=1e-6)
    moved = option.codes.astype(np.float64) - codes_of(network, entry.layer)
    assert np.abs(option.bias_shift - sampled(network)[entry.layer.name].added(moved).mean(axis=0)).max() <= 0.5 + 1e-6
    check_levels(entry, option)


def check_levels(entry: LayerBank, option: Option) -> None:
    """Assert that pruned weights are zero, and that there are no more values than levels, and zero if pruned."""
    choice, zero = option.choice, entry.weights.zero
    groups = list(option.codes) if entry.quantizers[choice.scheme].per_channel else [option.codes]
    for codes in groups:
        values = np.unique(codes)
        assert len(values if choice.prune is None else values[values != zero]) <= choice.levels
    if choice.prune is not None:
        assert (option.codes[~entry.weights.mask(choice.prune)] == zero).all()


@pytest.mark.parametrize(("network", "container", "method"), WAYS)
def test_every_choice_is_as_stated(network: str, container: str, method: str) -> None:
    for entry in bank_of(network, container, METHODS[method], RULE[network]).layers:
        assert entry.compensated == (method == "compensated")
        for choice, nbytes, distortion in some(entry):
            check(network, entry, choice, nbytes, distortion)


@pytest.mark.parametrize("method", [Method(bias_correction=False), Method(activation_weighting=False)], ids=repr)
@pytest.mark.parametrize("network", NETWORKS)
def test_every_choice_is_as_stated_with_a_switch_off(network: str, method: Method) -> None:
    for compensated in (True, False):
        bank = bank_of(network, "bqsearch", replace(method, error_compensation=compensated))
        for entry in bank.layers:
            for choice, nbytes, distortion in some(entry, 8):
                check(network, entry, choice, nbytes, distortion)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("network", NETWORKS)
def test_any_choice_of_a_scheme_is_as_stated_when_it_is_looked_up(network: str, scheme: str) -> None:
    """Also those that are not offered."""
    rng = np.random.default_rng(SCHEMES.index(scheme))
    for container in CONTAINERS:
        for entry in bank_of(network, container, FULL, RULE[network]).layers:
            levels = int(rng.choice(entry.quantizers[scheme].levels))
            prune = (None, *RULE[network])[rng.integers(2)] if scheme != "keep" else None
            for coding in entry.codings:
                choice = Choice(scheme=scheme, levels=levels, coding=coding, prune=prune)
                if codable(entry, choice):
                    option = entry.option(choice)
                    check(network, entry, choice, option.nbytes, option.distortion)


def codable(entry: LayerBank, choice: Choice) -> bool:
    """Whether the coding holds the choice; the weights can always stay as bytes."""
    raw = entry.option(replace(choice, coding="raw"))
    return bool(entry.sizes(entry.symbols_of(raw)).bytes_of(choice.coding)[0] < UNAVAILABLE)


@pytest.mark.parametrize(("network", "container", "method"), WAYS)
def test_what_is_offered(network: str, container: str, method: str) -> None:
    for entry in bank_of(network, container, METHODS[method], RULE[network]).layers:
        listed = [choice for choice, _, _ in entry.choices()]
        assert len(set(listed)) == len(listed)
        assert KEEP in listed
        assert {c.coding for c in listed} == set(entry.codings) == set(CONTAINERS[container].codings)
        assert {c.prune for c in listed if c.scheme == "keep"} == {None}
        if method == "maps":
            assert {c.scheme for c in listed} == set(SCHEMES)
            assert {c.prune for c in listed} == {None, *RULE[network]}
            continue
        assert replace(KEEP, coding="huffman") in listed
        for coding in set(entry.codings) - {"raw"}:  # from a few bytes to hardly any error
            sizes = [nbytes for c, nbytes, _ in entry.choices() if c.coding == coding]
            assert len(sizes) >= (1 if coding == "sparse" else 4)
            assert min(sizes) < entry.layer.size


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("container", CONTAINERS)
def test_what_is_compensated_is_spread_over_the_hull(network: str, container: str) -> None:
    """No map is much better at any price of a byte than the compensated choices: those left out lie between."""
    bank, maps = (bank_of(network, container, method, RULE[network]) for method in (FULL, PLAIN))
    for entry, other in zip(bank.layers, maps.layers, strict=True):
        assert len(entry.choices()) < len(other.choices())
        for price in np.geomspace(1, 1e6, 13):
            best = min(distortion + price * nbytes for _, nbytes, distortion in entry.choices())
            plain = [
                entry.weights.distortion(other.option(choice).codes, True) + price * nbytes
                for choice, nbytes, _ in other.choices()[::41]
            ]
            assert best <= 1.1 * min(plain)


@pytest.mark.parametrize("network", NETWORKS)
def test_compensation_pays(network: str) -> None:
    """At the same levels, in the mean."""
    for name in LAYERS:
        entry, plain = (bank_of(network, "bqsearch", m, RULE[network]).by_name[name] for m in (FULL, PLAIN))
        gains = []
        for levels in (3, 4, 6, 8, 12, 16, 32):
            choice = Choice(scheme="kmeans", levels=levels, coding="raw")
            before = entry.weights.distortion(plain.option(choice).codes, correlated=True)
            gains.append(np.log(entry.option(choice).distortion / before))
        assert np.mean(gains) < np.log(0.9)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("network", NETWORKS)
def test_a_choice_gives_the_same_codes_however_it_is_asked_for(network: str, method: str) -> None:
    """From the list, alone, in another order, in another bank, from a bank of its scheme and pruning only."""
    offered = bank_of(network, "bqsearch", METHODS[method], RULE[network])
    fresh = fresh_bank(network, "bqsearch", METHODS[method], RULE[network])
    for entry in offered.layers:
        name = entry.layer.name
        alone = fresh.by_name[name]
        for choice, nbytes, distortion in reversed(some(entry, 6)):
            option, single = entry.option(choice), alone.option(choice)
            prunes = () if choice.prune is None else (choice.prune,)
            small = fresh_bank(network, "bqsearch", METHODS[method], prunes, (choice.scheme,)).by_name[name]
            for other in (single, small.option(choice)):
                assert np.array_equal(other.codes, option.codes)
                assert np.array_equal(other.bias_shift, option.bias_shift)
                assert (other.nbytes, other.distortion) == (nbytes, option.distortion)
            assert distortion == pytest.approx(option.distortion, rel=1e-12)


def test_options_are_worked_out_once_whatever_the_sensitivity() -> None:
    bank = fresh_bank("int8 per channel", prunes=PRUNES[:1])
    entry = bank.by_name["pointwise"]
    before = entry.choices()
    weighed = bank.with_sensitivity({"pointwise": 2.5}).by_name["pointwise"]
    assert [(c, n) for c, n, _ in weighed.choices()] == [(c, n) for c, n, _ in before]
    assert [d for _, _, d in weighed.choices()] == pytest.approx([2.5 * d for _, _, d in before])
    again = replace(weighed, sensitivity=0.5)
    for choice, _, distortion in before:
        first, second, third = (e.option(choice) for e in (entry, weighed, again))
        assert first.codes is second.codes is third.codes
        assert first.distortion == distortion
        assert (second.distortion, third.distortion) == pytest.approx((2.5 * distortion, 0.5 * distortion))
    fresh = replace(weighed, sensitivity=3.0)
    coarse = Choice(scheme="kmeans", levels=5, coding="packed")
    assert fresh.option(coarse).codes is entry.option(replace(coarse, coding="raw")).codes


@pytest.mark.parametrize("network", NETWORKS)
def test_without_weighting_codebooks_are_fitted_to_the_weights_alone(network: str) -> None:
    method = Method(activation_weighting=False, error_compensation=False)
    for entry in bank_of(network, "bqsearch", method).layers:
        weights = entry.weights
        counts = np.bincount(weights.codes.reshape(-1), minlength=256)[None]
        histogram = replace(weights.histogram(False, False), importance=counts.astype(np.float64))
        tables = registry.load("scheme", "kmeans").fit(histogram)[0]
        for row, levels in enumerate(entry.quantizers["kmeans"].levels):
            if levels in (2, 5, 16, 100):
                option = entry.option(Choice(scheme="kmeans", levels=levels, coding="raw"))
                error = ((tables[row][weights.codes].astype(int) - weights.codes) ** 2).sum()
                assert ((option.codes.astype(int) - weights.codes) ** 2).sum() == error


@pytest.mark.parametrize("network", NETWORKS)
def test_without_compensation_codes_are_maps(network: str) -> None:
    """One code becomes one other, in the tensor or the channel; and what has no covariance is not compensated."""
    bare = {name: replace(m, covariance=None) for name, m in moments_of(network).items()}
    without = build(NETWORKS[network], bare, SCHEMES, STREAMS, FULL, RULE[network])
    for name in LAYERS:
        entry = bank_of(network, "bqsearch", PLAIN, RULE[network]).by_name[name]
        for choice, nbytes, distortion in some(entry):
            option = entry.option(choice)
            codes = entry.weights.codes
            kept = np.ones(codes.shape, bool) if choice.prune is None else entry.weights.mask(choice.prune)
            single = not entry.quantizers[choice.scheme].per_channel
            for rows in [slice(None)] if single else [slice(c, c + 1) for c in range(len(codes))]:
                pairs = {*zip(codes[rows][kept[rows]].tolist(), option.codes[rows][kept[rows]].tolist(), strict=True)}
                assert len(pairs) == len({before for before, _ in pairs})
            other = without.by_name[name].option(choice)
            assert not without.by_name[name].compensated
            assert np.array_equal(option.codes, other.codes)
            assert other.nbytes == nbytes
            assert other.distortion == pytest.approx(distortion)


def test_what_is_kept_costs_no_error() -> None:
    for network, container, method in WAYS:
        for entry in bank_of(network, container, METHODS[method], RULE[network]).layers:
            for coding in entry.codings:
                choice = replace(KEEP, coding=coding)
                if codable(entry, choice):
                    option = entry.option(choice)
                    assert option.distortion == 0.0
                    assert not option.bias_shift.any()
                    assert np.array_equal(option.codes, entry.weights.codes)
            assert entry.option(KEEP).nbytes == entry.layer.size


@pytest.mark.parametrize("network", NETWORKS)
def test_reassigned_to_its_own_weights_a_choice_is_what_it_is(network: str) -> None:
    for entry in bank_of(network, "bqsearch", FULL, RULE[network]).layers:
        assert entry.weights.covariance is not None
        for choice, nbytes, distortion in some(entry, 8):
            if choice.scheme != "keep":
                option = entry.reassigned(choice, entry.weights.codes.astype(np.float64), entry.weights.covariance)
                assert np.array_equal(option.codes, entry.option(choice).codes)
                assert option.nbytes == nbytes
                assert option.distortion == pytest.approx(distortion, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("network", NETWORKS)
def test_reassigned_to_other_weights_a_choice_keeps_its_levels_and_states_its_bytes(
    network: str, container: str
) -> None:
    rng = np.random.default_rng(3)
    for entry in bank_of(network, container, FULL, RULE[network]).layers:
        weights = entry.weights
        other = Sampled.of(entry.layer, 99).moments(entry.layer).covariance
        assert other is not None
        target = weights.codes + rng.normal(0, 6, weights.codes.shape)
        for choice, _, _ in some(entry, 12):
            if choice.scheme == "keep" or choice.coding == "sparse":
                continue
            option = entry.reassigned(choice, target, other)
            coded = entry.container.encode(entry.symbols_of(option), choice.coding)
            assert coded.nbytes == option.nbytes
            assert np.array_equal(entry.container.decode(coded), in_stream(option.codes, entry))
            assert option.distortion == pytest.approx(error_of(network, entry, option.codes), rel=1e-9, abs=1e-6)
            levels = entry._levels(choice)
            (expected,) = compensate(target, factorize(other), [levels], weights.zero)
            assert np.array_equal(option.codes, expected.codes)
            check_levels(entry, option)
            assert entry.option(choice).codes is not option.codes


@pytest.mark.parametrize("pruned", [False, True])
def test_bins_that_a_choice_halves_itself(pruned: bool) -> None:
    for network in NETWORKS:
        prune = RULE[network][0] if pruned else None
        for entry in bank_of(network, "bqsearch", PLAIN, RULE[network]).layers:
            for halves in ((), (1,), (1, 2, 0)):
                coarse = Choice(scheme="binquant", levels=4 + len(halves), coding="raw", prune=prune, halves=halves)
                kept = np.ones(entry.weights.codes.shape, bool) if prune is None else entry.weights.mask(prune)
                counts = np.bincount(entry.weights.codes[kept], minlength=256)
                option = entry.option(coarse)
                if halves:
                    expected = halved_table(counts, halves)[entry.weights.codes]
                    assert np.array_equal(option.codes[kept], expected[kept])
                for coding in ("packed", "huffman", "mask"):
                    coded = entry.container.encode(entry.symbols_of(option), coding)
                    found = entry.option(replace(coarse, coding=coding))
                    assert (coded.nbytes, len(coded.table)) == (found.nbytes, entry.table_bytes(found.choice))


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ("kmeens-4-raw", "layer 'stem': unknown scheme 'kmeens'.* Did you mean 'kmeans'"),
        ("kmeans-200-raw", "layer 'stem': kmeans has 2 to 128 levels, not 200"),
        ("keep-16-raw", "layer 'stem': keep has 256 levels, not 16"),
        ("log2_iot-16-raw", "layer 'stem': log2_iot has 5, 9, 17, 33, 65 levels, not 16"),
        ("uniform_symmetric-4-raw", r"layer 'stem': uniform_symmetric has 3, 5, \.\.\., 127 levels, not 4"),
        ("kmeans-4-sparse", "layer 'stem': unknown coding 'sparse'; known: huffman, mask, packed, raw"),
        ("kmeans-4-packed-ram", "layer 'stem': unknown placement 'ram'; known: flash"),
        ("binquant-5-raw-halves9", "cannot halve bin 9 of 4"),
    ],
)
@pytest.mark.parametrize("method", METHODS)
def test_a_choice_that_the_bank_does_not_have_is_refused(choice: str, message: str, method: str) -> None:
    entry = bank_of("int8 per channel", "tflm", METHODS[method], RULE["int8 per channel"]).by_name["stem"]
    for refused in (entry.option, entry.table_bytes):
        if refused == entry.option or method == "compensated" or "halves" in choice:
            with pytest.raises(PlanError, match=message):
                refused(Choice.parse(choice))


def network_of(codes: Array, samples: Array | None = None) -> tuple[Graph, dict[str, Moments]]:
    """One dense layer of int8 codes counted from the lowest, and moments of these inputs or of random ones."""
    channels, columns = codes.shape
    net = Builder("int8", 0)
    source = net.activation("x", (1, columns))
    graph = net.build([source], [net.dense("wide", source, channels)])
    layer = layers(graph)[0]
    data = (codes.astype(np.int64) - 128).astype(np.int8)
    inputs = Sampled.of(layer, 0) if samples is None else Sampled(inputs=samples[None].repeat(300, axis=1)[:, :300])
    return graph.with_data({layer.weights: data}), {"wide": inputs.moments(layer)}


@cache
def full_table() -> tuple[Graph, dict[str, Moments]]:
    return network_of(np.arange(4096).reshape(64, 64) % 256)


FULL_TABLE = {
    "packed": "they have 256 different values, and it holds 128 at most: choose fewer levels",
    "huffman": "they have 256 different values, and it holds 255 at most: choose fewer levels",
    "sparse": "16 of 4096 are zero, too few to code the gaps: prune more of them",
}


@pytest.mark.parametrize(
    ("container", "offered"),
    [(STREAMS, {"raw", "mask"}), (DECODE_OPERATOR, {"raw", "huffman", "mask"})],
    ids=["bqsearch", "tflm"],
)
@pytest.mark.parametrize("method", METHODS)
def test_a_coding_that_cannot_hold_the_weights_is_refused_and_not_offered(
    container: Container, offered: set[str], method: str
) -> None:
    graph, found = full_table()
    (entry,) = build(graph, found, [], container, METHODS[method]).layers
    assert {str(choice) for choice, _, _ in entry.choices()} == {f"keep-256-{coding}" for coding in offered}
    for coding in set(container.codings) - offered:
        with pytest.raises(PlanError, match=f"layer 'wide': {coding} cannot code its weights: {FULL_TABLE[coding]}"):
            entry.option(replace(KEEP, coding=coding))


@pytest.mark.parametrize("method", METHODS)
def test_a_codebook_for_each_channel_needs_a_scale_for_each_on_tflm(method: str) -> None:
    choice = Choice.parse("kmeans_channel-4-packed")
    scaled, single = (
        bank_of(network, "tflm", METHODS[method], RULE[network]).by_name["pointwise"]
        for network in ("int8 per channel", "int8 per tensor")
    )
    assert scaled.option(choice).nbytes < scaled.layer.size
    with pytest.raises(
        PlanError, match=r"'pointwise': packed cannot code its weights: .* this one has a single scale: "
    ):
        single.option(choice)


DEGENERATE = {
    "one weight": np.array([[140]]),
    "one column": np.array([[10], [128], [250], [130]]),
    "one channel": np.array([[1, 128, 128, 77, 200, 128, 128]]),
    "all equal": np.full((5, 6), 200),
    "all zero": np.full((5, 6), 128),
    "a channel of zeros": np.array([[128] * 6, [100, 110, 120, 130, 140, 150], [128, 128, 128, 128, 128, 129]]),
    "two values": np.array([[0, 255] * 8] * 4),
    "all values": np.arange(1024).reshape(8, 128) % 256,
    "mostly zero": np.where(np.arange(600).reshape(6, 100) % 17 == 0, 150 + np.arange(600).reshape(6, 100) % 50, 128),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", DEGENERATE)
def test_any_weights_have_defined_options(name: str, method: str) -> None:
    """All schemes, prunings and codings."""
    graph, found = network_of(DEGENERATE[name])
    container = (STREAMS, DECODE_OPERATOR)[(list(DEGENERATE).index(name) + list(METHODS).index(method)) % 2]
    prunes = (Prune(rule="saliency", amount=60), Prune(rule="percentile", amount=99), Prune(rule="std", amount=900))
    for still, prune in zip((False, True, False), prunes, strict=True):
        given = {"wide": zeroed(found["wide"])} if still else found
        (entry,) = build(graph, given, SCHEMES, container, METHODS[method], [prune]).layers
        assert KEEP in {choice for choice, _, _ in entry.choices()}
        for choice, nbytes, distortion in some(entry):
            option = entry.option(choice)
            coded = container.encode(entry.symbols_of(option), choice.coding)
            assert (coded.nbytes, entry.table_bytes(choice)) == (nbytes, len(coded.table))
            assert np.array_equal(container.decode(coded), in_stream(option.codes, entry))
            assert 0 <= distortion == pytest.approx(option.distortion, rel=1e-12)
            assert np.isfinite(distortion)
            check_levels(entry, option)


def zeroed(moments: Moments) -> Moments:
    """Inputs that are always the same."""
    assert moments.covariance is not None
    nothing = np.zeros_like(moments.variance)
    return replace(moments, variance=nothing, covariance=np.zeros_like(moments.covariance))


def test_inputs_that_never_vary_leave_plain_codebooks() -> None:
    """Importance of zero everywhere must not make all maps equally good."""
    graph, found = network_of(np.random.default_rng(0).integers(60, 200, (6, 30)))
    still = {"wide": zeroed(found["wide"])}
    for method in METHODS.values():
        (entry,) = build(graph, still, ["kmeans"], STREAMS, method).layers
        option = entry.option(Choice(scheme="kmeans", levels=16, coding="raw"))
        moved = np.abs(option.codes.astype(int) - entry.weights.codes)
        assert 0 < moved.max() <= 140 / 16
    assert option.distortion == 0.0  # nothing reaches the output but the mean, and that the bias takes up


@pytest.mark.parametrize("what", ["mean", "variance", "covariance"])
def test_moments_that_are_no_numbers_are_refused_by_the_layers_name(what: str) -> None:
    graph, found = network_of(DEGENERATE["all values"])
    bad = np.array(getattr(found["wide"], what))
    bad.reshape(-1)[0] = np.nan
    with pytest.raises(ModelError, match=f"layer 'wide': the {what} of its input"):
        build(graph, {"wide": replace(found["wide"], **{what: bad})}, ["kmeans"], STREAMS, FULL)


def test_codings_that_compensation_takes_away_are_not_offered() -> None:
    """A map may make half of the weights zero, and then compensation fewer: gaps between the others are not counted."""
    missed = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        codes = np.clip(np.rint(128 + 8 * rng.standard_t(2, (8, 30))), 0, 255)
        graph, found = network_of(codes)
        (entry,) = build(graph, found, ["kmeans", "uniform", "ternary"], STREAMS, FULL).layers
        (maps,) = build(graph, found, ["kmeans", "uniform", "ternary"], STREAMS, PLAIN).layers
        offered, mapped = ({c for c, _, _ in e.choices() if c.coding == "sparse"} for e in (entry, maps))
        for choice, nbytes, distortion in entry.choices():
            assert entry.option(choice).nbytes == nbytes < UNAVAILABLE
            assert entry.option(choice).distortion == distortion
        compensated = {replace(c, coding="sparse") for c, _, _ in entry.choices()}
        gone = (mapped & compensated) - offered
        missed += len(gone)
        for choice in gone:
            with pytest.raises(PlanError, match="sparse cannot code"):
                entry.option(choice)
    assert missed > 0


def test_ternary_channels_share_a_place_for_zero() -> None:
    """So that a mask pays, without pruning too."""
    rng = np.random.default_rng(0)
    graph, found = network_of(np.clip(np.rint(rng.normal(128, 30, (12, 64))), 0, 255))
    (entry,) = build(graph, found, ["ternary"], STREAMS, FULL).layers
    sizes = {c.coding: nbytes for c, nbytes, _ in entry.choices() if c.scheme == "ternary"}
    option = entry.option(Choice(scheme="ternary", levels=3, coding="mask"))
    nonzero = int((option.codes != 128).sum())
    assert sizes["mask"] == 12 * 64 // 8 + -(-nonzero // 8) + 12 * 2
    assert sizes["mask"] < sizes["packed"]


def test_pruning_makes_layers_smaller_at_the_same_levels() -> None:
    rng = np.random.default_rng(1)
    graph, found = network_of(np.clip(np.rint(rng.normal(128, 30, (20, 80))), 0, 255))
    hard = Prune(rule="percentile", amount=90)
    for scheme in ("kmeans", "kmeans_channel"):
        (entry,) = build(graph, found, [scheme], STREAMS, FULL, [hard]).layers
        whole = Choice(scheme=scheme, levels=8, coding="huffman")
        pruned = replace(whole, prune=hard, coding="sparse")
        assert entry.option(pruned).nbytes < 0.6 * entry.option(whole).nbytes


@pytest.mark.parametrize("method", METHODS)
def test_where_weights_lie_changes_nothing_else(method: str) -> None:
    entry = bank_of("int8 per channel", "bqsearch", METHODS[method], RULE["int8 per channel"]).by_name["stem"]
    flash, ram = (entry.option(Choice.parse(f"kmeans-4-packed{end}")) for end in ("", "-ram"))
    assert ram.choice == replace(flash.choice, placement="ram")
    assert np.array_equal(ram.codes, flash.codes)
    assert (ram.nbytes, ram.table_bytes, ram.distortion) == (flash.nbytes, flash.table_bytes, flash.distortion)
    assert entry.table_bytes(ram.choice) == ram.table_bytes
