"""C text: arrays and initializers."""

from collections.abc import Iterable, Mapping, Sequence

WIDTH = 118

Field = "int | str | Fields | Sequence[int]"
Fields = Mapping[str, object]


def initializer(fields: Fields) -> str:
    """A struct's initializer: `{.run = bq_pad, .size = {1, 2, 3}}`; fields of fields and lists are nested."""
    return "{" + ", ".join(f".{name} = {_value(value)}" for name, value in fields.items()) + "}"


def array(kind: str, name: str, values: Iterable[object]) -> str:
    """The definition of a constant array; one without elements has one of 0, as C has no empty ones."""
    return _array(f"static const {kind} {name}", "", values)


def array_in_ram(kind: str, name: str, values: Iterable[object], alignment: int) -> str:
    """The definition of an array with the attribute `BQ_RAM`: not a constant, whose section clang makes read-only."""
    return _array(f"static _Alignas({alignment}) {kind} {name}", " BQ_RAM", values)


def _array(declared: str, attribute: str, values: Iterable[object]) -> str:
    items = [_value(value) for value in values] or ["0"]
    head = f"{declared}[{len(items)}]{attribute} = {{"
    return "\n".join([head, *_lines(items), "};"])


def constant(kind: str, name: str, fields: Fields) -> str:
    """The definition of a constant struct."""
    lines = [f"    .{field} = {_value(value)}," for field, value in fields.items()]
    return "\n".join([f"static const {kind} {name} = {{", *lines, "};"])


def _value(value: object) -> str:
    if isinstance(value, Mapping):
        return initializer(value)
    if isinstance(value, str):
        return value
    if isinstance(value, (list, tuple)):
        return "{" + ", ".join(_value(item) for item in value) + "}"
    if isinstance(value, float):
        return f"{value.hex()}f"
    number = int(str(value))
    return "INT32_MIN" if number == -(1 << 31) else str(number)


def _lines(items: Sequence[str]) -> list[str]:
    lines, line = [], "   "
    for item in items:
        if len(line) + len(item) + 2 > WIDTH:
            lines.append(line)
            line = "   "
        line += f" {item},"
    return [*lines, line]
