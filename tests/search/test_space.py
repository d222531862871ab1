"""Ladders and the hull: what is worth having, exactly priced, against brute force."""

from dataclasses import replace
from itertools import pairwise, product

import numpy as np
import pytest

from bqsearch.bank.layer import LayerBank
from bqsearch.compress import CompressedModel
from bqsearch.hardware.micro import decoders
from bqsearch.hardware.streamed import StreamedFootprint
from bqsearch.plan import CODINGS, Choice
from bqsearch.search.prepare import MICRO, Problem
from bqsearch.search.space import Ladder, Space, flash_budget
from decoding import need_tflm
from search.problems import prepared, write_files


@pytest.fixture(
    scope="module",
    params=product(["hifive1", "nrf52840"], [True, False]),
    ids=lambda given: f"{given[0]}-{'compensated' if given[1] else 'mapped'}",
)
def problem(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Problem:
    board, compensated = request.param
    files = write_files(tmp_path_factory.mktemp("space"))
    if board == "nrf52840":
        need_tflm()
    settings = {"schemes": ["kmeans", "uniform"], "error_compensation": compensated}
    return prepared(files, target=board, prune=["std"] if compensated else [], **settings)


@pytest.fixture(scope="module")
def space(problem: Problem) -> Space:
    return Space.of(problem.bank, problem.cost, problem.max_ram)


def cut(space: Space, count: int) -> Space:
    """Few rungs of each ladder, so that every plan can be tried."""
    ladders = []
    for ladder in space.ladders:
        kept = np.linspace(0, len(ladder.choices) - 1, count).astype(int)
        arrays = {key: getattr(ladder, key)[kept] for key in ("nbytes", "distortion", "ram")}
        ladders.append(Ladder(layer=ladder.layer, choices=tuple(ladder.choices[i] for i in kept), **arrays))
    return Space(bank=space.bank, ladders=tuple(ladders), mixes=space.mixes)


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


def stored(problem: Problem, entry: LayerBank, choice: Choice) -> int:
    """Bytes of flash of a layer's weights: what the board's runtime puts around stream and table counts."""
    option = entry.option(choice)
    return problem.cost.footprint.stored(choice.coding, option.stream_bytes, option.table_bytes)


def test_no_choice_of_the_bank_undercuts_a_rung(problem: Problem, space: Space) -> None:
    for entry, ladder in zip(problem.bank.layers, space.ladders, strict=True):
        for choice, _, distortion in entry.choices():
            same = [i for i, kept in enumerate(ladder.choices) if kept.coding == choice.coding]
            nbytes = stored(problem, entry, choice)
            at_least = (ladder.nbytes[same] <= nbytes) & (ladder.distortion[same] <= distortion)
            assert at_least.any(), f"{choice} is worth having, but is not on the ladder"


def test_rungs_are_priced_as_bank_and_board_do(problem: Problem, space: Space) -> None:
    for entry, ladder in zip(problem.bank.layers, space.ladders, strict=True):
        for choice, nbytes, distortion in zip(ladder.choices, ladder.nbytes, ladder.distortion, strict=True):
            assert stored(problem, entry, choice) == nbytes
            assert entry.option(choice).distortion == pytest.approx(distortion, rel=1e-12)


def random_plans(space: Space, count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [np.array([rng.integers(len(ladder.choices)) for ladder in space.ladders]) for _ in range(count)]


def planned(problem: Problem, model: CompressedModel) -> bool:
    """Whether the file holds a memory plan."""
    return problem.cost.footprint.arena(decoders(model)).plan.offsets is not None


def test_sizes_are_those_of_the_compressed_model(problem: Problem, space: Space) -> None:
    """Under TensorFlow Lite Micro a few bytes come with the first coded layer and go with the last raw one."""
    totals = []
    for indices in random_plans(space, 40):
        model = problem.compress(space.plan(space.rungs(indices)))
        flash, size = problem.cost.flash(model), int(space.sizes(indices))
        coded = sum(entry.coded.nbytes for entry in model.layers)
        assert flash.weights + flash.tables == coded
        if problem.cost.target.runtime != MICRO:
            code = problem.cost.footprint.decoder_code({entry.option.choice.coding for entry in model.layers})
            assert coded <= size - code < coded + 8 * len(model.layers)  # streams and tables end at a multiple of 4
            totals.append(flash.total - flash.code - (size - code))
        elif not planned(problem, model):
            totals.append(flash.total - size)
    if problem.cost.target.runtime != MICRO:
        assert len(set(totals)) == 1
    else:
        assert len(totals) > 30
        assert max(totals) - min(totals) <= 16 * len(space.ladders)  # shapes that several constants share


def test_no_plan_goes_below_its_rungs_ram(problem: Problem, space: Space) -> None:
    for indices in random_plans(space, 40):
        model = problem.compress(space.plan(space.rungs(indices)))
        ram = problem.cost.ram(model).total
        least = max(int(ladder.ram[i]) for ladder, i in zip(space.ladders, indices, strict=True))
        assert least <= ram
        footprint, target = problem.cost.footprint, problem.cost.target
        if isinstance(footprint, StreamedFootprint):  # layers of one step add up
            assert ram == -(-footprint.schedule(model).nbytes // 4) * 4 + footprint.stack + target.static_ram


def test_one_coded_layer_needs_at_least_what_its_rung_says(problem: Problem, space: Space) -> None:
    exact = []
    for entry, ladder in zip(problem.bank.layers, space.ladders, strict=True):
        for choice, least in zip(ladder.choices[::7], ladder.ram[::7], strict=True):
            ram = problem.cost.ram(problem.compress(problem.bank.plan({entry.layer.name: choice}))).total
            assert least <= ram
            exact.append(ram - least <= 16)  # what padding may save
    assert any(exact)


def test_sizes_of_many_plans_at_once(space: Space) -> None:
    plans = every_plan(cut(space, 3))
    few = cut(space, 3)
    assert few.sizes(plans).tolist() == [few.sizes(plan) for plan in plans]


def test_rungs_beyond_the_ram_are_left_out(problem: Problem, space: Space) -> None:
    levels = sorted({int(nbytes) for ladder in space.ladders for nbytes in ladder.ram})
    room = levels[len(levels) // 2]
    tight = Space.of(problem.bank, problem.cost, room)
    removed = 0
    for ladder, full in zip(tight.ladders, space.ladders, strict=True):
        fitting = [c for c, nbytes in zip(full.choices, full.ram, strict=True) if nbytes <= room]
        assert list(ladder.choices) == (fitting or list(full.choices))
        assert ladder.ram.tolist() == [full.ram[full.choices.index(c)] for c in ladder.choices]
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
@pytest.mark.parametrize("step", [0, 1, None])
def test_no_plan_of_as_few_bytes_and_a_set_of_its_codings_distorts_less(
    space: Space, weighed: bool, step: int | None
) -> None:
    few = cut(space, 5)
    if step is not None and len(few.rooms) <= step:
        pytest.skip("all plans of this network need the same RAM")
    plans, room = every_plan(few), np.inf if step is None else float(few.rooms[step])
    ram = np.max([ladder.ram[plans[:, i]] for i, ladder in enumerate(few.ladders)], axis=0)
    assert ram.min() == few.rooms[0]
    assert sorted(set(ram.tolist())) == few.rooms.tolist()
    plans = plans[ram <= room]
    weights = np.random.default_rng(1).lognormal(size=len(few.ladders)) if weighed else np.ones(len(few.ladders))
    weighted = sum(ladder.distortion[plans[:, i]] * weights[i] for i, ladder in enumerate(few.ladders))
    sizes, seen = few.sizes(plans), 0
    for nbytes in np.geomspace(*few.extent(room), 30):
        found = few.within(float(nbytes), weights if weighed else None, room)
        size = int(few.sizes(found))
        assert size <= nbytes or size == few.extent(room)[0]
        assert max(ladder.ram[rung] for ladder, rung in zip(few.ladders, found, strict=True)) <= room
        cost = sum(ladder.distortion[r] * w for ladder, r, w in zip(few.ladders, found, weights, strict=True))
        best = weighted[sizes <= nbytes].min() if (sizes <= nbytes).any() else np.inf
        seen += cost <= best * (1 + 1e-9)
        assert cost <= weighted[sizes <= 0.8 * size].min(initial=np.inf) * (1 + 1e-9)
    assert seen >= 15  # the hull has gaps, which other plans may fall into


def test_extent_reaches_from_the_smallest_to_the_finest(space: Space) -> None:
    smallest, largest = space.extent()
    finest = space.within(largest)
    assert distortions(space, finest[None])[0] == sum(ladder.distortion.min() for ladder in space.ladders)
    assert space.sizes(finest) == largest
    assert space.sizes(space.within(smallest)) == smallest == smallest_size(space)


def smallest_size(space: Space) -> int:
    """Bytes of the smallest plan: with some sets of codings, its decoders included, every layer's smallest rung."""
    found = []
    for mix in space.mixes:
        rungs = [
            [
                nbytes
                for nbytes, choice in zip(ladder.nbytes, ladder.choices, strict=True)
                if choice.coding in mix.codings
            ]
            for ladder in space.ladders
        ]
        if all(rungs):
            found.append(mix.code + int(sum(map(min, rungs))))
    return min(found)


def test_within_keeps_within_and_comes_near(space: Space) -> None:
    smallest, largest = space.extent()
    for nbytes in np.linspace(smallest, largest, 25):
        found = int(space.sizes(space.within(float(nbytes))))
        assert found <= nbytes
        assert found >= 0.9 * nbytes or found == smallest
    assert space.sizes(space.within(smallest - 1)) == smallest


def ram_of(space: Space, point: dict[str, int]) -> int:
    """Bytes of RAM that no plan of these rungs can go below."""
    return max(int(ladder.ram[point[ladder.layer]]) for ladder in space.ladders)


def test_sweep_is_distinct_and_finest_first(space: Space) -> None:
    points = space.sweep(32)
    assert 8 <= len(points) <= 32
    assert len({tuple(point.values()) for point in points}) == len(points)
    sizes = [int(space.sizes(np.array(list(point.values())))) for point in points]
    falls = [i for i, (a, b) in enumerate(pairwise(sizes)) if b > a]
    assert len(falls) <= 4  # sweeps in less and less RAM may follow the first
    assert sizes[0] == max(sizes)
    assert min(sizes) == smallest_size(space)
    assert points == space.sweep(32)


def test_sweep_goes_into_less_and_less_ram_where_ram_differs(problem: Problem, space: Space) -> None:
    found = [ram_of(space, point) for point in space.sweep(32)]
    assert space.rooms[0] in found
    if problem.cost.target.runtime == MICRO:
        assert len(set(found)) > 2


def test_rooms_are_where_more_rungs_come_within_reach(space: Space) -> None:
    assert (np.diff(space.rooms) > 0).all()
    for room in space.rooms:
        assert all((ladder.ram <= room).any() for ladder in space.ladders)
    counts = [sum(int((ladder.ram <= room).sum()) for ladder in space.ladders) for room in space.rooms]
    assert (np.diff(counts) > 0).all()
    assert counts[-1] == sum(len(ladder.choices) for ladder in space.ladders)
    below = space.rooms[0] - 1
    assert not all((ladder.ram <= below).any() for ladder in space.ladders)


@pytest.mark.parametrize("frugal", [True, False])
def test_a_sweep_begins_at_what_the_flash_holds(problem: Problem, space: Space, frugal: bool) -> None:
    baseline = problem.compress(problem.bank.baseline)
    smallest, largest = space.extent()
    limit = problem.cost.flash(baseline).total - int(largest - smallest) // 3
    objectives = ("accuracy", "flash") if frugal else ("accuracy",)
    budget = flash_budget(problem.bank, problem.cost, limit, objectives)
    assert budget.frugal is frugal
    assert budget.most == limit - problem.cost.flash(baseline).total + int(space.sizes(rungs_of_baseline(space)))
    bounded = replace(space, budget=budget)
    sizes = [int(bounded.sizes(np.array(list(point.values())))) for point in bounded.sweep(24)]
    assert max(sizes) <= budget.most
    assert max(sizes) >= 0.9 * budget.most
    assert (min(sizes) == smallest_size(space)) is frugal
    assert frugal or min(sizes) >= 0.75 * budget.most


def rungs_of_baseline(space: Space) -> np.ndarray:
    return np.array([[(c.scheme, c.coding) for c in ladder.choices].index(("keep", "raw")) for ladder in space.ladders])


def test_less_ram_is_tried_where_ram_counts(problem: Problem) -> None:
    """As an objective, or because what there is may not be enough."""
    largest = max(int(ladder.ram.max()) for ladder in Space.of(problem.bank, problem.cost, problem.max_ram).ladders)
    for objectives, room, tried in (
        (("accuracy", "flash", "ram"), 10 * largest, True),
        (("accuracy", "flash"), 10 * largest, False),
        (("accuracy", "flash"), largest, True),
    ):
        space = Space.of(problem.bank, problem.cost, room, objectives)
        assert bool(space.tighter(8)) is tried
