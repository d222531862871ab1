"""Masks of the weights that pruning keeps. Rules that need no training, one pass over a tensor.

- `std`: keep |w| >= amount * standard deviation of the tensor's weights (of the population, about their mean), as in
  Deep Compression (Han, Mao & Dally, ICLR 2016).
- `percentile`: remove `amount` percent of the weights, those of least magnitude.
- `saliency`: remove `amount` percent, those of least saliency * w^2: what their loss costs to second order, as in
  Optimal Brain Damage (LeCun, Denker & Solla, NIPS 1990).

A percentage is rounded to the nearest number of weights; among equals, those that come first in row-major order go.
"""

from collections.abc import Callable

import numpy as np

from bqsearch.errors import ModelError, PlanError, UnknownNameError
from bqsearch.types import Array, Floats


def prune_mask(rule: str, amount: float, weights: Floats, saliency: Floats) -> Array:
    """Which weights stay.

    Args:
        rule: `"std"`, `"percentile"` or `"saliency"`.
        amount: Standard deviations, or percent of the weights.
        weights: `(rows, columns)` real values.
        saliency: `(rows, columns)`, what a squared error of each weight costs; only `saliency` reads it.

    Returns:
        `(rows, columns)` bool.

    Raises:
        UnknownNameError: No rule has the name.
        PlanError: The amount is not for this rule.
        ModelError: A weight or a saliency is no finite number, or a saliency is negative.
    """
    if rule not in RULES:
        raise UnknownNameError("pruning rule", rule, RULES)
    _check_amount(rule, amount)
    if not np.isfinite(weights).all():
        raise ModelError("a weight to prune is NaN or infinite: look for them in the model's weights and scales")
    if not ((saliency >= 0) & (saliency < np.inf)).all():
        raise ModelError("saliency must be finite and not negative: look for NaN or infinite calibration data")
    return RULES[rule](amount, weights, saliency)


def _check_amount(rule: str, amount: float) -> None:
    most = np.inf if rule == "std" else 100.0
    if not 0 <= amount <= most or amount == np.inf:
        unit = "deviations, from 0 on" if rule == "std" else "percent, from 0 to 100"
        raise PlanError(f"pruning by {rule} takes an amount in {unit}, not {amount}")


def _by_deviation(amount: float, weights: Floats, saliency: Floats) -> Array:
    del saliency
    return np.abs(weights) >= amount * np.std(weights)


def _by_percentile(amount: float, weights: Floats, saliency: Floats) -> Array:
    del saliency
    return _without_least(amount, np.abs(weights))


def _by_saliency(amount: float, weights: Floats, saliency: Floats) -> Array:
    return _without_least(amount, saliency * weights**2)


def _without_least(percent: float, scores: Floats) -> Array:
    removed = round(percent * scores.size / 100)
    kept = np.ones(scores.size, bool)
    kept[np.argsort(scores, axis=None, kind="stable")[:removed]] = False
    return kept.reshape(scores.shape)


RULES: dict[str, Callable[[float, Floats, Floats], Array]] = {
    "std": _by_deviation,
    "percentile": _by_percentile,
    "saliency": _by_saliency,
}
