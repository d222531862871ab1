"""What boards get computes, bit for bit, what the same weights do uncompressed; and it is as small as was measured."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bqsearch.bank.build import OptionBank, build
from bqsearch.bank.weights import Moments
from bqsearch.compress import CompressedModel, compress
from bqsearch.datasets import feed, source
from bqsearch.errors import PlanError
from bqsearch.exporters.tflm import export
from bqsearch.graph import passes
from bqsearch.graph.ir import Graph, Quantization
from bqsearch.graph.ops import layers
from bqsearch.graph.signed import to_signed
from bqsearch.hardware.micro import raw_file
from bqsearch.importers.tflite import load
from bqsearch.packing.decode_op import DECODE_OPERATOR
from bqsearch.plan import Choice, Method, Prune
from bqsearch.runtime import tflm
from bqsearch.types import Array
from decoding import need_tflm
from networks import Builder, newer_network, random_inputs, small_int8_network, small_uint8_network

ROOT = Path(__file__).parents[2]
INPUTS = 100
LEVELS = [(256, "huffman"), *((levels, coding) for levels in (16, 8, 4) for coding in ("packed", "huffman"))]
SMALLEST = 200  # weights of a tensor that is coded
MEASURED = {  # bytes of files without names and the like, then at LEVELS with exact codebooks
    "kws_ds_cnn": (30_640, 30_528, 23_632, 23_744, 20_912, 20_816, 17_968, 18_080),
    "resnet8": (86_096, 83_552, 50_368, 48_752, 40_688, 39_408, 30_864, 30_576),
    "person_detect": (239_248, 237_680, 150_016, 146_448, 124_432, 121_040, 98_096, 97_360),
    "vww_96": (239_344, 100_112, 150_048, 86_752, 124_480, 81_488, 98_144, 76_640),
    "anomaly_autoencoder": (274_288, 186_240, 144_064, 121_936, 111_040, 92_992, 77_856, 67_904),
}
LARGE = ("squeezenet_v1.1", "inception_v1")  # up to a second for an input
REAL = [
    *[(name, INPUTS) for name in (*MEASURED, "hello_world", "lenet_300_100", "micro_speech")],
    *[(name, 3) for name in LARGE],
    *[pytest.param(name, INPUTS, marks=pytest.mark.slow) for name in LARGE],
]
DATA = {
    "anomaly_autoencoder": "micro_speech.npz",
    "inception_v1": "imagenet/val",
    "kws_ds_cnn": "keywords_mfcc.npz",
    "lenet_300_100": "mnist.npz",
    "micro_speech": "micro_speech.npz",
    "person_detect": "person/test",
    "resnet8": "cifar10.npz",
    "squeezenet_v1.1": "imagenet/val",
    "vww_96": "person/test",
}


def bank_of(graph: Graph, schemes: tuple[str, ...] = ("kmeans",)) -> OptionBank:
    flat = {x.name: Moments(mean=np.full((1, 1), 3.0), variance=np.ones((1, 1))) for x in layers(graph)}
    return build(graph, flat, schemes, DECODE_OPERATOR, Method(), [Prune(rule="std", amount=20)])


def mixed(graph: Graph, seed: int, schemes: tuple[str, ...] = ("kmeans",)) -> CompressedModel:
    """Any coding for each layer, and any level that leaves something of a deep network; about one in six stays raw."""
    bank, rng = bank_of(graph, schemes), np.random.default_rng(seed)
    choices = {}
    for name, entry in bank.by_name.items():
        coding = rng.choice(["packed", "packed", "huffman", "huffman", "mask", "raw"])
        offered = [choice for choice, _, _ in entry.choices() if choice.coding == coding and choice.levels >= 8]
        if offered:
            choices[name] = offered[rng.integers(len(offered))]
    return compress(graph, bank, bank.plan(choices))


def codings(model: CompressedModel) -> set[str]:
    return {entry.option.choice.coding for entry in model.layers}


def real_inputs(name: str, graph: Graph, count: int) -> Array:
    """Of the data that the network is scored on where they are there, else noise."""
    shape = graph.input.shape[1:]
    path = Path(os.environ.get("BQSEARCH_DATA", "")) / DATA.get(name, "none")
    if not path.exists():
        return np.random.default_rng(0).integers(-128, 128, (count, *shape)).astype(np.int8)
    held_out = source.load(str(path), 0, None, shape, False).holdout.x
    return feed.encode(feed.windows(held_out, shape)[:count], graph.input, None)


def check(model: CompressedModel, inputs: Array) -> None:
    outputs = tflm.run(export(model), inputs)
    assert len(np.unique(outputs, axis=0)) > 1
    assert np.array_equal(outputs, tflm.run(raw_file(model.decoded()), inputs))


@pytest.mark.parametrize(("name", "count"), REAL)
def test_real_networks_compute_the_same(shared_models: Path, name: str, count: int) -> None:
    need_tflm()
    graph = passes.fuse_padding(passes.integer_io(load(shared_models / f"{name}_int8.tflite")))
    model = mixed(graph, 1)
    assert len(codings(model)) > 1
    check(model, real_inputs(name, graph, count))


@pytest.mark.parametrize("scheme", ["kmeans", "kmeans_channel"])
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("make", [small_int8_network, newer_network])
def test_small_networks_compute_the_same(make: Callable[..., Graph], seed: int, scheme: str) -> None:
    """With a codebook for each tensor, and for each channel."""
    need_tflm()
    graph = make(seed=seed)
    model = mixed(graph, seed, (scheme,))
    assert (scheme, "packed") in {(e.option.choice.scheme, e.option.choice.coding) for e in model.layers}
    check(model, random_inputs(graph, INPUTS))


def test_codebooks_by_channel_are_not_packed_where_the_tensor_has_one_scale() -> None:
    """The interpreter takes the channels from the scales, and would read the first channel's codebook for all."""
    need_tflm()
    net = Builder("int8", 3)
    source = net.activation("x", (1, 24))
    output = net.dense("dense", source, 9)
    for tensor in net.ops[0].inputs[1:]:
        scale = net.tensors[tensor].quantization.scales[:1]
        of_tensor = Quantization(scales=scale, zero_points=np.zeros(1, np.int64))
        net.tensors[tensor] = replace(net.tensors[tensor], quantization=of_tensor)
    graph = net.build([source], [output])
    bank = bank_of(graph, ("kmeans_channel",))
    offered = [choice for choice, _, _ in bank.by_name["dense"].choices() if choice.scheme == "kmeans_channel"]
    assert {choice.coding for choice in offered} == {"raw", "mask"}
    for choice in offered[::7]:
        check(compress(graph, bank, bank.plan({"dense": choice})), random_inputs(graph, 10))
    with pytest.raises(PlanError, match="packed cannot code"):
        bank.by_name["dense"].option(Choice.parse("kmeans_channel-4-packed"))


