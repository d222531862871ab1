"""Boards: every shipped file is whole and sourced, and a bad file is told where it is bad."""

import re
from importlib.resources import files
from pathlib import Path

import pytest

from bqsearch.errors import TargetError, UnknownNameError
from bqsearch.hardware import linked, target
from bqsearch.packing.containers import CONTAINERS

GOOD = (Path(target.__file__).parent / "targets" / "hifive1.toml").read_text("utf-8")


BOARDS = [name for name in target.names() if name != "eyeriss"]
EYERISS = (Path(target.__file__).parent / "targets" / "eyeriss.toml").read_text("utf-8")


@pytest.mark.parametrize("name", BOARDS)
def test_shipped_boards_load_with_a_source_for_each_constant(name: str) -> None:
    board = target.load(name)
    assert board.name == name
    assert board.title
    assert board.core
    assert board.ram > 0
    assert board.chip is None
    assert board.stack + board.static_ram < board.ram
    assert board.runtime in target.RUNTIMES
    assert all(value > 0 for value in (board.frequency, board.power))
    assert all(value >= 0 for value in board.cycles.values())
    own = board.runtime == "bqsearch"
    assert len(board.sources) == (14 if own else 20)
    assert (board.channel_record > 0, board.code_table in linked.names(), board.code > 0) == (own, own, not own)
    decoders = {f"decode_{c}" for c in CONTAINERS[board.runtime].codings}
    assert set(board.cycles) == {"instruction", "product", "flash_read"} if own else decoders <= set(board.cycles)
    assert all(re.fullmatch(r"\S+ \S+: .{10,}", source, re.DOTALL) for source in board.sources.values())


def test_names_are_the_files() -> None:
    known = ["eyeriss", "hifive1", "hifive1_revb", "mimxrt1060_evk", "nrf52840", "rp2040", "stm32f405", "stm32f746"]
    assert target.names() == known


def test_the_readme_board_has_sixteen_kilobytes() -> None:
    board = target.load("hifive1")
    assert (board.ram, board.runtime) == (16384, "bqsearch")
    assert board.sources["memory.ram"].startswith("16384 B: ")


def test_runtimes_are_those_that_have_a_container() -> None:
    assert set(target.RUNTIMES) == set(CONTAINERS)
    runtimes = {name: target.load(name).runtime for name in target.names()}
    assert {name for name, runtime in runtimes.items() if runtime == "bqsearch"} == {
        "hifive1",
        "hifive1_revb",
        "stm32f405",
    }


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


