"""Scores survive, belong to the very bytes that were run, and never stand in a search's way."""

import sqlite3
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bqsearch.errors import OutputError
from bqsearch.search import race
from bqsearch.search.prepare import Problem
from bqsearch.search.scores import FILE, Rows, Scores, digest_of, key_of
from bqsearch.search.space import Space
from search.problems import prepared, write_files


def rows(count: int, labeled: bool = True, seed: int = 0) -> Rows:
    rng = np.random.default_rng(seed)
    return Rows(correct=rng.random(count) < 0.5 if labeled else None, fidelities=rng.normal(size=count))


def same(one: Rows | None, other: Rows) -> bool:
    if one is None or (one.correct is None) != (other.correct is None):
        return False
    labels = one.correct is None or (one.correct == other.correct).all()  # type: ignore[attr-defined]
    return bool(labels) and one.fidelities.tobytes() == other.fidelities.tobytes()


@pytest.mark.parametrize("labeled", [True, False])
@pytest.mark.parametrize("count", [1, 350])
def test_what_is_put_is_got_bit_for_bit(tmp_path: Path, labeled: bool, count: int) -> None:
    scores, told = Scores(tmp_path / "new" / "folder"), rows(count, labeled)
    assert scores.get(b"key") is None
    scores.put(b"key", told)
    assert same(Scores(tmp_path / "new" / "folder").get(b"key"), told)
    assert scores.get(b"other") is None


def test_more_rows_replace_fewer(tmp_path: Path) -> None:
    scores = Scores(tmp_path)
    scores.put(b"key", rows(40))
    scores.put(b"key", rows(80, seed=1))
    assert same(scores.get(b"key"), rows(80, seed=1))


def test_rows_are_cut_and_put_together() -> None:
    whole = rows(50)
    assert same(whole.first(20).and_then(Rows(correct=whole.correct[20:], fidelities=whole.fidelities[20:])), whole)
    assert len(whole.first(20)) == 20


def test_several_write_at_once(tmp_path: Path) -> None:
    def write(worker: int) -> None:
        mine = Scores(tmp_path)
        for number in range(25):
            mine.put(f"{worker} {number}".encode(), rows(10, seed=number))

    threads = [threading.Thread(target=write, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    scores = Scores(tmp_path)
    assert all(same(scores.get(f"{w} {n}".encode()), rows(10, seed=n)) for w in range(4) for n in range(25))


@given(content=st.binary(min_size=1, max_size=400))
@settings(max_examples=25)  # a file each
def test_a_file_that_is_none_is_refused_with_the_cure(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.mktemp("odd")
    (folder / FILE).write_bytes(b"no database " + content)
    with pytest.raises(OutputError, match="remove that file, or choose another --scores"):
        Scores(folder)


def test_odd_rows_are_none(tmp_path: Path) -> None:
    scores = Scores(tmp_path)
    with sqlite3.connect(tmp_path / FILE) as connection:
        connection.execute("INSERT INTO scores VALUES (?, ?, ?)", (b"short", b"\1", b"1234567"))
        connection.execute("INSERT INTO scores VALUES (?, ?, ?)", (b"uneven", b"\1\0", b"12345678"))
    connection.close()
    assert scores.get(b"short") is None
    assert scores.get(b"uneven") is None


def test_a_file_that_goes_away_costs_time_only(tmp_path: Path) -> None:
    scores = Scores(tmp_path)
    (tmp_path / FILE).unlink()
    (tmp_path / FILE).mkdir()
    scores.put(b"key", rows(3))
    assert scores.get(b"key") is None


@pytest.fixture(scope="module")
def problem(tmp_path_factory: pytest.TempPathFactory) -> Problem:
    return prepared(write_files(tmp_path_factory.mktemp("scores")))


def test_keys_are_of_all_that_a_score_depends_on(problem: Problem) -> None:
    scorer, graph, order = problem.scorer, problem.graph.fingerprint, race.order(len(problem.scorer.inputs))
    assert digest_of(replace(scorer, inputs=scorer.inputs.copy()), graph, order) == digest_of(scorer, graph, order)
    digests = {digest_of(*told) for told in ((scorer, graph, order), (scorer, "another", order))}
    digests.add(digest_of(scorer, graph, np.roll(order, 1)))
    for change in ("inputs", "labels"):
        values = np.array(getattr(scorer, change))
        values.flat[3] ^= 1
        digests.add(digest_of(replace(scorer, **{change: values}), graph, order))
    assert len(digests) == 5
    space = Space.of(problem.bank, problem.cost, problem.max_ram)
    constants = dict(problem.compress(space.plan(space.sweep(9)[4])).constants)
    keys = {key_of(b"digest", constants), key_of(b"other", constants), key_of(b"digest", {})}
    tensor = next(iter(constants))
    changed = constants[tensor].copy()
    changed.flat[0] ^= 1
    keys.add(key_of(b"digest", {**constants, tensor: changed}))
    assert len(keys) == 4
    assert key_of(b"digest", dict(reversed(constants.items()))) in keys
