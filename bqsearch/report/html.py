"""The front as one self-contained page: no request leaves it, and no string of a model can run in it."""

import base64
import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from html import escape
from importlib import resources
from typing import Any

from bqsearch.report import facts, words
from bqsearch.report.convergence import courses
from bqsearch.report.facts import Front, Point
from bqsearch.search.check import Check
from bqsearch.search.verify import Verified

# Parts of the page's script, each of which uses what is above it.
SCRIPTS = ("base", "scales", "pick", "tables", "layers", "plot", "memory", "convergence", "facts", "start")
SLOT = re.compile(r"\{\{(\w+)\}\}")
CHECKS = {  # by the name of a check: its heading, and what its figures are
    "linker": ("Flash, B", "predicted", "linked"),
    "static": ("RAM without stack, B", "predicted", "linked"),
    "stack": ("Stack, B", "kept free", "used"),
    "instructions": ("Instructions", "predicted", "counted"),
    "size": ("File, B", "predicted", "written"),
    "arena": ("Arena, B", "predicted", "allocated"),
    "outputs": ("Outputs", "compared", "equal"),
}
UNSAFE = {ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&\u2028\u2029"}


def report_html(front: Front, checked: Sequence[Verified] = ()) -> str:
    """The page of a finished run, with what `bqsearch verify` found. Links in it are relative to the run folder."""
    script = _script()
    return _filled(
        _part("page.html"),
        {
            "policy": escape(_policy(script)),
            "title": escape(f"{front['study']} · bqsearch"),
            "eyebrow": escape(f"bqsearch {front['version']} · {front['study']} · {words.moment(front['created'])}"),
            "heading": escape(facts.title(front)),
            "headline": escape(_typeset(words.headline(front))),
            "notes": _notes(front),
            "spared": escape(_typeset(words.inputs_note(front))),
            "quality": escape(front["quality"]["name"].capitalize()),
            "table": _plain_table(front),
            "checked": _checked_section(checked),
            "style": _part("page.css"),
            "data": embedded(_data(front, checked)),
            "script": script,
        },
    )


def embedded(value: Any) -> str:
    """JSON that is safe inside a script element: no sign of it can end the element or open another."""
    return json.dumps(_finite(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False).translate(UNSAFE)


def _part(name: str) -> str:
    return resources.files("bqsearch.report").joinpath("page", name).read_text(encoding="utf-8")


def _script() -> str:
    body = "\n".join(_part(f"{name}.js") for name in SCRIPTS)
    return f'"use strict";\n(() => {{\n{body}}})();\n'


def _filled(template: str, parts: Mapping[str, str]) -> str:
    """The template with every slot filled in one pass, so that a filled-in text is never searched for slots."""
    return SLOT.sub(lambda match: parts[match[1]], template)


def _policy(script: str) -> str:
    """A content policy under which the browser itself refuses every request and every other script."""
    digest = base64.b64encode(hashlib.sha256(f"\n{script}".encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _data(front: Front, checked: Sequence[Verified]) -> dict[str, Any]:
    """The front without the plans, which the page links, and what is worked out from it for the page."""
    return {
        **front,
        "points": [_slim(point) for point in front["points"]],
        "baseline": _slim(front["baseline"]),
        "trials": tabled(front["trials"]),
        "convergence": {cost: asdict(course) for cost, course in courses(front).items()},
        "checks": _tallied(checked),
    }


def _slim(point: Point) -> dict[str, Any]:
    kept = {key: value for key, value in point.items() if key != "plan"}
    return {**kept, "layers": tabled(point["layers"])}


def tabled(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Rows with their keys said once: `{"keys": [...], "rows": [[...], ...]}`."""
    keys = list(dict.fromkeys(key for row in rows for key in row))
    return {"keys": keys, "rows": [[row.get(key) for key in keys] for row in rows]}


def _tallied(checked: Sequence[Verified]) -> dict[str, list[int]]:
    """For each check how many points passed it and how many failed it."""
    found: dict[str, list[int]] = {}
    for check in (check for point in checked for check in point.checks):
        tally = found.setdefault(check.name, [0, 0])
        if check.passed is not None:
            tally[not check.passed] += 1
    return found


def _finite(value: Any) -> Any:
    """The same value with null for what JSON cannot say: infinities and not-a-number."""
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _typeset(sentence: str) -> str:
    """A sentence of ours with true minus signs, and no line break between a figure and its unit."""
    signed = re.sub(r"(?<![\w-])-(?=\d)", "\u2212", sentence)
    return re.sub(r"(?<=\d) (?=(?:%|B\b|points\b))", "\u00a0", signed)


def _notes(front: Front) -> str:
    notes = (front.get("reason"), words.stop_note(front), *front["notes"])
    return "\n".join(f"<p>{escape(_typeset(note[:1].upper() + note[1:]))}</p>" for note in notes if note)


def _plain_table(front: Front) -> str:
    """The points for a reader without scripts."""
    heads = ("Point", "Search %", "Holdout % (95 %)", "Drop, points (95 %)", "Flash", "RAM", "ms", "mJ", "Ratio")
    chosen = facts.recommended(front)
    points = [*facts.uncompressed(front), *facts.by_flash(front)]
    rows = [_plain_row(front, point, point is chosen) for point in points]
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in heads)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _plain_row(front: Front, point: Point, star: bool) -> str:
    name = f"{'★ ' if star else ''}{point.get('id', 'baseline')}"
    searched, held = (words.percent(point.get(facts.quality_key(front, split))) for split in ("search", "holdout"))
    within = words.span(point.get("interval_holdout"), scale=100)
    drop = _with_ends(words.number(point.get("drop_holdout"), 2), words.span(point.get("drop_interval")))
    sizes = (words.size(point.get("flash_bytes")), words.size(point.get("ram_bytes")))
    costs = (words.figure(point.get("latency_ms")), words.figure(point.get("energy_mj")))
    cells = (searched, _with_ends(held, within), drop, *sizes, *costs, words.ratio(point.get("ratio")))
    return f'<tr><th scope="row">{escape(name)}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in cells)}</tr>'


def _with_ends(figure: str, ends: str) -> str:
    return f"{figure} ({ends})" if ends else figure


def _checked_section(checked: Sequence[Verified]) -> str:
    """What was predicted beside what was measured, a row for each point; nothing before `bqsearch verify`."""
    names = [name for name in CHECKS if any(check.name == name for point in checked for check in point.checks)]
    if not names:
        return ""
    over = "".join(f'<th scope="colgroup" colspan="2">{CHECKS[name][0]}</th>' for name in names)
    under = "".join(f'<th scope="col">{word}</th>' for name in names for word in CHECKS[name][1:])
    head = (
        f'<tr><th scope="col" rowspan="2">Point</th><th scope="col" rowspan="2">Verdict</th>{over}</tr><tr>{under}</tr>'
    )
    rows = "".join(_checked_row(point, names) for point in checked)
    table = f"<table><thead>{head}</thead><tbody>{rows}</tbody></table>"
    title = '<h2 id="checked-title">Checked by <code>bqsearch verify</code></h2>'
    return (
        f'<section class="card checked" aria-labelledby="checked-title">{title}'
        f'<div class="scroll" tabindex="0" role="region" aria-labelledby="checked-title">{table}</div></section>'
    )


def _checked_row(point: Verified, names: Sequence[str]) -> str:
    found = {check.name: check for check in point.checks}
    cells = "".join(_checked_cells(found.get(name)) for name in names)
    verdict = "pass" if point.passed else '<span class="broken">fail</span>'
    return f'<tr><th scope="row">{point.point}</th><td>{verdict}</td>{cells}</tr>'


def _checked_cells(check: Check | None) -> str:
    """Both figures; what failed is marked, and what could not be compared says why."""
    if check is None or check.measured is None:
        return f'<td colspan="2">{escape("" if check is None else check.detail)}</td>'
    broken = ' class="broken"' if check.passed is False else ""
    return f"<td>{words.number(check.predicted)}</td><td{broken}>{words.number(check.measured)}</td>"
