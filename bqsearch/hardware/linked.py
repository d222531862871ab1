"""What a linker makes of a network under bqsearch's own runtime, before it is asked: constants and code to the byte.

Code is the sum of the sections that the network's kernels and decoders pull in, from a table that was read off linker
maps (`benchmarks/code_table.py`) with one compiler; another one makes other code. Constants are the emitter's records
and arrays, by the sizes that the same compiler gave the structs.
"""

import json
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from bqsearch.compress import CompressedLayer, CompressedModel
from bqsearch.graph.ir import Graph, Op, Tensor
from bqsearch.graph.ops import SUPPORTED, Layer, source
from bqsearch.hardware.schedule import ALIGNMENT, Schedule, Step
from bqsearch.quantizers.arithmetic import Arithmetic

VARIANT: Mapping[Arithmetic, str] = {"multiply": "", "shift": "_shift", "binary": "_binary"}
SUFFIX = {"int8": "s8", "uint8": "u8"}
_POINTER, _WORD, _MAP, _POWERS = 4, 4, 256, 1024  # bytes

_PLAIN = {  # operators with a kernel for each type: its name, and its record's
    "ADD": ("add", "bq_addition"),
    "AVERAGE_POOL_2D": ("average", "bq_pool"),
    "MAX_POOL_2D": ("max", "bq_pool"),
    "MEAN": ("mean", "bq_average_over"),
    "MUL": ("multiply", "bq_product"),
}


@dataclass(frozen=True, kw_only=True)
class Piece:
    """What an object file brings to a section.

    Attributes:
        section: Of the program, `".text"`.
        alignment: It begins at a multiple of so many bytes.
        nbytes: Its size.
    """

    section: str
    alignment: int
    nbytes: int


@dataclass(frozen=True, kw_only=True, eq=False)
class CodeTable:
    """What one compiler makes of the runtime and a board's files.

    Attributes:
        compiler: Which, with its version.
        records: Size of each struct of `bq_kernels.h`, bytes.
        pieces: In the order in which the linker places them.
        needs: Which of them each kernel and each decoder pulls in, by its name in C; those of `""` are always there.
    """

    compiler: str
    records: Mapping[str, int]
    pieces: tuple[Piece, ...]
    needs: Mapping[str, tuple[int, ...]]

    def nbytes(self, used: Iterable[str]) -> int:
        """Flash of all code, and of the constants that come with it.

        Args:
            used: Kernels and decoders.
        """
        kept = sorted({index for name in ("", *used) for index in self.needs[name]})
        ends: dict[str, int] = {}
        for piece in (self.pieces[index] for index in kept):
            ends[piece.section] = _up(ends.get(piece.section, 0), piece.alignment) + piece.nbytes
        return sum(_up(end) for end in ends.values())


@dataclass(frozen=True, kw_only=True)
class Constants:
    """What model.c holds besides the layers' arrays.

    Attributes:
        nbytes: Records and tables of all steps, and the network's own.
        used: Kernels that they point to.
    """

    nbytes: int
    used: Set[str]


def names() -> list[str]:
    """The tables that there are, sorted."""
    return sorted(f.name.removesuffix(".json") for f in _folder().iterdir() if f.name.endswith(".json"))


@cache
def load(name: str) -> CodeTable:
    """A table by name."""
    value = json.loads(_folder().joinpath(f"{name}.json").read_text("utf-8"))
    pieces = (Piece(section=section, alignment=at, nbytes=size) for section, _, _, at, size in value["pieces"])
    return CodeTable(
        compiler=value["compiler"],
        records=value["records"],
        pieces=tuple(pieces),
        needs={root: tuple(indices) for root, indices in value["needs"].items()},
    )


def _folder() -> Any:
    return files("bqsearch.hardware") / "code"


def arithmetic_of(entry: CompressedLayer) -> Arithmetic:
    """How the runtime computes with a layer's weights under its choice."""
    return "multiply" if entry.layer.operator == "DEPTHWISE_CONV_2D" else entry.option.arithmetic


def stored(nbytes: int) -> int:
    """What an array of so many bytes takes; C has none of no bytes."""
    return _up(max(nbytes, 1))


