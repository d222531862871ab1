"""Each rule keeps what it says, ties and degenerate tensors included."""

import numpy as np
import pytest

from bqsearch.errors import ModelError, PlanError, UnknownNameError
from bqsearch.quantizers.prune import RULES, prune_mask

WEIGHTS = np.array([[0.1, -0.5, 0.0], [2.0, -0.1, 0.3]])
ONES = np.ones((2, 3))


def test_by_deviation() -> None:
    deviation = np.sqrt(np.mean((WEIGHTS - WEIGHTS.mean()) ** 2))  # of the population
    kept = prune_mask("std", 0.5, WEIGHTS, ONES)
    assert 0.3 < 0.5 * deviation < 0.5
    assert kept.tolist() == [[False, True, False], [True, False, False]]


def test_a_weight_on_the_threshold_stays() -> None:
    assert prune_mask("std", 1.0, np.array([[-3.0, 3.0]]), np.ones((1, 2))).all()


@pytest.mark.parametrize(
    ("amount", "kept"),
    [
        (0.0, [[1, 1, 1], [1, 1, 1]]),
        (17.0, [[1, 1, 0], [1, 1, 1]]),
        (33.0, [[0, 1, 0], [1, 1, 1]]),  # of equal magnitudes the first goes
        (50.0, [[0, 1, 0], [1, 0, 1]]),
        (100.0, [[0, 0, 0], [0, 0, 0]]),
    ],
)
def test_by_percentile(amount: float, kept: list[list[int]]) -> None:
    assert prune_mask("percentile", amount, WEIGHTS, ONES).astype(int).tolist() == kept


@pytest.mark.parametrize("percent", range(101))
def test_percentages_are_counted_exactly(percent: int) -> None:
    kept = prune_mask("percentile", percent, np.arange(200.0).reshape(2, 100), np.ones((2, 100)))
    assert kept.size - kept.sum() == 2 * percent


def test_by_saliency() -> None:
    saliency = np.array([[1000.0, 1.0, 1.0], [0.0, 1.0, 1.0]])
    kept = prune_mask("saliency", 50.0, WEIGHTS, saliency)  # 10, 0.25, 0; 0, 0.01, 0.09
    assert kept.tolist() == [[True, True, False], [False, False, True]]


@pytest.mark.parametrize("rule", RULES)
def test_all_zero_tensors(rule: str) -> None:
    kept = prune_mask(rule, 50.0, np.zeros((2, 2)), np.ones((2, 2)))
    assert kept.tolist() == ([[True, True]] * 2 if rule == "std" else [[False, False], [True, True]])


@pytest.mark.parametrize("rule", RULES)
def test_an_amount_of_zero_keeps_all(rule: str) -> None:
    assert prune_mask(rule, 0.0, WEIGHTS, ONES).all()


@pytest.mark.parametrize(("bad", "amount"), [("std", -0.1), ("std", np.inf), ("percentile", 101), ("saliency", np.nan)])
def test_amounts_that_are_refused(bad: str, amount: float) -> None:
    with pytest.raises(PlanError, match=f"by {bad} takes an amount in .*, not {amount}"):
        prune_mask(bad, amount, WEIGHTS, ONES)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_refused(bad: float) -> None:
    spoilt = WEIGHTS.copy()
    spoilt[1, 1] = bad
    with pytest.raises(ModelError, match="a weight to prune is NaN or infinite"):
        prune_mask("std", 1.0, spoilt, ONES)
    with pytest.raises(ModelError, match="saliency must be finite"):
        prune_mask("saliency", 1.0, WEIGHTS, spoilt)


def test_an_unknown_rule_lists_the_good_ones() -> None:
    with pytest.raises(UnknownNameError, match="unknown pruning rule 'sdt'; known: percentile, saliency, std"):
        prune_mask("sdt", 1.0, WEIGHTS, ONES)
