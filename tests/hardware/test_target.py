"""Boards: every shipped file is whole and sourced, and a bad file is told where it is bad."""

import re
from pathlib import Path

import pytest

from bqsearch.errors import TargetError, UnknownNameError
from bqsearch.hardware import target

GOOD = (Path(target.__file__).parent / "targets" / "hifive1.toml").read_text("utf-8")


@pytest.mark.parametrize("name", target.names())
def test_shipped_targets_load_with_a_source_for_each_constant(name: str) -> None:
    board = target.load(name)
    assert board.name == name
    assert board.title
    assert board.core
    assert 0 < board.ram < board.flash
    assert board.stack + board.static_ram < board.ram
    assert board.code < board.flash
    assert board.decode_buffer in target.DECODE_BUFFERS
    assert all(value > 0 for value in (board.frequency, board.power, *board.cycles.values()))
    assert len(board.sources) == 21
    assert all(re.fullmatch(r"\S+ \S+: .{10,}", source, re.DOTALL) for source in board.sources.values())


def test_names_are_the_files() -> None:
    assert target.names() == ["hifive1", "hifive1_revb", "nrf52840", "rp2040", "stm32f746"]


def test_the_readme_board_has_sixteen_kilobytes() -> None:
    board = target.load("hifive1")
    assert (board.ram, board.decode_buffer) == (16384, "filter")
    assert board.sources["memory.ram"].startswith("16384 B: ")


def test_a_file_is_loaded_by_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD.replace("value = 16384, unit", "value = 4096, unit", 1))
    board = target.load(str(path))
    assert (board.name, board.ram) == ("mine", 4096)


def test_unknown_names_get_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown target 'hifive'; known: .*Did you mean 'hifive1'\?"):
        target.load("hifive")


def test_a_missing_or_unreadable_file(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="cannot read the target"):
        target.load(str(tmp_path / "none.toml"))
    (tmp_path / "odd.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(TargetError, match="cannot read the target"):
        target.load(str(tmp_path / "odd.toml"))


def line_of(key: str) -> str:
    (found,) = re.findall(rf"^{key} = .*\n", GOOD, re.MULTILINE)
    return str(found)


def entry(key: str, value: str, unit: str, source: str = "a source") -> str:
    return f'{key} = {{ value = {value}, unit = "{unit}", source = "{source}" }}\n'


BAD = {
    "missing constant": (line_of("static_ram"), "", r"\[runtime\]: the key 'static_ram' is missing"),
    "missing table": (GOOD[GOOD.index("[power]") :], "", "the key 'power' is missing"),
    "missing title": (line_of("title"), "", "the key 'title' is missing"),
    "unknown constant": (line_of("stack"), line_of("stack").replace("stack", "stak", 1), "'stak'.*mean 'stack'"),
    "unknown table": ("[power]", "[powr]", "unknown key 'powr'.*Did you mean 'power'"),
    "bare number": (line_of("stack"), "stack = 768\n", r"runtime.stack must read \{ value = ..., unit = \"B\""),
    "no source": (line_of("stack"), 'stack = { value = 768, unit = "B" }\n', "runtime.stack must read"),
    "empty source": (
        line_of("stack"),
        entry("stack", "768", "B", "  "),
        "needs the unit 'B' and a source",
    ),
    "extra field": (line_of("stack"), entry("stack", "768", "B").replace("}", ", x = 1 }"), "runtime.stack must read"),
    "wrong unit": (line_of("stack"), entry("stack", "768", "KiB"), "needs the unit 'B' and a source, not 'KiB'"),
    "negative": (line_of("stack"), entry("stack", "-1", "B"), "stack needs a number from 0 up, not -1"),
    "text": (line_of("stack"), entry("stack", '"768"', "B"), "stack needs a number from 0 up, not '768'"),
    "boolean": (line_of("stack"), entry("stack", "true", "B"), "stack needs a number from 0 up, not True"),
    "not a number": (line_of("stack"), entry("stack", "nan", "B"), "stack needs a number from 0 up, not nan"),
    "infinite": (line_of("stack"), entry("stack", "inf", "B"), "stack needs a number from 0 up, not inf"),
    "infinite cycles": (line_of("element"), entry("element", "inf", "cycle/element"), "element needs a number"),
    "zero clock": (line_of("frequency"), entry("frequency", "0", "Hz"), "frequency, ram and flash must be above 0"),
    "bad decoding": (line_of("decode_buffer"), entry("decode_buffer", '"row"', "choice"), "one of filter, tensor"),
    "numeric choice": (line_of("decode_buffer"), entry("decode_buffer", "1", "choice"), "needs a name, not 1"),
    "table as value": ("[power]\n", "power = 3\n[x]\n", "unknown key 'x'"),
    "bad TOML": ("[power]", "[power", "is not valid TOML"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_told_where(case: str) -> None:
    old, new, message = BAD[case]
    assert old in GOOD
    with pytest.raises(TargetError, match=message):
        target.parse(GOOD.replace(old, new, 1), "board")


def test_a_table_must_be_one() -> None:
    with pytest.raises(TargetError, match=r"\[power\] must be a table"):
        target.parse("power = 1\n" + GOOD[: GOOD.index("[power]")], "board")
