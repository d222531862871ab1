"""Which weights lie in RAM: the best that fit, by brute force; and only where that is worth something."""

from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bqsearch.hardware.streamed import resident_bytes
from bqsearch.plan import Plan
from bqsearch.search.placement import SHARES, Placer, most_valuable, placer
from bqsearch.search.planfile import PLAN, PlanFile, gather, write_point
from bqsearch.search.prepare import Problem
from bqsearch.search.samplers import rd
from bqsearch.search.space import SHARE, Space
from decoding import need_tflm
from search.problems import prepared, write_files

THINGS = st.lists(st.tuples(st.integers(0, 50), st.integers(1, 40)), min_size=1, max_size=8)


@settings(deadline=None)
@given(THINGS, st.integers(0, 200))
def test_no_other_things_that_fit_are_worth_more(things: list[tuple[int, int]], capacity: int) -> None:
    values, nbytes = (np.array(column, kind) for column, kind in zip(zip(*things, strict=True), "fi", strict=True))
    chosen = most_valuable(values, nbytes, capacity)
    taken = np.array(list(product([0, 1], repeat=len(things))))
    fitting = taken[taken @ nbytes <= capacity]
    assert chosen == sorted(set(chosen))
    assert nbytes[chosen].sum() <= capacity
    assert values[chosen].sum() == (fitting @ values).max()
    assert (values[chosen] > 0).all()


@pytest.fixture(scope="module")
def problem(tmp_path_factory: pytest.TempPathFactory) -> Problem:
    return prepared(write_files(tmp_path_factory.mktemp("placement")), objectives=["accuracy", "flash", "latency"])


def resident(problem: Problem, plan: Plan) -> set[str]:
    return {name for name, choice in plan.choices.items() if choice.placement == "ram"}


def in_flash(plan: Plan) -> Plan:
    return replace(plan, choices={name: replace(c, placement="flash") for name, c in plan.choices.items()})


def bytes_of(problem: Problem, plan: Plan) -> dict[str, int]:
    return {e.layer.name: resident_bytes(e.option) for e in problem.compress(plan).layers}


@pytest.mark.parametrize("spare", [0, 40, 200, 700, 10_000])
def test_weights_get_what_is_free_and_no_other_placement_there_is_faster(problem: Problem, spare: int) -> None:
    plan = problem.bank.baseline
    used = problem.cost.ram(problem.compress(plan)).total
    placed = Placer(cost=problem.cost, max_ram=used + spare, shares=(1.0,)).placed(problem.bank, plan, 1.0)
    assert in_flash(placed) == plan
    model = problem.compress(placed)
    assert problem.cost.ram(model).total <= used + spare
    nbytes, names = bytes_of(problem, plan), list(plan.choices)
    fastest = problem.cost.cycles(model)
    for bits in product([False, True], repeat=len(names)):
        chosen = {name for name, bit in zip(names, bits, strict=True) if bit}
        if sum(nbytes[name] for name in chosen) <= spare:
            moved = {n: replace(c, placement="ram") if n in chosen else c for n, c in plan.choices.items()}
            assert problem.cost.cycles(problem.compress(replace(plan, choices=moved))) >= fastest - 1e-6
    assert bool(resident(problem, placed)) == (spare >= min(nbytes.values()))
    assert (resident(problem, placed) == set(names)) == (spare >= sum(nbytes.values()))


def test_a_share_is_of_the_weights_or_of_what_is_free(problem: Problem) -> None:
    plan = problem.bank.baseline
    nbytes = bytes_of(problem, plan)
    used, whole = problem.cost.ram(problem.compress(plan)).total, sum(nbytes.values())
    for free in (whole // 2, 10 * whole):
        placing = Placer(cost=problem.cost, max_ram=used + free, shares=SHARES)
        spent = []
        for share in SHARES:
            taken = sum(nbytes[name] for name in resident(problem, placing.placed(problem.bank, plan, share)))
            assert taken <= share * min(free, whole)
            spent.append(taken)
        assert spent == sorted(spent)
        assert spent[0] == 0
        assert (spent[-1] == whole) == (free >= whole)


def test_a_plan_above_the_limit_stays_in_flash(problem: Problem) -> None:
    plan = problem.bank.baseline
    assert Placer(cost=problem.cost, max_ram=1, shares=(1.0,)).placed(problem.bank, plan, 1.0) == plan


@pytest.mark.parametrize(
    ("objectives", "shares"),
    [
        (("accuracy", "flash", "ram"), None),
        (("accuracy", "flash"), None),
        (("accuracy", "latency"), (1.0,)),
        (("accuracy", "energy", "flash"), (1.0,)),
        (("accuracy", "latency", "ram"), SHARES),
    ],
)
def test_objectives_say_how_much_there_is_to_choose(
    problem: Problem, objectives: tuple[str, ...], shares: tuple[float, ...] | None
) -> None:
    made = placer(problem.bank, problem.cost, problem.max_ram, objectives)
    assert (None if made is None else made.shares) == shares
    space = Space.of(problem.bank, problem.cost, problem.max_ram, objectives)
    assert (SHARE in space.distributions) == (shares == SHARES)
    points = space.sweep(20)
    placed = [bool(resident(problem, space.plan(point))) for point in points]
    assert any(placed) == (shares is not None)
    assert all(placed) == (shares == (1.0,))
    if shares == SHARES:
        assert {point[SHARE] for point in points} == set(range(len(SHARES)))


def test_where_weights_have_one_place_only_there_is_nothing_to_choose(tmp_path_factory: pytest.TempPathFactory) -> None:
    need_tflm()
    files = write_files(tmp_path_factory.mktemp("micro"))
    micro = prepared(files, target="nrf52840", objectives=["accuracy", "latency"])
    assert placer(micro.bank, micro.cost, micro.max_ram, ("accuracy", "latency")) is None


def test_the_sampler_proposes_shares(problem: Problem) -> None:
    space = Space.of(problem.bank, problem.cost, problem.max_ram, ("accuracy", "latency", "ram"))
    study = optuna.create_study(directions=["maximize", "minimize", "minimize"])
    points = [rd(seed, space).sample_relative(study, study.ask(), {}) for seed in range(40)]
    assert {point[SHARE] for point in points} == set(range(len(SHARES)))
    assert all(set(point) == set(space.distributions) for point in points)


def test_a_plan_file_keeps_the_placement(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    files = write_files(tmp_path_factory.mktemp("files"))
    problem = prepared(files, objectives=["accuracy", "flash", "latency"])
    space = Space.of(problem.bank, problem.cost, problem.max_ram, ("accuracy", "latency"))
    plan = space.plan(space.sweep(4)[1])
    write_point(problem, problem.compress(plan), tmp_path)
    read = PlanFile.read(tmp_path / PLAN)
    assert read.plan == plan
    made = gather(read, files["model"], None, lambda words: None).remake(read.plan)
    assert made.resident == problem.compress(plan).resident == {entry.layer.op for entry in made.layers}
