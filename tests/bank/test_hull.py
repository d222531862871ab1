"""The hull is that of all pairs, and what is spread over it covers all prices."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bqsearch.bank.hull import hull, spread
from bqsearch.packing.container import UNAVAILABLE
from bqsearch.types import Floats, Ints

SEEDS = st.integers(0, 10**6)
COUNTS = st.integers(1, 60)


def sizes_and_errors(seed: int, count: int) -> tuple[Ints, Floats]:
    """With ties, dominated ones and unavailable ones."""
    rng = np.random.default_rng(seed)
    nbytes = rng.integers(1, 40, count) * 100
    distortion = rng.choice([1.0, 1e3, 1e6], count) * rng.integers(0, 20, count) / nbytes
    nbytes[rng.random(count) < 0.2] = UNAVAILABLE
    return nbytes, distortion


@settings(max_examples=200, deadline=None)
@given(seed=SEEDS, count=COUNTS)
def test_at_every_price_the_cheapest_is_on_the_hull_and_all_of_it_is_the_cheapest_at_one(seed: int, count: int) -> None:
    nbytes, distortion = sizes_and_errors(seed, count)
    found = hull(nbytes, distortion)
    available = nbytes < UNAVAILABLE
    assert bool(found) == available.any()
    if not found:
        return
    assert available[found].all()
    assert (np.diff(nbytes[found]) > 0).all()
    assert (np.diff(distortion[found]) < 0).all()
    prices = [0.0, *np.geomspace(1e-6, 1e6, 200), *-np.diff(distortion[found]) / np.diff(nbytes[found])]
    for price in prices:
        cost = distortion + price * nbytes
        assert cost[found].min() <= cost[available].min() * (1 + 1e-12)
    slopes = np.concatenate([[np.inf], -np.diff(distortion[found]) / np.diff(nbytes[found]), [0.0]])
    assert (np.diff(slopes)[:-1] <= 1e-9 * slopes[1:-1]).all()  # three on a line may be told apart by rounding
    assert slopes[-2] > 0
    assert distortion[found[-1]] == distortion[available].min()
    assert nbytes[found[0]] == nbytes[available].min()


@settings(max_examples=200, deadline=None)
@given(seed=SEEDS, count=COUNTS, wanted=st.integers(2, 20))
def test_what_is_spread_is_of_the_hull_with_both_of_its_ends(seed: int, count: int, wanted: int) -> None:
    nbytes, distortion = sizes_and_errors(seed, count)
    whole, found = hull(nbytes, distortion), spread(nbytes, distortion, wanted)
    assert len(found) <= wanted
    assert set(found) <= set(whole)
    assert found == [i for i in whole if i in set(found)]
    if len(whole) <= wanted:
        assert found == whole
    if whole:
        assert {whole[0], whole[-1]} <= set(found)


def test_prices_at_even_ratios_pick_what_is_spread() -> None:
    """Bytes fall evenly and errors rise tenfold from one to the next: each third one or so."""
    nbytes = np.arange(310, 0, -10, dtype=np.int64)
    distortion = np.array([10.0**n for n in range(31)])
    steps = np.diff(nbytes[spread(nbytes, distortion, 11)])
    assert len(steps) == 10
    assert set(steps.tolist()) <= {20, 30, 40}


@settings(max_examples=100, deadline=None)
@given(seed=SEEDS, wanted=st.integers(3, 20))
def test_each_that_is_spread_is_the_best_at_its_price(seed: int, wanted: int) -> None:
    nbytes, distortion = sizes_and_errors(seed, 300)
    distortion += 1e7 / nbytes  # a hull of many
    whole, found = hull(nbytes, distortion), spread(nbytes, distortion, wanted)
    slopes = -np.diff(distortion[whole]) / np.diff(nbytes[whole])
    for price in np.geomspace(slopes[0], slopes[-1], wanted)[1:-1]:
        cost = distortion + price * nbytes
        assert cost[found].min() <= cost[whole].min() * (1 + 1e-9)


def test_nothing_available_is_nothing() -> None:
    nothing = np.full(3, UNAVAILABLE)
    assert hull(nothing, np.ones(3)) == spread(nothing, np.ones(3), 5) == []
    assert hull(nothing[:0], np.ones(0)) == []


def test_of_equals_the_first_is_taken() -> None:
    assert hull(np.array([7, 5, 5, 5]), np.array([1.0, 3.0, 2.0, 2.0])) == [2, 0]
