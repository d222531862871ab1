"""Plans are pure data: they come back from JSON, hash to the same figure for ever, and refuse what is malformed."""

import json
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bqsearch.errors import PlanError
from bqsearch.plan import CODINGS, PLACEMENTS, RULES, Choice, Method, Plan, Prune

PRUNES = st.sampled_from(sorted(RULES)).flatmap(
    lambda rule: st.builds(Prune, rule=st.just(rule), amount=st.integers(1, RULES[rule]))
)
CHOICES = st.builds(
    Choice,
    scheme=st.from_regex(r"[a-z][a-z0-9_]{0,20}", fullmatch=True).filter(lambda name: name != "keep"),
    levels=st.integers(2, 256),
    coding=st.sampled_from(CODINGS),
    prune=st.none() | PRUNES,
    placement=st.sampled_from(PLACEMENTS),
)
HALVED = st.lists(st.integers(0, 123), min_size=1, max_size=124).flatmap(
    lambda halves: st.builds(
        Choice,
        scheme=st.just("binquant"),
        levels=st.just(4 + len(halves)),
        coding=st.sampled_from(CODINGS),
        prune=st.none() | PRUNES,
        halves=st.just(tuple(halves)),
        placement=st.sampled_from(PLACEMENTS),
    )
)
METHODS = st.builds(Method, **{f.name: st.booleans() for f in fields(Method)})
PLANS = st.builds(
    Plan,
    choices=st.dictionaries(st.text(max_size=12), CHOICES | HALVED),
    method=METHODS,
    successive=st.booleans(),
)
PLAN = Plan(
    choices={
        "stem": Choice(scheme="kmeans", levels=16, coding="huffman"),
        "dense": Choice(scheme="keep", levels=256, coding="raw"),
    }
)


@settings(deadline=None)
@given(CHOICES | HALVED)
def test_a_choice_is_read_as_it_prints(choice: Choice) -> None:
    assert Choice.parse(str(choice)) == choice


def test_a_choice_prints_as_scheme_levels_and_coding() -> None:
    assert str(Choice(scheme="binquant_optimal", levels=4, coding="packed")) == "binquant_optimal-4-packed"


@pytest.mark.parametrize(
    ("choice", "text"),
    [
        (
            Choice(scheme="kmeans", levels=16, coding="sparse", prune=Prune(rule="saliency", amount=50)),
            "kmeans-16-sparse-saliency50",
        ),
        (
            Choice(scheme="entropy", levels=4, coding="mask", prune=Prune(rule="std", amount=125)),
            "entropy-4-mask-std125",
        ),
        (
            Choice(scheme="binquant", levels=7, coding="huffman", halves=(0, 4, 12)),
            "binquant-7-huffman-halves0.4.12",
        ),
        (
            Choice(scheme="binquant", levels=5, coding="raw", prune=Prune(rule="percentile", amount=99), halves=(3,)),
            "binquant-5-raw-percentile99-halves3",
        ),
        (Choice(scheme="log2", levels=7, coding="packed", placement="ram"), "log2-7-packed-ram"),
        (
            Choice(
                scheme="binquant",
                levels=5,
                coding="raw",
                prune=Prune(rule="std", amount=50),
                halves=(3,),
                placement="ram",
            ),
            "binquant-5-raw-std50-halves3-ram",
        ),
    ],
)
def test_a_choice_prints_what_is_pruned_and_halved_and_where_it_lies_behind_it(choice: Choice, text: str) -> None:
    assert str(choice) == text
    assert Choice.parse(text) == choice


def test_codings_are_those_of_all_containers() -> None:
    assert CODINGS == ("raw", "packed", "huffman", "mask", "sparse")
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
    assert PLAN.hash == "6944afca182cdc1b50506ee5a8e27e457a8595c711159d1b882c458b37a006c1"


def test_what_changes_the_hash() -> None:
    stem = PLAN.choices["stem"]
    stems = [
        replace(stem, levels=17),
        replace(stem, prune=Prune(rule="std", amount=50)),
        replace(stem, placement="ram"),
    ]
    stems += [Choice(scheme="binquant", levels=5, coding="raw", halves=halves) for halves in ((), (0,), (3,))]
    others = [replace(PLAN, choices={**PLAN.choices, "stem": choice}) for choice in stems]
    methods = [replace(PLAN, method=replace(PLAN.method, **{f.name: False})) for f in fields(Method)]
    renamed = replace(PLAN, choices=dict(zip(["stem", "head"], PLAN.choices.values(), strict=True)))
    plans = [PLAN, renamed, *others, *methods, replace(PLAN, successive=True)]
    assert len({plan.hash for plan in plans}) == len(plans) == 12


def test_json_is_what_files_hold() -> None:
    assert PLAN.to_json() == {
        "format": 3,
        "method": {"bias_correction": True, "activation_weighting": True, "error_compensation": True},
        "successive": False,
        "layers": {"stem": "kmeans-16-huffman", "dense": "keep-256-raw"},
    }
    stem = Choice.parse("binquant-6-sparse-std50-halves1.3")
    other = Plan(choices={"stem": stem}, method=Method(activation_weighting=False), successive=True)
    assert other.to_json() == {
        "format": 3,
        "method": {"bias_correction": True, "activation_weighting": False, "error_compensation": True},
        "successive": True,
        "layers": {"stem": "binquant-6-sparse-std50-halves1.3"},
    }


def test_all_of_the_method_is_on_unless_said_otherwise() -> None:
    assert PLAN.method == Method() == Method(**{f.name: True for f in fields(Method)})
    assert not PLAN.successive


