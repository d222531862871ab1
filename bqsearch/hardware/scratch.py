"""Scratch: what the C runtime's kernels need of the arena besides the tensors that they read and write.

A kernel never holds more than one decoded filter, the weights of one output channel. A depthwise convolution works
channel by channel, from a window of rows of one channel, so that a tensor that only it reads need not exist: in a chain
expand -> depthwise -> project the expanded rows of a channel are made just before they are filtered.

The scratch buffers of a step stand in this order, and every one begins at a multiple of 4 bytes. A buffer of 0 bytes is
not used, and may have any offset.

    step                                     buffers
    CONV_2D, whole                           filter, tables
    CONV_2D, strips                          filter, tables, strip
    DEPTHWISE_CONV_2D, whole or in place     filter, tables, window
    chain with DEPTHWISE_CONV_2D, strips     filter, tables, window, carry, strip
    FULLY_CONNECTED, whole                   filter, tables
    AVERAGE_POOL_2D, MAX_POOL_2D, strips     strip
    any other                                none

    filter   one output channel's weights; of a dense layer at most `DENSE_BLOCK` of them. In a chain, those of expand
             and depthwise lie side by side, and later those of project in their place
    tables   the decoders' tables in RAM, in a chain likewise
    window   the input rows of one channel that an output row of the depthwise convolution reads, padding included
    carry    the last expanded rows of all channels, which the next strip reads again: with it no row is expanded
             twice, and the input's rows are dead once a strip is done. 0 where one strip does it all, where strips
             share no rows, and where the chain does not expand (then the strips read the input again)
    strip    `rows` output rows: of the depthwise convolution, where it is projected; else of the step's output, before
             they go there. In the latter case a plan may leave the buffer out (0 bytes), and the rows are written to
             the output as they are made: where output and input lie apart, or where what a strip writes touches none
             of the rows that it or a later strip reads
"""

from collections.abc import Mapping
from typing import Literal

from bqsearch.graph.ir import Graph, Op, Tensor
from bqsearch.graph.ops import SUPPORTED, source
from bqsearch.types import Shape

Kind = Literal["whole", "in_place", "strips"]

DENSE_BLOCK = 64  # weights of a dense layer that are decoded at a time
LOOKUP_BYTES = 256  # of a Huffman decoder: 2 bytes for each value of the next 7 bits
_ALIGNMENT = 4
_MOST_VALUES = {"packed": 128, "mask": 255, "huffman": 255, "sparse": 255}
_LOOKUPS = {"huffman": 1, "sparse": 2}


def decoder_bytes(coding: str, table_bytes: int) -> int:
    """RAM for the tables of a weight stream's decoder, up to a multiple of 4 bytes: the codebook of one group, and
    lookups of codewords.

    Args:
        coding: Of `packing.streams`.
        table_bytes: Of the coded tensor's table, all groups.
    """
    return LOOKUP_BYTES * _LOOKUPS.get(coding, 0) + aligned(min(table_bytes, _MOST_VALUES.get(coding, 0)))


def scratch_sizes(
    graph: Graph, ops: tuple[int, ...], kind: Kind, rows: int | None, table_bytes: Mapping[int, int]
) -> tuple[int, ...]:
    """Bytes of each scratch buffer of a step, in the order above.

    Args:
        graph: The network.
        ops: The step's operators, by index, in order.
        kind: How they are executed.
        rows: Output rows of a strip; None but for strips.
        table_bytes: RAM of each operator's decoder, `decoder_bytes`; operators with raw weights may be left out.
    """
    chain = [graph.ops[i] for i in ops]
    work = [SUPPORTED[op.code].work for op in chain]
    tables = [table_bytes.get(i, 0) for i in ops]
    if kind == "strips":
        assert rows is not None
        if "depthwise" in work:
            return _chain(graph, chain, work.index("depthwise"), rows, tables)
        strip = _strip(graph.tensors[chain[-1].outputs[0]], rows)
        return (_filter(graph, chain[0]), tables[0], strip) if work == ["conv"] else (strip,)
    if work == ["depthwise"]:
        return _filter(graph, chain[0]), tables[0], _window(graph, chain[0])
    if work in (["conv"], ["dense"]):
        return _filter(graph, chain[0]), tables[0]
    return ()


def scratch_roles(graph: Graph, ops: tuple[int, ...], kind: Kind) -> tuple[str, ...]:
    """Names of the scratch buffers of a step, in the order above; arguments as in `scratch_sizes`."""
    work = [SUPPORTED[graph.ops[i].code].work for i in ops]
    if kind == "strips":
        if "depthwise" in work:
            return "filter", "tables", "window", "carry", "strip"
        return ("filter", "tables", "strip") if work == ["conv"] else ("strip",)
    if work == ["depthwise"]:
        return "filter", "tables", "window"
    return ("filter", "tables") if work in (["conv"], ["dense"]) else ()


def window_shape(graph: Graph, op: Op) -> Shape:
    """Rows and columns of the part of a padded input channel that an output row of a convolution reads."""
    filters, output = graph.tensors[op.inputs[1]].shape, graph.tensors[op.outputs[0]].shape
    dilations = op.options.get("dilationHFactor", 1), op.options.get("dilationWFactor", 1)
    reach = [(size - 1) * dilation + 1 for size, dilation in zip(filters[1:3], dilations, strict=True)]
    return reach[0], (output[2] - 1) * int(op.options["strideW"]) + reach[1]


def carried_rows(graph: Graph, op: Op) -> int:
    """Input rows of a convolution that an output row and the next one both read."""
    return max(0, window_shape(graph, op)[0] - int(op.options["strideH"]))


def _chain(graph: Graph, chain: list[Op], depthwise: int, rows: int, tables: list[int]) -> tuple[int, ...]:
    op = chain[depthwise]
    source_shape, output = graph.tensors[source(op)].shape, graph.tensors[op.outputs[0]]
    expands, strips = depthwise > 0, -(-output.shape[1] // rows)
    carried = carried_rows(graph, op) * source_shape[2] * source_shape[3] if expands and strips > 1 else 0
    filters = [_filter(graph, op) for op in chain]
    return (
        _beside(filters, depthwise),
        _beside(tables, depthwise),
        _window(graph, op),
        carried,
        _strip(output, rows),
    )


def _beside(sizes: list[int], depthwise: int) -> int:
    """Room for what comes up to the depthwise convolution, and then for what comes behind it."""
    return max(sum(aligned(size) for size in sizes[:depthwise]) + sizes[depthwise], *sizes[depthwise:])


def _filter(graph: Graph, op: Op) -> int:
    kind, weights = SUPPORTED[op.code], graph.tensors[op.inputs[1]]
    taps = weights.size // weights.shape[kind.channel_axis]
    alone = kind.work == "dense" and graph.tensors[op.outputs[0]].size == weights.shape[0]
    return min(taps, DENSE_BLOCK) if alone else taps


def _window(graph: Graph, op: Op) -> int:
    height, width = window_shape(graph, op)
    return height * width


def _strip(output: Tensor, rows: int) -> int:
    return min(rows, output.shape[1]) * output.shape[2] * output.shape[3]


def aligned(nbytes: int) -> int:
    """The next multiple of the alignment of all buffers."""
    return -(-nbytes // _ALIGNMENT) * _ALIGNMENT
