"""Target: a board or an accelerator, read from TOML. It is a file, not a class, and each of its constants names its
source."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from math import inf
from pathlib import Path
from typing import Any, TypeAlias

from bqsearch.errors import TargetError, UnknownNameError
from bqsearch.hardware import linked
from bqsearch.hardware.dataflow import Chip

ROW_STATIONARY = "row_stationary"

_Units: TypeAlias = Mapping[str, Mapping[str, str]]

_BOARD: _Units = {
    "clock": {"frequency": "Hz"},
    "memory": {"ram": "B", "flash": "B", "flash_origin": "address", "instruction_cache": "B"},
    "runtime": {"name": "choice", "static_ram": "B", "stack": "B"},
    "cycles": {
        "mac_conv": "cycle/MAC",
        "mac_depthwise": "cycle/MAC",
        "mac_dense": "cycle/MAC",
        "element": "cycle/element",
        "operator": "cycle/operator",
        "decode_raw": "cycle/weight",
        "decode_packed": "cycle/weight",
        "decode_huffman": "cycle/weight",
        "decode_mask": "cycle/weight",
        "flash_read": "cycle/B",
    },
    "power": {"active": "W"},
}
_RECORDS = {"operator_record": "B", "channel_record": "B"}
_UNITS_OF: Mapping[str, _Units] = {  # the constants of a target, by runtime
    "bqsearch": {
        **_BOARD,
        "runtime": {**_BOARD["runtime"], "code": "choice", "channel_record": "B"},
        "cycles": {"instruction": "cycle/instruction", "product": "cycle/MAC", "flash_read": "cycle/B"},
    },
    "tflm": {**_BOARD, "runtime": {**_BOARD["runtime"], "code": "B"}},
    ROW_STATIONARY: {
        "clock": {"frequency": "Hz"},
        "memory": {"dram": "B", "bandwidth": "B/s"},
        "runtime": {"name": "choice", **_RECORDS},
        "array": {
            "rows": "element",
            "columns": "element",
            "word": "bit",
            "global_buffer": "B",
            "filter_buffer": "B",
            "filter_registers": "word",
            "input_registers": "word",
            "sum_registers": "word",
        },
        "energy": {
            "mac": "J",
            "dram_access": "MAC/word",
            "buffer_access": "MAC/word",
            "array_access": "MAC/word",
            "register_access": "MAC/word",
        },
    },
}
RUNTIMES = tuple(_UNITS_OF)


@dataclass(frozen=True, kw_only=True, eq=False)
class Target:
    """A board, or an accelerator whose network and activations lie in DRAM beside it.

    Attributes:
        name: The file's stem, by which it is looked up.
        title: For people.
        core: Instruction set or core, `"rv32imac"`.
        frequency: Hz.
        ram: Bytes in all; an accelerator's DRAM.
        flash: Bytes that an application gets; an accelerator's DRAM.
        runtime: `"bqsearch"`: its own, which decodes one output channel's weights at a time; `"tflm"`: TensorFlow Lite
            Micro, which decodes a layer's weights as a whole into its arena; `"row_stationary"`: none, an accelerator
            decodes weights on their way in. Sizes of code, static RAM and stack, cycles and power are a board's only.
        code: Bytes of flash for runtime and start-up code; 0 for `"bqsearch"`, where the table has them.
        code_table: What kernels link, a name of `hardware.linked`; of `"bqsearch"` only, else empty.
        static_ram: Bytes of RAM besides the arena and the stack.
        stack: Bytes of RAM kept free for the stack; of `"bqsearch"` besides what its kernels were measured to use.
        operator_record: Bytes of DRAM that describe an operator of an accelerator; 0 for a board.
        channel_record: Bytes of flash for an output channel's multiplier and shift; 0 of `"tflm"`.
        cycles: Cycles by kind of work, keys as in the file.
        power: Watts while computing.
        sources: For each constant, as `"table.key"`, its value with unit and where it comes from.
        chip: The accelerator; None for a board.
    """

    name: str
    title: str
    core: str
    frequency: float
    ram: int
    flash: int
    runtime: str
    code: int
    code_table: str
    static_ram: int
    stack: int
    operator_record: int = 0
    channel_record: int
    cycles: Mapping[str, float]
    power: float
    sources: Mapping[str, str]
    chip: Chip | None = None


def names() -> list[str]:
    """The targets that come with bqsearch, sorted."""
    return sorted(f.name.removesuffix(".toml") for f in _folder().iterdir() if f.name.endswith(".toml"))


def load(name: str) -> Target:
    """A board by name, or by the path of a TOML file.

    Raises:
        UnknownNameError: Neither a board of that name nor a file.
        TargetError: The file is malformed; the message names the key.
    """
    if name in names():
        return parse(_folder().joinpath(f"{name}.toml").read_text("utf-8"), name)
    path = Path(name)
    if path.suffix != ".toml":
        raise UnknownNameError("target", name, names())
    try:
        return parse(path.read_text("utf-8"), path.stem)
    except (OSError, UnicodeDecodeError) as error:
        raise TargetError(f"cannot read the target {name}: {error}") from error


def parse(text: str, name: str) -> Target:
    """A board from the text of its TOML file. Raises `TargetError` as `load` does."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise TargetError(f"target {name!r} is not valid TOML: {error}") from error
    units = _UNITS_OF[_runtime(document, name)]
    _check_keys(document, {"title", "core", *units}, name)
    values: dict[str, dict[str, Any]] = {}
    sources: dict[str, str] = {}
    for table in units:
        if not isinstance(document[table], dict):
            raise TargetError(f"target {name!r}: [{table}] must be a table")
        _check_keys(document[table], set(units[table]), f"{name}: [{table}]")
        values[table] = {}
        for key, unit in units[table].items():
            found = _constant(document[table][key], unit, f"{name}: {table}.{key}")
            values[table][key], sources[f"{table}.{key}"] = found
    made = _accelerator if values["runtime"]["name"] == ROW_STATIONARY else _board
    return made(
        values,
        name=name,
        title=str(document["title"]),
        core=str(document["core"]),
        runtime=values["runtime"]["name"],
        operator_record=int(values["runtime"].get("operator_record", 0)),
        channel_record=int(values["runtime"].get("channel_record", 0)),
        sources=sources,
    )


