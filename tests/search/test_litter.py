"""Litters: plans between the front and what is new, and what they promise by what their kin lost."""

from dataclasses import replace

import numpy as np
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from bqsearch.bank.build import OptionBank
from bqsearch.plan import Choice
from bqsearch.search.belief import Belief
from bqsearch.search.improvement import Losses
from bqsearch.search.litter import Parents
from bqsearch.search.rate_distortion import RateDistortionSampler
from bqsearch.search.record import ERROR
from bqsearch.search.seen import Seen
from bqsearch.search.space import Ladder, Mix, Space
from search.problems import synthetic

LAYERS, LEAST = 40, 0.05


@pytest.fixture(scope="module")
def space() -> Space:
    """Forty equal layers of twelve rungs."""
    steps = np.arange(12)
    ladder = Ladder(
        layer="",
        choices=tuple(Choice(scheme="kmeans", levels=64 - n, coding="packed") for n in range(12)),
        nbytes=1000 - 70 * steps,
        distortion=0.001 * 1.7**steps,
        ram=np.zeros(12, np.int64),
    )
    ladders = tuple(replace(ladder, layer=f"layer {number}") for number in range(LAYERS))
    return Space(bank=OptionBank(layers=()), ladders=ladders, mixes=(Mix(codings=frozenset({"packed"}), code=0),))


def told(space: Space, rungs: np.ndarray, drop: float) -> FrozenTrial:
    """A trial whose error is as predicted."""
    record = synthetic(space.plan(space.rungs(np.zeros(LAYERS, np.int64))), 1, 1)
    metrics = {**record.metrics, ERROR: float(space.distortions(rungs).sum()), "ram_bytes": 1}
    known = replace(record, values=(0.5, 1.0), constraints={"drop": drop - 1.0}, metrics=metrics)
    return create_trial(
        state=TrialState.COMPLETE,
        values=[0.5, 1.0],
        params=space.rungs(rungs),
        distributions=space.distributions,
        user_attrs={"record": known.to_json()},
    )


def trials(space: Space, count: int = 30) -> list[FrozenTrial]:
    """Plans along the hull that lose the more the more they distort; by luck some lose less than others."""
    rng = np.random.default_rng(3)
    found = []
    for size in np.linspace(*space.extent(), count + 2)[1:-1]:
        rungs = space.within(float(size), rng.lognormal(0, 0.5, LAYERS))
        found.append(told(space, rungs, float(12 * space.distortions(rungs).sum() + rng.normal(0, 0.3))))
    return found


def parents_of(space: Space, known: list[FrozenTrial]) -> tuple[Parents, Seen]:
    seen = Seen(space)
    for trial in known:
        seen.add(trial)
    losses = Losses.of(seen.told[2], seen.excess)
    return Parents.of(space, seen, Belief.before(LAYERS, 0.5), losses, LEAST, np.inf), seen


def test_a_litter_takes_most_layers_from_the_front_and_is_a_little_smaller(space: Space) -> None:
    parents, seen = parents_of(space, trials(space))
    plans, added = parents.litter(np.random.default_rng(0), 100, LEAST)
    assert plans.shape == (100, LAYERS)
    assert (added >= 0).all()
    assert (added > 0).any()
    front = seen.told[0][seen.on_front(np.inf)]
    inherited = (plans[:, None] == front[None]).mean(axis=2).max(axis=1)
    assert inherited.mean() > 0.6
    assert (inherited < 1).mean() > 0.8
    nearest = np.abs(np.log(space.sizes(plans)[:, None] / space.sizes(front)[None])).min(axis=1)
    assert nearest.max() < 0.06


def test_what_kin_lost_by_luck_counts(space: Space) -> None:
    """Two plans of the same size and error, whose drops differ: what is like the better one promises more."""
    even, odd = np.full(LAYERS, 5), np.full(LAYERS, 5)
    even[::2], odd[1::2] = 6, 6
    known = trials(space)
    lucky, _ = parents_of(space, [*known, told(space, even, -0.5), told(space, odd, 1.4)])
    plans = np.stack([np.where(np.arange(LAYERS) < 2, plan + 1, plan) for plan in (even, odd)])
    like_even, like_odd = lucky._added(plans, np.zeros(2, np.int64))
    assert like_even > 2 * like_odd


def test_rd_breeds_while_trials_are_few(space: Space) -> None:
    known = trials(space)
    for count, bred in ((3, False), (30, True)):
        sampler = RateDistortionSampler(0, space)
        for trial in known[-count:]:
            sampler.learn(trial)
        assert (sampler._parents(np.inf) is not None) == bred
    sampler.plenty = 30
    sampler.learn(known[0])
    assert sampler._parents(np.inf) is None


def test_rd_draws_the_same_from_the_same_trials_and_nothing_twice(space: Space) -> None:
    drawn = []
    for _ in range(2):
        sampler = RateDistortionSampler(5, space)
        for trial in trials(space):
            sampler.learn(trial)
        drawn.append([])
        for number in range(40):
            drawn[-1].append(sampler.draw(number))
            sampler.note(drawn[-1][-1])
    assert drawn[0] == drawn[1]
    assert len({tuple(rungs.values()) for rungs in drawn[0]}) == 40
