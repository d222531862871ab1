"""The front: what is picked, what is recommended, and what is said when nothing fits."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest

from bqsearch.hardware import target
from bqsearch.search import driver, front
from bqsearch.search.driver import Searched
from bqsearch.search.folder import opened
from bqsearch.search.pareto import drop_bound, drop_interval, undominated, wilson_interval
from bqsearch.search.prepare import Problem
from bqsearch.search.record import Record
from bqsearch.search.store import TrialStore, open_journal
from search.problems import prepared, write_files

BOARD = (Path(target.__file__).parent / "targets" / "hifive1.toml").read_text("utf-8")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return write_files(tmp_path_factory.mktemp("front"))


@pytest.fixture(scope="module")
def problem(files: dict[str, str]) -> Problem:
    return prepared(files)


def search(problem: Problem, folder: Path) -> Searched:
    storage = open_journal(folder / "trials.journal")
    store = TrialStore(storage, "study", driver.directions(problem), problem.fingerprint, True)
    return driver.search(problem, store, lambda number, record: None, Event())


@pytest.fixture(scope="module")
def searched(problem: Problem, tmp_path_factory: pytest.TempPathFactory) -> Searched:
    return search(problem, tmp_path_factory.mktemp("searched"))


def told(problem: Problem, flash: int, lost: int, gained: int = 0) -> Record:
    return Record(
        plan=problem.bank.baseline,
        values=(0.9, float(flash), 1.0),
        constraints={"flash": -1.0, "ram": -1.0, "drop": -1.0},
        metrics={"flash_bytes": flash},
        lost=lost,
        gained=gained,
        seconds=0.0,
    )


def test_the_front_is_the_undominated_feasible_trials_by_flash(problem: Problem, searched: Searched) -> None:
    chosen = front.pareto_trials(problem, searched.records)
    feasible = [n for n, record in enumerate(searched.records) if record.feasible]
    values = np.array([searched.records[n].values for n in feasible])
    wanted = {feasible[i] for i in undominated(values, ["maximize", "minimize", "minimize"])}
    assert set(chosen) == wanted
    assert len(chosen) > 1
    flash = [searched.records[n].metrics["flash_bytes"] for n in chosen]
    assert flash == sorted(flash)


def test_infeasible_trials_are_no_points(problem: Problem) -> None:
    good, bad = told(problem, 100, 1), replace(told(problem, 50, 1), constraints={"flash": 1.0, "ram": -1.0})
    assert front.pareto_trials(problem, [bad, good, replace(good, values=None)]) == [1]
    assert front.pareto_trials(problem, [bad]) == []


def test_the_smallest_flash_within_the_bound_is_recommended(problem: Problem, searched: Searched) -> None:
    """5 points of 120 inputs: 1 lost and 0 gained stays within, 6 lost does not."""
    count = len(problem.data.search)
    assert 100 * drop_bound(1, 0, count) <= 5 < 100 * drop_bound(6, 0, count)
    records = [told(problem, 100, 6), told(problem, 200, 1), told(problem, 300, 0)]
    index, reason = front.recommend(problem, records, searched)
    assert index == 1
    assert "smallest flash (200 B of flash)" in reason
    assert f"at most 5 (bound {100 * drop_bound(1, 0, count):.2f} points" in reason


def test_the_nearest_to_the_bound_where_none_keeps_it(problem: Problem, searched: Searched) -> None:
    records = [told(problem, 100, 20), told(problem, 200, 12), told(problem, 300, 16)]
    index, reason = front.recommend(problem, records, searched)
    assert index == 1
    assert "no point's drop on the search split has a 95 % bound of at most 5" in reason


def test_the_holdout_has_no_part_in_the_recommendation(problem: Problem, searched: Searched) -> None:
    made = front.make_front(problem, searched)
    labels = np.roll(problem.data.holdout.y, 1)
    other = replace(problem, data=replace(problem.data, holdout=replace(problem.data.holdout, y=labels)))
    again = front.make_front(other, searched)
    assert (again.recommended, again.reason) == (made.recommended, made.reason)
    assert [p.trial for p in again.points] == [p.trial for p in made.points]
    assert again.baseline_holdout.mean() < made.baseline_holdout.mean()


def test_described_figures_are_those_of_the_files(problem: Problem, searched: Searched, tmp_path: Path) -> None:
    made = front.make_front(problem, searched)
    with opened(tmp_path / "run", False, 0) as folder:
        described = front.write_front(problem, searched, made, folder)
    assert json.loads((tmp_path / "run" / "front.json").read_text()) == described
    assert len(described["points"]) == len(made.points)
    assert [t["number"] for t in described["trials"] if t["pareto"]] == sorted(p.trial for p in made.points)
    for shown, point in zip(described["points"], made.points, strict=True):
        plan = json.loads((tmp_path / "run" / shown["files"]["plan"]).read_text())
        content = (tmp_path / "run" / shown["files"]["model"]).read_bytes()
        assert plan["sha256"]["output"] == hashlib.sha256(content).hexdigest()
        check_point(shown, point, made, described)


def check_point(shown: dict[str, Any], point: front.Point, made: front.Front, described: dict[str, Any]) -> None:
    assert sum(shown["flash"].values()) == shown["flash_bytes"] == point.measured.flash.total
    assert sum(shown["ram"].values()) == shown["ram_bytes"] == point.measured.ram.total
    assert sum(layer["bytes"] for layer in shown["layers"]) == shown["weight_bytes"]
    assert shown["ratio"] == described["baseline"]["weight_bytes"] / shown["weight_bytes"]
    assert shown["accuracy_holdout"] == point.holdout.mean()
    assert shown["interval_holdout"] == list(wilson_interval(int(point.holdout.sum()), len(point.holdout)))
    assert shown["drop_holdout"] == pytest.approx(100 * (made.baseline_holdout.mean() - point.holdout.mean()))
    lost = int((made.baseline_holdout & ~point.holdout).sum())
    gained = int((point.holdout & ~made.baseline_holdout).sum())
    interval = drop_interval(lost, gained, len(point.holdout))
    assert shown["drop_interval"] == [100 * interval[0], 100 * interval[1]]


def test_points_of_an_earlier_end_are_removed(problem: Problem, searched: Searched, tmp_path: Path) -> None:
    made = front.make_front(problem, searched)
    with opened(tmp_path, False, 0) as folder:
        (folder.point(99)).mkdir(parents=True)
        front.write_front(problem, searched, made, folder)
    assert len(list((tmp_path / "points").iterdir())) == len(made.points)


def tiny_board(folder: Path, **values: int) -> str:
    text = BOARD
    for key, old, new in (("ram", 16384, values.get("ram")), ("flash", 12582912, values.get("flash"))):
        if new is not None:
            assert f"{key} = {{ value = {old}," in text
            text = text.replace(f"{key} = {{ value = {old},", f"{key} = {{ value = {new},", 1)
    (folder / "tiny.toml").write_text(text)
    return str(folder / "tiny.toml")


def test_too_little_ram_is_told_with_bytes_layer_and_help(files: dict[str, str], tmp_path: Path) -> None:
    problem = prepared(files, target=tiny_board(tmp_path, ram=1200), trials=12)
    found = search(problem, tmp_path)
    made = front.make_front(problem, found)
    assert (made.points, made.recommended) == ((), None)
    least = min(record.metrics["ram_bytes"] for record in found.records)
    assert f"ram is {least - 1200:,.0f} B above the limit of 1,200 B" in made.reason
    ram = problem.measure(min(found.records, key=lambda r: r.metrics["ram_bytes"]).plan).ram
    assert f"{ram.peak} sets the peak ({ram.activations:,} B of activations" in made.reason
    assert "a board with more RAM would help" in made.reason
    notes = front.describe(problem, found, made)["notes"]
    assert any("the int8 baseline does not fit" in note and "ram is" in note for note in notes)


def test_too_little_flash_is_told_with_bytes_part_and_help(files: dict[str, str], tmp_path: Path) -> None:
    problem = prepared(files, target=tiny_board(tmp_path, flash=8000), trials=12)
    found = search(problem, tmp_path)
    reason = front.make_front(problem, found).reason
    least = min(record.metrics["flash_bytes"] for record in found.records)
    assert f"flash is {least - 8000:,.0f} B above the limit of 8,000 B" in reason
    assert "its largest part is code (8,192 B)" in reason
    assert "a board with more flash would help" in reason


def test_too_much_accuracy_lost_is_told_with_options(problem: Problem, searched: Searched) -> None:
    worse = replace(told(problem, 100, 9), constraints={"flash": -1.0, "ram": -1.0, "drop": 2.5})
    worst = replace(worse, constraints={**worse.constraints, "drop": 7.5})
    reason = front.why_nothing(problem, replace(searched, records=(worst, worse)))
    assert "the best candidate loses 7.50 points on the search split, 5 are allowed" in reason
    assert "--max-drop" in reason
    assert "--trials" in reason


def test_limits_that_are_kept_one_at_a_time_only(files: dict[str, str], tmp_path: Path) -> None:
    """Decoding whole tensors, raw weights need the least RAM and coded ones the least flash."""
    free = prepared(files, target="nrf52840", trials=30)
    measured = [free.measure(record.plan) for record in search(free, tmp_path).records]
    assert len({m.ram.total for m in measured}) > 1
    flash = min(m.flash.total for m in measured)
    ram = min(m.ram.total for m in measured)
    tight = settings(free, max_flash=flash, max_ram=ram)
    records = tuple(over(tight, m) for m in measured)
    assert all(any(v > 0 for v in record.constraints.values()) for record in records)
    baseline = free.measure(free.bank.baseline)
    found = Searched(baseline=baseline, records=records, stopped="trials", seconds=1.0, litert_seconds=0.5)
    reason = front.why_nothing(tight, found)
    assert (
        f"some keep the limit of {flash:,} B of flash and some that of {ram:,} B of RAM, but none keeps both" in reason
    )
    assert "--max-flash or --max-ram" in reason


def settings(problem: Problem, **changes: object) -> Problem:
    return replace(problem, spec=replace(problem.spec, **changes))


def over(problem: Problem, measured: Any) -> Record:
    limits = {
        "flash": float(measured.flash.total - problem.max_flash),
        "ram": float(measured.ram.total - problem.max_ram),
    }
    record = replace(told(problem, measured.flash.total, 0), plan=measured.model.plan, values=None)
    return replace(record, constraints=limits, metrics=driver.static_metrics(measured))


def test_no_trial_at_all(problem: Problem, searched: Searched) -> None:
    assert front.why_nothing(problem, replace(searched, records=())) == "no trial was finished"
