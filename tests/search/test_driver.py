"""The loop: repeatable, sparing with runs, and whole whenever it ends."""

import sys
from dataclasses import replace
from math import inf
from pathlib import Path
from threading import Event

import numpy as np
import pytest

from bqsearch import search as search_room
from bqsearch.errors import MissingExtraError, StudyError
from bqsearch.search import driver
from bqsearch.search import store as store_module
from bqsearch.search.crew import Crew
from bqsearch.search.driver import Searched
from bqsearch.search.prepare import Problem
from bqsearch.search.quality import bonett_price_interval, student_interval
from bqsearch.search.record import Record, record_of
from bqsearch.search.store import TrialStore, open_url
from search.problems import prepared, search, settings, store_of, timeless, write_files

POLISH = 3  # so many plans of the small network's front, and as many more behind them, are worth it


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return write_files(tmp_path_factory.mktemp("driver"))


@pytest.fixture(scope="module")
def problem(files: dict[str, str]) -> Problem:
    return prepared(files)


@pytest.mark.parametrize("sampler", ["rd", "nsga2", "random", "tpe"])
def test_the_same_seed_gives_the_same_records(problem: Problem, tmp_path: Path, sampler: str) -> None:
    one = settings(problem, sampler=sampler)
    first, second = search(one, tmp_path / "a"), search(one, tmp_path / "b")
    assert len(first.records) == 40
    assert first.stopped == "trials"
    assert timeless(first) == timeless(second)
    other = search(settings(one, seed=1), tmp_path / "c")
    assert timeless(other) != timeless(first)


def test_records_are_what_measuring_says(problem: Problem, tmp_path: Path) -> None:
    found = search(problem, tmp_path)
    before = problem.measure(problem.bank.baseline)
    assert found.baseline.accuracy == before.accuracy
    for record in [record for record in found.records if not record.given_up][::7]:
        measured = problem.measure(record.plan)
        assert record.values == (measured.accuracy, measured.flash.total, measured.ram.total)
        assert record.metrics["flash_bytes"] == measured.flash.total
        assert record.metrics["accuracy_search"] == measured.accuracy
        lost = int((before.correct & ~measured.correct).sum())
        gained = int((measured.correct & ~before.correct).sum())
        bound = bonett_price_interval(lost, gained, len(measured.correct), 0.9)[1]
        assert record.drop_bound == pytest.approx(100 * bound)
        assert "fidelity_search" not in record.metrics
        assert record.constraints["drop"] == pytest.approx(100 * (lost - gained) / len(measured.correct) - 5, abs=1e-6)
        assert record.constraints["flash"] == measured.flash.total - problem.max_flash
    assert any(record.feasible for record in found.records)


def test_a_search_for_fidelity_needs_no_labels(files: dict[str, str], tmp_path: Path) -> None:
    arrays = dict(np.load(files["data"]))
    np.savez(tmp_path / "bare.npz", x_train=arrays["x_train"], x_test=arrays["x_test"])
    bare = prepared({**files, "data": str(tmp_path / "bare.npz")})
    named = prepared(files, objectives=["fidelity", "flash", "ram"])
    first, second = search(bare, tmp_path / "a"), search(named, tmp_path / "b")
    assert timeless(first) == timeless(second)
    for record in [record for record in first.records if not record.given_up][::7]:
        measured = bare.measure(record.plan)
        assert record.values == (measured.fidelity, measured.flash.total, measured.ram.total)
        assert record.metrics["fidelity_search"] == measured.fidelity
        assert "accuracy_search" not in record.metrics
        assert record.constraints["drop"] == pytest.approx(100 * (1 - measured.fidelity) - 5, abs=1e-6)
        drops = 1 - measured.fidelities
        assert record.drop_bound == pytest.approx(100 * student_interval(drops, 0.9)[1])
    assert any(record.feasible for record in first.records)


