"""Target: a board, read from TOML. A board is a file, not a class, and each of its constants names its source."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from math import inf
from pathlib import Path
from typing import Any

from bqsearch.errors import TargetError, UnknownNameError

_UNITS: dict[str, dict[str, str]] = {
    "clock": {"frequency": "Hz"},
    "memory": {"ram": "B", "flash": "B", "flash_origin": "address", "instruction_cache": "B"},
    "runtime": {"name": "choice", "code": "B", "static_ram": "B", "stack": "B"},
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
_UNITS_OF: dict[str, dict[str, dict[str, str]]] = {  # further constants, by runtime
    "bqsearch": {
        "runtime": {"operator_record": "B", "channel_record": "B"},
        "cycles": {"decode_sparse": "cycle/weight"},
    },
    "tflm": {},
}
RUNTIMES = tuple(_UNITS_OF)


@dataclass(frozen=True, kw_only=True, eq=False)
class Target:
    """A board.

    Attributes:
        name: The file's stem, by which it is looked up.
        title: For people.
        core: Instruction set or core, `"rv32imac"`.
        frequency: Hz.
        ram: Bytes in all.
        flash: Bytes that an application gets.
        runtime: `"bqsearch"`: its own, which decodes one output channel's weights at a time; `"tflm"`: TensorFlow Lite
            Micro, which decodes a layer's weights as a whole into its arena.
        code: Bytes of flash for runtime and start-up code.
        static_ram: Bytes of RAM besides the arena and the stack.
        stack: Bytes of RAM kept free for the stack.
        operator_record: Bytes of flash that describe an operator; of `"bqsearch"` only, else 0.
        channel_record: Bytes of flash for an output channel's multiplier and shift; of `"bqsearch"` only, else 0.
        cycles: Cycles by kind of work, keys as in the file.
        power: Watts while computing.
        sources: For each constant, as `"table.key"`, its value with unit and where it comes from.
    """

    name: str
    title: str
    core: str
    frequency: float
    ram: int
    flash: int
    runtime: str
    code: int
    static_ram: int
    stack: int
    operator_record: int
    channel_record: int
    cycles: Mapping[str, float]
    power: float
    sources: Mapping[str, str]


def names() -> list[str]:
    """The boards that come with bqsearch, sorted."""
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
    _check_keys(document, {"title", "core", *_UNITS}, name)
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for table, units in _units(document, name).items():
        _check_keys(document[table], set(units), f"{name}: [{table}]")
        for key, unit in units.items():
            values[key], sources[f"{table}.{key}"] = _constant(document[table][key], unit, f"{name}: {table}.{key}")
    return _target(document, values, sources, name)


def _units(document: Mapping[str, Any], name: str) -> dict[str, dict[str, str]]:
    """The unit of every constant that a board with the document's runtime has, by table and key."""
    for table in _UNITS:
        if not isinstance(document[table], dict):
            raise TargetError(f"target {name!r}: [{table}] must be a table")
    where = f"{name}: runtime.name"
    if "name" not in document["runtime"]:
        raise TargetError(f"target {where} is missing; it says what runs the network: {', '.join(RUNTIMES)}")
    runtime, _ = _constant(document["runtime"]["name"], "choice", where)
    if runtime not in RUNTIMES:
        raise TargetError(f"target {where}: {UnknownNameError('runtime', runtime, RUNTIMES)}")
    return {table: {**units, **_UNITS_OF[runtime].get(table, {})} for table, units in _UNITS.items()}


def _folder() -> Any:
    return files("bqsearch.hardware") / "targets"


def _target(document: Mapping[str, Any], values: Mapping[str, Any], sources: Mapping[str, str], name: str) -> Target:
    sizes = ("ram", "flash", "code", "static_ram", "stack")
    records = ("operator_record", "channel_record")
    if values["frequency"] <= 0 or values["ram"] <= 0 or values["flash"] <= 0:
        raise TargetError(f"target {name!r}: frequency, ram and flash must be above 0")
    return Target(
        name=name,
        title=str(document["title"]),
        core=str(document["core"]),
        frequency=float(values["frequency"]),
        runtime=values["name"],
        cycles={key: float(values[key]) for key in document["cycles"]},
        power=float(values["active"]),
        sources=sources,
        **{key: int(values[key]) for key in sizes},
        **{key: int(values.get(key, 0)) for key in records},
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
