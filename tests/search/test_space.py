"""Ladders and the hull: what is worth having, exactly priced, against brute force."""

from itertools import pairwise, product

import numpy as np
import pytest

from bqsearch.hardware.memory import decode_bytes
from bqsearch.plan import CODINGS
from bqsearch.search.prepare import Problem
from bqsearch.search.space import Ladder, Space
from search.problems import prepared, write_files


@pytest.fixture(scope="module", params=["hifive1", "nrf52840"])
def problem(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Problem:
    files = write_files(tmp_path_factory.mktemp("space"))
    return prepared(files, target=request.param, schemes=["kmeans", "uniform"])


@pytest.fixture(scope="module")
def space(problem: Problem) -> Space:
    return Space.of(problem.bank, problem.cost, problem.max_ram)


def cut(space: Space, count: int) -> Space:
    """Few rungs of each ladder, so that every plan can be tried."""
    ladders = []
    for ladder in space.ladders:
        kept = np.linspace(0, len(ladder.choices) - 1, count).astype(int)
        arrays = {key: getattr(ladder, key)[kept] for key in ("nbytes", "distortion", "arena")}
        ladders.append(Ladder(layer=ladder.layer, choices=tuple(ladder.choices[i] for i in kept), **arrays))
    return Space(bank=space.bank, ladders=tuple(ladders))


def every_plan(space: Space) -> np.ndarray:
    return np.array(list(product(*[range(len(ladder.choices)) for ladder in space.ladders])))


def distortions(space: Space, plans: np.ndarray) -> np.ndarray:
    return sum(ladder.distortion[plans[:, i]] for i, ladder in enumerate(space.ladders))


def test_ladders_are_undominated_and_descend(space: Space) -> None:
    for ladder in space.ladders:
        assert (np.diff(ladder.nbytes) <= 0).all()
        for coding in CODINGS:
            rungs = [i for i, choice in enumerate(ladder.choices) if choice.coding == coding]
            assert (np.diff(ladder.nbytes[rungs]) < 0).all()
            assert (np.diff(ladder.distortion[rungs]) > 0).all()


def test_no_choice_of_the_bank_undercuts_a_rung(problem: Problem, space: Space) -> None:
    for entry, ladder in zip(problem.bank.layers, space.ladders, strict=True):
        for choice, nbytes, distortion in entry.choices():
            same = [i for i, kept in enumerate(ladder.choices) if kept.coding == choice.coding]
            at_least = (ladder.nbytes[same] <= nbytes) & (ladder.distortion[same] <= distortion)
            assert at_least.any(), f"{choice} is worth having, but is not on the ladder"


def test_rungs_are_priced_as_the_bank_does(problem: Problem, space: Space) -> None:
    for entry, ladder in zip(problem.bank.layers, space.ladders, strict=True):
        for choice, nbytes, distortion in zip(ladder.choices, ladder.nbytes, ladder.distortion, strict=True):
            assert (entry.option(choice).nbytes, entry.option(choice).distortion) == (nbytes, distortion)


def test_sizes_and_arenas_are_those_of_the_compressed_model(problem: Problem, space: Space) -> None:
    rng = np.random.default_rng(0)
    for _ in range(40):
        indices = np.array([rng.integers(len(ladder.choices)) for ladder in space.ladders])
        model = problem.compress(space.plan(space.rungs(indices)))
        flash = problem.cost.flash(model)
        assert space.sizes(indices) == flash.weights + flash.tables
        assert space.sizes(indices) == sum(entry.coded.nbytes for entry in model.layers)
        arena = max(int(ladder.arena[i]) for ladder, i in zip(space.ladders, indices, strict=True))
        planned, _ = problem.cost.arena.with_scratch(decode_bytes(model, problem.cost.target))
        assert max(arena, problem.cost.arena.nbytes) == planned


def test_sizes_of_many_plans_at_once(space: Space) -> None:
    plans = every_plan(cut(space, 3))
    few = cut(space, 3)
    assert few.sizes(plans).tolist() == [few.sizes(plan) for plan in plans]


def test_rungs_beyond_the_ram_are_left_out(problem: Problem, space: Space) -> None:
    arenas = sorted({int(a) for ladder in space.ladders for a in ladder.arena})
    room = arenas[len(arenas) // 2]
    taken = problem.cost.target.stack + problem.cost.target.static_ram
    tight = Space.of(problem.bank, problem.cost, room + taken)
    removed = 0
    for ladder, full in zip(tight.ladders, space.ladders, strict=True):
        fitting = [c for c, a in zip(full.choices, full.arena, strict=True) if a <= room]
        assert list(ladder.choices) == (fitting or list(full.choices))
        assert ladder.arena.tolist() == [full.arena[full.choices.index(c)] for c in ladder.choices]
        removed += len(full.choices) - len(ladder.choices)
    assert removed > 0


def test_a_layer_that_never_fits_keeps_its_ladder(problem: Problem, space: Space) -> None:
    """The search then shows by how much RAM is exceeded instead of failing."""
    none = Space.of(problem.bank, problem.cost, 1)
    assert [len(ladder.choices) for ladder in none.ladders] == [len(ladder.choices) for ladder in space.ladders]


def test_distributions_are_the_rungs(space: Space) -> None:
    found = {name: (d.low, d.high) for name, d in space.distributions.items()}
    assert found == {ladder.layer: (0, len(ladder.choices) - 1) for ladder in space.ladders}


@pytest.mark.parametrize("weighed", [False, True])
def test_cheapest_minimizes_exactly(space: Space, weighed: bool) -> None:
    few = cut(space, 5)
    plans = every_plan(few)
    weights = np.random.default_rng(1).lognormal(size=len(few.ladders)) if weighed else np.ones(len(few.ladders))
    weighted = sum(ladder.distortion[plans[:, i]] * weights[i] for i, ladder in enumerate(few.ladders))
    sizes = few.sizes(plans)
    for price in np.geomspace(*few.prices, 30):
        found = few.cheapest(float(price), weights if weighed else None)
        cost = sum(ladder.distortion[r] * w for ladder, r, w in zip(few.ladders, found, weights, strict=True))
        assert cost + price * few.sizes(found) == pytest.approx((weighted + price * sizes).min(), rel=1e-12)


def test_cheapest_in_little_room_minimizes_among_what_fits(space: Space) -> None:
    few = cut(space, 5)
    plans, room = every_plan(few), few.least_arena
    arenas = np.max([ladder.arena[plans[:, i]] for i, ladder in enumerate(few.ladders)], axis=0)
    assert arenas.min() == room
    fitting = plans[arenas <= room]
    for price in np.geomspace(*few.prices, 10):
        found = few.cheapest(float(price), None, room)
        best = (distortions(few, fitting) + price * few.sizes(fitting)).min()
        assert distortions(few, found[None])[0] + price * few.sizes(found) == pytest.approx(best, rel=1e-12)


def test_no_plan_of_as_few_bytes_distorts_less(space: Space) -> None:
    few = cut(space, 5)
    plans = every_plan(few)
    sizes, predicted = few.sizes(plans), distortions(few, plans)
    for price in np.geomspace(*few.prices, 30):
        found = few.cheapest(float(price))
        assert distortions(few, found[None])[0] <= predicted[sizes <= few.sizes(found)].min() * (1 + 1e-12)


def test_prices_reach_from_the_finest_to_the_coarsest(space: Space) -> None:
    finest, coarsest = (space.cheapest(float(price)) for price in space.prices)
    assert distortions(space, finest[None])[0] == sum(ladder.distortion.min() for ladder in space.ladders)
    assert space.sizes(coarsest) == sum(ladder.nbytes.min() for ladder in space.ladders)


def test_cheapest_within_keeps_within(space: Space) -> None:
    weights = np.ones(len(space.ladders))
    largest, smallest = (int(space.sizes(space.cheapest(float(price)))) for price in space.prices)
    hull = {int(space.sizes(space.cheapest(float(p)))) for p in np.geomspace(*space.prices, 300)}
    for nbytes in np.linspace(smallest, largest, 25):
        found = int(space.sizes(space.cheapest_within(float(nbytes), weights)))
        assert found <= nbytes
        better = [size for size in hull if found < size <= nbytes]
        assert len(better) <= 1  # the search for the price ends between two neighbors of the hull
    assert space.sizes(space.cheapest_within(smallest - 1, weights)) == smallest


def test_sweep_is_distinct_and_finest_first(space: Space) -> None:
    points = space.sweep(32)
    assert 8 <= len(points) <= 32
    assert len({tuple(point.values()) for point in points}) == len(points)
    sizes = [int(space.sizes(np.array(list(point.values())))) for point in points]
    falls = [i for i, (a, b) in enumerate(pairwise(sizes)) if b > a]
    assert len(falls) <= 1  # a second sweep, in the smallest arena, may follow the first
    assert sizes[0] == max(sizes)
    assert min(sizes) == sum(ladder.nbytes.min() for ladder in space.ladders)
    assert points == space.sweep(32)


def test_sweep_ends_in_the_smallest_arena_where_ram_differs(problem: Problem, space: Space) -> None:
    def arena(point: dict[str, int]) -> int:
        return max(int(ladder.arena[point[ladder.layer]]) for ladder in space.ladders)

    found = {arena(point) for point in space.sweep(32)}
    assert space.least_arena in found
    if problem.cost.target.decode_buffer == "tensor":
        assert len(found) > 1
