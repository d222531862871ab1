"""A record survives any store, and what is none is refused."""

import json
from dataclasses import replace
from typing import Any

import pytest

from bqsearch.errors import StorageError
from bqsearch.plan import Choice, Method, Plan
from bqsearch.search.record import Record

RECORD = Record(
    plan=Plan(choices={"a": Choice.parse("kmeans-16-huffman"), "b": Choice.parse("keep-256-raw")}),
    values=(0.1 + 0.2, 1e-300, 12345.0),
    constraints={"flash": -3.0, "ram": 0.0, "drop": -0.5},
    metrics={"flash_bytes": 12, "accuracy_search": 1 / 3, "error_search": 0.02},
    drop_bound=0.1 + 0.7,
    seconds=0.125,
)


OTHER_PLAN = Plan(
    choices={"a": Choice.parse("binquant-6-raw-halves0.4"), "b": Choice.parse("entropy-16-mask-saliency50")},
    method=Method(error_compensation=False),
    successive=True,
)


@pytest.mark.parametrize(
    "record", [RECORD, replace(RECORD, values=None, drop_bound=None), replace(RECORD, plan=OTHER_PLAN)]
)
def test_round_trip_through_json(record: Record) -> None:
    again = Record.from_json(json.loads(json.dumps(record.to_json())))
    assert again == record
    assert again.plan.hash == record.plan.hash
    assert list(again.plan.choices) == ["a", "b"]


def test_feasible_means_run_and_within_every_limit() -> None:
    assert RECORD.feasible
    assert not replace(RECORD, values=None).feasible
    for limit in RECORD.constraints:
        assert not replace(RECORD, constraints={**RECORD.constraints, limit: 1e-12}).feasible


def changed(**changes: Any) -> dict[str, Any]:
    return {**RECORD.to_json(), **changes}


MALFORMED = {
    "nothing": None,
    "a list": [1],
    "a text": "record",
    "no fields": {},
    "a missing field": {k: v for k, v in RECORD.to_json().items() if k != "drop_bound"},
    "an odd field": changed(more=1),
    "a value that is no number": changed(values=["x", 1.0]),
    "values that are none": changed(values=3),
    "a plan that is none": changed(plan=None),
    "a plan of another format": changed(plan={"format": 99}),
    "a choice that is none": changed(plan={**RECORD.plan.to_json(), "layers": {"a": "x"}}),
    "a method that is none": changed(plan={**RECORD.plan.to_json(), "method": {"bias_correction": True}}),
    "a plan of the last format": changed(plan={"format": 1, "bias_correction": True, "layers": {"a": "keep-256-raw"}}),
    "no constraints": changed(constraints=None),
    "a constraint that is no number": changed(constraints={"ram": "x"}),
    "a bound that is no number": changed(drop_bound="x"),
    "counts in place of a bound": {
        **{k: v for k, v in RECORD.to_json().items() if k != "drop_bound"},
        "lost": 3,
        "gained": 0,
    },
    "no metrics": changed(metrics=[1]),
    "a trial that was run, without the error of its outputs": changed(metrics={"flash_bytes": 12}),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_what_is_no_record_is_refused(case: str) -> None:
    with pytest.raises(StorageError, match="a stored trial is malformed"):
        Record.from_json(MALFORMED[case])
