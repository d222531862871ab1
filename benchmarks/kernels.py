"""Instructions of an inference on rv32imac, beside loops written as TensorFlow Lite Micro's reference kernels are.

    python benchmarks/kernels.py

Each network runs in QEMU operator by operator, compiled as for the HiFive1, on memory that holds all of it: with raw
weights, with 16 levels packed into 4 bits, and with the same levels in Huffman codes. The reference has its weights
decoded in memory before anything is counted. All four must compute the same. Networks that are not built in are looked
for where BQSEARCH_MODELS says. The tables go into README.md.
"""

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import virt
import whole

from bqsearch.firmware.emit import emit_graph
from bqsearch.graph.ir import Graph
from bqsearch.graph.ops import layers, macs
from firmware.coding import coded_as, with_levels
from firmware.plans import plan
from paste import markdown, paste

NETWORKS = ("resnet8_int8", "kws_ds_cnn_int8")
CODINGS = ("raw", "packed", "huffman")
HEADINGS = [
    *("network", "part", "MACs", "reference", "raw", "4 bits", "Huffman"),
    *("raw / reference", "4 bits / raw", "Huffman / raw"),
]
REFERENCE = Path(__file__).with_name("reference_loops.c").read_text("utf-8")
PARTS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")


def main() -> None:
    """Count all, and print the table."""
    made = [row for name, graph in whole.networks(NETWORKS).items() for row in rows(name, graph)]
    table = markdown(HEADINGS, made)
    print(table)
    paste("kernels", "python benchmarks/kernels.py", table)


def rows(name: str, graph: Graph) -> list[list[str]]:
    """Instructions a MAC of each kind of layer, and of the network with all operators."""
    ops = [layer.op for layer in layers(graph)]
    graph = with_levels(graph, dict.fromkeys(ops, "coarse"))
    counts: dict[str, list[int]] = {}
    sums = set()
    with tempfile.TemporaryDirectory() as folder:
        for coding in CODINGS:
            coded = coded_as(graph, dict.fromkeys(ops, coding))
            schedule = plan(graph, coded)
            source = emit_graph(graph, coded, schedule)
            counts[coding], found = virt.steps(source, Path(folder))
            sums.add(found)
            if coding == "raw":
                counts["reference"], found = virt.steps(source, Path(folder), REFERENCE)
                sums.add(found)
    assert len(sums) == 1, f"{name}: the codings' outputs differ"
    run = [graph.ops[step.ops[0]] for step in schedule.steps if step.kind == "whole"]
    found_rows = []
    for part in (*PARTS, "all"):
        chosen = [i for i, op in enumerate(run) if part in ("all", op.code)]
        work = sum(macs(graph, run[i]) for i in chosen)
        if work:
            spent = {key: sum(each[i] for i in chosen) for key, each in counts.items()}
            found_rows.append(_row(name, part, work, spent))
    return found_rows


def _row(name: str, part: str, work: int, spent: dict[str, int]) -> list[str]:
    each = [f"{spent[key] / work:.2f}" for key in ("reference", *CODINGS)]
    raw = spent["raw"]
    ratios = [raw / spent["reference"], spent["packed"] / raw, spent["huffman"] / raw]
    return [f"`{name}`", part, f"{work:,}", *each, *(f"{ratio:.2f}" for ratio in ratios)]


if __name__ == "__main__":
    main()
