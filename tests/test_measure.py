"""Measurements read lazily, and the scorer counts classes as the network does."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import r2_score

from bqsearch.datasets.base import Dataset, Split
from bqsearch.errors import DatasetError
from bqsearch.graph.flatbuffer import serialize
from bqsearch.graph.ir import Graph, Quantization, Tensor
from bqsearch.hardware.streamed import StreamedFootprint
from bqsearch.measure import LiteRt, Scorer, Streamed, real_values
from bqsearch.plan import Choice
from bqsearch.runtime import tflm
from bqsearch.runtime.litert import Runner
from bqsearch.search import prepare
from bqsearch.search.prepare import Problem
from bqsearch.types import Array, Floats
from decoding import need_tflm
from networks import random_inputs, small_int8_network
from search.problems import prepared, write_files


@pytest.fixture(scope="module")
def problem(tmp_path_factory: pytest.TempPathFactory) -> Problem:
    return prepared(write_files(tmp_path_factory.mktemp("measure")), schemes="kmeans,uniform")


def data_of(graph: Graph, classes: int, shift: int = 0) -> Dataset:
    """Inputs labeled with the network's own answers, less `shift`; those that have no class any more are left out."""
    codes = random_inputs(graph, 300)
    labels = Runner(graph, batch=50).run(codes)[0].argmax(axis=1) - shift
    kept = (labels >= 0) & (labels < classes)
    split = Split(x=codes[kept], y=labels[kept].astype(np.int64))
    names = tuple(str(i) for i in range(classes))
    return Dataset(name="own", classes=names, train=split, search=split, holdout=split)


def test_static_figures_run_nothing(problem: Problem) -> None:
    measured = problem.measure(problem.bank.baseline)
    before = problem.scorer.engine.seconds
    assert measured.flash.total > 0
    assert measured.ram.total > 0
    assert measured.latency > 0
    assert measured.energy == measured.latency * problem.cost.target.power
    assert measured.weight_bytes == sum(entry.layer.size for entry in problem.bank.layers)
    assert problem.scorer.engine.seconds == before


def test_accuracy_is_the_share_of_right_answers_and_is_run_once(problem: Problem) -> None:
    measured = problem.measure(problem.bank.baseline)
    scores = Runner(problem.graph).run(problem.scorer.inputs)[0]
    right = scores.argmax(axis=1) == problem.data.search.y
    assert measured.accuracy == right.mean()
    np.testing.assert_array_equal(measured.correct, right)
    before = problem.scorer.engine.seconds
    assert measured.accuracy == right.mean()
    assert problem.scorer.engine.seconds == before


def test_coarser_weights_are_other_answers(problem: Problem) -> None:
    coarse = {name: Choice.parse("kmeans-2-packed") for name in problem.bank.by_name}
    measured = problem.measure(problem.bank.plan(coarse))
    scores = Runner(measured.model.decoded()).run(problem.scorer.inputs)[0]
    np.testing.assert_array_equal(measured.correct, scores.argmax(axis=1) == problem.data.search.y)
    assert measured.accuracy < problem.measure(problem.bank.baseline).accuracy
    assert measured.weight_bytes == sum(entry.coded.nbytes for entry in measured.model.layers)


def outputs_of(graph: Graph, inputs: Array) -> Floats:
    """Dequantized by hand."""
    quantization = graph.output.quantization
    codes = Runner(graph).run(inputs)[0].astype(np.float64)
    return (codes - quantization.zero_points[0]) * quantization.scales[0]


def test_fidelity_is_the_coefficient_of_determination(problem: Problem) -> None:
    coarse = {name: Choice.parse("kmeans-8-packed") for name in problem.bank.by_name}
    measured = problem.measure(problem.bank.plan(coarse))
    before = outputs_of(problem.graph, problem.scorer.inputs)
    after = outputs_of(measured.model.decoded(), problem.scorer.inputs)
    np.testing.assert_allclose(measured.outputs, after, rtol=1e-6)
    wanted = r2_score(before, after, multioutput="variance_weighted")
    assert measured.fidelity == pytest.approx(wanted, abs=1e-6)
    assert 0 < measured.fidelity < 1
    spread = ((before - before.mean(axis=0)) ** 2).sum() / len(before)
    np.testing.assert_allclose(measured.fidelities, 1 - ((after - before) ** 2).sum(axis=1) / spread, atol=1e-6)


def test_the_uncompressed_network_has_a_fidelity_of_one(problem: Problem) -> None:
    measured = problem.measure(problem.bank.baseline)
    assert measured.fidelity == 1.0
    assert (measured.fidelities == 1.0).all()


