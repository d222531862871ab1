"""Strips: which rows a part of a convolution reads and writes, and how far its output may reach into its input."""

from collections.abc import Iterator
from dataclasses import dataclass

from ai_edge_litert import schema_py_generated as schema

from bqsearch.graph.ir import Graph, Op
from bqsearch.graph.ops import source
from bqsearch.hardware.scratch import window_shape


@dataclass(frozen=True, kw_only=True)
class Rows:
    """How the rows of a convolution's or a pooling's output come from those of its input.

    Attributes:
        inputs: Rows of the input.
        outputs: Rows of the output.
        reach: Rows that an output row reads, padding included.
        stride: Rows between two of them.
        padding: Rows of padding above the input.
    """

    inputs: int
    outputs: int
    reach: int
    stride: int
    padding: int

    def read(self, begin: int, end: int) -> tuple[int, int]:
        """First input row that the output rows from `begin` to before `end` read, and the first one behind them."""
        first = begin * self.stride - self.padding
        last = (end - 1) * self.stride - self.padding + self.reach
        return min(max(first, 0), self.inputs), min(max(last, 0), self.inputs)


@dataclass(frozen=True, kw_only=True)
class Strip:
    """Output rows from `begin` to before `end`, and the input rows that are read for them."""

    begin: int
    end: int
    read_begin: int
    read_end: int


def rows_of(graph: Graph, op: Op) -> Rows:
    """Of CONV_2D, DEPTHWISE_CONV_2D, AVERAGE_POOL_2D or MAX_POOL_2D."""
    inputs, outputs = graph.tensors[source(op)].shape[1], graph.tensors[op.outputs[0]].shape[1]
    stride = int(op.options["strideH"])
    reach = int(op.options["filterHeight"]) if "filterHeight" in op.options else window_shape(graph, op)[0]
    missing = max((outputs - 1) * stride + reach - inputs, 0)
    padding = missing // 2 if op.options["padding"] == schema.Padding.SAME else 0
    return Rows(inputs=inputs, outputs=outputs, reach=reach, stride=stride, padding=padding)


def strips(rows: Rows, height: int, *, carries: bool) -> Iterator[Strip]:
    """The strips of `height` output rows, in order.

    Args:
        rows: Of the operator.
        height: Rows of a strip; the last one may have fewer.
        carries: Whether a strip keeps what it makes of rows that the next one needs too, so that none is read twice.
    """
    done = 0
    for begin in range(0, rows.outputs, height):
        end = min(begin + height, rows.outputs)
        first, last = rows.read(begin, end)
        yield Strip(begin=begin, end=end, read_begin=max(first, done) if carries else first, read_end=last)
        done = last


def gap(rows: Rows, height: int, input_row: int, output_row: int, *, carries: bool, direct: bool) -> int:
    """How many bytes before its input the output must begin at least, where it does not begin behind it.

    What a strip writes must touch no row that a later strip reads; nor, if it writes while it still reads, one of its
    own. Negative where the output may even begin behind the input's first bytes.

    Args:
        rows: Of the operator that sets the rows.
        height: Output rows of a strip.
        input_row: Bytes of an input row.
        output_row: Bytes of an output row.
        carries: As in `strips`.
        direct: Whether output rows are written as they are made.
    """
    space, first = -rows.inputs * input_row, rows.inputs
    for strip in reversed(list(strips(rows, height, carries=carries))):
        own = strip.read_begin if strip.read_begin < strip.read_end else first
        still = own if direct else first
        if still < rows.inputs:
            space = max(space, strip.end * output_row - still * input_row)
        first = own
    return space
