"""A cluster of several nodes: the same search as here, whatever happens to its machines."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from bqsearch.errors import PoolError
from bqsearch.search import driver
from bqsearch.search.crew import Crew
from bqsearch.search.evaluate import Evaluator
from bqsearch.search.pool import opened
from bqsearch.search.prepare import Problem
from bqsearch.search.record import Record
from search.problems import prepared, store_of, timeless, write_files

pytest.importorskip("ray")
pytestmark = pytest.mark.filterwarnings(r"ignore:os\.fork\(\) was called:RuntimeWarning")  # JAX, of Ray's processes


@pytest.fixture(scope="module")
def problem(tmp_path_factory: pytest.TempPathFactory) -> Problem:
    return prepared(write_files(tmp_path_factory.mktemp("cluster")), trials=60, max_drop=1.0)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Three nodes of one core."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    import ray
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    for _ in range(2):
        made.add_node(num_cpus=1)
    yield made
    ray.shutdown()
    made.shutdown()


def test_a_search_over_nodes_is_the_same_as_here_even_if_one_is_lost(
    problem: Problem, cluster: Any, tmp_path: Path
) -> None:
    lost = []

    def on_trial(number: int, record: Record) -> None:
        if number == 8:
            node = sorted(cluster.worker_nodes, key=lambda node: node.node_id)[0]
            cluster.remove_node(node, allow_graceful=False)
            lost.append(node)
        if number == 30:
            cluster.add_node(num_cpus=1)

    for name in ("cluster", "here"):
        (tmp_path / name).mkdir()
    crew = Crew(workers=3, ray=cluster.address, patience=60.0)
    found = driver.search(problem, store_of(problem, tmp_path / "cluster"), on_trial, Event(), crew)
    assert len(lost) == 1
    here = driver.search(problem, store_of(problem, tmp_path / "here"), lambda n, r: None, Event(), Crew(workers=3))
    assert timeless(found) == timeless(here)


def test_more_workers_than_cores_are_refused(problem: Problem, cluster: Any) -> None:
    with (
        pytest.raises(PoolError, match="has 3 cores for 4 workers: name fewer with --workers"),
        opened(Evaluator(problem=problem), Crew(workers=4, ray=cluster.address)),
    ):
        raise AssertionError("there are no such workers")
    with opened(Evaluator(problem=problem), Crew(ray=cluster.address)) as pool:
        assert pool.workers == 3


def test_a_closed_pool_asks_nothing_more_of_its_workers(problem: Problem, cluster: Any) -> None:
    with opened(Evaluator(problem=problem), Crew(workers=1, ray=cluster.address)) as pool:
        answers = [pool.submit(problem.bank.baseline, []) for _ in range(200)]
        answers[0].result()
    assert answers[-1].cancelled()
    assert pool.submit(problem.bank.baseline, []).cancelled()


def test_a_cluster_that_is_not_there_is_one_clear_error(problem: Problem) -> None:
    with (
        pytest.raises(PoolError, match=r"cannot join the Ray cluster 127.0.0.1:1 .*ray start --head"),
        opened(Evaluator(problem=problem), Crew(ray="127.0.0.1:1")),
    ):
        raise AssertionError("there is no such cluster")
