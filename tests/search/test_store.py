"""Finished trials survive everything that may happen to their file, and belong to one run."""

import gc
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from time import monotonic
from typing import Any

import optuna
import pytest
from optuna.distributions import IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from bqsearch.errors import MissingExtraError, StorageError
from bqsearch.plan import Choice, Plan
from bqsearch.search import store as store_module
from bqsearch.search.record import Record, record_of
from bqsearch.search.store import TrialStore, open_journal, open_url

DIRECTIONS = ["maximize", "minimize"]
FINGERPRINT = {"seed": 0, "schemes": ["kmeans"], "normalize": None, "max_drop": 1.0}


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """SQLite connections are closed within the test that opened them."""
    yield
    gc.collect()


def record(number: int) -> Record:
    return Record(
        plan=Plan(choices={"dense": Choice(scheme="kmeans", levels=2 + number, coding="packed")}),
        values=None if number % 3 == 2 else (0.5 + number / 100, 1e3 / (1 + number)),
        constraints={"flash": -1.5, "ram": 1.0 if number % 3 == 2 else -2.0},
        metrics={"flash_bytes": 1000 + number, "error_search": 0.1},
        drop_bound=0.5,
        seconds=0.1,
    )


def trial(number: int) -> FrozenTrial:
    told = record(number)
    return create_trial(
        state=TrialState.PRUNED if told.values is None else TrialState.COMPLETE,
        params={"dense": number},
        distributions={"dense": IntDistribution(0, 200)},
        values=told.values,
        user_attrs={"record": told.to_json()},
    )


def journal(path: Path, fingerprint: dict[str, Any] = FINGERPRINT, resume: bool = True) -> TrialStore:
    return TrialStore(open_journal(path), "study", DIRECTIONS, fingerprint, resume)


def database(path: Path, fingerprint: dict[str, Any] = FINGERPRINT, resume: bool = False) -> TrialStore:
    return TrialStore(open_url(f"sqlite:///{path}"), "study", DIRECTIONS, fingerprint, resume)


def fill(store: TrialStore, count: int, start: int = 0) -> None:
    for number in range(start, start + count):
        store.add(trial(number))


@pytest.mark.parametrize("opened", [journal, database])
def test_trials_survive_reopening(opened: Any, tmp_path: Path) -> None:
    fill(opened(tmp_path / "file"), 7)
    fill(opened(tmp_path / "file", resume=True), 3, start=7)
    found = opened(tmp_path / "file", resume=True).finished()
    assert [record_of(t) for t in found] == [record(n) for n in range(10)]
    assert [t.number for t in found] == list(range(10))
    assert [t.state.name for t in found[:3]] == ["COMPLETE", "COMPLETE", "PRUNED"]


def test_a_cut_last_line_loses_only_its_trial(tmp_path: Path) -> None:
    path = tmp_path / "file"
    fill(journal(path), 5)
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    for cut in (1, 10, len(lines[-1]) - 1):
        path.write_bytes(whole[:-cut])
        store = journal(path)
        assert len(store.finished()) == 4
        assert path.read_bytes().startswith(b"".join(lines[:-1]))
        assert all(json.loads(line) for line in path.read_text().splitlines())
        store.add(trial(4))
        assert [record_of(t) for t in journal(path).finished()] == [record(n) for n in range(5)]


def test_every_cut_leaves_a_journal_that_opens(tmp_path: Path) -> None:
    path = tmp_path / "file"
    fill(journal(path), 2)
    whole = path.read_bytes()
    for end in range(0, len(whole), 41):
        path.write_bytes(whole[:end])
        assert len(journal(path).finished()) <= 2


def test_a_lock_that_optuna_left_behind_is_no_hindrance(tmp_path: Path) -> None:
    path = tmp_path / "file"
    fill(journal(path), 2)
    path.with_name("file.lock").symlink_to(path)
    started = monotonic()
    store = journal(path)
    fill(store, 1, start=2)
    assert monotonic() - started < 15  # Optuna alone would wait for 30 s
    assert len(store.finished()) == 3


@pytest.mark.parametrize("key", FINGERPRINT)
def test_another_definition_is_refused_by_name(key: str, tmp_path: Path) -> None:
    journal(tmp_path / "file")
    with pytest.raises(StorageError, match=rf"defined otherwise and cannot be resumed \({key}: .* then, '?new'? now\)"):
        journal(tmp_path / "file", {**FINGERPRINT, key: "new"})


def test_all_differences_are_named(tmp_path: Path) -> None:
    journal(tmp_path / "file")
    with pytest.raises(StorageError, match=r"seed: 0 then, 1 now; sampler: None|sampler: None then, tpe now; seed: 0"):
        journal(tmp_path / "file", {**FINGERPRINT, "seed": 1, "sampler": "tpe"})


