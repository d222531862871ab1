"""Record: what one trial found out, as pure data that survives in any store."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from optuna.trial import FrozenTrial

from bqsearch.errors import PlanError, StorageError
from bqsearch.plan import Plan

INPUTS = "inputs_search"  # the metric that says how many inputs its figures are of
UNSEEN = "unseen"  # the constraint of a candidate that was given up: rows of the search split that it was not run on
ERROR = "error_search"  # the metric that says how far the outputs are from the uncompressed network's


@dataclass(frozen=True, kw_only=True)
class Record:
    """One trial.

    Attributes:
        plan: What was tried.
        values: Of the objectives, in the study's order; None if the plan broke a hard limit and was not run.
        constraints: By how much each limit is exceeded, in its unit; 0 or less is kept. One that was given up before
            all of the search split was seen exceeds `unseen`; its figures are those of what was seen.
        metrics: `flash_bytes, ram_bytes, latency_ms, energy_mj, weight_bytes` and, if it was run, what was read on the
            search split: `inputs_search`, of how many inputs; `accuracy_search` or `fidelity_search`, those of other
            objectives that run the network, and `error_search`, the outputs' squared error as a share of their
            variance, 0 or more.
        drop_bound: One-sided upper 95 % bound of the drop on the search split, percentage points of the quality; None
            if it was not run.
        seconds: That the trial took.
    """

    plan: Plan
    values: tuple[float, ...] | None
    constraints: Mapping[str, float]
    metrics: Mapping[str, float]
    drop_bound: float | None
    seconds: float

    @property
    def given_up(self) -> bool:
        """Whether it was not seen whole, since it could not be worth anything any more."""
        return UNSEEN in self.constraints

    @property
    def feasible(self) -> bool:
        """Whether it was run and keeps every limit."""
        return self.values is not None and all(excess <= 0 for excess in self.constraints.values())

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            **{f.name: getattr(self, f.name) for f in fields(self)},
            "plan": self.plan.to_json(),
            "values": None if self.values is None else list(self.values),
        }

    @classmethod
    def from_json(cls, value: Any) -> "Record":
        """The record that `to_json` wrote.

        Raises:
            StorageError: The value has another form.
        """
        try:
            values, bound = value["values"], value["drop_bound"]
            if values is not None:
                float(value["metrics"][ERROR])
            return cls(
                **{
                    **value,
                    "plan": Plan.from_json(value["plan"]),
                    "values": None if values is None else tuple(float(v) for v in values),
                    "drop_bound": None if bound is None else float(bound),
                    **{key: _numbers(value[key]) for key in ("constraints", "metrics")},
                }
            )
        except (KeyError, TypeError, ValueError, AttributeError, PlanError) as error:
            raise StorageError(f"a stored trial is malformed ({type(error).__name__}: {error})") from error


def record_of(trial: FrozenTrial) -> Record:
    """What a stored trial found out."""
    return Record.from_json(trial.user_attrs.get("record"))


def _numbers(value: Any) -> Mapping[str, float]:
    for number in value.values():
        float(number)
    return dict(value)
