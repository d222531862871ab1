"""Bounds hold as often as they say, and tighten to what is true."""

import numpy as np
import pytest

from bqsearch.search import race
from bqsearch.search.quality import ACCURACY, FIDELITY
from bqsearch.search.race import Rival


def test_every_row_is_looked_at_once_and_in_growing_batches() -> None:
    for rows in (2, 23, 24, 100, 350, 5000):
        stops = race.stops(rows)
        assert stops == sorted(set(stops))
        assert stops[-1] == rows
        assert all(stop >= race.FEWEST for stop in stops[:-1])
        assert sorted(race.order(rows).tolist()) == list(range(rows))
    assert race.stops(350) == [44, 88, 175, 350]
    assert race.order(100).tolist() == race.order(100).tolist() != list(range(100))


def test_what_is_allowed_is_the_least_of_reach_and_rivals_that_are_no_worse() -> None:
    rivals = [Rival(costs=(100.0, 5.0), drop=0.5), Rival(costs=(80.0, 9.0), drop=0.25)]
    assert race.allowed(3.0, 1.0, (120.0, 5.0), rivals) == 1.5
    assert race.allowed(3.0, 1.0, (120.0, 9.0), rivals) == 1.25
    assert race.allowed(3.0, 1.0, (90.0, 6.0), rivals) == 3.0
    assert race.allowed(0.5, 1.0, (120.0, 9.0), rivals) == 0.5
    assert race.allowed(3.0, 1.0, (120.0, 9.0), []) == 3.0


@pytest.mark.parametrize("quality", [ACCURACY, FIDELITY], ids=lambda quality: quality.name)
@pytest.mark.parametrize("share", [0.01, 0.05, 0.3])
def test_the_bound_is_hardly_ever_above_what_is_lost_in_the_end(quality: race.Quality, share: float) -> None:
    rng = np.random.default_rng(0)
    beyond = looks = 0
    for _ in range(1500):
        drops = rng.choice([1.0, 0.0, -1.0], p=[share, 1 - 1.4 * share, 0.4 * share], size=350)
        if quality is FIDELITY:
            drops = rng.exponential(share, size=350)
        for stop in race.stops(350)[:-1]:
            looks += 1
            beyond += race.least_drop(quality, drops[:stop], 350) > 100 * drops.mean() + 1e-9
    assert beyond <= 0.002 * looks


@pytest.mark.parametrize("quality", [ACCURACY, FIDELITY], ids=lambda quality: quality.name)
def test_of_a_split_seen_whole_there_is_no_doubt(quality: race.Quality) -> None:
    drops = np.random.default_rng(1).choice([1.0, 0.0], p=[0.2, 0.8], size=200)
    assert race.least_drop(quality, drops, 200) == pytest.approx(100 * drops.mean())
    bounds = [race.least_drop(quality, drops[:n], 200) for n in (25, 50, 100, 199)]
    assert all(bound < 100 * drops[:n].mean() for bound, n in zip(bounds, (25, 50, 100, 199), strict=True))


def test_what_breaks_down_is_given_up_at_the_first_look() -> None:
    assert race.least_drop(ACCURACY, np.r_[np.ones(30), np.zeros(14)], 350) > 30
