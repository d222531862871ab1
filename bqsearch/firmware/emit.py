"""CompressedModel + schedule -> model.c and model.h, which with the runtime's sources are the whole network in C.

model.c holds a record for each step, whose first field is its kernel, so that only kernels in use are linked. The
arrays of weights that the plan places in RAM have the attribute `BQ_RAM`, and the start-up code copies them with all
other initialized data.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from bqsearch.compress import CompressedModel
from bqsearch.errors import UnsupportedError
from bqsearch.firmware import ctext
from bqsearch.firmware.records import Record, records_of
from bqsearch.graph.ir import Graph
from bqsearch.graph.ops import operator_names
from bqsearch.hardware.buffers import Buffer
from bqsearch.hardware.schedule import ALIGNMENT, Schedule, Step
from bqsearch.hardware.scratch import scratch_sizes
from bqsearch.packing.container import Coded


@dataclass(frozen=True, kw_only=True)
class ModelSource:
    """A network in C.

    Attributes:
        header: model.h.
        source: model.c.
    """

    header: str
    source: str


def emit(model: CompressedModel, schedule: Schedule) -> ModelSource:
    """The C text of a compressed network.

    Args:
        model: The network.
        schedule: How it is executed, and where.

    Raises:
        UnsupportedError: The C runtime has no kernel for an operator, or not for what it is asked to do.
    """
    coded = {entry.layer.op: entry.coded for entry in model.layers}
    return emit_graph(model.decoded(), coded, schedule, model.resident)


def emit_graph(
    graph: Graph, coded: Mapping[int, Coded], schedule: Schedule, in_ram: Collection[int] = ()
) -> ModelSource:
    """`emit`, for a graph with the weights that `coded`, by operator, decodes to; others are raw.

    The weights of the operators `in_ram` lie in RAM, tables included.
    """
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        raise UnsupportedError("the C runtime runs networks with one input and one output")
    records = records_of(graph, coded, schedule, frozenset(in_ram))
    return ModelSource(header=_header(graph, schedule), source=_source(graph, schedule, records))


def check_kernels(graph: Graph) -> None:
    """Check, before anything is compressed, that the C runtime has a kernel for every operator of an 8-bit network.

    Raises:
        UnsupportedError: It has none for an operator, or not for what it is asked to do; the message names which.
    """
    nowhere = Buffer(tensor=None, offset=0, nbytes=0, first=0, last=0)
    steps = [
        Step(
            kind="whole",
            ops=(index,),
            rows=None,
            scratch=(nowhere,) * len(scratch_sizes(graph, (index,), "whole", None, {})),
        )
        for index in range(len(graph.ops))
    ]
    places = [replace(nowhere, tensor=index, offset=index * ALIGNMENT) for index in range(len(graph.tensors))]
    empty = Coded(coding="raw", count=0, groups=1, inner=1, zero_byte=0, table=b"", stream=b"")
    coded = dict.fromkeys(range(len(graph.ops)), empty)
    emit_graph(graph, coded, Schedule(steps=(), buffers=tuple(places)))
    for step, name in zip(steps, operator_names(graph), strict=True):
        try:
            emit_graph(graph, coded, Schedule(steps=(step,), buffers=tuple(places)))
        except UnsupportedError as error:
            raise UnsupportedError(f"layer {name!r}: {error}") from error


def _header(graph: Graph, schedule: Schedule) -> str:
    sizes = {
        "BQ_ARENA_BYTES": schedule.nbytes,
        "BQ_INPUT_BYTES": graph.input.nbytes,
        "BQ_OUTPUT_BYTES": graph.output.nbytes,
    }
    defines = [f"#define {name} {value}" for name, value in sizes.items()]
    head = f"/* Sizes of the network's arena, and of its {graph.input.dtype} input and {graph.output.dtype} output. */"
    return "\n".join([head, "#ifndef BQ_MODEL_H", "#define BQ_MODEL_H", "", *defines, "", "#endif", ""])


def _source(graph: Graph, schedule: Schedule, records: list[Record]) -> str:
    names = [f"&{record.name}" for record in records]
    offsets = schedule.offsets
    network = {
        "records": "records",
        "record_count": len(records),
        "arena_bytes": "sizeof arena",
        "input": offsets[graph.inputs[0]],
        "input_bytes": "BQ_INPUT_BYTES",
        "output": offsets[graph.outputs[0]],
        "output_bytes": "BQ_OUTPUT_BYTES",
        "arena": "arena",
    }
    parts = [
        '#include "bq_kernels.h"\n#include "model.h"',
        '#ifndef BQ_RAM\n#define BQ_RAM __attribute__((section(".data.bq_ram")))\n#endif',
        *(text for record in records for text in record.texts),
        ctext.array("void *const", "records", names),
        f"static _Alignas({ALIGNMENT}) uint8_t arena[BQ_ARENA_BYTES];",
        ctext.constant("bq_network", "bq_model", network).removeprefix("static "),
    ]
    return "\n\n".join(parts) + "\n"
