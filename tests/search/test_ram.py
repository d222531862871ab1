"""Flash is bought with RAM: where weights dwarf activations, decoded ones need an arena of their own size."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bqsearch.bank.build import OptionBank, build
from bqsearch.bank.weights import Moments
from bqsearch.compress import CompressedModel, compress
from bqsearch.graph import passes
from bqsearch.graph.flatbuffer import serialize
from bqsearch.graph.ir import Graph
from bqsearch.graph.ops import layers
from bqsearch.hardware import target
from bqsearch.hardware.micro import MicroFootprint, coded_file, decoders
from bqsearch.hardware.tflm import WHEEL, tail
from bqsearch.importers.tflite import load
from bqsearch.packing.decode_op import DECODE_OPERATOR
from bqsearch.plan import Choice, Method
from bqsearch.runtime import tflm
from bqsearch.search import front
from bqsearch.search.prepare import Problem
from decoding import need_tflm
from networks import Builder, random_inputs
from search.problems import prepared, search

LUT = Choice.parse("kmeans-16-packed")
BOARD = target.load("stm32f746")


def autoencoder() -> Graph:
    """64 -> 96 -> 48 -> 8 -> 48 -> 96 -> 64: like MLPerf Tiny's for anomalies, of five sizes of weights."""
    net = Builder("int8", 3)
    source = made = net.activation("x", (1, 64))
    for number, wide in enumerate((96, 48, 8, 48, 96, 64)):
        made = net.dense(f"dense_{number}", made, wide)
    return net.build([source], [made])


def bank_of(graph: Graph) -> OptionBank:
    flat = {
        x.name: Moments(mean=np.zeros((1,) * len(x.shape)), variance=np.ones((1,) * len(x.shape)))
        for x in layers(graph)
    }
    return build(graph, flat, ["kmeans"], DECODE_OPERATOR, Method())


def coded(graph: Graph, bank: OptionBank, names: set[str]) -> CompressedModel:
    return compress(graph, bank, bank.plan(dict.fromkeys(names, LUT)))


def on_the_host(footprint: MicroFootprint, model: CompressedModel) -> tuple[int, int]:
    """Head and tail as they are with pointers of 8 bytes."""
    plan = footprint.arena(decoders(model)).plan
    return plan.head, tail(plan.graph, WHEEL)


def check(graph: Graph) -> list[tuple[int, int]]:
    """Nothing coded, all, and the largest layer alone: the figures on the host, which are the interpreter's."""
    bank = bank_of(graph)
    footprint = MicroFootprint(graph=graph, target=BOARD)
    largest = max(bank.layers, key=lambda entry: entry.layer.size).layer
    totals = []
    for names in (set(), set(bank.by_name), {largest.name}):
        model = coded(graph, bank, names)
        told = tflm.allocations(coded_file(model))
        assert on_the_host(footprint, model) == (told.head, told.tail)
        ram = footprint.ram(model)
        assert ram.activations == footprint.activations
        assert ram.activations + ram.decode_buffer == told.head
        if names:
            assert ram.decode_buffer > 0
            assert ram.activations + ram.decode_buffer >= largest.size
            assert ram.peak == largest.name
        else:
            assert ram.decode_buffer == 0
        totals.append((told.head, told.total))
    return totals


def test_decoded_weights_set_the_arena() -> None:
    need_tflm()
    graph = passes.prune(autoencoder())
    raw, every, one = check(graph)
    assert raw[0] < 200  # two activations
    assert every[0] == one[0] == 96 * 64 + 64 + 96  # the largest layer's weights, beside what it reads and writes
    assert every[1] > one[1]  # decoders have state that lasts


def test_the_shared_autoencoder_takes_what_was_measured(shared_models: Path) -> None:
    """As `print_allocations` said of it, uncompressed and with a table of 16 levels for every tensor."""
    need_tflm()
    graph = passes.fuse_padding(passes.integer_io(load(shared_models / "anomaly_autoencoder_int8.tflite")))
    raw, every, _ = check(graph)
    assert raw == (768, 3984)
    assert every == (82688, 87984)


@pytest.fixture(scope="module")
def problem(tmp_path_factory: pytest.TempPathFactory) -> Problem:
    need_tflm()
    folder = tmp_path_factory.mktemp("ram")
    graph = autoencoder()
    codes = random_inputs(graph, 160)
    (folder / "net.tflite").write_bytes(serialize(graph))
    np.savez(folder / "data.npz", x_train=codes[:80], x_test=codes[80:])
    files = {"model": str(folder / "net.tflite"), "data": str(folder / "data.npz")}
    return prepared(
        files, target="nrf52840", objectives="fidelity,flash,ram", trials=60, max_drop=3.0, schemes="kmeans"
    )


def test_a_search_for_both_finds_several_sizes_of_ram(problem: Problem, tmp_path: Path) -> None:
    found = search(problem, tmp_path)
    chosen = [found.records[n] for n in front.pareto_trials(problem, found.records)]
    flash, ram = (np.array([r.metrics[f"{kind}_bytes"] for r in chosen]) for kind in ("flash", "ram"))
    assert len(set(ram.tolist())) >= 4
    assert ram.max() - ram.min() > 5000  # bytes: the largest layer's weights have 6,144
    assert flash.argmin() != ram.argmin()
    baseline = problem.cost.ram(problem.compress(problem.bank.baseline)).total
    assert ram.min() < baseline + 3000
    assert flash.min() < found.baseline.flash.total - 8000
    for record in chosen:
        told: dict[str, Any] = problem.cost.ram(problem.compress(record.plan)).__dict__
        assert told["activations"] + told["decode_buffer"] >= max(
            [layer.size for layer in layers(problem.graph) if record.plan.choices[layer.name].coding != "raw"] or [0]
        )


def test_little_ram_leaves_the_large_layers_raw(problem: Problem, tmp_path: Path) -> None:
    """A limit that the uncompressed network just keeps: the front has points all the same, and they keep it."""
    least = problem.cost.ram(problem.compress(problem.bank.baseline)).total + 2500
    tight = replace(problem, spec=replace(problem.spec, max_ram=least))
    found = search(tight, tmp_path)
    chosen = [found.records[n] for n in front.pareto_trials(tight, found.records)]
    assert chosen
    large = {layer.name for layer in layers(problem.graph) if layer.size > 4000}
    for record in chosen:
        assert record.metrics["ram_bytes"] <= least
        assert {record.plan.choices[name].coding for name in large} == {"raw"}
    assert min(r.metrics["flash_bytes"] for r in chosen) < found.baseline.flash.total