def test_a_uint8_network_computes_the_same_once_it_is_signed() -> None:
    need_tflm()
    graph = to_signed(small_uint8_network())
    check(mixed(graph, 3), random_inputs(graph, INPUTS))


def coded_at(bank: OptionBank, levels: int, coding: str) -> dict[str, Choice]:
    """All larger tensors alike, but for those that it makes no smaller."""
    choice = Choice(scheme="keep" if levels == 256 else "kmeans", levels=levels, coding=coding)
    found = {}
    for name, entry in bank.by_name.items():
        sizes = {offered: nbytes for offered, nbytes, _ in entry.choices()}
        if entry.layer.size >= SMALLEST and sizes.get(choice, entry.layer.size) < entry.layer.size:
            found[name] = choice
    return found


@pytest.mark.parametrize("name", MEASURED)
def test_files_are_no_larger_than_was_measured(shared_models: Path, name: str) -> None:
    graph = passes.integer_io(load(shared_models / f"{name}_int8.tflite"))
    bank = bank_of(graph)
    sizes = [len(raw_file(graph))]
    for levels, coding in LEVELS:
        model = compress(graph, bank, bank.plan(coded_at(bank, levels, coding)))
        large = [entry for entry in model.layers if entry.layer.size >= SMALLEST]
        if levels == 256:
            assert not model.constants
        else:
            assert all(len(np.unique(entry.weights)) <= levels for entry in large)
        sizes.append(len(export(model)))
    assert all(size <= measured for size, measured in zip(sizes, MEASURED[name], strict=True)), sizes


def test_equal_plans_give_equal_bytes() -> None:
    graph = small_int8_network()
    assert export(mixed(graph, 0)) == export(mixed(small_int8_network(), 0))
    assert len({export(mixed(graph, seed)) for seed in range(4)}) == 4


def test_another_process_writes_the_same_bytes(tmp_path: Path) -> None:
    """Nothing depends on the order of a hash table or on what ran before."""
    code = (
        "import sys; sys.path[:0] = sys.argv[1:3]; from pathlib import Path\n"
        "from test_tflm import export, mixed; from networks import newer_network\n"
        "Path(sys.argv[3]).write_bytes(export(mixed(newer_network(), 2)))"
    )
    content = export(mixed(newer_network(), 2))
    path = tmp_path / "one.tflite"
    command = [sys.executable, "-c", code, str(Path(__file__).parent), str(ROOT / "tests"), str(path)]
    subprocess.run(command, check=True, env={"PYTHONHASHSEED": "1", "PATH": "/usr/bin:/bin"}, cwd=ROOT)
    assert path.read_bytes() == content


def test_all_raw_needs_no_decoder() -> None:
    graph = small_int8_network()
    bank = bank_of(graph)
    raw = {name: Choice(scheme="kmeans", levels=4, coding="raw") for name in bank.by_name}
    for model in (compress(graph, bank, bank.baseline), compress(graph, bank, bank.plan(raw))):
        assert b"TFLM_DECODE" not in export(model)
    packed = {"stem": Choice(scheme="kmeans", levels=4, coding="packed")}
    assert b"TFLM_DECODE" in export(compress(graph, bank, bank.plan(packed)))
