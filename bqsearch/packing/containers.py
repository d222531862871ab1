"""The containers of all runtimes."""

from collections.abc import Mapping
from dataclasses import replace

from bqsearch.packing.container import Container
from bqsearch.packing.decode_op import DECODE_OPERATOR
from bqsearch.packing.streams import STREAMS

CONTAINERS: Mapping[str, Container] = {
    container.name: container
    for container in (
        STREAMS,
        DECODE_OPERATOR,
        replace(STREAMS, name="row_stationary", placements=("flash",)),  # streams lie in an accelerator's DRAM
    )
}
