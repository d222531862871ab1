"""The row-stationary model: counts against a walk of its loops, the search against all mappings, and the papers."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import fields, replace
from fractions import Fraction
from math import ceil, prod

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bqsearch.errors import UnsupportedError
from bqsearch.hardware import target
from bqsearch.hardware.dataflow import Accesses, Axis, Chip, Convolution, Mapping, Movement, mappings, movement
from bqsearch.testing.eyeriss import ALEXNET, VGG_16, WORD, Measured, Network, run_length_bits

SMALL = Chip(
    rows=4,
    columns=4,
    word=16,
    global_buffer=150,
    filter_buffer=48,
    filter_registers=16,
    input_registers=6,
    sum_registers=3,
    bandwidth=1e6,
    mac=1e-12,
    dram_access=200.0,
    buffer_access=6.0,
    array_access=2.0,
    register_access=1.0,
)
SIZES = ("global_buffer", "filter_buffer", "filter_registers", "input_registers", "sum_registers", "rows", "columns")


def eyeriss() -> Chip:
    chip = target.load("eyeriss").chip
    assert chip is not None
    return chip


@st.composite
def axes(draw: st.DrawFn) -> Axis:
    taps, stride, dilation = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 2))
    outputs = draw(st.integers(1, 5))
    span = (outputs - 1) * stride + (taps - 1) * dilation + 1
    margin = draw(st.integers(0, min(taps - 1, span - 1)))
    size = draw(st.integers(max(span - 2 * margin, 1), span + 1))
    return Axis(size=size, taps=taps, outputs=outputs, stride=stride, dilation=dilation, margin=margin)


@st.composite
def convolutions(draw: st.DrawFn) -> Convolution:
    return Convolution(
        batch=draw(st.integers(1, 3)),
        groups=draw(st.integers(1, 2)),
        channels=draw(st.integers(1, 5)),
        filters=draw(st.integers(1, 6)),
        height=draw(axes()),
        width=draw(axes()),
        input_bits=draw(st.sampled_from([8, 16])),
        output_bits=draw(st.sampled_from([8, 16])),
    )


@st.composite
def mapped(draw: st.DrawFn) -> tuple[Convolution, Mapping]:
    shape = draw(convolutions())
    return shape, Mapping(
        strip=draw(st.integers(1, shape.height.outputs)),
        inputs=draw(st.integers(1, shape.batch)),
        filters=draw(st.integers(1, 3)),
        channels=draw(st.integers(1, 3)),
        channel_sets=draw(st.integers(1, 3)),
        filter_sets=draw(st.integers(1, 3)),
        passes=draw(st.integers(1, 3)),
    )


def real(axis: Axis, place: int) -> set[int]:
    """Inputs that a place of the filter meets."""
    found = {place * axis.stride - axis.margin + tap * axis.dilation for tap in range(axis.taps)}
    return {i for i in found if 0 <= i < axis.size}


def parts(total: int, size: int) -> list[range]:
    return [range(i, min(i + size, total)) for i in range(0, total, size)]


def walk(shape: Convolution, m: Mapping) -> tuple[dict[str, Counter[str]], int]:
    """The loops of the papers, one by one: how often values are read at each level, and cycles."""
    weights, inputs, sums = Counter[str](), Counter[str](), Counter[str]()
    cycles = 0
    taps, wide = shape.height.taps, shape.width
    columns = set().union(*(real(wide, place) for place in range(wide.outputs)))
    passes = parts(shape.filters, m.filters * m.filter_sets)
    for _ in range(shape.groups):
        in_buffer: object = None
        in_array: object = None
        for images in parts(shape.batch, m.inputs):
            for strip in parts(shape.height.outputs, m.strip):
                rows = set().union(*(real(shape.height, place) for place in strip))
                for chunk in parts(len(passes), m.passes):
                    for channels in parts(shape.channels, m.channels * m.channel_sets):
                        tile = len(images) * len(channels) * len(rows) * len(columns)
                        if in_buffer != (images, strip, channels):
                            in_buffer = (images, strip, channels)
                            inputs["dram"] += tile
                        for filters in (passes[i] for i in chunk):
                            chosen = len(filters) * len(channels) * taps * wide.taps
                            if in_array != (filters, channels):
                                weights["dram"] += chosen
                                weights["buffer"] += chosen
                                weights["array"] += chosen * len(strip)
                            in_array = (filters, channels)
                            inputs["buffer"] += tile
                            met = sum(len(real(shape.height, place)) for place in strip)
                            sets = ceil(len(filters) / m.filters)
                            inputs["array"] += len(images) * len(channels) * met * len(columns) * sets
                            outputs = len(images) * len(filters) * len(strip) * wide.outputs
                            sums["buffer"] += outputs
                            sums["array"] += outputs * taps * ceil(len(channels) / m.channels)
                            sums["dram"] += outputs if channels[-1] == shape.channels - 1 else 0
                            busiest = min(m.channels, len(channels)) * min(m.filters, len(filters))
                            cycles += len(images) * wide.outputs * wide.taps * busiest
    return {"weights": weights, "inputs": inputs, "sums": sums}, cycles


@given(mapped())
def test_counts_are_those_of_the_loops(case: tuple[Convolution, Mapping]) -> None:
    shape, mapping = case
    found = movement(shape, mapping)
    counted, cycles = walk(shape, mapping)
    for kind, levels in counted.items():
        accesses = getattr(found, kind)
        for level in ("dram", "buffer", "array"):
            assert int(getattr(accesses, level)) == levels[level], (kind, level)
    assert int(found.cycles) == cycles


def test_filters_that_stay_arrive_once_in_a_whole_strip() -> None:
    axis = Axis(size=7, taps=3, outputs=5)
    shape = Convolution(batch=3, channels=2, filters=2, height=axis, width=axis, input_bits=16, output_bits=16)
    stays = Mapping(strip=2, inputs=1, filters=2, channels=2, channel_sets=1, filter_sets=1, passes=1)
    weights = movement(shape, stays).weights
    assert (int(weights.dram), int(weights.array), weights.register) == (36, 2 * 36, 36 * 3 * 25)
    again = movement(shape, replace(stays, filters=1, passes=2)).weights
    assert (int(again.dram), int(again.array)) == (36 * 3 * 3, 36 * 3 * 5)


@given(mapped())
def test_reuse_factors_multiply_to_all_uses(case: tuple[Convolution, Mapping]) -> None:
    shape, mapping = case
    found = movement(shape, mapping)
    height, width = shape.height, shape.width
    assert prod(found.weights.reuse) == shape.batch * height.outputs * width.outputs
    assert prod(found.sums.reuse) == shape.channels * height.taps * width.taps
    reached = [len(set().union(*(real(a, place) for place in range(a.outputs)))) for a in (height, width)]
    assert shape.inputs == shape.batch * shape.groups * shape.channels * prod(reached)
    if shape.inputs:
        assert prod(found.inputs.reuse) == Fraction(shape.macs, shape.inputs)
    for accesses in (found.weights, found.inputs):
        assert accesses.dram >= accesses.values
    a, b, c, d = found.sums.reuse
    assert a == 1
    assert min(b, c, d) >= 1


def formula(found: Accesses, chip: Chip, dram_bits: float) -> float:
    """ISCA 2016, equation 3, with DRAM counted in bits."""
    a, b, c, d = map(float, found.reuse)
    levels = a * chip.dram_access * dram_bits / chip.word + a * b * chip.buffer_access
    return found.values * (levels + a * b * c * chip.array_access + a * b * c * d * chip.register_access)


def sums_formula(found: Accesses, chip: Chip, dram_bits: float) -> float:
    """ISCA 2016, equation 4."""
    a, b, c, d = map(float, found.reuse)
    levels = (2 * a - 1) * chip.dram_access * dram_bits / chip.word + 2 * a * (b - 1) * chip.buffer_access
    return found.values * (
        levels + a * b * (c - 1) * chip.array_access + 2 * a * b * c * (d - 1) * chip.register_access
    )


@given(mapped(), st.floats(0.5, 16))
def test_energy_is_the_papers(case: tuple[Convolution, Mapping], bits: float) -> None:
    shape, mapping = case
    assume(shape.inputs)
    found, chip = movement(shape, mapping), eyeriss()
    papers = formula(found.weights, chip, bits) + formula(found.inputs, chip, shape.input_bits)
    papers += sums_formula(found.sums, chip, shape.output_bits) + shape.macs
    total = float(found.energy(chip, bits * shape.weights))
    assert total == pytest.approx(papers, rel=1e-9)
    assert total > found.energy_on_chip(chip) >= shape.macs


def test_energies_by_hand() -> None:
    """Two filters of 2 taps over a row of 3: one element, everything fetched once."""
    width, point = Axis(size=3, taps=2, outputs=2), Axis(size=1, taps=1, outputs=1)
    shape = Convolution(channels=1, filters=2, height=point, width=width, input_bits=8, output_bits=16)
    one = Mapping(strip=1, inputs=1, filters=2, channels=1, channel_sets=1, filter_sets=1, passes=1)
    found = movement(shape, one)
    assert (shape.weights, shape.inputs, shape.outputs, shape.macs) == (4, 3, 4, 8)
    words = 3 * 0.5 + 4 + 10 / 16
    assert float(found.dram_words(SMALL, 10.0)) == words
    on_chip = 8 + (4 + 3) * 6 + (4 + 3) * 2 + (8 + 8 + 2 * 4) * 1
    assert float(found.energy_on_chip(SMALL)) == on_chip
    assert float(found.energy(SMALL, 10.0)) == words * 200 + on_chip
    assert int(found.cycles) == 8
    moved = (3 * 8 + 4 * 16) / 8e6
    assert float(found.seconds(SMALL, 1e3, 10.0)) == pytest.approx(8e-3 + moved)
    assert float(found.seconds(SMALL, 1e9, 10.0)) == pytest.approx(10 / 8e6 + moved)


def fits(shape: Convolution, m: Mapping, chip: Chip) -> bool:
    """What the papers ask of a mapping, in full."""
    taps, wide = shape.height.taps, shape.width.taps
    beside = max(chip.columns // m.strip, 1)
    below = taps * ceil(m.strip / chip.columns)
    rows = (m.strip - 1) * shape.height.stride + (taps - 1) * shape.height.dilation + 1
    line = (shape.width.outputs - 1) * shape.width.stride + (wide - 1) * shape.width.dilation + 1
    channels = min(m.channels * m.channel_sets, shape.channels)
    filters = min(m.filters * m.filter_sets * m.passes, shape.filters)
    held = m.inputs * (channels * rows * line + filters * m.strip * shape.width.outputs)
    return (
        m.channel_sets * m.filter_sets <= chip.rows // below * beside
        and m.channels * wide <= chip.input_registers
        and m.filters <= chip.sum_registers
        and m.filters * m.channels * wide <= chip.filter_registers
        and m.filters * m.filter_sets * m.channels * m.channel_sets * taps * wide <= chip.filter_buffer
        and held <= chip.global_buffer
    )


def everything(shape: Convolution, chip: Chip) -> Iterator[Movement]:
    sets = chip.rows * chip.columns
    for strip in range(1, shape.height.outputs + 1):
        for p in range(1, min(shape.filters, chip.sum_registers) + 1):
            for q in range(1, min(shape.channels, chip.input_registers) + 1):
                for r in range(1, min(ceil(shape.channels / q), sets) + 1):
                    for t in range(1, min(ceil(shape.filters / p), sets // r) + 1):
                        for passes in range(1, ceil(shape.filters / (p * t)) + 1):
                            for n in range(1, shape.batch + 1):
                                letters = {"strip": strip, "inputs": n, "filters": p, "channels": q, "passes": passes}
                                mapping = Mapping(**letters, channel_sets=r, filter_sets=t)
                                if fits(shape, mapping, chip):
                                    yield movement(shape, mapping)


@settings(max_examples=60, deadline=None)
@given(convolutions(), st.sampled_from([0.0, 3.0, 16.0]))
def test_the_search_finds_the_least_energy_of_all_mappings(shape: Convolution, bits: float) -> None:
    least = min((float(found.energy(SMALL, bits * shape.weights)) for found in everything(shape, SMALL)), default=None)
    if least is None:
        with pytest.raises(UnsupportedError, match=r"filters of \dx\d over rows of \d+ values do not fit"):
            mappings(shape, SMALL)
        return
    best = mappings(shape, SMALL).best(bits * shape.weights)
    assert fits(shape, best.mapping, SMALL)
    assert float(best.movement.energy(SMALL, bits * shape.weights)) == pytest.approx(least, rel=1e-12)


def test_the_last_chunk_of_filters_needs_room_for_those_that_it_has() -> None:
    """Five filters by threes: the buffer has room for five sums, not for six."""
    axis, point = Axis(size=1, taps=1, outputs=1), Axis(size=1, taps=1, outputs=1)
    shape = Convolution(channels=9, filters=5, height=axis, width=point, input_bits=16, output_bits=16)
    chip = replace(SMALL, columns=1, rows=1, input_registers=1, global_buffer=6)
    found = mappings(shape, chip).best(WORD * shape.weights)
    assert (found.mapping.filters, found.mapping.passes) == (3, 2)
    assert int(found.movement.inputs.dram) == 9


def test_strips_wider_than_the_array_are_folded() -> None:
    """As in AlexNet's CONV2: fewer strips fetch many weights less often."""
    tall, point = Axis(size=8, taps=1, outputs=8), Axis(size=1, taps=1, outputs=1)
    shape = Convolution(channels=9, filters=6, height=tall, width=point, input_bits=16, output_bits=16)
    best = mappings(shape, SMALL).best(WORD * shape.weights)
    assert best.mapping.strip == 8 > SMALL.columns
    energies = [float(found.energy(SMALL, WORD * shape.weights)) for found in everything(shape, SMALL)]
    assert float(best.movement.energy(SMALL, WORD * shape.weights)) == pytest.approx(min(energies), rel=1e-12)


