"""Instructions of the C runtime's kernels, fitted on emulated boards, for bqsearch/hardware/instructions/.

    python benchmarks/instructions.py [--board NAME] [--dry]

Every kernel runs alone, in networks of one step and of many shapes, codings and kinds of weights, in QEMU, which counts
instructions. Those are fitted as a sum over units of work (`bqsearch.hardware.work`) by non-negative least squares of
relative errors. Layers of other shapes, which the fit does not see, and whole networks show how good it is; networks
that are not built in are looked for where BQSEARCH_MODELS says. The table goes into README.md.
"""

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import nnls

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import virt
import whole

from bqsearch.exporters.firmware import export
from bqsearch.firmware import board as boards
from bqsearch.firmware import emulator, toolchain
from bqsearch.firmware.board import Board
from bqsearch.firmware.emit import emit_graph
from bqsearch.firmware.layers import firmware_layers
from bqsearch.graph.ir import Graph
from bqsearch.graph.ops import SUPPORTED, layers
from bqsearch.hardware.schedule import Schedule
from bqsearch.hardware.streamed import Planner
from bqsearch.hardware.work import Work, kinds
from bqsearch.packing.container import Coded
from bqsearch.packing.streams import STREAMS
from firmware.coding import coded_as, with_levels
from firmware.plans import Group, plan
from networks import LINEAR, SAME, VALID, Builder
from paste import markdown, paste

BOARDS = {"fe310": boards.HIFIVE1, "stm32f405": boards.STM32F405}
FOLDER = Path(__file__).resolve().parents[1] / "bqsearch" / "hardware" / "instructions"
LARGEST = 15_000  # bytes of arena on the HiFive1
STRIP_BUFFERS = 3  # of a convolution in strips; chains have more
HEADINGS = ["board", "held out", "cases", "median error %", "90th percentile %", "largest %"]
NETWORKS = ("resnet8_int8", "kws_ds_cnn_int8", "micro_speech_uint8", "person_detect_uint8")
LEVELS = {"multiply": "coarse", "shift": "shift", "binary": "binary"}


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """What runs.

    Attributes:
        name: Of the kernel, or of the network.
        graph: The network.
        coded: Its weights, by operator.
        schedule: How it is executed.
    """

    name: str
    graph: Graph
    coded: Mapping[int, Coded]
    schedule: Schedule

    @property
    def counts(self) -> Counter[str]:
        """Units of work."""
        streams = {op: layer.stream for op, layer in firmware_layers(self.graph, self.coded).items()}
        return Work(graph=self.graph).counts(self.schedule, streams)


def case(name: str, graph: Graph, coding: str = "raw", kind: str = "coarse", groups: tuple[Group, ...] = ()) -> Case:
    """A network with weights of one kind in one coding."""
    ops = [layer.op for layer in layers(graph)]
    graph = with_levels(graph, dict.fromkeys(ops, kind))
    coded = coded_as(graph, dict.fromkeys(ops, coding))
    return Case(name=name, graph=graph, coded=coded, schedule=plan(graph, coded, groups))


def cases(rng: np.random.Generator, count: int) -> Iterator[Case]:
    """Kernels on drawn shapes, `count` of each kind."""
    for dtype in ("int8", "uint8"):
        for _ in range(count):
            for arithmetic, kind in LEVELS.items():
                coding = "raw" if arithmetic == "multiply" else "packed"
                yield case("convolution", convolution(dtype, rng), coding, kind)
                yield case("pointwise", convolution(dtype, rng, size=1), coding, kind)
                yield case("dense", dense(dtype, rng), coding, kind)
            for size in (3, int(rng.choice([1, 2, 4, 5]))):
                yield case("depthwise", depthwise(dtype, rng, size), str(rng.choice(STREAMS.codings)), "few")
            for chain in ("edp", "dp", "ed", "d"):
                graph, group = chained(dtype, rng, chain)
                yield case("chain", graph, str(rng.choice(STREAMS.codings)), "few", (group,))
            graph = convolution(dtype, rng)
            rows = int(rng.integers(1, 5))
            yield case("convolution", graph, groups=(Group(ops=(0,), kind="strips", rows=rows),))
            for code in ("ADD", "MUL", "AVERAGE_POOL_2D", "MAX_POOL_2D", "MEAN", "SOFTMAX", "PAD", "RELU6"):
                yield case(code.lower(), without_weights(dtype, rng, code))
            yield case("concatenation", joined(dtype, rng))
    for _ in range(2 * count):
        for coding in STREAMS.codings:
            kind = str(rng.choice(["few", "coarse", "sparse"]))
            yield case(f"decoding {coding}", convolution("int8", rng, size=int(rng.choice([1, 3]))), coding, kind)
            yield case(f"decoding {coding}", dense("int8", rng), coding, kind)


