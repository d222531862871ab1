"""The front: what is picked, what is recommended, and what is said when nothing fits."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bqsearch.compress import CompressedModel
from bqsearch.errors import ModelError
from bqsearch.graph.flatbuffer import serialize
from bqsearch.hardware import target
from bqsearch.importers.tflite import load
from bqsearch.measure import Micro, Run
from bqsearch.plan import Plan
from bqsearch.runtime import tflm
from bqsearch.runtime.litert import Runner
from bqsearch.search import front
from bqsearch.search.driver import Searched
from bqsearch.search.evaluate import Spent, static_metrics
from bqsearch.search.expected import estimates
from bqsearch.search.folder import opened
from bqsearch.search.front import Front
from bqsearch.search.prepare import MICRO, Problem
from bqsearch.search.quality import ACCURACY, CONFIDENCE, bonett_price_interval, student_interval, wilson_interval
from bqsearch.search.record import ERROR, UNSEEN, Record
from bqsearch.search.space import Space
from bqsearch.types import Array
from decoding import need_tflm
from networks import small_float_network, small_uint8_network
from search.problems import prepared, search, settings, write_files

BOARD = (Path(target.__file__).parent / "targets" / "hifive1.toml").read_text("utf-8")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return write_files(tmp_path_factory.mktemp("front"))


@pytest.fixture(scope="module", params=["hifive1", "nrf52840"])
def problem(request: pytest.FixtureRequest, files: dict[str, str]) -> Problem:
    if request.param == "nrf52840":
        need_tflm()
    return prepared(files, target=request.param)


def silent(words: str) -> None:
    """Nobody listens."""


@pytest.fixture(scope="module")
def searched(problem: Problem, tmp_path_factory: pytest.TempPathFactory) -> Searched:
    return search(problem, tmp_path_factory.mktemp("searched"))


@pytest.fixture(scope="module")
def stages() -> list[str]:
    """What was said while `made` was made."""
    return []


@pytest.fixture(scope="module")
def made(problem: Problem, searched: Searched, stages: list[str]) -> Front:
    stages.clear()
    return front.make_front(problem, searched, stages.append)


def bound(lost: int, count: int = 120) -> float:
    """Of the drop, in points."""
    return 100 * ACCURACY.drop_bound((np.arange(count) < lost).astype(float))


def told(problem: Problem, flash: int, lost: int, plan: Plan | None = None) -> Record:
    """Outputs are as far off as the bank predicts."""
    chosen = plan or problem.bank.baseline
    return Record(
        plan=chosen,
        values=(0.9, float(flash), 1.0),
        constraints={"flash": -1.0, "ram": -1.0, "drop": 100 * lost / 120 - problem.spec.max_drop},
        metrics={"flash_bytes": flash, "ram_bytes": 1.0, ERROR: problem.bank.distortion(chosen)},
        drop_bound=bound(lost),
        seconds=0.0,
    )


def candidates(problem: Problem, *lost: int) -> list[Record]:
    """Of the hull, coarsest first, 100 B apart."""
    space = Space.of(problem.bank, problem.cost, problem.max_ram)
    plans = {problem.bank.distortion(plan): plan for plan in map(space.plan, space.sweep(80))}
    worst_first = [plans[distortion] for distortion in sorted(plans, reverse=True) if distortion > 0]
    picked = zip(worst_first, lost, strict=False)
    return [told(problem, 100 * n, count, plan) for n, (plan, count) in enumerate(picked, start=1)]


def test_the_front_is_what_no_other_is_expected_to_beat(problem: Problem, searched: Searched) -> None:
    """By brute force over pairs; of those that lose alike only some are shown."""
    records = searched.records
    chosen = front.pareto_trials(problem, records)
    told = estimates(records, problem.spec.max_drop)
    fitting = [n for n in told if max(records[n].constraints[limit] for limit in ("flash", "ram")) <= 0]
    risks = {n: (told[n].drop, records[n].metrics[ERROR]) for n in fitting if told[n].drop <= 5}
    costs = {n: (records[n].values or ())[1:] for n in risks}

    def beats(one: int, other: int) -> bool:
        pairs = zip(costs[one], costs[other], strict=True)
        same = risks[one] == risks[other] and costs[one] == costs[other]
        return not same and risks[one] <= risks[other] and all(a <= b for a, b in pairs)

    wanted = [n for n in risks if not any(beats(m, n) for m in risks)]
    assert len(chosen) > 1 or problem.cost.target.runtime == MICRO  # where coded weights take more than raw ones
    assert set(chosen) <= set(wanted)
    assert {told[n].drop for n in chosen} == {told[n].drop for n in wanted}
    flash = [records[n].metrics["flash_bytes"] for n in chosen]
    assert flash == sorted(flash)


def test_points_that_lose_alike_are_shown_if_they_are_apart_in_flash(problem: Problem) -> None:
    """Flash of 100 to 700 B, all expected to lose 1 of 120: by 15 % apart at least, and the least distorted wins."""
    records = candidates(problem, 1, 1, 1, 1, 1, 1, 1)
    assert front.pareto_trials(problem, records) == [0, 1, 2, 3, 4, 5, 6]
    near = [replace(r, metrics={**r.metrics, "flash_bytes": 100 + 4 * n}) for n, r in enumerate(records)]
    near = [replace(r, values=(0.9, r.metrics["flash_bytes"], 1.0)) for r in near]
    assert front.pareto_trials(problem, near) == [0, 4]
    assert front.pareto_trials(problem, near[::-1]) == [6, 2]


def test_a_lucky_trial_does_not_push_others_off_the_front(problem: Problem) -> None:
    """The second lost nothing, which by itself would beat the finer ones; it is expected to lose what they do."""
    records = candidates(problem, 5, 0, 3, 1)
    told = estimates(records, problem.spec.max_drop)
    assert front.pareto_trials(problem, records) == [0, 1, 2, 3]
    assert told[3].drop < told[1].drop == told[2].drop < told[0].drop


def test_infeasible_trials_are_no_points(problem: Problem) -> None:
    good, bad = (
        told(problem, 100, 1),
        replace(told(problem, 50, 1), constraints={"flash": 1.0, "ram": -1.0, "drop": -1.0}),
    )
    assert front.pareto_trials(problem, [bad, good, replace(good, values=None)]) == [1]
    assert front.pareto_trials(problem, [bad]) == []


def recommended(
    problem: Problem, searched: Searched, records: list[Record], points: list[int] | None = None
) -> tuple[int | None, str]:
    """Among some of the trials, all unless said."""
    told = estimates(records, problem.spec.max_drop)
    pairs = [(records[n], told[n]) for n in points or range(len(records))]
    return front.recommend(problem, pairs, replace(searched, records=tuple(records)))


def test_the_smallest_flash_within_the_bound_is_recommended(problem: Problem, searched: Searched) -> None:
    """5 points of 120 inputs: 1 lost and 0 gained stays within, 6 lost does not."""
    count = len(problem.data.search)
    assert count == 120
    assert bound(1) <= 5 < bound(6)
    records = candidates(problem, 6, 1, 0)
    index, reason = recommended(problem, searched, records)
    assert index == 1
    assert "smallest flash (200 B)" in reason
    assert f"at most 5 (bound {bound(1):.2f} points, from the search split, corrected for the choice among 3" in reason


def test_a_lucky_trial_among_unlucky_ones_is_not_recommended(problem: Problem, searched: Searched) -> None:
    """The fourth lost nothing, its finer neighbors lost 6 and 5 of 120; the bound of 0 alone would let it through."""
    records = candidates(problem, 8, 7, 6, 0, 6, 5, 1, 1)
    assert bound(0) <= 5
    assert recommended(problem, searched, records, [3, 6])[0] == 1
    assert recommended(problem, searched, [records[3], records[6]])[0] == 0


def test_points_are_told_with_what_they_are_expected_to_lose(problem: Problem, searched: Searched, made: Front) -> None:
    described = front.describe(problem, searched, made)
    picked = described["points"][described["recommended"]]
    assert f"bound {picked['drop_bound']:.2f} points" in described["reason"]
    for point in described["points"]:
        assert 0 <= point["drop_expected"] < point["drop_bound"]


def test_the_nearest_to_the_bound_where_none_keeps_it(problem: Problem, searched: Searched) -> None:
    records = candidates(problem, 20, 12)
    index, reason = recommended(problem, searched, records)
    assert index == 1
    assert "no point's drop in accuracy has a 95 % bound of at most 5; this one comes nearest (bound " in reason


def test_the_holdout_has_no_part_in_the_recommendation(problem: Problem, searched: Searched, made: Front) -> None:
    labels = np.roll(problem.data.holdout.y, 1)
    other = replace(problem, data=replace(problem.data, holdout=replace(problem.data.holdout, y=labels)))
    again = front.make_front(other, searched, silent)
    assert (again.recommended, again.reason) == (made.recommended, made.reason)
    assert [p.trial for p in again.points] == [p.trial for p in made.points]
    assert again.before[1].mean() < made.before[1].mean()


def test_described_figures_are_those_of_the_files(
    problem: Problem, searched: Searched, made: Front, tmp_path: Path
) -> None:
    with opened(tmp_path / "run", False, 0) as folder:
        described = front.write_front(problem, searched, made, folder)
    assert json.loads((tmp_path / "run" / "front.json").read_text()) == described
    assert len(described["points"]) == len(made.points)
    assert [t["number"] for t in described["trials"] if t["pareto"]] == sorted(p.trial for p in made.points)
    for shown, record in zip(described["trials"], searched.records, strict=True):
        unseen = 0 if record.values is None else len(problem.data.search) - shown["inputs_search"]
        assert (shown["given_up"], unseen) == (unseen > 0, record.constraints.get(UNSEEN, 0))
    for shown, point in zip(described["points"], made.points, strict=True):
        plan = json.loads((tmp_path / "run" / shown["files"]["plan"]).read_text())
        folder = (tmp_path / "run" / shown["files"]["plan"]).parent
        assert {(tmp_path / "run" / path).parent for path in shown["files"].values()} == {folder}
        found = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
        assert {name.split("/")[0] for name in found} == {path.split("/")[-1] for path in shown["files"].values()}
        hashes = {name: hashlib.sha256(content).hexdigest() for name, content in found.items()}
        assert plan["sha256"]["files"] == {k: v for k, v in hashes.items() if k != "plan.json"}
        check_point(shown, point, made, described)
        if problem.cost.target.runtime == MICRO:
            size = len(found["model_tflm.tflite"]) + problem.cost.target.code
            assert shown["flash_bytes"] == size
    own = "tflm" if problem.cost.target.runtime == MICRO else "firmware"
    assert [list(shown["files"]) for shown in described["points"]] == [["plan", "model", own]] * len(made.points)


def check_point(shown: dict[str, Any], point: front.Point, made: front.Front, described: dict[str, Any]) -> None:
    assert sum(shown["flash"].values()) == shown["flash_bytes"] == point.measured.flash.total
    assert sum(shown["ram"].values()) == shown["ram_bytes"] == point.measured.ram.total
    memory, names = shown["memory"], described["operators"]
    assert memory["bytes"] == shown["ram"]["activations"] + shown["ram"]["decode_buffer"]
    assert max(offset + nbytes for _, _, offset, nbytes, _, _ in memory["pieces"]) == memory["bytes"]
    assert names[memory["steps"][memory["peak"]][2][0]] == shown["peak"]
    assert sum(layer["bytes"] for layer in shown["layers"]) == shown["weight_bytes"]
    for layer, entry in zip(shown["layers"], point.measured.model.layers, strict=True):
        assert layer["entropy_bytes"] == pytest.approx(entropy_bytes(entry.option.codes), abs=0.051)
        assert layer["entropy_bytes"] <= entry.option.stream_bytes + 0.05
    assert shown["ratio"] == described["baseline"]["weight_bytes"] / shown["weight_bytes"]
    before = made.before[1]
    assert shown["accuracy_holdout"] == point.holdout.mean()
    assert shown["interval_holdout"] == list(wilson_interval(int(point.holdout.sum()), len(point.holdout)))
    assert shown["drop_holdout"] == pytest.approx(100 * (before.mean() - point.holdout.mean()))
    lost, gained = int((before > point.holdout).sum()), int((point.holdout > before).sum())
    interval = bonett_price_interval(lost, gained, len(point.holdout))
    assert shown["drop_interval"] == [100 * interval[0], 100 * interval[1]]


def entropy_bytes(codes: Array) -> float:
    """Of codes one by one, from their shares."""
    shares = np.unique(codes, return_counts=True)[1] / codes.size
    return float(-(shares * np.log2(shares)).sum() * codes.size / 8)


def codes_of(pixels: Array) -> Array:
    return (pixels ^ np.uint8(128)).view(np.int8)


def test_the_holdout_is_read_as_the_board_computes(
    problem: Problem, searched: Searched, made: Front, tmp_path: Path
) -> None:
    """On the written files: LiteRT and the interpreter round differently, so that it shows who was asked.

    The interpreter's kernels are the oracle of bqsearch's runtime too.
    """
    need_tflm()
    with opened(tmp_path, False, 0) as folder:
        described = front.write_front(problem, searched, made, folder)
    codes, labels = codes_of(problem.data.holdout.x), problem.data.holdout.y
    in_litert = Runner(problem.graph).run(codes)[0]
    is_micro = problem.cost.target.runtime == MICRO
    ran = "tflm" if is_micro else "model"
    outputs = [tflm.run(serialize(problem.graph), codes)]
    outputs += [tflm.run((tmp_path / p["files"][ran]).read_bytes(), codes) for p in described["points"]]
    assert (outputs[0] != in_litert).any()
    name = "TensorFlow Lite Micro" if is_micro else "bqsearch's runtime"
    assert described["engines"] == {"search": "LiteRT", "holdout": name}
    for found, shown, scores in zip(
        outputs,
        (described["baseline"], *described["points"]),
        (made.before[1], *(p.holdout for p in made.points)),
        strict=True,
    ):
        right = found.argmax(axis=1) == labels
        np.testing.assert_array_equal(scores, right)
        assert shown["accuracy_holdout"] == right.mean()
    np.testing.assert_array_equal(made.litert, in_litert.argmax(axis=1) == labels)
    share = f"{int(made.litert.sum())} of 120 ({100 * made.litert.mean():.2f} %)"
    note = f"in LiteRT, on the holdout: the int8 baseline is right on {share}"
    assert described["notes"] == [note]


def test_without_a_compiler_the_holdout_is_read_in_litert_and_a_note_says_so(
    files: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    described = noted(prepared(files, trials=3, max_drop=20.0), tmp_path / "run")
    assert described["engines"] == {"search": "LiteRT", "holdout": "LiteRT"}
    (note,) = described["notes"]
    assert note.startswith("accuracy and fidelity on the holdout are LiteRT's")
    assert note.endswith("no C compiler 'no-such-compiler' on this machine: apt-get install gcc libc6-dev, or set CC")
    codes, labels = codes_of(np.load(files["data"])["x_test"]), np.load(files["data"])["y_test"]
    right = Runner(load(Path(files["model"]))).run(codes)[0].argmax(axis=1) == labels
    assert described["baseline"]["accuracy_holdout"] == right.mean()


def test_the_trials_are_scored_in_litert(problem: Problem, searched: Searched, made: Front) -> None:
    codes, labels = codes_of(problem.data.search.x), problem.data.search.y
    for point in made.points:
        right = Runner(point.measured.model.decoded(), batch=120).run(codes)[0].argmax(axis=1) == labels
        assert point.record.metrics["accuracy_search"] == right.mean()
    np.testing.assert_array_equal(made.before[0], searched.baseline.correct)


def test_the_reading_of_the_holdout_is_counted(problem: Problem, made: Front, stages: list[str]) -> None:
    is_micro = problem.cost.target.runtime == MICRO
    name = "TensorFlow Lite Micro" if is_micro else "bqsearch's runtime"
    told = [stage for stage in stages if stage.startswith(f"reading the holdout on {name}: ")]
    total = len(problem.data.holdout) * (1 + len(made.points))
    counts = [int(stage.split(": ")[1].split(" of ")[0].replace(",", "")) for stage in told]
    assert counts == sorted(set(counts))
    assert told[-1] == f"reading the holdout on {name}: {total:,} of {total:,} inputs"
    assert max(np.diff([0, *counts])) <= (16 if is_micro else len(problem.data.holdout))


@pytest.fixture
def micro(files: dict[str, str]) -> Problem:
    need_tflm()
    return prepared(files, target="nrf52840", trials=12, max_drop=8.0)


def refusing(plans: set[str]) -> Callable[[Micro, CompressedModel], Run]:
    """An interpreter that aborts on these plans, and is LiteRT for others."""

    def opened(self: Micro, model: CompressedModel) -> Run:
        if model.plan.hash in plans:
            raise ModelError("TensorFlow Lite Micro cannot run this model (signal 6): shift is too large")
        return lambda inputs: Runner(model.decoded()).run(inputs)[0]

    return opened


def test_what_the_interpreter_aborts_on_is_left_out_with_a_note(
    micro: Problem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = search(micro, tmp_path)
    chosen = front.pareto_trials(micro, found.records)
    assert len(chosen) > 1
    aborted = chosen[0]
    monkeypatch.setattr(Micro, "opened", refusing({found.records[aborted].plan.hash}))
    made = front.make_front(micro, found, silent)
    assert [point.trial for point in made.points] == chosen[1:]
    assert list(made.refused) == [aborted]
    with opened(tmp_path / "run", False, 0) as folder:
        described = front.write_front(micro, found, made, folder)
    assert [point["trial"] for point in described["points"]] == chosen[1:]
    assert [point["id"] for point in described["points"]] == list(range(len(chosen) - 1))
    assert not described["trials"][aborted]["pareto"]
    assert described["recommended"] is not None
    wanted = f"trial {aborted} would be on the front, but is left out: TensorFlow Lite Micro cannot run this model"
    assert [note for note in described["notes"] if note.startswith(wanted)]
    assert len(list((tmp_path / "run" / "points").iterdir())) == len(chosen) - 1


def test_a_front_of_which_the_interpreter_runs_nothing_says_so(
    micro: Problem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = search(micro, tmp_path)
    runs = iter([refusing(set())])  # the baseline's, which comes first
    broken = refusing({record.plan.hash for record in found.records})
    monkeypatch.setattr(Micro, "opened", lambda *arguments: next(runs, broken)(*arguments))
    made = front.make_front(micro, found, silent)
    assert (made.points, made.recommended) == ((), None)
    assert made.reason.startswith("every candidate for the front is left out: TensorFlow Lite Micro cannot run")
    assert front.describe(micro, found, made)["recommended"] is None


def noted(problem: Problem, folder: Path) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    found = search(problem, folder)
    return front.describe(problem, found, front.make_front(problem, found, silent))


@pytest.mark.parametrize(("board", "trials"), [("hifive1", 40), ("nrf52840", 12)])
def test_a_front_of_fidelity_names_it_everywhere(
    files: dict[str, str], tmp_path: Path, board: str, trials: int
) -> None:
    if board == "nrf52840":
        need_tflm()
    problem = prepared(files, objectives=["fidelity", "flash", "ram"], target=board, trials=trials)
    found = search(problem, tmp_path)
    made = front.make_front(problem, found, silent)
    described = front.describe(problem, found, made)
    assert front.is_front(described)
    assert described["quality"]["name"] == "fidelity"
    assert (described["baseline"]["fidelity_search"], described["baseline"]["fidelity_holdout"]) == (1.0, 1.0)
    assert described["data"]["classes"] == 0
    assert "drop in fidelity has a 95 % bound" in described["reason"]
    assert "accuracy" not in json.dumps(described).lower()
    scorer = problem.holdout_scorer()
    for shown, point in zip(described["points"], made.points, strict=True):
        measured = replace(problem.measure(point.record.plan), scorer=scorer)
        assert shown["fidelity_holdout"] == measured.fidelity
        low, high = student_interval(measured.fidelities, CONFIDENCE)
        assert shown["interval_holdout"] == [low, min(high, 1.0)]
        assert shown["drop_holdout"] == pytest.approx(100 * (1 - measured.fidelity))
        low, high = student_interval(1 - measured.fidelities, CONFIDENCE)
        assert shown["drop_interval"] == pytest.approx([max(0, 100 * low), 100 * high])


def halved(files: dict[str, str], folder: Path, flipped: bool = False) -> dict[str, str]:
    """The test split alone; its labels wrong by one where `flipped`."""
    arrays = dict(np.load(files["data"]))
    labels = (arrays["y_test"] + flipped) % 10
    np.savez(folder / "one.npz", x_test=arrays["x_test"], y_test=labels)
    return {**files, "data": str(folder / "one.npz")}


@pytest.mark.parametrize("board", ["hifive1", "nrf52840"])
def test_a_halved_set_tells_the_baseline_of_the_whole(files: dict[str, str], tmp_path: Path, board: str) -> None:
    if board == "nrf52840":
        need_tflm()
    arrays = np.load(files["data"])
    problem = prepared(halved(files, tmp_path), trials=3, target=board)
    codes = (arrays["x_test"] ^ np.uint8(128)).view(np.int8)
    right = int((Runner(problem.graph).run(codes)[0].argmax(axis=1) == arrays["y_test"]).sum())
    notes = noted(problem, tmp_path)["notes"]
    share = f"{right} of 120 ({100 * right / 120:.2f} %)"
    assert f"in LiteRT, on both halves of the data together: the int8 baseline is right on {share}" in notes


def test_a_set_with_two_splits_is_not_put_together(problem: Problem, searched: Searched, made: Front) -> None:
    described = front.describe(problem, searched, made)
    assert not any("both halves" in note for note in described["notes"])
    assert described["given"] is None


def test_a_float_network_is_shown_beside_the_baseline(files: dict[str, str], tmp_path: Path) -> None:
    graph = small_float_network(0)
    (tmp_path / "float.tflite").write_bytes(serialize(graph))
    arrays = np.load(files["data"])
    scores = Runner(graph).run(arrays["x_test"].astype(np.float32) / np.float32(255))[0]
    given = {**halved(files, tmp_path), "model": str(tmp_path / "float.tflite")}
    described = noted(prepared(given, trials=3, normalize=[0, 255]), tmp_path)
    right = int((scores.argmax(axis=1) == arrays["y_test"]).sum())
    assert described["given"]["kind"] == "float"
    halves = (described["given"][f"accuracy_{split}"] for split in ("search", "holdout"))
    assert sum(60 * share for share in halves) == pytest.approx(right)
    count = round(60 * described["given"]["accuracy_holdout"])
    assert described["given"]["interval_holdout"] == list(wilson_interval(count, 60))
    assert any(f"the float network on {right} of 120" in note for note in described["notes"])


@pytest.mark.parametrize("board", ["hifive1", "nrf52840"])
def test_a_uint8_network_is_shown_where_it_became_int8(tmp_path: Path, board: str) -> None:
    if board == "nrf52840":
        need_tflm()
    files = write_files(tmp_path, small_uint8_network)
    problem = prepared(files, trials=3, target=board, max_drop=20.0)
    described = noted(problem, tmp_path / "run")
    told = [note for note in described["notes"] if "no uint8 kernels" in note]
    if board == "hifive1":
        assert (described["given"], told) == (None, [])
        return
    arrays = np.load(files["data"])
    right = Runner(small_uint8_network(0)).run(arrays["x_test"])[0].argmax(axis=1) == arrays["y_test"]
    given = described["given"]
    assert (given["kind"], given["accuracy_holdout"]) == ("uint8", right.mean())
    assert given["interval_holdout"] == list(wilson_interval(int(right.sum()), 120))
    assert len(told) == 1
    assert "the network is converted to int8" in told[0]
    assert "the uint8 line is LiteRT's" in told[0]
    share = f"the uint8 network on {int(right.sum())} of 120 ({100 * right.mean():.2f} %)"
    assert any(share in note for note in described["notes"] if note.startswith("in LiteRT, on the holdout: "))


def test_what_int8_changed_is_told_beside_fidelity(files: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "float.tflite").write_bytes(serialize(small_float_network(0)))
    given = {**files, "model": str(tmp_path / "float.tflite")}
    problem = prepared(given, trials=3, normalize=[0, 255], objectives=["fidelity", "flash"])
    described = noted(problem, tmp_path)
    outputs = Runner(small_float_network(0)).run(problem.data.holdout.x.astype(np.float32) / np.float32(255))[0]
    before = problem.holdout_scorer().reference
    wanted = 1 - ((outputs - before) ** 2).sum() / ((before - before.mean(axis=0)) ** 2).sum()
    assert wanted < 1
    assert described["given"]["fidelity_holdout"] == pytest.approx(wanted)
    shown = f"{100 * described['given']['fidelity_holdout']:.2f} %"
    assert any(f"the float network's outputs have a fidelity of {shown}" in note for note in described["notes"])


def test_worse_than_guessing_points_to_the_order_of_classes(files: dict[str, str], tmp_path: Path) -> None:
    wrong = halved(files, tmp_path, flipped=True)
    notes = noted(prepared(wrong, trials=3), tmp_path / "wrong")["notes"]
    assert any("guessing would be on 10.00 %" in note and "--classes" in note for note in notes)
    order = [str((output + 1) % 10) for output in range(10)]
    right = noted(prepared(wrong, trials=3, classes=order), tmp_path / "right")
    assert not any("guessing" in note for note in right["notes"])


def test_points_of_an_earlier_end_are_removed(
    problem: Problem, searched: Searched, made: Front, tmp_path: Path
) -> None:
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
    made = front.make_front(problem, found, silent)
    assert (made.points, made.recommended) == ((), None)
    least = min(record.metrics["ram_bytes"] for record in found.records)
    assert f"ram is {least - 1200:,.0f} B above the limit of 1,200 B" in made.reason
    ram = problem.measure(min(found.records, key=lambda r: r.metrics["ram_bytes"]).plan).ram
    assert f"{ram.peak} sets the peak ({ram.activations:,} B of activations" in made.reason
    assert "a board with more RAM would help" in made.reason
    notes = front.describe(problem, found, made)["notes"]
    over = problem.measure(problem.bank.baseline).ram.total - 1200
    wanted = f"the int8 baseline does not fit: ram is {over:,} B above the limit of 1,200 B (the board's)"
    assert notes[0] == wanted
    assert [note for note in notes if "does not fit" in note] == [wanted]


def test_too_little_flash_is_told_with_bytes_part_and_help(files: dict[str, str], tmp_path: Path) -> None:
    problem = prepared(files, target=tiny_board(tmp_path, flash=8000), trials=12)
    found = search(problem, tmp_path)
    reason = front.make_front(problem, found, silent).reason
    least = min(record.metrics["flash_bytes"] for record in found.records)
    assert f"flash is {least - 8000:,.0f} B above the limit of 8,000 B" in reason
    flash = problem.measure(min(found.records, key=lambda r: r.metrics["flash_bytes"]).plan).flash
    assert flash.code > max(flash.weights, flash.records)
    assert f"its largest part is code ({flash.code:,} B)" in reason
    assert "a board with more flash would help" in reason


def test_too_much_accuracy_lost_is_told_with_options(problem: Problem, searched: Searched) -> None:
    records = tuple(candidates(problem, 15, 9))
    reason = front.why_nothing(problem, replace(searched, records=records))
    assert "the best candidate is expected to lose 7.50 points of accuracy, 5 are allowed" in reason
    assert "--max-drop" in reason
    assert "--trials" in reason


def test_limits_that_are_kept_one_at_a_time_only(files: dict[str, str], tmp_path: Path) -> None:
    """Decoding whole tensors, raw weights need the least RAM and coded ones the least flash."""
    need_tflm()
    free = prepared(files, target="nrf52840", trials=30)
    measured = [free.measure(record.plan) for record in search(free, tmp_path).records]
    assert len({m.ram.total for m in measured}) > 1
    flash = min(m.flash.total for m in measured)
    ram = min(m.ram.total for m in measured)
    tight = settings(free, max_flash=flash, max_ram=ram)
    records = tuple(over(tight, m) for m in measured)
    assert all(any(v > 0 for v in record.constraints.values()) for record in records)
    baseline = free.measure(free.bank.baseline)
    found = Searched(
        baseline=baseline, records=records, trials=9, stopped="trials", seconds=1.0, spent=Spent(seconds=0.5)
    )
    reason = front.why_nothing(tight, found)
    assert (
        f"some keep the limit of {flash:,} B of flash and some that of {ram:,} B of RAM, but none keeps both" in reason
    )
    assert "--max-flash or --max-ram" in reason


def over(problem: Problem, measured: Any) -> Record:
    limits = {
        "flash": float(measured.flash.total - problem.max_flash),
        "ram": float(measured.ram.total - problem.max_ram),
    }
    record = replace(told(problem, measured.flash.total, 0), plan=measured.model.plan, values=None)
    return replace(record, constraints=limits, metrics=static_metrics(measured))


def test_no_trial_at_all(problem: Problem, searched: Searched) -> None:
    assert front.why_nothing(problem, replace(searched, records=())) == "no trial was finished"