@settings(max_examples=40, deadline=None)
@given(convolutions(), st.sampled_from(SIZES), st.integers(1, 40))
def test_more_storage_never_takes_more_energy(shape: Convolution, size: str, more: int) -> None:
    larger = replace(SMALL, **{size: getattr(SMALL, size) + more})
    try:
        before = mappings(shape, SMALL).best(16 * shape.weights)
    except UnsupportedError:
        assume(False)
    after = mappings(shape, larger).best(16 * shape.weights)
    bits = 16 * shape.weights
    assert float(after.movement.energy(larger, bits)) <= float(before.movement.energy(SMALL, bits)) * (1 + 1e-12)


def test_a_larger_buffer_takes_less_energy_for_real() -> None:
    shape = ALEXNET.layers[1].shape(4, coded=False)
    chip, bits = eyeriss(), WORD * shape.weights
    sizes = (chip.global_buffer // 2, chip.global_buffer, 2 * chip.global_buffer)
    chips = [replace(chip, global_buffer=words) for words in sizes]
    energies = [float(mappings(shape, c).best(bits).movement.energy(c, bits)) for c in chips]
    assert energies[0] > energies[1] > energies[2]


def test_fewer_bits_of_weights_may_change_the_mapping_and_take_less_energy() -> None:
    shape = VGG_16.layers[7].shape(3, coded=True)
    chip = eyeriss()
    found = mappings(shape, chip)
    heavy, light = (found.best(bits * shape.weights) for bits in (WORD, 1))
    assert float(light.movement.energy(chip, shape.weights)) < float(heavy.movement.energy(chip, shape.weights))
    assert light.movement.weight_reads > heavy.movement.weight_reads


def test_filters_too_tall_or_too_wide_are_refused() -> None:
    chip, thin = eyeriss(), Axis(size=20, taps=1, outputs=20)
    for taps, ok in ((12, True), (13, False)):
        long = Axis(size=20, taps=taps, outputs=21 - taps)
        for height, width in ((long, thin), (thin, long)):
            shape = Convolution(channels=1, filters=1, height=height, width=width, input_bits=8, output_bits=8)
            if ok:
                assert mappings(shape, chip).found
            else:
                with pytest.raises(UnsupportedError, match=f"filters of {height.taps}x{width.taps}"):
                    mappings(shape, chip)


@pytest.mark.parametrize(("layer", "elements"), list(zip(ALEXNET.layers, (154, 135, 156, 156, 156), strict=True)))
def test_the_chips_own_mappings_fit_as_published(layer: Measured, elements: int) -> None:
    shape, mapping = layer.shape(4, coded=True), layer.mapping
    assert mapping is not None
    assert fits(shape, mapping, eyeriss())
    assert mapping.strip * layer.taps * mapping.channel_sets * mapping.filter_sets == elements
    found = movement(shape, mapping)
    assert 2 * found.dram_words(eyeriss(), WORD * shape.weights) / 1e6 == pytest.approx(layer.dram_megabytes, rel=0.15)
    seconds = float(found.seconds(eyeriss(), 200e6, WORD * shape.weights))
    assert 1e3 * seconds == pytest.approx(layer.milliseconds, rel=0.2)


def total(network: Network, chip: Chip, *, published: bool, coded: bool = True) -> tuple[float, float, float, int]:
    """Words from and to DRAM, seconds, joules on the chip, and MACs of all layers."""
    words = seconds = joules = 0.0
    macs = 0
    for layer in network.layers:
        shape = layer.shape(network.batch, coded=coded)
        bits = float(WORD * shape.weights)
        if published:
            assert layer.mapping is not None
            found = movement(shape, layer.mapping)
        else:
            found = mappings(shape, chip).best(bits).movement
        words += float(found.dram_words(chip, bits))
        seconds += float(found.seconds(chip, 200e6, bits))
        joules += float(found.energy_on_chip(chip)) * chip.mac
        macs += shape.macs
    return words, seconds, joules, macs


@pytest.mark.parametrize(("published", "accesses"), [(True, 0.0028985), (False, 0.0029605)])
def test_alexnet_is_as_published(published: bool, accesses: float) -> None:
    """0.0029 DRAM accesses a MAC, 34.7 frames a second, and the energy that the MAC's was taken from."""
    words, seconds, joules, macs = total(ALEXNET, eyeriss(), published=published)
    assert macs == 4 * 665_784_864
    assert words / macs == pytest.approx(accesses, abs=1e-7)
    assert words / macs == pytest.approx(ALEXNET.accesses, rel=0.2)
    assert ALEXNET.batch / seconds == pytest.approx(ALEXNET.frames, rel=0.2)
    assert joules == pytest.approx(0.278 * 4 / 34.7, rel=0.01 if published else 0.05)


def test_vgg_16_is_as_published() -> None:
    """0.0035 DRAM accesses a MAC."""
    words, _, _, macs = total(VGG_16, eyeriss(), published=False)
    assert macs == 3 * 15_346_630_656
    assert words / macs == pytest.approx(0.003340, abs=1e-6)
    assert words / macs == pytest.approx(VGG_16.accesses, rel=0.2)


@pytest.mark.parametrize(("zeros", "bits"), [(0.0, 16), (0.2, 16), (0.5, 10.66667), (0.725, 5.86687), (1.0, 2 / 3)])
def test_runs_of_zeros(zeros: float, bits: float) -> None:
    assert run_length_bits(zeros) == pytest.approx(bits, rel=1e-5)


def test_a_chip_has_no_size_that_the_search_forgets() -> None:
    known = {*SIZES, "word", "bandwidth", "mac", "dram_access", "buffer_access", "array_access", "register_access"}
    assert {f.name for f in fields(Chip)} == known
    assert eyeriss().elements == 168
