"""Convergence: figures against the definition, by hand and by another way of counting."""

import numpy as np
import pytest

from bqsearch.tracking.convergence import WINDOW, Axis, Convergence

FLASH = Axis(name="flash", direction="minimize", baseline=100.0)
RAM = Axis(name="ram", direction="minimize", baseline=50.0)
ACCURACY = Axis(name="accuracy", direction="maximize", baseline=0.9)


def test_the_baseline_alone_has_half_of_each_objective() -> None:
    assert Convergence([FLASH, ACCURACY, RAM]).add([100.0, 0.9, 50.0], 1.0)["hypervolume"] == pytest.approx(0.125)


def test_losses_keep_to_the_unit_interval() -> None:
    assert [FLASH.loss(v) for v in (0.0, 100.0, -5.0)] == [0.0, 0.5, 0.0]
    assert [ACCURACY.loss(v) for v in (0.9, 0.0, -1.0)] == [0.5, 1.0, 1.0]
    assert FLASH.loss(1e12) <= 1.0
    assert Axis(name="energy", direction="minimize", baseline=0.0).loss(1.0) == 0.5


def test_two_points_by_hand() -> None:
    made = Convergence([FLASH, RAM])
    made.add([25.0, 50.0], 1.0)  # losses 0.2 and 0.5
    told = made.add([100.0, 12.5], 2.0)  # 0.5 and 0.2
    assert told["hypervolume"] == pytest.approx(0.8 * 0.5 + 0.5 * 0.8 - 0.5 * 0.5)
    assert (told["best_feasible_flash"], told["best_feasible_ram"]) == (25.0, 12.5)


def test_what_breaks_a_limit_or_is_no_figure_changes_nothing() -> None:
    made = Convergence([FLASH, ACCURACY])
    assert made.add(None, 1.0) == {"hypervolume": 0.0}
    first = made.add([50.0, 0.8], 2.0)
    for values in (None, [float("nan"), 1.0], [1.0, float("inf")], [50.0, 0.8], [60.0, 0.7]):
        assert made.add(values, 2.0)["hypervolume"] == first["hypervolume"]
    assert made.add(None, 2.0)["best_feasible_accuracy"] == 0.8


def test_the_hypervolume_of_many_is_the_share_of_the_box() -> None:
    rng = np.random.default_rng(0)
    made, axes = Convergence([FLASH, ACCURACY, RAM]), (FLASH, ACCURACY, RAM)
    values = rng.uniform(0.1, 2.0, (300, 3)) * [100.0, 0.9, 50.0]
    volumes = [made.add(row.tolist(), float(n))["hypervolume"] for n, row in enumerate(values)]
    assert volumes == sorted(volumes)
    losses = np.array([[axis.loss(v) for axis, v in zip(axes, row, strict=True)] for row in values])
    spots = rng.uniform(0.0, 1.0, (20_000, 3))
    dominated = np.zeros(len(spots), bool)
    for row in losses:
        dominated |= (row <= spots).all(axis=1)
    assert volumes[-1] == pytest.approx(dominated.mean(), abs=0.02)


def test_trials_a_second_are_of_the_last_ones_of_a_session() -> None:
    made = Convergence([FLASH])
    made.begin(100.0)
    assert made.add(None, 100.5)["trials_per_second"] == 2.0
    for number in range(WINDOW):
        told = made.add(None, 101.0 + 0.25 * number)
    assert told["trials_per_second"] == pytest.approx(WINDOW / (0.25 * (WINDOW - 1) + 0.5))
    made.begin(9000.0)
    assert made.add(None, 9001.0)["trials_per_second"] == 1.0
    assert "trials_per_second" not in Convergence([FLASH]).add(None, 5.0)


@pytest.mark.parametrize("jump", [-3600.0, -1.0, 3600.0])
@pytest.mark.parametrize("at", [0, 1, WINDOW // 2, WINDOW])
def test_a_clock_that_is_set_while_the_search_goes_on_gives_no_strange_rates(jump: float, at: int) -> None:
    made = Convergence([FLASH])
    made.begin(100.0)
    moments = [100.0 + 0.5 * (n + 1) + jump * (n >= at) for n in range(3 * WINDOW)]
    rates = [made.add(None, moment).get("trials_per_second") for moment in moments]
    assert [rate is None for rate in rates] == [n == at == 0 and jump < 0 for n in range(len(rates))]
    assert all(0 < rate <= 4.0 for rate in rates if rate is not None)
    assert rates[-1] == pytest.approx(2.0)
