"""The page: what it holds, and that hostile names stay inert in it."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from bqsearch.report import words
from bqsearch.report.html import embedded, report_html
from bqsearch.search.check import Check
from bqsearch.search.verify import Verified
from pages import HOSTILE, Page, unpacked

FrontMaker = Callable[..., dict[str, Any]]


def test_what_was_checked_stands_beside_what_was_predicted(make_front: FrontMaker) -> None:
    checks = (
        Check(name="linker", passed=True, detail="", predicted=123456, measured=123456),
        Check(name="stack", passed=False, detail="", predicted=792, measured=800),
        Check(name="instructions", passed=None, detail="skipped: <no> emulator"),
        Check(name="model.tflite", passed=True, detail="not shown"),
    )
    page = report_html(make_front(), [Verified(point=3, checks=checks)])
    section = page[page.index('<section class="card checked"') :]
    assert "<td>123,456</td><td>123,456</td>" in section
    assert '<td>792</td><td class="broken">800</td>' in section
    assert '<td colspan="2">skipped: &lt;no&gt; emulator</td>' in section
    assert '<span class="broken">fail</span>' in section
    assert "not shown" not in section
    assert "Checked by" not in report_html(make_front())


def test_page_asks_nothing_of_the_network(front: dict[str, Any]) -> None:
    page = report_html(front)
    found = set(re.findall(r"(?:https?:)?//[a-z0-9][\w.-]*\.[a-z]{2,}[^\s\"']*", page))
    assert found == {"http://www.w3.org/2000/svg"}
    parsed = Page(page)
    assert not any("src" in attributes for _, attributes in parsed.elements)
    assert parsed.count("link") == 0
    assert not re.search(r"url\((?!#)", page)
    policy = next(a["content"] or "" for _, a in parsed.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")


def test_data_survive_the_trip_without_the_plans(front: dict[str, Any]) -> None:
    data = json.loads(Page(report_html(front)).scripts[0])
    assert data["recommended"] == front["recommended"]
    assert unpacked(data["trials"]) == front["trials"]
    assert [unpacked(point["layers"]) for point in data["points"]] == [point["layers"] for point in front["points"]]
    assert [point["flash"] for point in data["points"]] == [point["flash"] for point in front["points"]]
    assert all("plan" not in point for point in data["points"])


def test_hostile_strings_stay_inert(front: dict[str, Any]) -> None:
    for row in (front["layers"][0], front["baseline"]["layers"][0], *(point["layers"][0] for point in front["points"])):
        row["name"] = HOSTILE
    front |= {"study": HOSTILE, "model": HOSTILE, "target_title": HOSTILE, "reason": HOSTILE, "created": HOSTILE}
    front["data"]["note"] = "{{script}}" + HOSTILE
    page = Page(report_html(front))
    assert page.count("img") == 0
    assert page.count("script") == 2
    data = json.loads(page.scripts[0])
    assert data["layers"][0]["name"] == HOSTILE
    assert data["data"]["note"] == "{{script}}" + HOSTILE


def test_embedded_json_cannot_end_its_element() -> None:
    value = {"name": HOSTILE, "comment": "<!--<script>", "lines": "\u2028&", "odd": [float("nan"), float("inf")]}
    text = embedded(value)
    assert not set(text) & set("<>&\u2028")
    assert json.loads(text) == value | {"odd": [None, None]}


def test_headline_and_notes_stand_in_the_page_itself(front: dict[str, Any]) -> None:
    text = Page(report_html(front)).text
    assert "Point 7 keeps 98.00 % accuracy on the holdout split (95 % interval 95.9 to 99.0)" in text
    assert "It needs 137,485 B of flash and 13,970 B of RAM" in text
    assert front["reason"] in text
    assert text.count("does not fit") == 1
    assert words.inputs_note(front) in text
    assert "The int8 baseline does not fit: ram is 1,116 B above the limit" in text


def test_reader_without_scripts_gets_every_point(front: dict[str, Any]) -> None:
    part = re.search(r"<noscript>(.*?)</noscript>", report_html(front), re.DOTALL)
    assert part is not None
    table = Page(part[1])
    assert table.count("tr") == 1 + 1 + len(front["points"])
    assert "★ 7" in table.text
    assert "98.00 (95.9 to 99.0)" in part[1]


@pytest.mark.parametrize("kind", ["float", "uint8"])
def test_the_given_network_is_a_row_for_a_reader_without_scripts(
    front: dict[str, Any], given: dict[str, Any], kind: str
) -> None:
    front["given"] = {**given, "kind": kind}
    part = re.search(r"<noscript>(.*?)</noscript>", report_html(front), re.DOTALL)
    assert part is not None
    assert f'<th scope="row">{kind}</th><td>99.14</td><td>99.43 (97.9 to 99.8)</td>' in part[1]


@pytest.mark.parametrize("kind", [{"points": 0, "trials": 0}, {"points": 1}, {"points": 3, "holdout": False}])
def test_odd_fronts_render(make_front: FrontMaker, kind: dict[str, Any]) -> None:
    front = make_front(**kind)
    assert len(json.loads(Page(report_html(front)).scripts[0])["points"]) == kind["points"]
