"""The containers of all runtimes."""

from collections.abc import Mapping
from dataclasses import replace

from bqsearch.packing.container import Container
from bqsearch.packing.decode_op import DECODE_OPERATOR
from bqsearch.packing.streams import STREAMS

CONTAINERS: Mapping[str, Container] = {
    STREAMS.name: STREAMS,
    DECODE_OPERATOR.name: DECODE_OPERATOR,
    "row_stationary": replace(STREAMS, placements=("flash",)),  # whose streams lie in an accelerator's DRAM
}