def test_fidelity_beside_accuracy_is_an_objective_more(files: dict[str, str], tmp_path: Path) -> None:
    problem = prepared(files, objectives=["fidelity", "accuracy", "flash"], trials=12)
    assert problem.quality.name == "accuracy"
    for record in search(problem, tmp_path).records:
        if record.given_up:
            continue
        measured = problem.measure(record.plan)
        assert record.values == (measured.fidelity, measured.accuracy, measured.flash.total)
        found = record.metrics["accuracy_search"], record.metrics["fidelity_search"]
        assert found == (measured.accuracy, measured.fidelity)


def test_every_trial_is_stored_before_it_is_told(problem: Problem, tmp_path: Path) -> None:
    told: list[int] = []

    def on_trial(number: int, record: Record) -> None:
        stored = store_of(problem, tmp_path).finished()
        assert record_of(stored[number]) == record
        told.append(number)

    found = search(settings(problem, trials=6), tmp_path, on_trial)
    assert told == list(range(6))
    assert [record_of(t) for t in store_of(problem, tmp_path).finished()] == list(found.records)


@pytest.mark.parametrize("every", [0.0, inf])  # others are looked at behind each trial, or at the end only
def test_what_another_driver_finds_is_told_once(
    problem: Problem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every: float
) -> None:
    monkeypatch.setattr(store_module, "_EVERY", every)
    another = settings(problem, seed=1, trials=3)
    search(another, tmp_path / "before")
    others = store_of(another, tmp_path / "before").finished()
    one, other = (
        TrialStore(
            open_url(f"sqlite:///{tmp_path / 'shared.db'}"),
            "study",
            driver.directions(problem),
            problem.fingerprint,
            resume=True,
            driver=name,
        )
        for name in ("one", "other")
    )
    told: dict[int, Record] = {}

    def on_trial(number: int, record: Record) -> None:
        assert number not in told
        told[number] = record
        if len(told) in (1, 4, 6):
            other.add(others.pop())

    found = driver.search(settings(problem, trials=6), one, on_trial, Event())
    assert not others
    assert len(found.records) > 6
    assert [told[number] for number in range(len(told))] == list(found.records)


def test_a_resumed_search_ends_where_an_uninterrupted_one_does(problem: Problem, tmp_path: Path) -> None:
    whole = search(problem, tmp_path / "whole")
    heard: list[int] = []
    for trials in (9, 33, 40):
        part = search(settings(problem, trials=trials), tmp_path / "parts", lambda n, r: heard.append(n))
        assert len(part.records) == trials
    assert timeless(part) == timeless(whole)
    assert heard == [*range(9), *range(33), *range(40)]  # earlier sessions' trials are told of again


@pytest.fixture(scope="module")
def polishing(files: dict[str, str]) -> Problem:
    return prepared(files, trials=30, polish=POLISH, max_drop=10.0)


def test_polishing_compresses_plans_of_before_once_more(polishing: Problem, tmp_path: Path) -> None:
    found = search(polishing, tmp_path)
    assert found.stopped == "trials"
    assert [record.plan.successive for record in found.records] == [False] * 30 + [True] * POLISH
    before = {record.plan.hash for record in found.records[:30]}
    polished = found.records[30:]
    assert len({record.plan.hash for record in polished}) == POLISH
    for record in polished:
        assert replace(record.plan, successive=False).hash in before
        measured = polishing.measure(record.plan)
        assert record.values == (measured.accuracy, measured.flash.total, measured.ram.total)


@pytest.mark.parametrize("last", [27, 28, 29, 30])
def test_a_search_that_is_stopped_before_or_while_it_polishes_goes_on(
    polishing: Problem, tmp_path: Path, last: int
) -> None:
    whole, stop = search(polishing, tmp_path / "whole"), Event()

    def on_trial(number: int, record: Record) -> None:
        if number == last:
            stop.set()

    part = search(polishing, tmp_path / "part", on_trial, stop)
    assert part.stopped == "interrupted"
    assert len(part.records) < len(whole.records) == 30 + POLISH
    assert timeless(search(polishing, tmp_path / "part")) == timeless(whole)


