"""Weights in RAM: the same outputs as from flash, and in the sections where the plan says they lie."""

from functools import cache as cached
from pathlib import Path

import numpy as np
import pytest

from bqsearch.bank.build import OptionBank, build
from bqsearch.bank.weights import Moments
from bqsearch.compress import CompressedModel, compress
from bqsearch.exporters.firmware import export
from bqsearch.firmware import host, toolchain
from bqsearch.firmware.board import HIFIVE1
from bqsearch.firmware.emit import emit
from bqsearch.firmware.emulator import run
from bqsearch.firmware.map import read
from bqsearch.graph.ir import Graph
from bqsearch.graph.ops import layers
from bqsearch.hardware import target
from bqsearch.hardware.streamed import StreamedFootprint
from bqsearch.packing.streams import STREAMS
from bqsearch.plan import Choice, Method
from decoding import need_tflm
from firmware.reference import any_inputs, expected
from firmware.sample import need
from networks import Builder

CHOICES = ["log2-7-packed", "log2-9-huffman", "log2-5-mask", "log2-5-sparse-std75", "keep-256-raw"]


@cached
def dense_network() -> Graph:
    """64 -> 50 -> 10, without softmax."""
    net = Builder("int8", 3)
    source = net.activation("x", (1, 64))
    return net.build([source], [net.dense("second", net.dense("first", source, 50), 10)])


@cached
def bank() -> OptionBank:
    graph = dense_network()
    flat = {x.name: Moments(mean=np.zeros((1, 1)), variance=np.ones((1, 1))) for x in layers(graph)}
    prunes = {p for p in (Choice.parse(text).prune for text in CHOICES) if p is not None}
    return build(graph, flat, ["log2"], STREAMS, Method(), prunes)


def model(first: str, second: str) -> CompressedModel:
    choices = {name: Choice.parse(text) for name, text in zip(bank().by_name, (first, second), strict=True)}
    return compress(dense_network(), bank(), bank().plan(choices))


def footprint() -> StreamedFootprint:
    return StreamedFootprint(graph=dense_network(), target=target.load("hifive1"))


def source(compressed: CompressedModel) -> str:
    return emit(compressed, footprint().schedule(compressed)).source


@pytest.mark.parametrize("text", CHOICES)
def test_placement_changes_nothing_but_the_place(text: str, cache: Path) -> None:
    """And the outputs are those of TensorFlow Lite Micro."""
    need_tflm()
    inputs, outputs = any_inputs(dense_network(), 20), []
    for first, second in ((text, text), (f"{text}-ram", text), (f"{text}-ram", f"{text}-ram")):
        compressed = model(first, second)
        built = host.build(dense_network(), emit(compressed, footprint().schedule(compressed)), cache)
        outputs.append(built.run(inputs))
        moved = [line for line in source(compressed).splitlines() if line.endswith(" BQ_RAM = {")]
        assert len(moved) == sum(2 if entry.coded.table else 1 for entry in compressed.layers if entry.resident)
        assert all(line.startswith("static _Alignas(4) uint8_t ") for line in moved)  # clang makes constants read-only
    wanted = expected(compressed.decoded(), inputs)
    assert len(np.unique(wanted)) > 10
    for found in outputs:
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("text", [text for text in CHOICES if text.startswith("log2")])
def test_fitted_levels_run_as_shifts(text: str) -> None:
    assert source(model(text, f"{text}-ram")).count("bq_dense_shift_s8") == 2


def test_the_linker_puts_weights_where_the_plan_says(cache: Path, tmp_path: Path) -> None:
    need(HIFIVE1)
    inputs, images, answers = any_inputs(dense_network(), 5), {}, []
    for name, texts in {
        "flash": ("log2-9-huffman", "log2-7-packed"),
        "one": ("log2-9-huffman-ram", "log2-7-packed"),
        "both": ("log2-9-huffman-ram", "log2-7-packed-ram"),
    }.items():
        compressed = model(*texts)
        export(tmp_path / name, emit(compressed, footprint().schedule(compressed)), HIFIVE1)
        program = toolchain.build(HIFIVE1, tmp_path / name, tmp_path / name / "build")
        images[name] = read(program.path.read_bytes())
        answers.append(run(program, inputs))
        told = footprint().ram(compressed)
        assert images[name].size(".data") == told.weights
        assert answers[-1].info.arena == told.activations + told.decode_buffer
        arrays = {s.name: s.section for s in images[name].symbols if s.name.startswith(("weights_", "table_"))}
        assert len(arrays) == 4
        resident = {f"{kind}_{op}" for op in compressed.resident for kind in ("weights", "table")}
        assert {array for array, section in arrays.items() if section == ".data"} == resident
        assert {section for array, section in arrays.items() if array not in resident} <= {".rodata"}
    for answer in answers[1:]:
        np.testing.assert_array_equal(answer.outputs, answers[0].outputs)
        np.testing.assert_array_equal(answer.instructions, answers[0].instructions)
    built = model("log2-9-huffman", "log2-7-packed")
    on_the_host = host.build(dense_network(), emit(built, footprint().schedule(built)), cache).run(inputs)
    np.testing.assert_array_equal(answers[0].outputs.view(np.int8), on_the_host.reshape(5, -1))
    moved = images["both"].ram - images["flash"].ram
    assert moved == footprint().ram(model("log2-9-huffman-ram", "log2-7-packed-ram")).weights > 0
    assert abs(images["both"].flash - images["flash"].flash) <= 16  # the load image takes the place of constants