def test_a_study_in_a_database_is_not_resumed_by_chance(tmp_path: Path) -> None:
    fill(database(tmp_path / "file"), 1)
    with pytest.raises(StorageError, match="already has a study 'study': add --resume"):
        database(tmp_path / "file")
    assert len(database(tmp_path / "file", resume=True).finished()) == 1
    with pytest.raises(StorageError, match="seed: 0 then, 1 now"):
        database(tmp_path / "file", {**FINGERPRINT, "seed": 1}, resume=True)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"SQLite? no, sixteen bytes and more of something else" * 40)
    with pytest.raises(StorageError, match=r"cannot open the storage sqlite:///.*file is not a database"):
        database(tmp_path / "file")


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="unable to open database file"):
        database(tmp_path / "none" / "file")


@pytest.mark.parametrize("url", ["nonsense", "nosuchdb://localhost/x", "sqlite//file", ""])
def test_what_is_no_url(url: str) -> None:
    with pytest.raises(StorageError, match="cannot open the storage"):
        open_url(url)


def test_an_unreachable_server() -> None:
    with pytest.raises((StorageError, MissingExtraError), match="postgres"):
        open_url("postgresql://nobody:secret@127.0.0.1:1/none")


@pytest.mark.parametrize("kind", ["postgresql", "mysql", "nosuchdb"])
def test_a_password_is_not_printed(kind: str) -> None:
    with pytest.raises((StorageError, MissingExtraError), match=kind) as caught:
        open_url(f"{kind}://nobody:secret@127.0.0.1:1/none")
    assert "secret" not in str(caught.value)


def test_a_missing_driver_of_another_database_is_not_postgres() -> None:
    with pytest.raises((StorageError, MissingExtraError)) as caught:
        open_url("mysql://nobody@127.0.0.1:1/none")
    assert "psycopg" not in str(caught.value)


def test_a_journal_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("this is\nno journal\n")
    with pytest.raises(StorageError, match="cannot"):
        journal(tmp_path / "file")


def test_a_trial_without_a_record_is_malformed(tmp_path: Path) -> None:
    store = journal(tmp_path / "file")
    store.add(create_trial(values=[0.5, 1.0]))
    with pytest.raises(StorageError, match="malformed"):
        record_of(store.finished()[0])


def test_a_journal_of_its_own_holds_one_study(tmp_path: Path) -> None:
    fill(journal(tmp_path / "file"), 2)
    with pytest.raises(StorageError, match=r"holds a run of '.+', not of 'other': choose another --out"):
        TrialStore(open_journal(tmp_path / "file"), "other", DIRECTIONS, FINGERPRINT, True, alone=True)


def test_optuna_says_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    fill(journal(tmp_path / "file"), 2)
    assert capfd.readouterr() == ("", "")
    assert optuna.logging.get_verbosity() == optuna.logging.WARNING


def test_a_database_that_stays_locked_is_one_clear_error(tmp_path: Path) -> None:
    store = TrialStore(open_url(f"sqlite:///{tmp_path / 'db'}?timeout=0.2"), "study", DIRECTIONS, FINGERPRINT, False)
    store.add(trial(0))
    with closing(sqlite3.connect(tmp_path / "db")) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StorageError, match=r"cannot write a trial: .*locked"):
            store.add(trial(1))
        other.rollback()
    store.add(trial(1))
    assert len(store.finished()) == 2


def test_a_database_that_is_gone_is_one_clear_error(tmp_path: Path) -> None:
    store = TrialStore(open_url(f"sqlite:///{tmp_path / 'db'}"), "study", DIRECTIONS, FINGERPRINT, False)
    with closing(sqlite3.connect(tmp_path / "db")) as other:
        other.execute("DROP TABLE trials")
    with pytest.raises(StorageError, match=r"cannot write a trial: .*no such table"):
        store.add(trial(0))


def test_drivers_hear_of_each_others_trials_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "_EVERY", 0.0)
    url = f"sqlite:///{tmp_path / 'db'}"
    first, second = (
        TrialStore(open_url(url), "study", DIRECTIONS, FINGERPRINT, True, driver=name) for name in ("one", "two")
    )
    assert (first.place, second.place) == (0, 1)
    assert [first.add(trial(0)), second.add(trial(1)), first.add(trial(3))] == [0, 1, 2]
    assert [found.number for found in second.others()] == [0, 2]
    assert [found.number for found in first.others()] == [1]
    assert first.others() == second.others() == []
    again = TrialStore(open_url(url), "study", DIRECTIONS, FINGERPRINT, True, driver="one")
    assert again.place == 0
    alone = TrialStore(open_url(url), "study", DIRECTIONS, FINGERPRINT, True)
    assert alone.others() == []
