"""The search of Bin & Quant does what was published: beside a plain account of it, on networks, and in its figures."""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
from optuna.trial import FrozenTrial

from bqsearch.bank.build import OptionBank, build
from bqsearch.bank.layer import LayerBank
from bqsearch.bank.weights import Moments
from bqsearch.datasets.base import Split
from bqsearch.errors import StorageError, StudyError, UnknownNameError
from bqsearch.graph.ops import layers
from bqsearch.importers.tflite import load
from bqsearch.packing.containers import CONTAINERS
from bqsearch.plan import Method, Plan
from bqsearch.quantizers.base import CODES
from bqsearch.quantizers.binquant import halved_edges, halved_table
from bqsearch.report import catalog
from bqsearch.runtime.litert import Runner
from bqsearch.search import prepare
from bqsearch.search.binquant import BinQuantStrategy, SplitScore, coded_version, perturbed
from bqsearch.search.driver import Searched
from bqsearch.search.prepare import Problem
from bqsearch.search.record import Record, record_of
from bqsearch.search.spec import make_spec
from bqsearch.types import Array, Bytes
from networks import small_int8_network, small_uint8_network
from search.problems import prepared, search, settings, timeless, write_files

INPUTS = 200  # of the synthetic split
FAITHFUL = {
    "sampler": "binquant",
    "schemes": ["keep", "binquant"],
    "polish": 0,
    **dict.fromkeys(("bias_correction", "activation_weighting", "error_compensation"), False),
}
PUBLISHED = (3, 4, 1, 5, 4, 0, 4)  # the bins halved on the way to 11, by the notebook's printed edges
# bins: mean squared error in codes, bytes of the Huffman stream
PUBLISHED_FIGURES = {
    4: (403.8, 3876), 5: (264.4, 4179), 6: (262.8, 4197), 7: (241.4, 4911),
    8: (241.2, 4919), 9: (218.3, 5001), 10: (74.4, 5059), 11: (54.8, 5654),
}  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return write_files(tmp_path_factory.mktemp("binquant"), small_uint8_network)


@pytest.fixture(scope="module")
def problem(files: dict[str, str]) -> Problem:
    return prepared(files, **FAITHFUL, max_bins=6)


# A plain account of the published search, with lists of edges that new ones are put into.


@dataclass
class Plain:
    """What the search does on weights; each version is noted as the halves of the layers that are binned."""

    weights: Mapping[str, Array]
    right: Callable[[Mapping[str, Array]], int]  # of a network with these weights, the others as they are
    allowed: float
    max_bins: int
    versions: list[dict[str, tuple[int, ...]]] = field(default_factory=list)

    def search(self) -> None:
        kept: dict[str, tuple[int, ...]] = {}
        binned: dict[str, Array] = {}
        reached: float = self.right({})
        for name in sorted(self.weights, key=lambda name: self.weights[name].size, reverse=True):
            found = self._layer(name, kept, binned, reached)
            if found is not None:
                kept[name], binned[name], reached = found

    def _layer(
        self, name: str, kept: dict[str, tuple[int, ...]], done: Mapping[str, Array], reached: float
    ) -> tuple[tuple[int, ...], Array, float] | None:
        codes = self.weights[name]
        edges = [float(codes.min()), codes.mean() - codes.std(), codes.mean(), codes.mean() + codes.std()]
        edges.append(float(codes.max()))
        assert edges == sorted(edges)
        halves: tuple[int, ...] = ()
        hurt: list[int] = []
        best, top = None, reached - self.allowed
        while True:
            version = np.array([self._binned(int(code), edges) for code in codes.reshape(-1)], np.uint8)
            version = version.reshape(codes.shape)
            right = self.right({**done, name: version})
            self.versions.append({**kept, name: halves})
            if right > top:
                best, top = (halves, version), right
            if len(edges) == self.max_bins + 1:
                return None if best is None else (*best, top)
            fresh = range(len(edges) - 1) if not halves else (halves[-1], halves[-1] + 1)
            if halves:
                hurt.pop(halves[-1])
            for place in fresh:
                hurt.insert(place, self.right({**done, name: self._hurt(codes, edges[place], edges[place + 1])}))
            worst = hurt.index(min(hurt))
            halves = (*halves, worst)
            edges.insert(worst + 1, (edges[worst] + edges[worst + 1]) / 2)

    @staticmethod
    def _binned(code: int, edges: Sequence[float]) -> int:
        return next(int((low + high) / 2) for low, high in pairwise(edges) if low <= code <= high)

    @staticmethod
    def _hurt(codes: Array, low: float, high: float) -> Array:
        flat = [int(c + 0.2 * c) % 256 if low <= c <= high else int(c) for c in codes.reshape(-1).tolist()]
        return np.array(flat, np.uint8).reshape(codes.shape)


