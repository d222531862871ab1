"""What is written is what was scored: the same bytes each time, and LiteRT on them gives the same answers."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bqsearch.exporters import tflite
from bqsearch.graph.flatbuffer import serialize
from bqsearch.graph.ir import Graph
from bqsearch.importers.tflite import parse
from bqsearch.plan import Choice, Plan
from bqsearch.quantizers.base import offset_codes
from bqsearch.search.prepare import Problem
from networks import litert_outputs, small_int8_network, small_uint8_network
from search.problems import prepared, write_files

CHOICES = [
    *["keep-256-raw", "kmeans-8-huffman", "uniform-16-packed", "binquant-16-huffman", "binquant_optimal-4-packed"],
    *[
        "entropy-12-huffman",
        "kmeans_channel-5-packed",
        "kmeans-16-sparse-saliency60",
        "binquant-6-mask-std50-halves0.3",
    ],
]


@pytest.fixture(scope="module", params=[small_int8_network, small_uint8_network])
def problem(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Problem:
    make: Callable[[int], Graph] = request.param
    schemes = sorted({Choice.parse(text).scheme for text in CHOICES})
    return prepared(write_files(tmp_path_factory.mktemp("export"), make), schemes=schemes)


def plans(problem: Problem) -> list[Plan]:
    """One for each choice throughout, and a mixed one."""
    names = list(problem.bank.by_name)
    same = [{name: Choice.parse(text) for name in names} for text in CHOICES]
    mixed = {name: Choice.parse(CHOICES[i % len(CHOICES)]) for i, name in enumerate(names, start=1)}
    return [problem.bank.plan(choices) for choices in [*same, mixed]]


def test_litert_answers_as_the_scorer_scored(problem: Problem) -> None:
    for plan in plans(problem):
        measured = problem.measure(plan)
        outputs = litert_outputs(tflite.export(measured.model), problem.scorer.inputs)
        found = outputs.reshape(len(outputs), -1).argmax(axis=1)
        np.testing.assert_array_equal(found == problem.scorer.labels, measured.correct, err_msg=str(plan))


def test_equal_plans_give_equal_bytes(problem: Problem) -> None:
    made = [tflite.export(problem.compress(plan)) for plan in plans(problem)]
    again = [tflite.export(problem.compress(Plan.from_json(plan.to_json()))) for plan in plans(problem)]
    assert made == again
    assert len(set(made)) == len(made)


def test_the_file_holds_what_the_streams_decode_to(problem: Problem) -> None:
    for plan in plans(problem):
        model = problem.compress(plan)
        read = parse(tflite.export(model))
        for entry in model.layers:
            codes = offset_codes(read.tensors[entry.layer.weights].data)
            stored = np.moveaxis(codes, entry.layer.channel_axis, 0).reshape(-1)
            np.testing.assert_array_equal(stored, entry.container.decode(entry.coded))


def test_keeping_everything_changes_nothing(problem: Problem) -> None:
    read = parse(tflite.export(problem.compress(problem.bank.baseline)))
    assert read.fingerprint == problem.graph.fingerprint


def test_nothing_is_in_the_file_that_no_runtime_reads(problem: Problem) -> None:
    for plan in plans(problem):
        content = tflite.export(problem.compress(plan))
        assert {tensor.name for tensor in parse(content).tensors} == {""}
        assert b"net/" not in content
        assert len(content) < len(serialize(problem.compress(plan).decoded()))


def test_another_process_writes_the_same_bytes(problem: Problem, tmp_path: Path) -> None:
    """Nothing depends on the order of a hash table or on what ran before."""
    code = (
        "import sys; from pathlib import Path; from bqsearch.graph.flatbuffer import serialize\n"
        "from bqsearch.importers.tflite import load; Path(sys.argv[2]).write_bytes(serialize(load(Path(sys.argv[1]))))"
    )
    content = tflite.export(problem.compress(plans(problem)[-1]))
    (tmp_path / "one.tflite").write_bytes(content)
    for seed in ("1", "2"):
        command = [sys.executable, "-c", code, str(tmp_path / "one.tflite"), str(tmp_path / "two.tflite")]
        subprocess.run(command, check=True, env={"PYTHONHASHSEED": seed, "PATH": "/usr/bin:/bin"})
        assert (tmp_path / "two.tflite").read_bytes() == content
