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


LINKED = """<!doctype html><meta name="color-scheme" content="light dark">
<iframe id="page" src="report.html" style="width:WIDTHpx;height:6000px"></iframe>
<script>addEventListener("load", () => {
  const frame = document.getElementById("page");
  const page = frame.contentDocument;
  const note = (id, textContent) => Object.assign(document.createElement("i"), { id, textContent });
  const report = (id, text) => document.body.append(note(id, text));
  const text = (selector) => page.querySelector(selector).textContent;
  const rings = () => [...page.querySelectorAll(".ring")].filter((ring) => ring.style.display !== "none").length;
  const hover = (box, across, down) => {
    const svg = page.querySelector(`${box} svg`);
    const { x, y, width, height } = svg.getBoundingClientRect();
    const place = { clientX: x + across * width, clientY: y + down * height };
    svg.dispatchEvent(new PointerEvent("pointermove", place));
    return page.querySelector(`${box} .tip`).textContent;
  };
  const color = (node, key) => {
    const found = frame.contentWindow.getComputedStyle(node)[key].match(/[0-9.]+/g).map(Number);
    const [r, g, b] = found.slice(0, 3).map((part) => part / 255)
      .map((part) => (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (selector, key = "color") => {
    const node = page.querySelector(selector);
    const behind = node.closest(".card") ?? page.body;
    const [low, high] = [color(node, key), color(behind, "backgroundColor")].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  report("bits", hover("#bars .plot", 0.9, 0.5));
  const [picture, piece] = ["svg", ".piece:nth-of-type(4)"].map((part) =>
    page.querySelector(`#memory ${part}`).getBoundingClientRect());
  report("memory", hover("#memory", (piece.x + piece.width / 2 - picture.x) / picture.width,
    (piece.y + piece.height / 2 - picture.y) / picture.height));
  report("best", hover("#course-best", 0.5, 0.5));
  const d = page.querySelector("#plot .early").getAttribute("d").match(/[0-9.]+/g).map(Number);
  const scale = page.querySelector("#plot svg").viewBox.baseVal;
  report("early", hover("#plot", (d[0] + 2.4) / scale.width, (d[1] + 2.4) / scale.height));
  report("legend", text("#legend"));
  report("volume", hover("#course-volume", 0.99, 0.5));
  const mini = page.querySelectorAll("#plots .plot svg")[1];
  const spot = mini.querySelector('circle[data-point="3"]').getBoundingClientRect();
  const place = { clientX: spot.x + spot.width / 2, clientY: spot.y + spot.height / 2, bubbles: true };
  mini.dispatchEvent(new MouseEvent("click", place));
  report("tip", page.querySelectorAll("#plots .plot .tip")[1].textContent);
  report("title", text("#pick-title"));
  report("layers", text("#layers-note"));
  report("plan", text("#memory-peak"));
  report("rings", rings());
  report("row", page.querySelector("tr.picked").dataset.point);
  page.querySelectorAll("#plots h3 button")[2].click();
  report("cost", `${page.getElementById("axis-x").value}; ${text("#course-best svg")}`);
  const select = page.getElementById("memory-of");
  select.value = "start";
  select.dispatchEvent(new Event("change"));
  report("start", text("#memory-peak"));
  report("width", page.documentElement.scrollWidth);
  report("requests", frame.contentWindow.performance.getEntriesByType("resource").length);
  const pairs = [["h1"], [".eyebrow"], [".notes"], [".fine"], [".ends"], ["#points-table th"], [".limit-name", "fill"],
    [".star-name", "fill"], ["#plot text", "fill"], ["#memory .peak-name", "fill"],
    ["#bars text", "fill"], ["#course-best text", "fill"]];
  report("contrast", Math.min(...pairs.map((pair) => contrast(...pair))));
  report("dark", String(color(page.body, "backgroundColor") < 0.1));
});</script>"""