def halves_of(plan: Plan) -> dict[str, tuple[int, ...]]:
    """Those of each layer that is binned."""
    return {name: choice.halves for name, choice in plan.choices.items() if choice.scheme == "binquant"}


def digest(parts: Mapping[str, Array], seed: int) -> int:
    """0 to `INPUTS` inputs, by chance, but the same for the same weights."""
    text = hashlib.sha256(str(seed).encode())
    for name in sorted(parts):
        text.update(name.encode() + np.ascontiguousarray(parts[name]).tobytes())
    return int.from_bytes(text.digest()[:4], "big") % (INPUTS + 1)


# Searches of a bank, with scores that need no network.


@dataclass
class Synthetic:
    """A score by a function of the plan and the tables; keeps what it was asked."""

    right: Callable[[Plan, Mapping[str, Bytes]], int]
    asked: list[tuple[Plan, Mapping[str, Bytes]]] = field(default_factory=list)

    def __call__(self, plan: Plan, tables: Mapping[str, Bytes], /) -> int:
        self.asked.append((plan, tables))
        return self.right(plan, tables)

    @property
    def probes(self) -> list[tuple[Plan, Mapping[str, Bytes]]]:
        return [(plan, tables) for plan, tables in self.asked if tables]


def strategy(bank: OptionBank, score: Synthetic, **settings: Any) -> BinQuantStrategy:
    given = {"inputs": INPUTS, "max_drop": 5.0, "max_bins": 6, "trials": 1000, **settings}
    return BinQuantStrategy(bank=bank, score=score, **given)


def record(plan: Plan, right: int | None) -> Record:
    """Of a plan; None where it breaks a hard limit."""
    return Record(
        plan=plan,
        values=None if right is None else (right / INPUTS, 1.0, 1.0),
        constraints={"flash": 1.0 if right is None else -1.0},
        metrics={} if right is None else {"accuracy_search": right / INPUTS, "error_search": 0.0},
        drop_bound=None,
        seconds=0.0,
    )


def never() -> bool:
    return False


def go_on(
    made: BinQuantStrategy, right: Callable[[Plan], int | None], count: int = 1000
) -> tuple[list[Plan], list[FrozenTrial]]:
    """Ask and tell as the driver does."""
    plans, trials = [], []
    while len(plans) < count and (plan := made.ask(never)) is not None:
        plans.append(plan)
        trials.append(made.tell(record(plan, right(plan))))
    return plans, trials


def flat(plan: Plan, tables: Mapping[str, Bytes]) -> int:
    """Everything scores the same."""
    return 100


def searched(plans: Sequence[Plan]) -> list[str]:
    """The layers in the order in which they are first binned."""
    return list(dict.fromkeys(name for plan in plans for name, c in plan.choices.items() if c.scheme != "keep"))


def by_table(bank: OptionBank, seed: int) -> Callable[[Plan, Mapping[str, Bytes]], int]:
    """A score by chance, of the weights that a plan and tables make."""

    def right(plan: Plan, tables: Mapping[str, Bytes]) -> int:
        made = {}
        for name, choice in plan.choices.items():
            entry = bank.by_name[name]
            codes = entry.weights.restore(entry.option(choice).codes)
            if choice.scheme != "keep" or name in tables:
                made[name] = tables[name][codes] if name in tables else codes
        return digest(made, seed)

    return right