def scaling_bytes(graph: Graph, layer: Layer) -> int:
    """Multipliers and shifts of a layer: of each channel, or one of each for all."""
    quantization = graph.tensors[layer.weights].quantization
    assert quantization is not None
    count = len(quantization.scales)
    return _WORD * count + stored(count)


def constants(model: CompressedModel, schedule: Schedule, table: CodeTable) -> Constants:
    """The records of a compressed network, and the kernels that they point to."""
    made = [found for step in schedule.steps if (found := _Step(model.graph, model, schedule, step).record())]
    nbytes = sum(_up(table.records[kind]) + extra for _, kind, extra in made)
    head = _POINTER * max(len(made), 1) + table.records["bq_network"]
    codings = {f"bq_{entry.option.choice.coding}" for entry in model.layers}
    return Constants(nbytes=nbytes + head, used=frozenset({kernel for kernel, _, _ in made} | codings))


@dataclass(frozen=True, kw_only=False, eq=False)
class _Step:
    """A step, of which the record is asked: its kernel, its struct, and bytes of what it points to."""

    graph: Graph
    model: CompressedModel
    schedule: Schedule
    step: Step

    def record(self) -> tuple[str, str, int] | None:
        op = self.graph.ops[self.step.ops[0]]
        output = self.graph.tensors[op.outputs[0]]
        suffix = SUFFIX[output.dtype]
        if len(self.step.ops) > 1 or (op.code == "DEPTHWISE_CONV_2D" and self.step.kind == "strips"):
            return f"bq_chain_{suffix}", "bq_chain", 0
        if op.code == "DEPTHWISE_CONV_2D":
            return f"bq_depthwise_{suffix}", "bq_depthwise", 0
        if op.code in ("CONV_2D", "FULLY_CONNECTED"):
            return self._matrix(op, output, suffix)
        if op.code in _PLAIN:
            name, kind = _PLAIN[op.code]
            return f"bq_{name}_{suffix}", kind, 0
        if op.code == "SOFTMAX":
            return (
                ("bq_softmax_s8", "bq_softmax", 0) if suffix == "s8" else ("bq_softmax_u8", "bq_softmax_table", _POWERS)
            )
        return self._moved(op, output)

    def _matrix(self, op: Op, output: Tensor, suffix: str) -> tuple[str, str, int]:
        entry = self.model.by_op[self.step.ops[0]]
        variant = VARIANT[arithmetic_of(entry)]
        if op.code == "CONV_2D" or output.size != entry.layer.channels:
            return f"bq_conv{variant}_{suffix}", "bq_convolution", 0
        return f"bq_dense{variant}_{suffix}", "bq_dense", 0

    def _moved(self, op: Op, output: Tensor) -> tuple[str, str, int] | None:
        """Of operators that change no code by another."""
        part = _part_bytes()
        if SUPPORTED[op.code].work == "free":
            same = self._place(source(op)) == self._place(op.outputs[0])
            return None if same else ("bq_concatenation", "bq_join", part)
        if op.code == "CONCATENATION":
            scaled = sum(_scale(self.graph.tensors[i]) != _scale(output) for i in op.inputs)
            return "bq_concatenation", "bq_join", part * len(op.inputs) + _MAP * scaled
        if op.code == "PAD":
            return "bq_pad", "bq_margins", 0
        return "bq_lookup", "bq_map", _MAP

    def _place(self, tensor: int) -> int:
        while tensor not in self.schedule.offsets:
            tensor = source(self.graph.ops[self.graph.producers[tensor]])
        return self.schedule.offsets[tensor]


def _part_bytes() -> int:
    """Bytes of a `bq_part`: an offset, a size and a pointer."""
    return 2 * _WORD + _POINTER


def _scale(tensor: Tensor) -> tuple[float, int]:
    assert tensor.quantization is not None
    return float(tensor.quantization.scales[0]), int(tensor.quantization.zero_points[0])


def _up(nbytes: int, alignment: int = ALIGNMENT) -> int:
    return -(-nbytes // alignment) * alignment
