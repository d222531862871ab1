"""The timeline is the plan that the RAM figure was made from, under every runtime."""

import numpy as np
import pytest

from bqsearch.bank.build import OptionBank, build
from bqsearch.bank.weights import Moments
from bqsearch.compress import compress
from bqsearch.graph.ir import Graph
from bqsearch.graph.ops import layers, operator_names
from bqsearch.hardware import target
from bqsearch.hardware.cost import CostModel
from bqsearch.hardware.timeline import Timeline
from bqsearch.packing.streams import STREAMS
from bqsearch.plan import Choice, Method
from networks import newer_network, small_int8_network

SCRATCH = {  # by board: what pieces are for besides inputs and outputs
    "hifive1": {"filter", "tables", "window", "carry", "strip"},
    "nrf52840": {"weights", "scratch"},
}
RAW, CODED = Choice.parse("keep-256-raw"), Choice.parse("kmeans-16-huffman")


def bank_of(graph: Graph) -> OptionBank:
    flat = {layer.name: Moments(mean=np.zeros((1, 1)), variance=np.ones((1, 1))) for layer in layers(graph)}
    return build(graph, flat, ["kmeans"], STREAMS, Method())


def told(cost: CostModel, bank: OptionBank, every: int) -> Timeline:
    """The timeline with each so-manieth layer coded, none where it is 0, after it was held against the RAM figure."""
    coded = list(bank.by_name)[::every] if every else []
    model = compress(cost.graph, bank, bank.plan(dict.fromkeys(bank.by_name, RAW) | dict.fromkeys(coded, CODED)))
    timeline, ram = cost.footprint.timeline(model), cost.ram(model)
    assert timeline.nbytes == ram.activations + ram.decode_buffer
    assert operator_names(cost.graph)[timeline.stages[timeline.peak].ops[0]] == ram.peak
    return timeline


@pytest.mark.parametrize("make", [small_int8_network, newer_network])
@pytest.mark.parametrize("board", SCRATCH)
@pytest.mark.parametrize("room", [None, 0])
def test_its_end_is_the_arena_and_its_peak_the_named_operator(make, board: str, room: int | None) -> None:
    graph = make()
    cost, bank = CostModel(graph=graph, target=target.load(board), room=room), bank_of(graph)
    for every in (0, 1, 2):
        timeline = told(cost, bank, every)
        standing = [p for p in timeline.pieces if p.buffer.first <= timeline.peak <= p.buffer.last]
        assert max(piece.buffer.end for piece in standing) == timeline.nbytes
        assert {piece.role for piece in timeline.pieces} <= {"input", "output"} | SCRATCH[board]
        assert [piece.op for piece in timeline.pieces if piece.role == "input"] == [None] * len(graph.inputs)
        assert all(0 <= p.buffer.first <= p.buffer.last < len(timeline.stages) for p in timeline.pieces)
        run = [op for stage in timeline.stages if stage.kind != "decode" for op in stage.ops]
        assert sorted(run) == list(range(len(graph.ops)))


def test_an_interpreters_decoder_is_a_stage_before_its_reader() -> None:
    graph = small_int8_network()
    timeline = told(CostModel(graph=graph, target=target.load("nrf52840")), bank_of(graph), 1)
    assert timeline.stages[0].kind == "input"
    for index, stage in enumerate(timeline.stages):
        if stage.kind == "decode":
            assert timeline.stages[index + 1].ops == stage.ops
            weights = [p for p in timeline.pieces if p.role == "weights" and p.op == stage.ops[0]]
            assert [(p.buffer.first, p.buffer.last) for p in weights] == [(index, index + 1)]


def test_an_accelerators_activations_lie_in_its_dram() -> None:
    graph = small_int8_network()
    cost, bank = CostModel(graph=graph, target=target.load("eyeriss")), bank_of(graph)
    model = compress(graph, bank, bank.plan(dict.fromkeys(bank.by_name, RAW)))
    timeline, ram = cost.footprint.timeline(model), cost.ram(model)
    assert timeline.nbytes == ram.total
    assert {piece.role for piece in timeline.pieces} == {"input", "output"}
    assert operator_names(graph)[timeline.stages[timeline.peak].ops[0]] == ram.peak