def weights_of(bank: OptionBank) -> dict[str, Array]:
    return {entry.layer.name: entry.weights.restore(entry.weights.codes) for entry in bank.layers}


@pytest.mark.parametrize("seed", range(12))
def test_it_is_the_plain_account_of_it(problem: Problem, seed: int) -> None:
    max_drop = (2.0, 30.0, 60.0)[seed % 3]  # of accuracies all over the range: from few versions stay to most do
    right = by_table(problem.bank, seed)
    plain = Plain(weights_of(problem.bank), lambda made: digest(made, seed), max_drop * INPUTS / 100, 9)
    plain.search()
    score = Synthetic(right)
    plans, _ = go_on(strategy(problem.bank, score, max_bins=9, max_drop=max_drop), lambda plan: right(plan, {}))
    assert len(plans) == 4 * 6
    assert [halves_of(plan) for plan in plans] == plain.versions
    assert len(score.probes) == 4 * (4 + 4 * 2)  # all bins of the first version, then the two halves


def test_layers_go_by_bytes_and_equal_ones_as_they_are_run(problem: Problem) -> None:
    sizes = {entry.layer.name: entry.layer.size for entry in problem.bank.layers}
    assert sorted(sizes.values()) != list(sizes.values()) != sorted(sizes.values(), reverse=True)
    plans, _ = go_on(strategy(problem.bank, Synthetic(flat), max_bins=4), lambda plan: 100)
    assert searched(plans) == sorted(sizes, key=lambda name: -sizes[name])
    first = problem.bank.layers[0]
    twins = [replace(first, weights=replace(first.weights, layer=replace(first.layer, name=n))) for n in "cab"]
    plans, _ = go_on(strategy(OptionBank(layers=tuple(twins)), Synthetic(flat), max_bins=4), lambda plan: 100)
    assert searched(plans) == ["c", "a", "b"]


def test_weights_that_several_operators_read_are_left_alone(problem: Problem) -> None:
    first, *others = problem.bank.layers
    shared = replace(first, quantizers={"keep": first.quantizers["keep"]})
    plans, _ = go_on(strategy(OptionBank(layers=(shared, *others)), Synthetic(flat)), lambda plan: 100)
    assert first.layer.name not in searched(plans)
    assert len(searched(plans)) == 3
    assert strategy(OptionBank(layers=(shared,)), Synthetic(flat)).ask(never) is None


def test_a_probe_multiplies_members_by_1_2_as_bytes_do() -> None:
    table = perturbed(3.0, 255.0)
    assert table[[0, 2, 3, 4, 5, 9, 10]].tolist() == [0, 2, 3, 4, 6, 10, 12]  # 3.6 and 4.8 are cut
    assert table[[212, 213, 214, 255]].tolist() == [254, 255, 0, 50]  # 256.8 and 306 wrap
    assert np.flatnonzero(perturbed(9.5, 20.0) != np.arange(CODES)).tolist() == list(range(10, 21))
    assert np.array_equal(perturbed(20.0, 20.0)[[19, 20, 21]], [19, 24, 21])  # on both edges
    assert np.array_equal(perturbed(20.2, 20.8), np.arange(CODES))


def test_only_the_original_weights_of_the_layer_are_probed(problem: Problem) -> None:
    score = Synthetic(lambda plan, tables: 100)
    plans, _ = go_on(strategy(problem.bank, score), lambda plan: 100)
    last = {name: choice for plan in plans for name, choice in plan.choices.items() if choice.levels == 4}
    for plan, tables in score.probes:
        (name,) = tables
        assert plan.choices[name].scheme == "keep"
        done = searched(plans)[: searched(plans).index(name)]
        assert {n: c for n, c in plan.choices.items() if c.scheme != "keep"} == {n: last[n] for n in done}


def test_of_bins_that_hurt_alike_the_lowest_is_halved(problem: Problem) -> None:
    plans, _ = go_on(strategy(problem.bank, Synthetic(flat)), lambda plan: 100, 3)
    (name,) = searched(plans)
    assert [plan.choices[name].halves for plan in plans] == [(), (0,), (0, 0)]


