"""The journal on disk: Optuna's own format, all or nothing of what is written, whatever was left at its end."""

import json
import os
import resource
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna import create_study, load_study
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState, create_trial

from bqsearch.search.journal import DELAY, Journal, OwnJournal

LOGS = st.lists(st.dictionaries(st.text(), st.integers() | st.text() | st.none() | st.lists(st.booleans())), max_size=5)


@given(LOGS, LOGS)
def test_optuna_reads_what_it_writes_and_it_reads_what_optuna_writes(
    tmp_path_factory: pytest.TempPathFactory, first: list[dict[str, Any]], second: list[dict[str, Any]]
) -> None:
    path = tmp_path_factory.mktemp("journal") / "file"
    theirs = JournalFileBackend(str(path))
    theirs.append_logs([{"version": 1}, *first])
    ours = Journal(path)
    assert list(ours.read_logs(0)) == [{"version": 1}, *first]
    ours.append_logs(second)
    assert list(ours.read_logs(1 + len(first))) == second
    assert list(ours.read_logs(1)) == list(theirs.read_logs(1)) == [*first, *second]


@pytest.mark.parametrize("left", [b"", b'{"b":', b'\0\0\0\0\0\n{"b":2}\n'], ids=["nothing", "part", "hole"])
def test_what_a_kill_or_a_power_cut_left_is_taken_off(tmp_path: Path, left: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(b'{"a":1}\n' + left)
    ours = Journal(path)
    ours.append_logs([{"c": 3}])
    assert path.read_bytes() == b'{"a":1}\n{"c":3}\n'
    assert list(ours.read_logs(0)) == [{"a": 1}, {"c": 3}]


def test_what_was_read_again_does_not_come_once_more(tmp_path: Path) -> None:
    ours = Journal(tmp_path / "file")
    ours.append_logs([{"a": 1}, {"b": 2}])
    assert list(ours.read_logs(1)) == [{"b": 2}]
    assert list(ours.read_logs(2)) == []
    ours.append_logs([{"c": 3}])
    assert list(ours.read_logs(2)) == [{"c": 3}]


def test_the_disk_has_all_of_it_soon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first trial at once, and those that follow it at once within the delay, together."""
    synced: list[int] = []
    path, sync = tmp_path / "file", os.fsync

    def counted(file: int) -> None:
        sync(file)
        synced.append(path.stat().st_size)

    ours = Journal(path)
    monkeypatch.setattr(os, "fsync", counted)
    ours.append_logs([{"n": 0}])
    assert synced == [path.stat().st_size]
    for number in range(1, 10):
        ours.append_logs([{"n": number}])
    limit = monotonic() + 10
    while synced[-1] < path.stat().st_size and monotonic() < limit:
        sleep(DELAY / 5)
    assert synced[-1] == path.stat().st_size
    assert len(synced) < 10


def test_what_the_disk_does_not_take_whole_is_not_written_at_all(tmp_path: Path) -> None:
    path = tmp_path / "file"
    ours = Journal(path)
    ours.append_logs([{"a": 1}])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            ours.append_logs([{"b": 2}, {"c": "c" * 200}])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    ours.append_logs([{"d": 4}])
    assert [json.loads(line) for line in path.read_text().splitlines()] == [{"a": 1}, {"d": 4}]
    assert list(ours.read_logs(0)) == [{"a": 1}, {"d": 4}]


def finished(values: tuple[float, ...] | None, levels: int, scale: float) -> FrozenTrial:
    return create_trial(
        state=TrialState.PRUNED if values is None else TrialState.COMPLETE,
        values=None if values is None else list(values),
        params={"a": levels, "b": scale, "c": "keep"},
        distributions=DISTRIBUTIONS,
        user_attrs={"record": {"name": '\u00e9 "x"', "seconds": 0.1}},
        system_attrs={"noted": [1, None]},
        constraints={"flash": -1.5},
    )


DISTRIBUTIONS: dict[str, BaseDistribution] = {
    "a": IntDistribution(0, 40),
    "b": FloatDistribution(1e-3, 1.0, log=True),
    "c": CategoricalDistribution(["keep", "kmeans"]),
}


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize("objectives", [1, 3])
def test_a_trial_is_written_as_optuna_writes_it_and_read_as_optuna_reads_it(tmp_path: Path, objectives: int) -> None:
    trials = [finished((0.1 + n,) * objectives if n % 3 else None, n, 0.5 / (n + 1)) for n in range(7)]
    logs = {}
    for name in ("ours", "theirs"):
        backend = JournalFileBackend(str(tmp_path / name))
        theirs = JournalStorage(backend)
        storage = OwnJournal(tmp_path / name) if name == "ours" else theirs
        study = create_study(storage=storage, study_name="s", directions=["minimize"] * objectives)
        for trial in trials:
            if isinstance(storage, OwnJournal):
                storage.journal.append_trial(study._study_id, trial)
            else:
                storage.create_new_trial(study._study_id, trial)
        study.set_user_attr("after", 1)
        logs[name] = [{**log, "worker_id": ""} for log in backend.read_logs(0)]
        read = load_study(storage=theirs, study_name="s")
        for one in (read, study):
            assert one.user_attrs == {"after": 1}
            assert [trial.number for trial in one.trials] == list(range(7))
            assert [same(trial) for trial in one.trials] == [same(trial) for trial in trials]
    assert logs["ours"] == logs["theirs"]


def same(trial: FrozenTrial) -> tuple[Any, ...]:
    return (
        *(trial.state, trial.values, trial.params, trial.distributions, trial.user_attrs, trial.system_attrs),
        *(trial.datetime_start, trial.datetime_complete),
    )
