"""The page: what it holds, that hostile names stay inert, and that a browser draws and obeys it."""

import json
import re
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from bqsearch.report.html import embedded, report_html
from bqsearch.search.check import Check
from bqsearch.search.verify import Verified

FrontMaker = Callable[..., dict[str, Any]]

CHROMIUM = Path("/usr/bin/chromium")
HOSTILE = "</script><img src=x onerror=alert(1)>"
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--allow-file-access-from-files",
    "--virtual-time-budget=3000",
    "--dump-dom",
]


class Page(HTMLParser):
    """The elements of a page, and the text of each script."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.lasttag == "script" and data.strip():
            self.scripts[-1] += data
        elif self.lasttag != "style":
            self.words.append(data)

    def count(self, name: str) -> int:
        return sum(tag == name for tag, _ in self.elements)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).replace("\xa0", " ").split())


def dumped(url: Path, tmp_path: Path) -> str:
    """The document as Chromium leaves it after the scripts ran."""
    command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", url.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


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
    assert "url(" not in page.replace("url(#inside)", "")
    policy = next(a["content"] or "" for _, a in parsed.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")


def test_data_survive_the_trip_without_the_plans(front: dict[str, Any]) -> None:
    data = json.loads(Page(report_html(front)).scripts[0])
    assert data["recommended"] == front["recommended"]
    assert data["trials"] == front["trials"]
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
    assert "the int8 baseline does not fit: ram is 1,116 B above the limit" in text


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


chromium = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"{CHROMIUM} is not installed")


@chromium
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


@chromium
def test_browser_runs_nothing_hostile(front: dict[str, Any], tmp_path: Path) -> None:
    for point in front["points"]:
        point["layers"][0] |= {"name": HOSTILE, "choice": HOSTILE}
        point |= {"peak": HOSTILE, "files": {"plan": "javascript:alert(1)", "model": "//example.org/x"}}
    (tmp_path / "report.html").write_text(report_html(front), encoding="utf-8")
    page = Page(dumped(tmp_path / "report.html", tmp_path))
    assert page.count("img") == 0
    assert HOSTILE in page.text
    assert [a.get("href") for tag, a in page.elements if tag == "a"] == ["#points"]


@chromium
@pytest.mark.parametrize("kind", [{"points": 0}, {"points": 1, "trials": 0}, {"points": 3, "holdout": False}])
def test_browser_renders_odd_fronts(make_front: FrontMaker, tmp_path: Path, kind: dict[str, Any]) -> None:
    (tmp_path / "report.html").write_text(report_html(make_front(**kind)), encoding="utf-8")
    page = Page(dumped(tmp_path / "report.html", tmp_path))
    marks = [a for tag, a in page.elements if tag == "circle" and a.get("role") == "radio"]
    assert len(marks) == kind["points"]
    assert "How each number was made" in page.text
    assert "NaN" not in page.text
    assert not any("NaN" in (value or "") for _, attributes in page.elements for value in attributes.values())


@chromium
def test_browser_gives_no_sign_to_zero(front: dict[str, Any], tmp_path: Path) -> None:
    for point in front["points"]:
        point |= {"drop_holdout": 0.0, "drop_interval": [-0.04, 0.04]}
    (tmp_path / "report.html").write_text(report_html(front), encoding="utf-8")
    page = Page(dumped(tmp_path / "report.html", tmp_path))
    assert page.count("circle") >= 12
    assert "0.00 (0.0 to 0.0)" in page.text
    assert not re.search(r"[-\u2212]0(\.0*)?(?![\d.])", page.text)


@chromium
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


@chromium
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


@chromium
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