def test_the_bin_that_hurts_most_is_halved_at_its_middle(problem: Problem) -> None:
    """A network that only feels one code: the bins close in on it."""
    entry = max(problem.bank.layers, key=lambda e: e.layer.size)
    counts = np.bincount(entry.weights.codes.reshape(-1), minlength=CODES)
    code = int(np.quantile(entry.weights.codes, 0.9))
    score = Synthetic(lambda plan, tables: 100 - any(int(t[code]) != code for t in tables.values()))
    plans, _ = go_on(strategy(problem.bank, score, max_bins=10), lambda plan: 100, 7)
    halves = plans[-1].choices[entry.layer.name].halves
    edges = halved_edges(counts, halves).tolist()
    widths = [high - low for low, high in pairwise(edges)]
    holding = next(i for i, (low, high) in enumerate(pairwise(edges)) if low <= code <= high)
    assert widths[holding] == min(widths)
    start = halved_edges(counts, ())
    assert widths[holding] == pytest.approx(np.diff(start)[halves[0]] / 2**6)


@pytest.mark.parametrize(
    ("told", "stays"),
    [
        ([150, 149, 149], None),  # 150 is no more than 160 less 5 % of 200
        ([150, 151, 150], 1),
        ([155, 155, 155], 0),  # of equal ones the coarsest
        ([151, 170, 160], 1),  # the best, not the smallest that would do
    ],
)
def test_what_stays_of_a_layer(problem: Problem, told: list[int], stays: int | None) -> None:
    made = strategy(problem.bank, Synthetic(lambda plan, tables: 160))
    answers = iter([*told, 0])
    plans, _ = go_on(made, lambda plan: next(answers), 4)
    (name,) = searched(plans[:3])
    kept = problem.bank.baseline.choices[name] if stays is None else plans[stays].choices[name]
    assert plans[3].choices[name] == kept
    assert [c.scheme for c in plans[3].choices.values()].count("binquant") == 1 + (stays is not None)


def test_every_layer_may_lose_as_much_again_from_what_stayed(problem: Problem) -> None:
    answers = {1: 151, 2: 142, 3: 132, 4: 123}  # 10 inputs are allowed each time: the third layer's are too few
    made = strategy(problem.bank, Synthetic(lambda plan, tables: 160), max_bins=4)
    plans, _ = go_on(made, lambda plan: answers[sum(c.scheme != "keep" for c in plan.choices.values())])
    assert [sum(c.scheme != "keep" for c in plan.choices.values()) for plan in plans] == [1, 2, 3, 3]
    assert len(searched(plans)) == 4


def test_each_version_takes_the_smaller_coding(problem: Problem) -> None:
    chosen: Counter[str] = Counter()
    for entry in problem.bank.layers:
        for halves in ((), (3,), (0, 0, 0, 0), (1,) * 12):
            choice = coded_version(entry, halves)
            sizes = {c: entry.option(replace(choice, coding=c)).nbytes for c in ("packed", "huffman")}
            assert sizes[choice.coding] == min(sizes.values())
            assert (choice.levels, choice.halves) == (4 + len(halves), halves)
            chosen[choice.coding] += 1
    assert set(chosen) == {"packed", "huffman"}


def test_a_probe_is_the_last_thing_before_it_ends(problem: Problem) -> None:
    score = Synthetic(flat)
    made = strategy(problem.bank, score)
    go_on(made, lambda plan: 100, 1)
    checks = iter([False, False, True])
    assert made.ask(lambda: next(checks)) is None
    assert len(score.probes) == 2
    assert made.ask(lambda: True) is None
    plan = made.ask(never)
    assert plan is not None
    assert len(score.probes) == 4  # what was probed is known
    assert plan == go_on(strategy(problem.bank, Synthetic(flat)), lambda plan: 100, 2)[0][1]


