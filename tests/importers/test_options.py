"""The fields by hand against the generated code's: names, order, defaults and what each writes."""

import math
import struct
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from bqsearch.graph.flatbuffer import OPTION_TYPES
from bqsearch.graph.ops import SUPPORTED
from bqsearch.importers import options
from bqsearch.importers.reader import Reader

SAMPLES: dict[str, Any] = {"b": 3, "i": -70000, "f": 0.375, "?": True, "ints": (4, -1, 7), "bytes": None}


def written(options_type: str, values: dict[str, Any]) -> Reader:
    """A file whose root is the options table that the generated code writes."""
    made = getattr(schema, f"{options_type}T")()
    for name, value in values.items():
        setattr(made, name, np.array(value, np.int32) if isinstance(value, tuple) else value)
    builder = schema.flatbuffers.Builder(64)
    builder.Finish(made.Pack(builder))
    return Reader(bytes(builder.Output()), "options")


def fields(options_type: str) -> list[tuple[str, str, Any]]:
    return [field for field in options.FIELDS[options_type] if field[0]]


def test_every_operator_has_its_fields() -> None:
    assert {kind.options for kind in SUPPORTED.values()} - {""} == set(options.FIELDS)
    assert set(options.FIELDS) <= set(OPTION_TYPES)


@pytest.mark.parametrize("options_type", options.FIELDS)
def test_names_and_defaults_are_the_schemas(options_type: str) -> None:
    defaults = vars(getattr(schema, f"{options_type}T")())
    assert {name: default for name, _, default in fields(options_type)} == defaults
    assert options.read(written(options_type, {}).root(), options_type, "here") == defaults


FLOATS = [(kind, name) for kind in options.FIELDS for name, form, _ in options.FIELDS[kind] if form == "f"]


@pytest.mark.parametrize(("options_type", "name"), FLOATS)
def test_a_negative_zero_is_zero(options_type: str, name: str) -> None:
    """FlatBuffers omit it as the default, so a file written again would have another fingerprint."""
    plain = written(options_type, {name: 1.0})
    (place,) = (i for i in range(len(plain.content)) if plain.content[i : i + 4] == struct.pack("<f", 1.0))
    content = plain.content[:place] + struct.pack("<f", -0.0) + plain.content[place + 4 :]
    found = options.read(Reader(content, "options").root(), options_type, "here")[name]
    assert math.copysign(1.0, found) == 1.0
    assert found == 0.0


@pytest.mark.parametrize("options_type", options.FIELDS)
def test_every_field_is_read_where_the_generated_code_writes_it(options_type: str) -> None:
    for name, kind, default in fields(options_type):
        value = not default if kind == "?" else SAMPLES[kind]
        found = options.read(written(options_type, {name: value}).root(), options_type, "here")
        assert found == {**vars(getattr(schema, f"{options_type}T")()), name: value}
        assert hash(tuple(found.items()))
