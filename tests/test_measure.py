"""Measurements read lazily, and the scorer counts classes as the network does."""

from dataclasses import replace

import numpy as np
import pytest

from bqsearch.datasets.base import Dataset, Split
from bqsearch.errors import DatasetError
from bqsearch.graph.ir import Graph
from bqsearch.measure import Scorer
from bqsearch.plan import Choice
from bqsearch.runtime.litert import Runner
from bqsearch.search import prepare
from bqsearch.search.prepare import Problem
from networks import random_inputs, small_int8_network
from search.problems import prepared, write_files


@pytest.fixture(scope="module")
def problem(tmp_path_factory: pytest.TempPathFactory) -> Problem:
    return prepared(write_files(tmp_path_factory.mktemp("measure")))


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
    before = problem.scorer.runner.seconds
    assert measured.flash.total > 0
    assert measured.ram.total > 0
    assert measured.latency > 0
    assert measured.energy == measured.latency * problem.cost.target.power
    assert measured.weight_bytes == sum(entry.layer.size for entry in problem.bank.layers)
    assert problem.scorer.runner.seconds == before


def test_accuracy_is_the_share_of_right_answers_and_is_run_once(problem: Problem) -> None:
    measured = problem.measure(problem.bank.baseline)
    scores = Runner(problem.graph).run(problem.scorer.inputs)[0]
    right = scores.argmax(axis=1) == problem.data.search.y
    assert measured.accuracy == right.mean()
    np.testing.assert_array_equal(measured.correct, right)
    before = problem.scorer.runner.seconds
    assert measured.accuracy == right.mean()
    assert problem.scorer.runner.seconds == before


def test_coarser_weights_are_other_answers(problem: Problem) -> None:
    coarse = {name: Choice.parse("kmeans-2-packed") for name in problem.bank.by_name}
    measured = problem.measure(problem.bank.plan(coarse))
    scores = Runner(measured.model.decoded()).run(problem.scorer.inputs)[0]
    np.testing.assert_array_equal(measured.correct, scores.argmax(axis=1) == problem.data.search.y)
    assert measured.accuracy < problem.measure(problem.bank.baseline).accuracy
    assert measured.weight_bytes == sum(entry.coded.nbytes for entry in measured.model.layers)


def test_of_equal_scores_the_lowest_class_counts(problem: Problem) -> None:
    graph = small_int8_network()
    dense = next(op for op in graph.ops if op.code == "FULLY_CONNECTED")
    flat = {t: np.zeros_like(graph.tensors[t].data) for t in dense.inputs[1:]}
    scorer = Scorer(runner=Runner(graph.with_data(flat)), inputs=random_inputs(graph, 5), labels=np.arange(5))
    assert scorer.correct(problem.measure(problem.bank.baseline).model).tolist() == [True, False, False, False, False]


@pytest.mark.parametrize(("classes", "shift"), [(10, 0), (9, 1)])
def test_a_background_class_shifts_the_labels(problem: Problem, classes: int, shift: int) -> None:
    data = data_of(problem.graph, classes, shift)
    assert len(data.search) > 50
    assert prepare.label_offset(problem.graph, data) == shift
    scorer = prepare.make_scorer(problem.graph, problem.bank, data, data.search, None)
    np.testing.assert_array_equal(scorer.labels, data.search.y + shift)
    model = problem.measure(problem.bank.baseline).model
    assert scorer.correct(model).all()
    assert not replace(scorer, labels=data.search.y + 1 - shift).correct(model).any()


@pytest.mark.parametrize("classes", [8, 11, 2])
def test_other_numbers_of_classes_are_refused(problem: Problem, classes: int) -> None:
    with pytest.raises(DatasetError, match=f"the model has 10 outputs, but own has {classes} classes"):
        prepare.label_offset(problem.graph, data_of(problem.graph, classes))