def test_there_are_no_more_versions_than_trials(problem: Problem) -> None:
    made = strategy(problem.bank, Synthetic(flat), trials=5)
    plans, trials = go_on(made, lambda plan: 100)
    assert len(plans) == 5
    assert strategy(problem.bank, Synthetic(flat), trials=5, finished=trials).ask(never) is None
    assert strategy(problem.bank, Synthetic(flat), trials=6, finished=trials).ask(never) is not None


@pytest.mark.parametrize("count", [0, 1, 2, 7, 8, 24])
def test_finished_trials_are_replayed_without_probes(problem: Problem, count: int) -> None:
    right = by_table(problem.bank, 5)
    settings: dict[str, Any] = {"max_bins": 9, "max_drop": 60.0}
    whole, trials = go_on(strategy(problem.bank, Synthetic(right), **settings), lambda plan: right(plan, {}))
    score = Synthetic(right)
    made = strategy(problem.bank, score, finished=trials[:count], **settings)
    assert len(score.asked) == 1  # the baseline
    assert go_on(made, lambda plan: right(plan, {}))[0] == whole[count:]


def test_trials_of_another_search_are_refused(problem: Problem) -> None:
    _, trials = go_on(strategy(problem.bank, Synthetic(flat)), lambda plan: 100)
    for changed in ({"max_bins": 5}, {"max_drop": 0.0, "score": Synthetic(lambda plan, tables: 150)}):
        with pytest.raises(StorageError, match="none of this search"):
            strategy(problem.bank, **{"score": Synthetic(flat), "finished": trials, **changed})  # type: ignore[arg-type]
    with pytest.raises(StorageError, match="none of this search"):
        strategy(problem.bank, Synthetic(flat), finished=[*trials, trials[-1]])
    del trials[0].user_attrs["right"]
    with pytest.raises(StorageError, match="none of this search"):
        strategy(problem.bank, Synthetic(flat), finished=trials)


def test_a_version_that_breaks_a_limit_is_scored_all_the_same(problem: Problem) -> None:
    right = by_table(problem.bank, 2)
    told, _ = go_on(strategy(problem.bank, Synthetic(right)), lambda plan: right(plan, {}))
    score = Synthetic(right)
    silent, trials = go_on(strategy(problem.bank, score), lambda plan: None)
    assert silent == told
    assert {trial.state.name for trial in trials} == {"PRUNED"}
    assert [trial.user_attrs["right"] for trial in trials] == [right(plan, {}) for plan in told]


def test_tell_gives_the_whole_record_with_the_trial(problem: Problem) -> None:
    plans, trials = go_on(strategy(problem.bank, Synthetic(flat)), lambda plan: 100, 4)
    for plan, trial in zip(plans, trials, strict=True):
        assert record_of(trial) == record(plan, 100)
        assert trial.params == {name: choice.levels for name, choice in plan.choices.items()}
        assert trial.values == [0.5, 1.0, 1.0]


UNFIT = {
    "scheme": (
        {"schemes": ["keep", "kmeans"]},
        "halves the bins of the scheme 'binquant', but schemes are keep, kmeans",
    ),
    "objectives": ({"objectives": ["flash", "ram"]}, "goes by accuracy, but objectives are flash, ram: add accuracy"),
    "fidelity": ({"objectives": ["fidelity", "flash"]}, "goes by accuracy, but objectives are fidelity, flash"),
    "prune": ({"prune": ["std"]}, "prunes nothing, but prune is std: leave it out"),
}


@pytest.mark.parametrize("case", UNFIT)
def test_what_it_cannot_serve_is_refused(files: dict[str, str], case: str) -> None:
    settings, message = UNFIT[case]
    with pytest.raises(StudyError, match=message):
        prepared(files, **{**FAITHFUL, **settings})


def test_without_labels_it_is_refused(files: dict[str, str], tmp_path: Path) -> None:
    arrays = dict(np.load(files["data"]))
    np.savez(tmp_path / "bare.npz", x_train=arrays["x_train"], x_test=arrays["x_test"])
    with pytest.raises(StudyError, match="goes by accuracy, but objectives are fidelity, flash, ram"):
        prepared({**files, "data": str(tmp_path / "bare.npz")}, **FAITHFUL)