def test_accuracy_and_fidelity_take_one_run(problem: Problem) -> None:
    measured = problem.measure(
        problem.bank.plan({name: Choice.parse("uniform-8-raw") for name in problem.bank.by_name})
    )
    assert problem.scorer.reference.shape == (len(problem.data.search), 10)
    before = problem.scorer.engine.seconds
    assert measured.accuracy <= 1
    after = problem.scorer.engine.seconds
    assert after > before
    assert measured.fidelity < 1
    assert problem.scorer.engine.seconds == after


def test_windows_of_a_row_are_one_score(problem: Problem) -> None:
    scorer = replace(problem.scorer, windows=3)
    outputs = problem.scorer.reference + np.random.default_rng(0).normal(0, 0.05, problem.scorer.reference.shape)
    single = problem.scorer.fidelities(outputs)
    assert scorer.fidelities(outputs) == pytest.approx([single[i : i + 3].mean() for i in range(0, len(single), 3)])


def test_accuracy_without_labels_is_refused(problem: Problem) -> None:
    bare = replace(problem.scorer, labels=None)
    with pytest.raises(DatasetError, match="accuracy needs labels"):
        bare.correct(bare.reference)


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_real_values_of_codes(dtype: str) -> None:
    quantization = Quantization(scales=np.array([0.5], np.float32), zero_points=np.array([3]))
    tensor = Tensor(name="out", shape=(1, 3), dtype=dtype, quantization=quantization)
    found = real_values(np.array([[0, 3, 127]], dtype), tensor)
    assert found.tolist() == [[-1.5, 0.0, 62.0]]
    assert real_values(np.array([1.5], np.float32), replace(tensor, quantization=None)).tolist() == [1.5]


def test_of_equal_scores_the_lowest_class_counts(problem: Problem) -> None:
    graph = small_int8_network()
    dense = next(op for op in graph.ops if op.code == "FULLY_CONNECTED")
    flat = {t: np.zeros_like(graph.tensors[t].data) for t in dense.inputs[1:]}
    model = problem.measure(problem.bank.baseline).model
    inputs = random_inputs(graph, 5)
    engine = LiteRt(Runner(graph.with_data(flat)))
    scorer = Scorer(engine=engine, output=graph.output, baseline=model, inputs=inputs, labels=np.arange(5))
    assert scorer.correct(scorer.outputs(model)).tolist() == [True, False, False, False, False]
    assert scorer.fidelities(scorer.reference).tolist() == [1.0] * 5  # and nothing is divided by their variance of 0
    assert scorer.fidelities(scorer.reference + np.eye(5, 10)[::-1]).tolist() == [0.0] * 5
    assert scorer.fidelities(scorer.reference + np.eye(5, 10)[2]).tolist() == [0.0] * 5


@pytest.mark.parametrize(("classes", "shift"), [(10, 0), (9, 1)])
def test_a_background_class_shifts_the_labels(problem: Problem, classes: int, shift: int) -> None:
    data = data_of(problem.graph, classes, shift)
    assert len(data.search) > 50
    assert prepare.label_offset(problem.graph, data) == shift
    scorer = prepare.make_scorer(problem.graph, problem.bank, data, data.search, None)
    np.testing.assert_array_equal(scorer.labels, data.search.y + shift)
    model = problem.measure(problem.bank.baseline).model
    assert scorer.correct(scorer.outputs(model)).all()
    assert not replace(scorer, labels=data.search.y + 1 - shift).correct(scorer.outputs(model)).any()


@pytest.mark.parametrize("classes", [8, 11, 2])
def test_other_numbers_of_classes_are_refused(problem: Problem, classes: int) -> None:
    with pytest.raises(DatasetError, match=f"the model has 10 outputs, but own has {classes} classes"):
        prepare.label_offset(problem.graph, data_of(problem.graph, classes))


def test_bqsearchs_runtime_computes_what_tensorflow_lite_micro_does_of_the_decoded_weights(problem: Problem) -> None:
    need_tflm()
    assert isinstance(problem.cost.footprint, StreamedFootprint)
    done: list[int] = []
    engine = Streamed(problem.cost.footprint, done.append)
    coarse = {name: Choice(scheme="kmeans", levels=5, coding="huffman") for name in problem.bank.by_name}
    model = problem.compress(problem.bank.plan(coarse))
    inputs = problem.scorer.inputs[:40]
    outputs = engine.opened(model)(inputs)
    np.testing.assert_array_equal(outputs, tflm.run(serialize(model.decoded()), inputs))
    assert (outputs != problem.scorer.engine.opened(model)(inputs)).any()
    assert done == [40]
    assert engine.seconds > 0