def test_how_many_trials_a_search_has(polishing: Problem) -> None:
    sampler, polish = (
        Record(
            plan=replace(polishing.bank.baseline, successive=successive),
            values=None,
            constraints={},
            metrics={},
            drop_bound=None,
            seconds=0.0,
        )
        for successive in (False, True)
    )
    wanted = replace(polishing.spec, trials=4, polish=2)
    for known, trials in [
        ([], 6),
        ([sampler] * 3, 6),
        ([*[sampler] * 4, polish], 6),
        ([sampler] * 4 + [polish] * 2, 6),
        ([sampler, sampler, polish, polish], 8),
        ([sampler, sampler, polish, sampler], 7),
        ([sampler, sampler, polish, sampler, sampler, sampler], 7),
        ([sampler] * 6, 6),
        ([sampler] * 9, 6),
    ]:
        assert driver.all_trials(wanted, known) == trials


def sampled(searched: Searched) -> list[Record]:
    """Without those of polishing."""
    return [record for record in timeless(searched) if not record.plan.successive]


@pytest.mark.parametrize("sampler", ["rd", "nsga2"])
@pytest.mark.parametrize("few", [20, 31])
def test_a_search_that_has_polished_goes_on_with_more_trials_as_the_sampler_would_have(
    polishing: Problem, tmp_path: Path, sampler: str, few: int
) -> None:
    many = settings(polishing, sampler=sampler, trials=44)
    whole, short = search(many, tmp_path / "whole"), search(settings(many, trials=few), tmp_path / "parts")
    assert [record.plan.successive for record in short.records] == [False] * few + [True] * POLISH
    grown = search(many, tmp_path / "parts")
    assert sampled(grown) == sampled(whole)
    assert timeless(grown)[: few + POLISH] == timeless(short)
    assert [r.plan.successive for r in grown.records[few + POLISH :]] == [False] * (44 - few) + [True] * POLISH
    polished = [record.plan.hash for record in grown.records if record.plan.successive]
    assert len(set(polished)) == 2 * POLISH
    assert (whole.trials, short.trials, grown.trials) == (44 + POLISH, few + POLISH, 44 + 2 * POLISH)
    assert len(search(many, tmp_path / "parts").records) == 44 + 2 * POLISH


@pytest.mark.parametrize("last", [34, 38, 51, 53])
def test_a_search_that_grew_may_be_stopped_too(polishing: Problem, tmp_path: Path, last: int) -> None:
    """Right behind what was polished before, among the sampler's, and where it begins to polish again."""
    many, stop = settings(polishing, trials=50), Event()
    for folder in ("whole", "part"):
        assert len(search(polishing, tmp_path / folder).records) == 30 + POLISH
    whole = search(many, tmp_path / "whole")
    part = search(many, tmp_path / "part", lambda number, record: stop.set() if number == last else None, stop)
    assert part.stopped == "interrupted"
    assert len(part.records) < len(whole.records) == 50 + 2 * POLISH
    assert timeless(search(many, tmp_path / "part")) == timeless(whole)


def test_what_the_sampler_proposed_for_want_of_plans_to_polish_counts_as_its_own(
    files: dict[str, str], tmp_path: Path
) -> None:
    few, many = (prepared(files, trials=trials, polish=50) for trials in (3, 20))
    short, whole = search(few, tmp_path / "parts"), search(many, tmp_path / "whole")
    assert sampled(short)[:20] == sampled(whole)[:20]
    grown = search(many, tmp_path / "parts")
    assert timeless(grown)[:53] == timeless(short)
    places = [n for n, record in enumerate(grown.records) if not record.plan.successive]
    assert len(grown.records) == grown.trials == places[19] + 1 + 50 > 53


def test_where_nothing_is_left_to_polish_the_search_goes_on(files: dict[str, str], tmp_path: Path) -> None:
    """Trials are fewer here than the points of the sweep."""
    records = search(prepared(files, trials=3, polish=50), tmp_path).records
    assert len(records) == 53
    assert not any(record.plan.successive for record in records[:3])
    polished = {record.plan.hash: n for n, record in enumerate(records) if record.plan.successive}
    assert len(polished) == sum(record.plan.successive for record in records) > 5
    assert len({r.plan.hash for r in records[3:] if not r.plan.successive}) > 10
    for n in polished.values():
        before = [record.plan for record in records[:n]]
        assert replace(records[n].plan, successive=False) in before