def image(net: Builder, rng: np.random.Generator, least: int = 3) -> int:
    """An input of drawn size."""
    height, width = (int(n) for n in rng.integers(least, 17, 2))
    return net.activation("x", (1, height, width, int(rng.integers(1, 41))))


def convolution(dtype: str, rng: np.random.Generator, size: int | None = None) -> Graph:
    """One convolution."""
    net = Builder(dtype, int(rng.integers(1 << 30)))
    source = image(net, rng, 5)
    made = size or int(rng.choice([2, 3, 3, 3, 5]))
    options = {"padding": SAME if rng.random() < 0.7 else VALID, "fusedActivationFunction": LINEAR}
    stride = 1 if size == 1 else int(rng.integers(1, 3))
    return net.build([source], [net.conv("c", source, int(rng.integers(2, 25)), made, stride, **options)])


def depthwise(dtype: str, rng: np.random.Generator, size: int) -> Graph:
    """One depthwise convolution."""
    net = Builder(dtype, int(rng.integers(1 << 30)))
    source = image(net, rng, 5)
    return net.build([source], [net.depthwise("d", source, size, int(rng.integers(1, 3)))])


def dense(dtype: str, rng: np.random.Generator) -> Graph:
    """One dense layer."""
    net = Builder(dtype, int(rng.integers(1 << 30)))
    source = net.activation("x", (1, int(rng.integers(8, 600))))
    return net.build([source], [net.dense("f", source, int(rng.integers(2, 80)))])


def chained(dtype: str, rng: np.random.Generator, chain: str) -> tuple[Graph, Group]:
    """A chain in strips: e expands, d filters, p projects."""
    net = Builder(dtype, int(rng.integers(1 << 30)))
    last = source = image(net, rng, 5)
    size = int(rng.choice([3, 3, 3, 5]))
    for kind in chain:
        if kind == "d":
            last = net.depthwise("d", last, size, int(rng.integers(1, 3)))
        else:
            last = net.conv(kind, last, int(rng.integers(4, 49)))
    rows = int(rng.integers(1, 6))
    return net.build([source], [last]), Group(ops=tuple(range(len(chain))), kind="strips", rows=rows)


