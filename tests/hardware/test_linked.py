"""What is linked, as it is predicted: by hand, and kernels as the emitter names them."""

import re

import pytest

from bqsearch.bank.build import OptionBank
from bqsearch.compress import compress
from bqsearch.firmware.emit import emit
from bqsearch.hardware import linked, target
from bqsearch.hardware.linked import SUFFIX, CodeTable, Piece
from bqsearch.hardware.streamed import StreamedFootprint
from bqsearch.plan import Plan
from firmware.samples import everything
from hardware.test_streamed import BANKS
from networks import small_int8_network, small_uint8_network


def test_code_is_the_sum_of_what_is_pulled_in_once_each_where_it_may_begin() -> None:
    sizes = [(".text", 4, 6), (".text", 2, 2), (".text", 4, 5), (".rodata", 4, 3)]
    table = CodeTable(
        compiler="",
        records={},
        pieces=tuple(Piece(section=s, alignment=a, nbytes=n) for s, a, n in sizes),
        needs={"": (0,), "f": (1, 2), "g": (2, 3)},
    )
    assert table.nbytes([]) == 8
    assert table.nbytes(["f"]) == 16  # 6, 2 behind it, 5 from 8 on, and 3 up to a multiple of 4
    assert table.nbytes(["g"]) == 16 + 4
    assert table.nbytes(["f", "g"]) == 16 + 4


@pytest.mark.parametrize("make", [small_int8_network, small_uint8_network])
def test_kernels_are_those_that_the_emitter_names(make) -> None:
    graph, bank = make(), BANKS[make]
    own = StreamedFootprint(graph=graph, target=target.load("hifive1"))
    for start in range(3):
        choices = {n: e.choices()[start * 7 % len(e.choices())][0] for n, e in bank.by_name.items()}
        model = compress(graph, bank, bank.plan(choices))
        schedule = own.schedule(model)
        text = emit(model, schedule).source
        named = set(re.findall(r"\.run = (bq_\w+)", text)) | set(re.findall(r"\.coding = &(bq_\w+)", text))
        assert linked.constants(model, schedule, linked.load("fe310")).used == named


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_operators_without_weights_too(dtype: str) -> None:
    graph = everything(dtype)[0]
    model, own = (
        compress(graph, OptionBank(layers=()), Plan(choices={})),
        StreamedFootprint(graph=graph, target=target.load("hifive1")),
    )
    text = emit(model, own.schedule(model)).source
    named = set(re.findall(r"\.run = (bq_\w+)", text))
    assert {f"bq_multiply_{SUFFIX[dtype]}", "bq_lookup", "bq_concatenation", "bq_pad"} <= named
    assert linked.constants(model, own.schedule(model), linked.load("fe310")).used == named


@pytest.mark.parametrize("name", linked.names())
def test_tables_hold_together(name: str) -> None:
    table = linked.load(name)
    assert "gcc" in table.compiler
    assert {"bq_conv_s8", "bq_chain_u8", "bq_huffman", "bq_sparse"} <= set(table.needs)
    assert all(0 <= i < len(table.pieces) for needs in table.needs.values() for i in needs)
    assert set(table.needs[""]) < set(table.needs["bq_conv_s8"])
    assert all(size % 4 == 0 for size in table.records.values())
