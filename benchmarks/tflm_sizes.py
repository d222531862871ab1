"""File sizes for TensorFlow Lite Micro, with exact codebooks and nothing trained: `python benchmarks/tflm_sizes.py`.

Each row is a model, each column a number of levels in every weight tensor of 200 weights or more; the others stay raw.
`lut` and `huffman` code all these tensors alike, `best` takes what is smallest for each tensor. Every file is run in
the interpreter, and its outputs are compared with those of the same weights uncompressed.
"""

import argparse
from pathlib import Path

import numpy as np

from bqsearch.bank.build import OptionBank, build
from bqsearch.bank.layer import KEEP, LayerBank
from bqsearch.bank.weights import Moments
from bqsearch.compress import CompressedModel, compress
from bqsearch.exporters import tflm as exporter
from bqsearch.graph import passes
from bqsearch.graph.flatbuffer import data_bytes
from bqsearch.graph.ir import Graph
from bqsearch.graph.ops import layers
from bqsearch.hardware.micro import raw_file
from bqsearch.importers.tflite import load
from bqsearch.packing.container import UNAVAILABLE
from bqsearch.packing.decode_op import DECODE_OPERATOR
from bqsearch.plan import Choice, Method
from bqsearch.runtime import tflm
from paste import markdown, paste

MODELS = ("kws_ds_cnn_int8", "resnet8_int8", "person_detect_int8", "vww_96_int8", "anomaly_autoencoder_int8")
LEVELS = (256, 16, 8, 4)
SMALLEST = 200  # weights of a tensor that is worth coding
WAYS = {"lut": ("packed",), "huffman": ("huffman",), "best": ("packed", "huffman", "mask", "raw")}
INPUTS = 100


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=Path, default=Path("../shared/models"), help="folder of .tflite files")
    folder = parser.parse_args().models
    headings = ["model", "file", "diet", *(f"{level} {way}" for level, way in _columns())]
    table = markdown(headings, [[f"`{name}`", *_row(folder / f"{name}.tflite")] for name in MODELS])
    print(table)
    paste("sizes", "python benchmarks/tflm_sizes.py", table)


def _columns() -> list[tuple[int, str]]:
    return [(level, way) for level in LEVELS for way in WAYS if (level, way) != (256, "lut")]


def _row(path: Path) -> list[str]:
    graph = passes.integer_io(load(path))
    method = Method(bias_correction=False, error_compensation=False)
    bank = build(graph, _even_moments(graph), ["kmeans"], DECODE_OPERATOR, method)
    inputs = np.random.default_rng(0).integers(-128, 128, (INPUTS, *graph.input.shape[1:]), np.int8)
    cells = [f"{path.stat().st_size:,}", f"{len(raw_file(graph)):,}"]
    for level, way in _columns():
        model = compress(graph, bank, bank.plan(_choices(bank, level, WAYS[way])))
        cells.append(f"{_checked(model, inputs):,}")
    return cells


def _even_moments(graph: Graph) -> dict[str, Moments]:
    """As if every input code were equally likely: plain codebooks, without calibration."""
    return {
        x.name: Moments(mean=np.zeros((1,) * len(x.shape)), variance=np.ones((1,) * len(x.shape)))
        for x in layers(graph)
    }


def _choices(bank: OptionBank, levels: int, codings: tuple[str, ...]) -> dict[str, Choice]:
    large = [entry for entry in bank.layers if entry.layer.size >= SMALLEST and not entry.layer.shared]
    return {entry.layer.name: _smallest(entry, levels, codings) for entry in large}


def _smallest(entry: LayerBank, levels: int, codings: tuple[str, ...]) -> Choice:
    scheme = "keep" if levels == 256 else "kmeans"
    rows = entry.rows(scheme)
    row = rows.levels.index(levels)
    sizes = {
        coding: data_bytes(int(rows.sizes.stream[coding][row])) + data_bytes(int(rows.sizes.table[coding][row]))
        for coding in codings
        if rows.sizes.bytes_of(coding)[row] < UNAVAILABLE
    }
    coding = min(sizes, key=sizes.__getitem__)
    if coding == "raw" or sizes[coding] >= entry.layer.size:
        return KEEP
    return Choice(scheme=scheme, levels=levels, coding=coding)


def _checked(model: CompressedModel, inputs: np.ndarray) -> int:
    content = exporter.export(model)
    outputs = tflm.run(content, inputs)
    if not np.array_equal(outputs, tflm.run(raw_file(model.decoded()), inputs)):
        raise SystemExit("outputs differ")
    return len(content)


if __name__ == "__main__":
    main()
