"""What a browser makes of the page: that it draws everything, obeys, and runs nothing hostile."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bqsearch.report.html import report_html
from pages import CHROMIUM, HOSTILE, Page, dumped

FrontMaker = Callable[..., dict[str, Any]]

pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"{CHROMIUM} is not installed")


def test_browser_draws_every_point(front: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text(report_html(front), encoding="utf-8")
    page = Page(dumped(tmp_path / "report.html", tmp_path))
    marks = [a for tag, a in page.elements if tag == "circle" and a.get("role") == "radio"]
    assert sorted(int(a["data-point"] or -1) for a in marks) == list(range(12))
    spots = {a["data-point"]: (float(a["cx"] or 0), float(a["cy"] or 0)) for a in marks}
    across = [spots[str(point["id"])][0] for point in sorted(front["points"], key=lambda point: point["flash_bytes"])]
    assert across == sorted(across)
    assert spots["11"][1] < spots["0"][1], "a higher accuracy stands higher"
    assert [a["data-point"] for a in marks if a["aria-checked"] == "true"] == ["7"]
    assert "Point 7 ★ recommended" in page.text.replace("7★", "7 ★")
    assert page.count("rect") >= 2 * len(front["layers"])


def test_browser_runs_nothing_hostile(front: dict[str, Any], tmp_path: Path) -> None:
    for point in front["points"]:
        point["layers"][0] |= {"name": HOSTILE, "choice": HOSTILE}
        point |= {"peak": HOSTILE, "files": {"plan": "javascript:alert(1)", "model": "//example.org/x"}}
    (tmp_path / "report.html").write_text(report_html(front), encoding="utf-8")
    page = Page(dumped(tmp_path / "report.html", tmp_path))
    assert page.count("img") == 0
    assert HOSTILE in page.text
    assert [a.get("href") for tag, a in page.elements if tag == "a"] == ["#points"]


@pytest.mark.parametrize("kind", [{"points": 0}, {"points": 1, "trials": 0}, {"points": 3, "holdout": False}])
def test_browser_renders_odd_fronts(make_front: FrontMaker, tmp_path: Path, kind: dict[str, Any]) -> None:
    (tmp_path / "report.html").write_text(report_html(make_front(**kind)), encoding="utf-8")
    page = Page(dumped(tmp_path / "report.html", tmp_path))
    marks = [a for tag, a in page.elements if tag == "circle" and a.get("role") == "radio"]
    assert len(marks) == kind["points"]
    assert "How each number was made" in page.text
    assert "NaN" not in page.text
    assert not any("NaN" in (value or "") for _, attributes in page.elements for value in attributes.values())


def test_browser_gives_no_sign_to_zero(front: dict[str, Any], tmp_path: Path) -> None:
    for point in front["points"]:
        point |= {"drop_holdout": 0.0, "drop_interval": [-0.04, 0.04]}
    (tmp_path / "report.html").write_text(report_html(front), encoding="utf-8")
    page = Page(dumped(tmp_path / "report.html", tmp_path))
    assert page.count("circle") >= 12
    assert "0.00 (0.0 to 0.0)" in page.text
    assert not re.search(r"[-\u2212]0(\.0*)?(?![\d.])", page.text)


def test_browser_shows_layers_against_shannons_bound(front: dict[str, Any], tmp_path: Path) -> None:
    chosen = next(point for point in front["points"] if point["id"] == front["recommended"])
    chosen["layers"][0] |= {"bytes": 1_250, "entropy_bytes": 1_000.0}
    chosen["layers"][1] |= {"entropy_bytes": 0.0}
    del chosen["layers"][2]["entropy_bytes"]  # a run of an earlier version
    (tmp_path / "report.html").write_text(report_html(front), encoding="utf-8")
    text = dumped(tmp_path / "report.html", tmp_path)
    page = Page(text)
    hints = [a["title"] or "" for tag, a in page.elements if tag == "button" and "title" in a]
    assert [hint.split(":")[0] for hint in hints] == ["Shannon"]
    assert hints[0] in page.text, "for fingers, which do not hover"
    rows = re.findall(r"<tr>.*?</tr>", text[text.index('id="layers"') :])[1:4]
    assert [Page(row.split("</td>")[6]).text for row in rows] == ["1,000 (+25.0 %)", "0", "\u2013"]


def test_browser_names_the_quality_everywhere(make_front: FrontMaker, tmp_path: Path) -> None:
    front = make_front(quality="fidelity")
    front["given"] = {
        "kind": "uint8",
        "fidelity_search": 0.9914,
        "fidelity_holdout": 0.9943,
        "interval_holdout": [0.979, 0.998],
    }
    (tmp_path / "report.html").write_text(report_html(front), encoding="utf-8")
    page = Page(dumped(tmp_path / "report.html", tmp_path))
    for text in ("Fidelity, holdout", "Fidelity on the holdout split, %", "99.43 (97.9 to 99.8)", "maximize fidelity"):
        assert text in page.text
    assert page.text.index("uint899.14") < page.text.index("baseline98.86")
    assert "accuracy" not in page.text.lower()
    assert "NaN" not in page.text
    marks = [a for tag, a in page.elements if tag == "circle" and a.get("role") == "radio"]
    assert len(marks) == 12


DRIVER = """<!doctype html><iframe id="page" src="report.html" style="width:390px;height:3000px"></iframe>
<script>addEventListener("load", () => {
  const page = document.getElementById("page").contentDocument;
  const note = (id, textContent) => Object.assign(document.createElement("i"), { id, textContent });
  const report = (id, text) => document.body.append(note(id, text));
  const tip = () => page.querySelector(".tip");
  report("width", page.documentElement.scrollWidth);
  const mark = page.querySelector('circle[data-point="4"]');
  mark.focus();
  report("tip", tip().hidden ? "hidden" : tip().textContent);
  mark.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight", bubbles: true }));
  report("key", page.getElementById("pick-title").textContent);
  page.querySelector('tr[data-point="2"] button').click();
  report("row", page.getElementById("pick-title").textContent);
  const spot = page.querySelector('circle[data-point="9"]').getBoundingClientRect();
  page.querySelector(".plot svg").dispatchEvent(new MouseEvent("click",
    { clientX: spot.x + spot.width / 2, clientY: spot.y + spot.height / 2, bubbles: true }));
  report("click", page.getElementById("pick-title").textContent);
  page.querySelectorAll("#points-table th button")[5].click();
  report("sort", page.querySelector("#points-table tr.row").dataset.point);
  const select = page.getElementById("axis-x");
  select.value = "ram_bytes";
  select.dispatchEvent(new Event("change"));
  const marks = [...page.querySelectorAll("circle[role=radio]")];
  marks.sort((a, b) => a.getAttribute("cx") - b.getAttribute("cx"));
  report("order", marks.map((circle) => circle.dataset.point).join(" "));
});</script>"""


def test_browser_obeys_keys_clicks_and_controls(front: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text(report_html(front), encoding="utf-8")
    (tmp_path / "driver.html").write_text(DRIVER, encoding="utf-8")
    found = dict(re.findall(r'<i id="(\w+)">([^<]*)</i>', dumped(tmp_path / "driver.html", tmp_path)))
    assert int(found["width"]) <= 390, "a phone must not scroll sideways"
    assert found["tip"].startswith("Point 4Holdout96.57")
    assert "115,868" in found["tip"]
    assert found["key"] == "Point 5"
    assert found["row"] == "Point 2"
    assert found["click"] == "Point 9"
    assert found["sort"] == "11", "the smallest RAM comes first"
    by_ram = sorted(front["points"], key=lambda point: point["ram_bytes"])
    assert found["order"].split() == [str(point["id"]) for point in by_ram]