def _runtime(document: Mapping[str, Any], name: str) -> str:
    """What runs the network, which says what else the file must hold."""
    table = document.get("runtime")
    where = f"{name}: runtime.name"
    if not isinstance(table, dict) or "name" not in table:
        raise TargetError(f"target {where} is missing; it says what runs the network: {', '.join(RUNTIMES)}")
    runtime, _ = _constant(table["name"], "choice", where)
    if runtime not in RUNTIMES:
        raise TargetError(f"target {where}: {UnknownNameError('runtime', runtime, RUNTIMES)}")
    return str(runtime)


def _folder() -> Any:
    return files("bqsearch.hardware") / "targets"


def _board(values: Mapping[str, Mapping[str, Any]], *, name: str, **fields: Any) -> Target:
    memory, runtime, frequency = values["memory"], values["runtime"], values["clock"]["frequency"]
    own = runtime["name"] == "bqsearch"
    if own and runtime["code"] not in linked.names():
        raise TargetError(f"target {name}: runtime.code: {UnknownNameError('table', runtime['code'], linked.names())}")
    if frequency <= 0 or memory["ram"] <= 0 or memory["flash"] <= 0:
        raise TargetError(f"target {name!r}: frequency, ram and flash must be above 0")
    return Target(
        name=name,
        frequency=float(frequency),
        ram=int(memory["ram"]),
        flash=int(memory["flash"]),
        code=0 if own else int(runtime["code"]),
        code_table=runtime["code"] if own else "",
        static_ram=int(runtime["static_ram"]),
        stack=int(runtime["stack"]),
        cycles={key: float(value) for key, value in values["cycles"].items()},
        power=float(values["power"]["active"]),
        **fields,
    )


def _accelerator(values: Mapping[str, Mapping[str, Any]], *, name: str, **fields: Any) -> Target:
    memory, array, energy = values["memory"], values["array"], values["energy"]
    frequency = values["clock"]["frequency"]
    if min(frequency, *memory.values(), *array.values()) <= 0:
        raise TargetError(f"target {name!r}: frequency, DRAM and all sizes of the array must be above 0")
    chip = Chip(
        rows=int(array["rows"]),
        columns=int(array["columns"]),
        word=int(array["word"]),
        global_buffer=int(8 * array["global_buffer"] // array["word"]),
        filter_buffer=int(8 * array["filter_buffer"] // array["word"]),
        filter_registers=int(array["filter_registers"]),
        input_registers=int(array["input_registers"]),
        sum_registers=int(array["sum_registers"]),
        bandwidth=float(memory["bandwidth"]),
        mac=float(energy["mac"]),
        dram_access=float(energy["dram_access"]),
        buffer_access=float(energy["buffer_access"]),
        array_access=float(energy["array_access"]),
        register_access=float(energy["register_access"]),
    )
    return Target(
        name=name,
        frequency=float(frequency),
        ram=int(memory["dram"]),
        flash=int(memory["dram"]),
        code=0,
        code_table="",
        static_ram=0,
        stack=0,
        cycles={},
        power=0.0,
        chip=chip,
        **fields,
    )


def _check_keys(table: Mapping[str, Any], wanted: set[str], where: str) -> None:
    missing, unknown = sorted(wanted - set(table)), sorted(set(table) - wanted)
    if unknown:
        raise TargetError(f"target {where}: {UnknownNameError('key', unknown[0], wanted)}")
    if missing:
        raise TargetError(f"target {where}: the key {missing[0]!r} is missing")


def _constant(entry: Any, unit: str, where: str) -> tuple[Any, str]:
    """The value and its source, from `{ value, unit, source }`."""
    if not isinstance(entry, dict) or set(entry) != {"value", "unit", "source"}:
        raise TargetError(f'target {where} must read {{ value = ..., unit = "{unit}", source = "..." }}')
    if entry["unit"] != unit or not isinstance(entry["source"], str) or not entry["source"].strip():
        raise TargetError(
            f"target {where} needs the unit {unit!r} and a source, not {entry['unit']!r}, {entry['source']!r}"
        )
    value = entry["value"]
    number = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < inf
    if not (isinstance(value, str) if unit == "choice" else number):
        raise TargetError(
            f"target {where} needs {'a name' if unit == 'choice' else 'a number from 0 up'}, not {value!r}"
        )
    return value, f"{value} {unit}: {entry['source']}"
