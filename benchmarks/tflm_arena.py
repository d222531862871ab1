"""The arena under TensorFlow Lite Micro: predicted, measured, and with an offline plan.

    python benchmarks/tflm_arena.py [FOLDER]

For each int8 network in the folder (default: ../shared/models beside the checkout), as it is and with all weights
behind decoders (16 levels, packed). Bytes; "8 B" is the wheel's build, "4 B" a 32-bit board's.
"""

import argparse
from pathlib import Path

import numpy as np

from bqsearch.graph.decode import Encoded, insert_decode
from bqsearch.graph.flatbuffer import serialize
from bqsearch.graph.ir import Graph
from bqsearch.graph.ops import layers
from bqsearch.hardware import offline
from bqsearch.hardware.tflm import BOARD, WHEEL, loading, plan_head, tail
from bqsearch.importers.tflite import load
from bqsearch.packing import decode_op
from bqsearch.packing.container import Symbols
from bqsearch.runtime import tflm
from paste import markdown, paste

LEVELS = 16
COLUMNS = ["head", "wheel", "tail 8 B", "wheel", "tail 4 B", "loads 4 B", "offline", "bound", "won", "wheel"]


def decoded(graph: Graph) -> Graph:
    """The network with few levels of weights, all behind decoders."""
    step, encoded, coarse = 256 // LEVELS, {}, {}
    for tensor in {layer.weights for layer in layers(graph)}:
        data = graph.tensors[tensor].data
        assert data is not None
        coarse[tensor] = (data // step * step).astype(np.int8)
        codes = coarse[tensor].reshape(-1).view(np.uint8) ^ np.uint8(128)
        values, indices = np.unique(codes, return_inverse=True)
        whole = Symbols(indices=indices.astype(np.uint8), values=values[None], zero=-1, zero_byte=128, inner=1)
        coded = decode_op.encode(whole, "packed")
        encoded[tensor] = Encoded(stream=coded.stream, ancillary=coded.table)
    return insert_decode(graph.with_data(coarse), encoded)


def figures(graph: Graph) -> list[int]:
    """One row, in the order of `COLUMNS`."""
    plan = offline.plan(graph)
    told = tflm.allocations(serialize(graph, short_zero_points=True))
    planned = serialize(plan.graph, short_zero_points=True, metadata=offline.metadata(plan))
    return [
        plan_head(graph).nbytes,
        told.head,
        tail(graph, WHEEL),
        told.tail,
        tail(graph, BOARD),
        loading(graph, BOARD),
        plan.head,
        plan.lower_bound,
        plan.greedy - plan.head,
        tflm.allocations(planned).head,
    ]


def main() -> None:
    """Print the table and put it into README.md."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    beside = Path(__file__).resolve().parent.parent.parent / "shared" / "models"
    parser.add_argument("folder", nargs="?", type=Path, default=beside)
    table = []
    for path in sorted(parser.parse_args().folder.glob("*_int8.tflite")):
        graph = load(path)
        for name, row in {f"`{path.stem}`": graph, "… decoded": decoded(graph)}.items():
            table.append([name, *(f"{figure:,}" for figure in figures(row))])
            print(*table[-1], flush=True)
    paste("arena", "python benchmarks/tflm_arena.py", markdown(["network", *COLUMNS], table))


if __name__ == "__main__":
    main()