def without_weights(dtype: str, rng: np.random.Generator, code: str) -> Graph:
    """One operator without weights."""
    net = Builder(dtype, int(rng.integers(1 << 30)))
    if code == "SOFTMAX":
        source = net.activation("x", (1, int(rng.integers(2, 300))))
        return net.build([source], [net.softmax("s", source)])
    source = image(net, rng)
    shape = net.tensors[source].shape
    if code == "MEAN":
        return net.build([source], [net.mean("m", source)])
    if code == "PAD":
        return net.build([source], [net.pad("p", source, [[0, 0], [1, 1], [0, 2], [0, 0]])])
    if code in ("ADD", "MUL"):
        output = net.op(code, (source, source), net.activation("o", shape), SUPPORTED[code].options)
        return net.build([source], [output])
    if code == "RELU6":
        return net.build([source], [net.op(code, (source,), net.activation("o", shape), SUPPORTED[code].options)])
    size, stride = int(rng.integers(2, 4)), int(rng.integers(1, 3))
    options = {"strideH": stride, "strideW": stride, "filterHeight": size, "filterWidth": size}
    made = (1, -(-shape[1] // stride), -(-shape[2] // stride), shape[3])
    return net.build([source], [net.like(code, "o", source, made, padding=SAME, **options)])


def joined(dtype: str, rng: np.random.Generator) -> Graph:
    """One concatenation."""
    net = Builder(dtype, int(rng.integers(1 << 30)))
    source = image(net, rng)
    shape = net.tensors[source].shape
    wide = net.tensor("o", (*shape[:3], 2 * shape[3]), dtype, quantization=net.tensors[source].quantization)
    output = net.op("CONCATENATION", (source, source), wide, "ConcatenationOptions", axis=-1)
    return net.build([source], [output])


def networks(room: int) -> Iterator[Case]:
    """Whole networks, raw and with 16 levels in two codings."""
    for name, graph in whole.networks(NETWORKS).items():
        for coding in ("raw", "packed", "huffman"):
            ops = [layer.op for layer in layers(graph)]
            made = with_levels(graph, dict.fromkeys(ops, "coarse"))
            coded = coded_as(made, dict.fromkeys(ops, coding))
            schedule = (
                Planner(graph=made, room=room, thrift=0.0)
                .plan({})
                .schedule(dict.fromkeys(ops, 300) if coding != "raw" else {})
            )
            yield Case(name=f"{name}, {coding}", graph=made, coded=coded, schedule=schedule)


def measured(board: Board, one: Case, cache: Path) -> tuple[int, int]:
    """Instructions of an inference in QEMU and the stack's peak: on the board, or on a machine of its kind with memory
    enough, which gives no peak."""
    if board is boards.HIFIVE1 and one.schedule.nbytes > LARGEST:
        return sum(virt.steps(emit_graph(one.graph, one.coded, one.schedule), cache)[0]), 0
    limits = np.iinfo(one.graph.input.dtype)
    inputs = np.random.default_rng(0).integers(limits.min, limits.max + 1, one.graph.input.shape)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "firmware"
        export(folder, emit_graph(one.graph, one.coded, one.schedule), board)
        program = toolchain.build(board, folder, folder / "build", cache=cache)
        outcome = emulator.run(program, inputs.astype(one.graph.input.dtype))
    return int(outcome.instructions[0]), outcome.stack_peak


def deepest(ran: Iterable[Case], peaks: Iterable[int]) -> dict[str, int]:
    """Most bytes of stack of each kind of kernel."""
    found: dict[str, int] = {}
    for one, peak in zip(ran, peaks, strict=True):
        chain = any(step.kind == "strips" and len(step.scratch) > STRIP_BUFFERS for step in one.schedule.steps)
        kind = "chain" if chain else kinds(one.graph, one.graph.ops[0])[0]
        found[kind] = max(found.get(kind, 0), peak)
    return found


def fit(counts: list[Counter[str]], wanted: Sequence[int]) -> dict[str, float]:
    """Instructions of each unit: no relative error counts more than another."""
    units = sorted({unit for found in counts for unit in found})
    matrix = np.array([[found[unit] / y for unit in units] for found, y in zip(counts, wanted, strict=True)])
    scale = matrix.max(axis=0)
    solution, _ = nnls(matrix / scale, np.ones(len(wanted)), maxiter=100 * len(units))
    return {unit: round(float(value), 4) for unit, value in zip(units, solution / scale, strict=True)}


def errors(table: Mapping[str, float], counts: list[Counter[str]], wanted: Sequence[int]) -> np.ndarray:
    """Relative errors, percent."""
    predicted = [sum(table[unit] * n for unit, n in found.items()) for found in counts]
    return 100 * (np.array(predicted) / np.array(wanted) - 1)


def main() -> None:
    """Fit all boards, and say how good the fit is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--board", choices=sorted(BOARDS), help="only this one")
    parser.add_argument("--count", type=int, default=8, help="of each kind of layer (default: %(default)s)")
    parser.add_argument("--dry", action="store_true", help="write nothing")
    options = parser.parse_args()
    rows = []
    for name in [options.board] if options.board else sorted(BOARDS):
        rows += report(name, options.count, options.dry)
    if not options.dry and not options.board:
        paste("instructions", "make instructions", markdown(HEADINGS, rows))


def report(name: str, count: int, dry: bool) -> list[list[str]]:
    """Fit one board; rows of the table."""
    board = BOARDS[name]
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder)
        train = list(cases(np.random.default_rng(0), count))
        told, peaks = zip(*(measured(board, one, cache) for one in train), strict=True)
        table = fit([one.counts for one in train], told)
        other = list(cases(np.random.default_rng(1), max(count // 2, 1))) + list(networks(1 << 20))
        wanted = [measured(board, one, cache)[0] for one in other]
    found = errors(table, [one.counts for one in other], wanted)
    for one, error, y in zip(train, errors(table, [one.counts for one in train], told), told, strict=True):
        if abs(error) > 8:
            print("fit", one.name, f"{error:.1f} %", y, file=sys.stderr)
    kinds: dict[str, list[float]] = {}
    for one, error in zip(other, found, strict=True):
        kinds.setdefault(one.name, []).append(abs(float(error)))
    if not dry:
        FOLDER.mkdir(exist_ok=True)
        value = {"compiler": toolchain.version(board.compiler), "units": table, "stack": deepest(train, peaks)}
        (FOLDER / f"{name}.json").write_text(json.dumps(value, indent=1) + "\n", "utf-8")
    rows = [
        [name, kind, str(len(e)), *(f"{q:.1f}" for q in np.quantile(e, [0.5, 0.9, 1.0]))] for kind, e in kinds.items()
    ]
    print(markdown(HEADINGS, rows))
    return rows


if __name__ == "__main__":
    main()