def test_a_candidate_that_breaks_a_hard_limit_is_never_run(files: dict[str, str], tmp_path: Path) -> None:
    problem = prepared(files, max_flash=1)
    problem.measure(problem.bank.baseline)
    found = search(problem, tmp_path)
    assert len(found.records) == 40
    assert found.spent.seconds == 0
    for record in found.records:
        assert record.values is None
        assert not record.feasible
        assert set(record.constraints) == {"flash", "ram"}
        assert record.constraints["flash"] > 0
        assert record.drop_bound is None
        assert "accuracy_search" not in record.metrics


def test_only_candidates_within_the_limits_are_run(problem: Problem, files: dict[str, str], tmp_path: Path) -> None:
    sizes = sorted(record.metrics["flash_bytes"] for record in search(problem, tmp_path / "all").records)
    limit = int(sizes[len(sizes) // 2])
    found = search(prepared(files, max_flash=limit), tmp_path / "few")
    run = [record.values is not None for record in found.records]
    assert run == [record.metrics["flash_bytes"] <= limit for record in found.records]
    assert True in run
    assert False in run


def test_a_plan_seen_before_is_not_run_again(problem: Problem, tmp_path: Path) -> None:
    """A resumed search knows all plans of its first 40 trials: only the baseline and what is new is run."""
    evolving = settings(problem, sampler="nsga2")
    first = search(evolving, tmp_path)
    ran: dict[str, int] = {}
    found = search(settings(evolving, trials=200), tmp_path)
    for record in found.records:
        ran[record.plan.hash] = ran.get(record.plan.hash, 0) + 1
    assert timeless(found)[:40] == timeless(first)
    twice = [h for h, count in ran.items() if count > 1]
    assert twice, "the small space should make some plan come twice"
    for plan_hash in twice:
        same = [replace(r, seconds=0.0) for r in found.records if r.plan.hash == plan_hash]
        assert same.count(same[0]) == len(same)


def test_several_workers_are_refused_where_each_candidate_follows_from_the_one_before(problem: Problem) -> None:
    strict = replace(problem.spec, sampler="binquant")
    for crew, asked in ((Crew(workers=2), "--workers asks for 2"), (Crew(ray="auto"), "--ray asks for several")):
        with pytest.raises(StudyError, match=f"'binquant' of net-hifive1 runs one .* {asked}: take --workers 1"):
            driver.check_crew(strict, crew)
        driver.check_crew(problem.spec, crew)
    for crew in (Crew(), Crew(workers=1), Crew(workers=1, ray="auto")):
        driver.check_crew(strict, crew)


def test_a_cluster_without_ray_is_refused_before_anything_is_prepared(
    problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "bqsearch.search.ray_pool", raising=False)
    monkeypatch.delattr(search_room, "ray_pool", raising=False)
    with pytest.raises(MissingExtraError, match=r"a pool on a cluster needs ray, .* pip install 'bqsearch\[ray\]'"):
        driver.check_crew(problem.spec, Crew(ray="local"))


def test_no_time_means_no_trial(problem: Problem, tmp_path: Path) -> None:
    found = search(settings(problem, timeout=0.0), tmp_path)
    assert (found.stopped, found.records) == ("timeout", ())
    assert search(problem, tmp_path).stopped == "trials"


def test_time_ends_a_search_early(problem: Problem, tmp_path: Path) -> None:
    found = search(settings(problem, trials=10**6, timeout=0.3), tmp_path)
    assert found.stopped == "timeout"
    assert 0 < len(found.records) < 10**6
    assert found.seconds < 20
    assert 0 < found.spent.seconds < found.seconds


def test_a_stopped_search_keeps_its_records(problem: Problem, tmp_path: Path) -> None:
    stop = Event()

    def on_trial(number: int, record: Record) -> None:
        if number == 5:
            stop.set()

    found = search(problem, tmp_path, on_trial, stop)
    assert found.stopped == "interrupted"
    assert 6 <= len(found.records) <= 8  # what was under way is finished
    assert [record_of(t) for t in store_of(problem, tmp_path).finished()] == list(found.records)
    assert timeless(search(problem, tmp_path)) == timeless(search(problem, tmp_path / "whole"))
