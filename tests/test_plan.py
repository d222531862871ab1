"""Plans are pure data: they come back from JSON, hash to the same figure for ever, and refuse what is malformed."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bqsearch.errors import PlanError
from bqsearch.plan import CODINGS, Choice, Plan

CHOICES = st.builds(
    Choice,
    scheme=st.from_regex(r"[a-z][a-z0-9_]{0,20}", fullmatch=True),
    levels=st.integers(2, 256),
    coding=st.sampled_from(CODINGS),
)
PLANS = st.builds(Plan, choices=st.dictionaries(st.text(max_size=12), CHOICES), bias_correction=st.booleans())
PLAN = Plan(
    choices={
        "stem": Choice(scheme="kmeans", levels=16, coding="huffman"),
        "dense": Choice(scheme="keep", levels=256, coding="raw"),
    }
)


@settings(deadline=None)
@given(CHOICES)
def test_a_choice_is_read_as_it_prints(choice: Choice) -> None:
    assert Choice.parse(str(choice)) == choice


def test_a_choice_prints_as_scheme_levels_and_coding() -> None:
    assert str(Choice(scheme="binquant_optimal", levels=4, coding="packed")) == "binquant_optimal-4-packed"


def test_codings_are_those_of_all_containers() -> None:
    assert CODINGS == ("raw", "packed", "huffman", "mask")
    assert [str(Choice.parse(f"keep-256-{coding}")) for coding in CODINGS] == [f"keep-256-{c}" for c in CODINGS]


@settings(deadline=None)
@given(PLANS)
def test_a_plan_comes_back_from_json(plan: Plan) -> None:
    back = Plan.from_json(json.loads(json.dumps(plan.to_json())))
    assert back == plan
    assert list(back.choices) == list(plan.choices)
    assert back.hash == plan.hash


@settings(deadline=None)
@given(PLANS, PLANS)
def test_equal_plans_and_only_they_share_a_hash(left: Plan, right: Plan) -> None:
    assert (left.hash == right.hash) == (left == right)


def test_the_hash_stays_what_it_is() -> None:
    assert PLAN.hash == "b8ad49ed3f9607a0a2d73afe272a1af443efbc784dd1f3629a87a28b7bc94e2f"


def test_what_changes_the_hash() -> None:
    other = Plan(choices={**PLAN.choices, "stem": Choice(scheme="kmeans", levels=17, coding="huffman")})
    uncorrected = Plan(choices=PLAN.choices, bias_correction=False)
    renamed = Plan(choices=dict(zip(["stem", "head"], PLAN.choices.values(), strict=True)))
    assert len({PLAN.hash, other.hash, uncorrected.hash, renamed.hash}) == 4


def test_json_is_what_files_hold() -> None:
    assert PLAN.to_json() == {
        "format": 1,
        "bias_correction": True,
        "layers": {"stem": "kmeans-16-huffman", "dense": "keep-256-raw"},
    }


@pytest.mark.parametrize(
    "text",
    [
        *["", "kmeans", "kmeans-16", "kmeans-16-huffman-", "-16-raw", "kmeans--raw", "kmeans-1600-raw"],
        *["Kmeans-16-raw", "kmeans -16-raw", "kmeans-16-raw\n", "kmeans-0x10-raw", "kmeans-1.5-raw", "../x-16-raw"],
    ],
)
def test_a_malformed_choice_is_refused(text: str) -> None:
    with pytest.raises(PlanError, match="a choice reads SCHEME-LEVELS-CODING"):
        Choice.parse(text)


@pytest.mark.parametrize("levels", [0, 1, 257, 999])
def test_levels_out_of_range_are_refused(levels: int) -> None:
    with pytest.raises(PlanError, match=rf"2 to 256 levels, not 'kmeans', {levels}"):
        Choice.parse(f"kmeans-{levels}-raw")


def test_an_unknown_coding_is_refused_and_the_known_ones_listed() -> None:
    with pytest.raises(PlanError, match="unknown coding 'zip'; known: raw, packed, huffman, mask"):
        Choice.parse("kmeans-16-zip")


GOOD = PLAN.to_json()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "found 'NoneType'"),
        ([], "found 'list'"),
        ("plan", "found 'str'"),
        ({}, "found None"),
        ({**GOOD, "format": 2}, "found 2"),
        ({**GOOD, "format": "1"}, "found '1'"),
        ({**GOOD, "layers": None}, 'a plan\'s "layers" is an object'),
        ({**GOOD, "layers": ["keep-256-raw"]}, 'a plan\'s "layers" is an object'),
        ({**GOOD, "layers": {"stem": 16}}, 'a plan\'s "layers" is an object'),
        ({**GOOD, "layers": {"stem": "best"}}, "not 'best'"),
        ({**GOOD, "bias_correction": 1}, 'a plan\'s "bias_correction" is true or false, not 1'),
        ({k: v for k, v in GOOD.items() if k != "bias_correction"}, "not None"),
    ],
)
def test_a_malformed_plan_is_refused(value: Any, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        Plan.from_json(value)