def reported(front: dict[str, Any], tmp_path: Path, width: int, *flags: str) -> dict[str, str]:
    """What LINKED says of the page of a front."""
    (tmp_path / "report.html").write_text(report_html(front), encoding="utf-8")
    (tmp_path / "driver.html").write_text(LINKED.replace("WIDTH", str(width)), encoding="utf-8")
    text = dumped(tmp_path / "driver.html", tmp_path, *flags).replace("&nbsp;", " ")
    return dict(re.findall(r'<i id="(\w+)">([^<]*)</i>', text))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_browser_links_all_pictures_in_light_and_dark_on_desks_and_phones(
    front: dict[str, Any], tmp_path: Path, scheme: str, width: int
) -> None:
    found = reported(front, tmp_path, width, f"--blink-settings=preferredColorScheme={int(scheme == 'light')}")
    point, baseline = front["points"][3], front["baseline"]
    assert found["dark"] == str(scheme == "dark").lower()
    assert float(found["contrast"]) >= 4.5, "WCAG 2.1's level AA for text"
    assert int(found["width"]) <= width
    assert found["requests"] == "0"
    assert re.match(r"\w+Choice.*Bits per weight\d\.\d\d of 8Bytes[\d,]+ of [\d,]+", found["bits"])
    assert "Bytes4,016Place4,096 to 8,112Steps1 to 2" in found["memory"]
    assert re.match(r"Trial \d+Flash[\d,]+ BLowest so far[\d,]+ B", found["best"])
    assert re.match(r"Trial 19\d", found["volume"])
    assert re.match(r"Trial \d+Accuracy, estimateabout [\d.]+ %Given upafter 44 of 350 inputsFlash", found["early"])
    assert "trial given up early (estimate)" in found["legend"]
    assert found["title"] == "Point 3"
    assert found["tip"].startswith("Point 3Holdout")
    assert found["layers"].startswith(f"Point 3: 51 layers, {point['weight_bytes']:,} B for")
    assert f"sets the plan's size, {point['memory']['bytes']:,} B: block_1_depthwise in 4 strips" in found["plan"]
    assert f"RAM {point['ram_bytes']:,} B = this plan {point['memory']['bytes']:,} B + stack 1,024 B" in found["plan"]
    assert found["row"] == "3"
    assert found["rings"] == "6", "in the large plot, in four small ones and at its trial"
    assert found["cost"].startswith("latency_ms")
    assert "Lowest latency so far, ms" in found["cost"]
    assert f"sets the plan's size, {baseline['memory']['bytes']:,} B" in found["start"]


def test_browser_shows_hostile_operators_as_text(front: dict[str, Any], tmp_path: Path) -> None:
    front["operators"] = [HOSTILE] * len(front["operators"])
    (tmp_path / "report.html").write_text(report_html(front), encoding="utf-8")
    page = Page(dumped(tmp_path / "report.html", tmp_path))
    assert page.count("img") == 0
    assert f"output of {HOSTILE}" in page.text


def test_browser_draws_the_largest_front_that_is_to_be_expected(make_front: FrontMaker, tmp_path: Path) -> None:
    front = make_front(points=40, trials=2_000)
    for index in range(9):
        more = {**front["layers"][20 + index], "name": f"more_{index}"}
        front["layers"].append(more)
        for row in (front["baseline"], *front["points"]):
            row["layers"].append({**row["layers"][20 + index], "name": more["name"]})
    page = report_html(front)
    assert len(page.encode()) < 1_500_000
    (tmp_path / "report.html").write_text(page, encoding="utf-8")
    drawn = Page(dumped(tmp_path / "report.html", tmp_path))
    marks = [a for tag, a in drawn.elements if tag == "circle" and a.get("role") == "radio"]
    assert 30 < len(marks) <= 40, "all in the window"
    assert drawn.count("circle") < 400, "trials are drawn together"
    assert "40 points from 2,000 trials" in drawn.text