def test_its_name_is_among_the_samplers() -> None:
    least = {"model": "mobilenet_v2", "target": "hifive1"}
    assert make_spec({**least, "sampler": "binquant"}).max_bins == 16
    with pytest.raises(UnknownNameError, match=r"unknown sampler 'binqant'.*Did you mean 'binquant'"):
        make_spec({**least, "sampler": "binqant"})
    for wrong in (3, 129):
        with pytest.raises(StudyError, match=f"max_bins must be from 4 to 128 bins, not {wrong}"):
            make_spec({**least, "max_bins": wrong})
    assert "binquant" in list(catalog.table("samplers").columns[0].cells)


# Networks.


def network_score(problem: Problem) -> Callable[[Mapping[str, Array]], int]:
    """Inputs of the search split that the network with these weights gets right."""
    tensors = {entry.layer.name: entry.layer.weights for entry in problem.bank.layers}

    def right(made: Mapping[str, Array]) -> int:
        graph = problem.graph.with_data({tensors[name]: codes for name, codes in made.items()})
        outputs = Runner(graph, batch=60).run(problem.scorer.inputs)[0]
        return int((outputs.reshape(len(outputs), -1).argmax(axis=1) == problem.scorer.labels).sum())

    return right


@pytest.fixture(scope="module")
def whole(problem: Problem, tmp_path_factory: pytest.TempPathFactory) -> Searched:
    return search(problem, tmp_path_factory.mktemp("whole"))


def test_a_network_is_searched_as_the_plain_account_says(problem: Problem, whole: Searched) -> None:
    allowed = problem.spec.max_drop * len(problem.scorer.inputs) / 100
    plain = Plain(weights_of(problem.bank), network_score(problem), allowed, 6)
    plain.search()
    assert whole.stopped == "complete"
    assert len(whole.records) == 4 * 3
    assert [halves_of(found.plan) for found in whole.records] == plain.versions
    assert all(found.plan == Plan.from_json(found.plan.to_json()) for found in whole.records)


def test_records_are_what_measuring_says(problem: Problem, whole: Searched) -> None:
    for found in whole.records[::3]:
        measured = problem.measure(found.plan)
        assert found.values == (measured.accuracy, measured.flash.total, measured.ram.total)
        for entry in measured.model.layers:
            choice = entry.option.choice
            if choice.scheme == "binquant":
                codes = entry.entry.weights.codes
                table = halved_table(np.bincount(codes.reshape(-1), minlength=CODES), choice.halves)
                assert np.array_equal(entry.option.codes, table[codes])


def test_a_resumed_search_ends_where_an_uninterrupted_one_does(
    problem: Problem, whole: Searched, tmp_path: Path
) -> None:
    for trials in (1, 2, 5, 7):
        part = search(settings(problem, trials=trials), tmp_path)
        assert (part.stopped, len(part.records)) == ("trials", trials)
    assert timeless(search(problem, tmp_path)) == timeless(whole)
    again = search(problem, tmp_path)
    assert (again.stopped, timeless(again)) == ("complete", timeless(whole))


def test_a_stopped_search_keeps_its_records(problem: Problem, whole: Searched, tmp_path: Path) -> None:
    stop = Event()
    found = search(problem, tmp_path, lambda number, record: stop.set() if number == 4 else None, stop)
    assert (found.stopped, len(found.records)) == ("interrupted", 5)
    assert timeless(search(problem, tmp_path)) == timeless(whole)


def test_time_ends_it_between_probes(problem: Problem, tmp_path: Path) -> None:
    found = search(settings(problem, timeout=0.0), tmp_path)
    assert (found.stopped, found.records) == ("timeout", ())


def test_a_board_that_is_too_small_changes_no_choice(problem: Problem, whole: Searched, tmp_path: Path) -> None:
    small = settings(problem, max_flash=1)
    found = search(small, tmp_path)
    assert [r.plan for r in found.records] == [r.plan for r in whole.records]
    assert all(r.values is None for r in found.records)
    half = settings(problem, max_flash=1, trials=5)
    search(half, tmp_path / "half")
    assert timeless(search(small, tmp_path / "half")) == timeless(found)