TFLM_NAME = entry("name", '"tflm"', "choice")
BAD = {
    "missing constant": (line_of("static_ram"), "", r"\[runtime\]: the key 'static_ram' is missing"),
    "missing table": (GOOD[GOOD.index("[power]") :], "", "the key 'power' is missing"),
    "missing title": (line_of("title"), "", "the key 'title' is missing"),
    "unknown constant": (line_of("stack"), line_of("stack").replace("stack", "stak", 1), "'stak'.*mean 'stack'"),
    "unknown table": ("[power]", "[powr]", "unknown key 'powr'.*Did you mean 'power'"),
    "bare number": (line_of("stack"), "stack = 32\n", r"runtime.stack must read \{ value = ..., unit = \"B\""),
    "no source": (line_of("stack"), 'stack = { value = 32, unit = "B" }\n', "runtime.stack must read"),
    "empty source": (
        line_of("stack"),
        entry("stack", "32", "B", "  "),
        "needs the unit 'B' and a source",
    ),
    "extra field": (line_of("stack"), entry("stack", "32", "B").replace("}", ", x = 1 }"), "runtime.stack must read"),
    "wrong unit": (line_of("stack"), entry("stack", "32", "KiB"), "needs the unit 'B' and a source, not 'KiB'"),
    "negative": (line_of("stack"), entry("stack", "-1", "B"), "stack needs a number from 0 up, not -1"),
    "text": (line_of("stack"), entry("stack", '"768"', "B"), "stack needs a number from 0 up, not '768'"),
    "boolean": (line_of("stack"), entry("stack", "true", "B"), "stack needs a number from 0 up, not True"),
    "not a number": (line_of("stack"), entry("stack", "nan", "B"), "stack needs a number from 0 up, not nan"),
    "infinite": (line_of("stack"), entry("stack", "inf", "B"), "stack needs a number from 0 up, not inf"),
    "infinite cycles": (line_of("product"), entry("product", "inf", "cycle/MAC"), "product needs a number"),
    "zero clock": (line_of("frequency"), entry("frequency", "0", "Hz"), "frequency, ram and flash must be above 0"),
    "bad runtime": (line_of("name"), entry("name", '"tflmm"', "choice"), "unknown runtime 'tflmm'; .*mean 'tflm'"),
    "numeric choice": (line_of("name"), entry("name", "1", "choice"), "needs a name, not 1"),
    "no runtime": (line_of("name"), "", "runtime.name is missing; it says what runs the network: bqsearch, tflm"),
    "runtime as text": (line_of("name"), 'name = "tflm"\n', r"runtime.name must read \{ value"),
    "records of another": (line_of("name"), TFLM_NAME, "unknown key 'channel_record'"),
    "missing cycles": (line_of("instruction"), "", r"\[cycles\]: the key 'instruction' is missing"),
    "unknown code": (line_of("code"), entry("code", '"fe311"', "choice"), "runtime.code: .*'fe311'.*mean 'fe310'"),
    "bytes of code": (line_of("code"), entry("code", "8192", "B"), "runtime.code needs the unit 'choice'"),
    "missing record": (line_of("channel_record"), "", r"\[runtime\]: the key 'channel_record' is missing"),
    "table as value": ("[power]\n", "power = 3\n[x]\n", "unknown key 'x'"),
    "bad TOML": ("[power]", "[power", "is not valid TOML"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_told_where(case: str) -> None:
    old, new, message = BAD[case]
    assert old in GOOD
    with pytest.raises(TargetError, match=message):
        target.parse(GOOD.replace(old, new, 1), "board")


def test_a_board_may_change_its_runtime() -> None:
    """Each has constants of its own."""
    text = GOOD.replace(line_of("name"), TFLM_NAME)
    text = text.replace(line_of("channel_record"), "")
    text = text.replace(line_of("code"), entry("code", "1234", "B"))
    with pytest.raises(TargetError, match=r"\[cycles\]: unknown key 'instruction'"):
        target.parse(text, "board")
    micro = (files("bqsearch.hardware") / "targets" / "nrf52840.toml").read_text("utf-8")
    cycles = micro[micro.index("[cycles]") : micro.index("[power]")]
    board = target.parse(text[: text.index("[cycles]")] + cycles + text[text.index("[power]") :], "board")
    assert (board.runtime, board.code, board.code_table, board.channel_record) == ("tflm", 1234, "", 0)
    assert board.cycles == target.load("nrf52840").cycles


def test_a_table_must_be_one() -> None:
    with pytest.raises(TargetError, match=r"\[power\] must be a table"):
        target.parse("power = 1\n" + GOOD[: GOOD.index("[power]")], "board")


def test_the_accelerator_has_the_published_chips_sizes() -> None:
    made = target.load("eyeriss")
    assert (made.runtime, made.frequency, made.ram, made.flash) == ("row_stationary", 200e6, 2**30, 2**30)
    assert (made.code, made.static_ram, made.stack, made.power, made.cycles) == (0, 0, 0, 0.0, {})
    assert (made.operator_record, made.channel_record) == (225, 5)
    assert made.chip is not None
    assert (made.chip.rows, made.chip.columns, made.chip.word) == (12, 14, 16)
    assert (made.chip.global_buffer, made.chip.filter_buffer) == (51200, 4096)  # words
    assert (made.chip.filter_registers, made.chip.input_registers, made.chip.sum_registers) == (224, 12, 24)
    energies = (made.chip.dram_access, made.chip.buffer_access, made.chip.array_access, made.chip.register_access)
    assert energies == (200, 6, 2, 1)
    assert made.chip.bandwidth == 480e6
    assert len(made.sources) == 19
    assert all(re.fullmatch(r"\S+ \S+: .{10,}", source, re.DOTALL) for source in made.sources.values())


BAD_CHIPS = {
    "a board's table": ("[energy]", "[power]", "unknown key 'power'"),
    "no array": (EYERISS[EYERISS.index("[array]") : EYERISS.index("[energy]")], "", "the key 'array' is missing"),
    "no rows": ("\nrows = ", "\nrow = ", r"\[array\]: unknown key 'row'.*mean 'rows'"),
    "zero word": ("{ value = 16,", "{ value = 0,", "frequency, DRAM and all sizes of the array must be above 0"),
    "wrong unit": ('unit = "MAC/word"', 'unit = "J"', "needs the unit 'MAC/word'"),
}


@pytest.mark.parametrize("case", BAD_CHIPS)
def test_bad_accelerators_are_told_where(case: str) -> None:
    old, new, message = BAD_CHIPS[case]
    assert old in EYERISS
    with pytest.raises(TargetError, match=message):
        target.parse(EYERISS.replace(old, new, 1), "chip")