@pytest.mark.parametrize(
    "text",
    [
        *["", "kmeans", "kmeans-16", "kmeans-16-huffman-", "-16-raw", "kmeans--raw", "kmeans-1600-raw"],
        *["Kmeans-16-raw", "kmeans -16-raw", "kmeans-16-raw\n", "kmeans-0x10-raw", "kmeans-1.5-raw", "../x-16-raw"],
        *[
            "kmeans-16-raw-",
            "kmeans-16-raw-std",
            "kmeans-16-raw-50",
            "kmeans-16-raw-magnitude50",
            "kmeans-16-raw-std-5",
        ],
        *["kmeans-16-raw-std5.5", "kmeans-16-raw-std50%", "kmeans-16-raw-std50-std50", "kmeans-16-raw-std12345"],
        *["binquant-5-raw-halves", "binquant-5-raw-halves1.", "binquant-6-raw-halves1..2", "binquant-5-raw-halves-1"],
        *["binquant-5-raw-halves1-std50", "binquant-5-raw-halves1,2", "binquant-5-raw-halves1234"],
        *[
            "kmeans-16-raw-ram-std50",
            "kmeans-16-raw-ram-ram",
            "kmeans-16-raw-flash",
            "kmeans-16-raw-RAM",
        ],
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
    with pytest.raises(PlanError, match="unknown coding 'zip'; known: raw, packed, huffman, mask, sparse"):
        Choice.parse("kmeans-16-zip")


def test_an_unknown_placement_is_refused_and_the_known_ones_listed() -> None:
    with pytest.raises(PlanError, match="unknown placement 'cache'; known: flash, ram"):
        replace(PLAN.choices["stem"], placement="cache")


def test_an_unknown_rule_of_pruning_is_refused_and_the_known_ones_listed() -> None:
    with pytest.raises(PlanError, match="unknown rule of pruning 'magnitude'; known: std, percentile, saliency"):
        Prune(rule="magnitude", amount=50)


@pytest.mark.parametrize(
    ("rule", "amount", "message"),
    [
        ("std", 0, r"std takes 1 to 1000 hundredths of a standard deviation, not 0"),
        ("std", 1001, r"std takes 1 to 1000 hundredths of a standard deviation, not 1001"),
        ("percentile", 100, r"percentile takes 1 to 99 percent, not 100"),
        ("saliency", 0, r"saliency takes 1 to 99 percent, not 0"),
        ("saliency", -5, r"saliency takes 1 to 99 percent, not -5"),
    ],
)
def test_amounts_of_pruning_out_of_range_are_refused(rule: str, amount: int, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        Prune(rule=rule, amount=amount)
    if amount >= 0:
        with pytest.raises(PlanError, match=message):
            Choice.parse(f"kmeans-16-raw-{rule}{amount}")


@pytest.mark.parametrize(
    "text",
    [
        *["binquant-4-raw-halves0", "binquant-6-raw-halves0", "binquant-5-raw-halves0.1", "kmeans-5-raw-halves0"],
        *["binquant_optimal-5-raw-halves0", "keep-256-raw-halves0"],
    ],
)
def test_halves_are_binquants_and_as_many_as_there_are_levels_above_four(text: str) -> None:
    with pytest.raises(PlanError, match=rf"halved from the 4 that binquant begins with; not {text}$"):
        Choice.parse(text)


def test_what_is_kept_cannot_be_pruned() -> None:
    with pytest.raises(PlanError, match=r"keep leaves weights as they are: .* not keep-256-mask-std50"):
        Choice.parse("keep-256-mask-std50")


GOOD = PLAN.to_json()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "found 'NoneType'"),
        ([], "found 'list'"),
        ("plan", "found 'str'"),
        ({}, "found None"),
        ({**GOOD, "format": 2}, "found 2"),
        ({**GOOD, "format": 4}, "found 4"),
        ({**GOOD, "format": 3.0}, "found 3.0"),
        ({**GOOD, "format": "3"}, "found '3'"),
        ({**GOOD, "layers": None}, 'a plan\'s "layers" is an object'),
        ({**GOOD, "layers": ["keep-256-raw"]}, 'a plan\'s "layers" is an object'),
        ({**GOOD, "layers": {"stem": 16}}, 'a plan\'s "layers" is an object'),
        ({**GOOD, "layers": {"stem": "best"}}, "not 'best'"),
        ({**GOOD, "layers": {"stem": "kmeans-16-raw-std5000"}}, "1 to 1000 hundredths .* not 5000"),
        (
            {**GOOD, "method": {**GOOD["method"], "bias_correction": 1}},
            "is true or false; found .*'bias_correction': 1",
        ),
        ({**GOOD, "method": {**GOOD["method"], "error_compensation": None}}, "'error_compensation': None"),
        ({**GOOD, "method": {**GOOD["method"], "more": True}}, "has bias_correction, .*; found .*'more'"),
        (
            {**GOOD, "method": {"bias_correction": True}},
            "has bias_correction, activation_weighting, error_compensation",
        ),
        ({**GOOD, "method": [True, True, True]}, r"has bias_correction, .*; found \[True"),
        ({**GOOD, "method": None}, '"method" has .*; found None'),
        ({k: v for k, v in GOOD.items() if k != "method"}, '"method" has .*; found None'),
        ({**GOOD, "successive": 1}, '"successive" is true or false, not 1'),
        ({k: v for k, v in GOOD.items() if k != "successive"}, '"successive" is true or false, not None'),
    ],
)
def test_a_malformed_plan_is_refused(value: Any, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        Plan.from_json(value)