def test_a_method_is_the_studys(files: dict[str, str], tmp_path: Path) -> None:
    """Errors may be made up for, though the publication knows nothing of it; int8 networks are counted from -128."""
    made = write_files(tmp_path, small_int8_network)
    given = {"sampler": "binquant", "schemes": ["keep", "binquant"], "max_bins": 5, "trials": 8, "polish": 0}
    problem = prepared(made, **given)
    found = search(problem, tmp_path / "run")
    assert len(found.records) == 8
    assert all(r.plan.method == Method() for r in found.records)


# What was published.


def published_bank(shared_models: Path) -> OptionBank:
    graph = load(shared_models / "micro_speech_uint8.tflite")
    unseen = {layer.name: Moments(mean=np.zeros(layer.shape), variance=np.ones(layer.shape)) for layer in layers(graph)}
    method = Method(bias_correction=False, activation_weighting=False, error_compensation=False)
    return build(graph, unseen, ["binquant"], CONTAINERS["bqsearch"], method)


def dense_of(bank: OptionBank) -> LayerBank:
    return max(bank.layers, key=lambda entry: entry.layer.size)


def test_published_edges(shared_models: Path) -> None:
    dense = dense_of(published_bank(shared_models))
    counts = np.bincount(dense.weights.codes.reshape(-1), minlength=CODES)
    assert dense.layer.size == 16_000
    assert halved_edges(counts, ()).tolist() == [1, 97.78707476597417, 128.78125, 159.77542523402582, 255]
    assert halved_edges(counts, PUBLISHED).tolist() == [
        1, 49.393537382987084, 97.78707476597417, 113.28416238298709, 128.78125, 144.2783376170129,
        159.77542523402582, 183.58156892551938, 207.3877126170129, 219.2907844627597, 231.19385630850644, 255,
    ]  # fmt: skip


def test_published_errors_and_bytes(shared_models: Path) -> None:
    dense = dense_of(published_bank(shared_models))
    for bins, (error, huffman) in PUBLISHED_FIGURES.items():
        choice = coded_version(dense, PUBLISHED[: bins - 4])
        option = dense.option(choice)
        squares = (option.codes.astype(np.float64) - dense.weights.codes) ** 2
        assert squares.mean() == pytest.approx(error, abs=0.06)
        assert (choice.coding, option.stream_bytes) == ("huffman", huffman)
        packed = dense.option(replace(choice, coding="packed"))
        assert packed.stream_bytes == 2000 * (bins - 1).bit_length()


def test_published_choices_on_inputs_like_the_published(shared_models: Path, shared_data: Path) -> None:
    """The notebook wrote features of 0 to 26 into bytes that stand for 0 to 26 by a scale of 26 / 255: a tenth."""
    given = {"model": str(shared_models / "micro_speech_uint8.tflite"), "data": str(shared_data / "micro_speech.npz")}
    problem = prepare.prepare(make_spec({"target": "hifive1", **given, **FAITHFUL}), lambda words: None)
    splits = (problem.data.search, problem.data.holdout)
    both = Split(x=np.concatenate([s.x for s in splits]), y=np.concatenate([s.y for s in splits]))
    scorer = prepare.make_scorer(problem.graph, problem.bank, problem.data, both, problem.normalize)
    scorer = replace(scorer, inputs=(scorer.inputs * (26 / 255)).astype(np.uint8))
    made = BinQuantStrategy(
        bank=problem.bank,
        score=(score := SplitScore(replace(problem, scorer=scorer))),
        inputs=len(scorer.inputs),
        max_drop=1.0,
        max_bins=8,
        trials=5,
    )
    plan = problem.bank.baseline
    while (asked := made.ask(never)) is not None:
        plan, right = asked, score(asked, {})
        made.tell(replace(record(plan, 0), metrics={"accuracy_search": right / len(scorer.inputs)}))
    assert plan.choices[dense_of(problem.bank).layer.name].halves == PUBLISHED[:4]
