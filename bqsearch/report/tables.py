"""The front as tables for the terminal. Colors never stand alone: a star and an exclamation mark say the same."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from bqsearch.report import facts, words
from bqsearch.report.facts import Front, Point
from bqsearch.search.check import Check
from bqsearch.search.verify import Verified

ROWS = 15  # more points than this do not help a reader of a terminal
WIDE = 112  # from this width on an interval stands beside its figure, not below it
STAR = "★"


def front_table(front: Front, width: int = 80) -> Table:
    """The baseline and the points by flash, recommended one starred, figures over a limit red with `!`.

    Args:
        front: The parsed `front.json`.
        width: Columns of the terminal; at 80 the intervals stand on a second line.
    """
    points = facts.by_flash(front)
    chosen = facts.recommended(front)
    shown = facts.thinned(points, chosen, ROWS)
    wide = width >= WIDE
    table = _headed(front, wide)
    table.caption = _caption(front, len(points) - len(shown))
    for point in [*facts.uncompressed(front), *shown]:
        star = chosen is not None and point is chosen
        table.add_row(*_row(point, front, star, wide), style="bold green" if star else "")
    return table


def summary(front: Front) -> RenderableType:
    """What the run recommends and why, what it spared, and a note where it stopped early."""
    chosen = facts.recommended(front)
    mark = Text(f"{STAR} ", style="bold green") if chosen is not None else Text("! ", style="bold yellow")
    lines = [mark + Text(words.headline(front), style="bold"), Text(str(front.get("reason") or ""))]
    lines.append(Text(words.inputs_note(front)))
    lines.append(Text(words.stop_note(front), style="yellow"))
    return Group(*(line for line in lines if line.plain))


def sweep_table(runs: Mapping[str, Front | str]) -> RenderableType:
    """What came of each run of a sweep, by name: its recommended point, or why there is none."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    table.add_column("run", overflow="fold")
    for heading in ("flash, B", "share", "RAM, B", "points lost (holdout)"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, front in runs.items():
        if isinstance(front, str):
            table.add_row(name, Text("failed", style="red"))
            continue
        chosen = facts.recommended(front)
        if chosen is None:
            table.add_row(name, Text("nothing fits", style="yellow"))
            continue
        low, high = chosen["drop_interval"]
        share = 100 * chosen["flash_bytes"] / front["baseline"]["flash_bytes"]
        lost = f"{chosen['drop_holdout']:.2f} ({low:.1f} to {high:.1f})"
        table.add_row(name, f"{chosen['flash_bytes']:,.0f}", f"{share:.0f} %", f"{chosen['ram_bytes']:,.0f}", lost)
    return table


def verification(checked: Sequence[Verified]) -> RenderableType:
    """Pass or fail of each point, what was compared, and the sum."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for heading in ("point", "verdict", "checks"):
        table.add_column(heading, justify="right" if heading == "point" else "left")
    for point in checked:
        verdict = Text("pass", style="green") if point.passed else Text("FAIL", style="bold red")
        lines = [_check(check) for check in point.checks]
        table.add_row(str(point.point), verdict, Group(*lines))
    passed = sum(point.passed for point in checked)
    skipped = dict.fromkeys(check.name for point in checked for check in point.checks if check.passed is None)
    told = f"; skipped, not passed: {', '.join(skipped)}" if skipped else ""
    return Group(table, Text(f"{passed} of {len(checked)} points pass{told}"))


def _check(check: Check) -> Text:
    text = f"{check.name}: {check.detail}"
    if check.passed is None:
        return Text(f"- {text}", style="yellow")
    return Text(text) if check.passed else Text(f"! {text}", style="red")


def _headed(front: Front, wide: bool) -> Table:
    table = Table(
        title=Text(facts.title(front), style="bold"),
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1 if wide else 0),
        collapse_padding=True,
    )
    for heading in _headings(wide):
        table.add_column(Text(heading), justify="right", no_wrap=True)
    return table


def _headings(wide: bool) -> Sequence[str]:
    if wide:
        return ("point", "search %", "holdout % (95 %)", "drop (95 %)", "flash", "RAM", "ms", "mJ", "ratio")
    return ("\npoint", "search\n%", "holdout\n%", "drop\npoints", "flash\nB", "RAM\nB", "\nms", "\nmJ", "\nratio")


def _row(point: Point, front: Front, star: bool, wide: bool) -> list[Text]:
    over, size = facts.over_limits(point, front["limits"]), words.size if wide else words.number
    name = f"{STAR} {point['id']}" if star else str(point.get("id", "baseline" if wide else "base"))
    held = Text(words.percent(point.get(facts.quality_key(front, "holdout"))))
    drop = _limited(words.number(point.get("drop_holdout"), 2), "drop" in over)
    return [
        Text(name),
        Text(words.percent(point[facts.quality_key(front, "search")])),
        _within(held, words.span(point.get("interval_holdout"), scale=100, link="…"), wide),
        _within(drop, words.span(point.get("drop_interval"), link="…"), wide),
        _limited(size(point.get("flash_bytes")), "flash" in over),
        _limited(size(point.get("ram_bytes")), "ram" in over),
        Text(words.figure(point.get("latency_ms"))),
        Text(words.figure(point.get("energy_mj"))),
        Text(words.ratio(point.get("ratio"))),
    ]


def _within(figure: Text, ends: str, wide: bool) -> Text:
    """The figure and its interval, faint: beside it on a wide terminal, below it on a narrow one."""
    if not ends:
        return figure
    return Text.assemble(figure, (f" ({ends})" if wide else f"\n{ends}", "dim not bold"))


def _limited(figure: str, over: bool) -> Text:
    return Text(f"!{figure}", style="bold red") if over else Text(figure)


def _caption(front: Front, hidden: int) -> Text:
    """The limits, what the arena could be at best, and how many points the table leaves out."""
    search, holdout = front["engines"]["search"], front["engines"]["holdout"]
    splits = "Search and holdout" if search == holdout else f"Search (by {search}) and holdout (by {holdout})"
    what = f"{splits}: {front['quality']['name']}."
    lines = [f"{what} Limits: {_limits(front['limits'])}. ! marks a figure over its limit."]
    arena = [words.size(front["arena"].get(key)) for key in ("bytes", "lower_bound")]
    lines.append(f"Arena of the uncompressed network: {arena[0]}; no plan takes less than {arena[1]}.")
    if hidden:
        lines.append(f"{hidden} more {'point' if hidden == 1 else 'points'} in front.json.")
    return Text("\n".join(lines), style="dim")


def _limits(limits: Mapping[str, Any]) -> str:
    named = (
        ("flash", words.size(limits.get("flash_bytes"))),
        ("RAM", words.size(limits.get("ram_bytes"))),
        ("drop", f"{words.number(limits.get('max_drop'), 2)} points"),
    )
    return ", ".join(f"{name} {value}" for name, value in named if not value.startswith(words.NONE)) or "none"
