"""Every registered objective keeps the contract and reads the right figure in its unit."""

import pytest

from bqsearch import registry
from bqsearch.measure import Measurements
from bqsearch.plan import Choice
from bqsearch.search.prepare import Problem
from bqsearch.testing.objectives import check_objective
from search.problems import prepared, write_files


@pytest.fixture(scope="module")
def problem(tmp_path_factory: pytest.TempPathFactory) -> Problem:
    return prepared(write_files(tmp_path_factory.mktemp("objectives")))


@pytest.fixture
def measured(problem: Problem) -> Measurements:
    return problem.measure(problem.bank.plan({name: Choice.parse("kmeans-8-packed") for name in problem.bank.by_name}))


@pytest.mark.parametrize("name", registry.names("objective"))
def test_contract(name: str, measured: Measurements) -> None:
    objective = registry.load("objective", name)
    assert objective.name == name
    check_objective(objective, measured)


@pytest.mark.parametrize("name", registry.names("objective"))
def test_only_data_objectives_run_the_network(name: str, measured: Measurements) -> None:
    objective = registry.load("objective", name)
    before = measured.scorer.engine.seconds
    objective.read(measured)
    assert (measured.scorer.engine.seconds > before) == (objective.needs == "data")


def test_the_shipped_ones_are_there() -> None:
    assert {"accuracy", "energy", "fidelity", "flash", "latency", "ram"} <= set(registry.names("objective"))


def test_figures_and_units(measured: Measurements) -> None:
    read = {name: registry.load("objective", name) for name in registry.names("objective")}
    assert {name: (o.direction, o.unit) for name, o in read.items()} == {
        "accuracy": ("maximize", "share"),
        "energy": ("minimize", "mJ"),
        "fidelity": ("maximize", "share"),
        "flash": ("minimize", "B"),
        "latency": ("minimize", "ms"),
        "ram": ("minimize", "B"),
    }
    assert read["accuracy"].read(measured) == measured.correct.sum() / len(measured.scorer.inputs)
    assert read["fidelity"].read(measured) == measured.fidelities.mean()
    assert read["flash"].read(measured) == measured.cost.flash(measured.model).total
    assert read["ram"].read(measured) == measured.cost.ram(measured.model).total
    cycles, board = measured.cost.cycles(measured.model), measured.cost.target
    assert read["latency"].read(measured) == pytest.approx(1e3 * cycles / board.frequency)
    assert read["energy"].read(measured) == pytest.approx(1e3 * cycles / board.frequency * board.power)


def test_smaller_weights_are_better_in_flash(problem: Problem) -> None:
    objective = registry.load("objective", "flash")
    coarse = problem.bank.plan({name: Choice.parse("kmeans-4-huffman") for name in problem.bank.by_name})
    assert objective.read(problem.measure(coarse)) < objective.read(problem.measure(problem.bank.baseline))
