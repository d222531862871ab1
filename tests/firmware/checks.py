"""A network in C against its reference."""

import ctypes
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from bqsearch.firmware import host
from bqsearch.firmware.emit import emit_graph
from bqsearch.graph.ir import Graph
from bqsearch.packing.container import Coded
from bqsearch.types import Array
from decoding import need_tflm
from firmware.plans import Group, plan, untouched
from firmware.reference import any_inputs, expected

_PATTERN = 0xA5


def computed(
    graph: Graph, inputs: Array, cache: Path, coded: Mapping[int, Coded] | None = None, groups: Iterable[Group] = ()
) -> Array:
    """The runtime's outputs; no byte of the arena outside of the schedule's buffers may change."""
    schedule = plan(graph, coded, groups)
    model = host.build(graph, emit_graph(graph, coded or {}, schedule), cache)
    outputs = model.run(inputs)
    arena = np.full(schedule.nbytes // 4 + 1, _PATTERN * 0x01010101, np.uint32)
    content = arena.view(np.uint8)
    offset = schedule.offsets[graph.inputs[0]]
    content[offset : offset + graph.input.nbytes] = inputs[0].reshape(-1).view(np.uint8)
    assert ctypes.CDLL(str(model.library)).bq_invoke_in(content.ctypes.data_as(ctypes.c_void_p)) == 0
    offset = schedule.offsets[graph.outputs[0]]
    assert np.array_equal(content[offset : offset + graph.output.nbytes].view(outputs.dtype), outputs[0].reshape(-1))
    assert (content[untouched(schedule)] == _PATTERN).all()
    return outputs


def check(
    graph: Graph,
    cache: Path,
    coded: Mapping[int, Coded] | None = None,
    groups: Iterable[Group] = (),
    count: int = 4,
    telling: bool = True,
) -> None:
    """Compare with the reference; `telling` outputs are not all the same."""
    if graph.input.dtype == "int8":
        need_tflm()
    inputs = any_inputs(graph, count, 1)
    wanted = expected(graph, inputs)
    found = computed(graph, inputs, cache, coded, groups)
    assert found.dtype == wanted.dtype
    assert np.array_equal(found, wanted), np.argwhere(found != wanted)[:5]
    assert not telling or len(np.unique(wanted)) > 1 or wanted.size < 30
