"""The whole runtime under the address and undefined-behavior sanitizers of both compilers, and for other machines."""

import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from bqsearch.errors import CodecError
from bqsearch.firmware.emit import emit_graph
from bqsearch.graph.ir import Graph
from bqsearch.packing.container import Coded
from bqsearch.packing.streams import decode
from bqsearch.types import Array
from decoding import need_tflm
from firmware.coding import coded_as
from firmware.compilers import SANITIZED, SOURCE, compile_c, need, need_sanitizers
from firmware.plans import Group, plan
from firmware.reference import any_inputs, expected
from firmware.samples import chained, everything, layered, turned
from networks import SAME, VALID

DRIVER = Path(__file__).with_name("network_driver.c")
TYPES = pytest.mark.parametrize("dtype", ["int8", "uint8"])
MACHINES = {
    "riscv -O2": ("riscv64-unknown-elf-gcc", "-O2", "-march=rv32imac_zicsr", "-mabi=ilp32", "--specs=picolibc.specs"),
    "riscv -Os": ("riscv64-unknown-elf-gcc", "-Os", "-march=rv32imac_zicsr", "-mabi=ilp32", "--specs=picolibc.specs"),
    "arm -O2": ("arm-none-eabi-gcc", "-O2", "-mcpu=cortex-m3", "-mthumb"),
}


@dataclass(frozen=True, kw_only=True)
class Built:
    """Builds programs.

    Attributes:
        compiler: Which.
        flags: What it is told besides.
        objects: The runtime's.
        folder: For what is built.
    """

    compiler: str
    flags: Sequence[str]
    objects: list[Path]
    folder: Path

    @classmethod
    def of(cls, compiler: str, flags: Sequence[str], folder: Path) -> "Built":
        """With the runtime compiled."""
        objects = [folder / f"{source.stem}.o" for source in sorted(SOURCE.glob("*.c"))]
        for made in objects:
            compile_c(compiler, *flags, "-c", SOURCE / f"{made.stem}.c", "-o", made)
        return cls(compiler=compiler, flags=flags, objects=objects, folder=folder)

    def run(
        self, graph: Graph, coded: Mapping[int, Coded], groups: Iterable[Group], inputs: Array
    ) -> tuple[list[int], Array]:
        """Statuses and outputs; where sanitizers look, a stray access ends the program."""
        source = emit_graph(graph, coded, plan(graph, coded, groups))
        (self.folder / "model.h").write_text(source.header)
        (self.folder / "model.c").write_text(source.source)
        program, model = self.folder / "network", self.folder / "model.c"
        compile_c(self.compiler, *self.flags, f"-I{self.folder}", model, DRIVER, *self.objects, "-o", program)
        done = subprocess.run([program], input=inputs.tobytes(), capture_output=True, timeout=120)
        assert done.returncode == 0, done.stderr.decode()
        answers = np.frombuffer(done.stdout, np.uint8).reshape(len(inputs), 1 + graph.output.nbytes)
        outputs = np.ascontiguousarray(answers[:, 1:]).view(graph.output.dtype)
        return answers[:, 0].tolist(), outputs.reshape(len(inputs), *graph.output.shape[1:])


@pytest.fixture(scope="module", params=["gcc", "clang"])
def sanitized(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Built:
    return Built.of(need_sanitizers(request.param), ("-O1", *SANITIZED), tmp_path_factory.mktemp(request.param))


def check(built: Built, graph: Graph, coded: Mapping[int, Coded], groups: Iterable[Group] = ()) -> None:
    if graph.input.dtype == "int8":
        need_tflm()
    inputs = any_inputs(graph, 3)
    statuses, outputs = built.run(graph, coded, groups, inputs)
    assert statuses == [0, 0, 0]
    assert np.array_equal(outputs, expected(graph, inputs))


@TYPES
def test_operators_without_weights(sanitized: Built, dtype: str) -> None:
    graph, groups = everything(dtype)
    check(sanitized, graph, {}, groups)


@TYPES
@pytest.mark.parametrize("turn", range(3))
def test_layers(sanitized: Built, dtype: str, turn: int) -> None:
    graph, coded = turned(layered(dtype), turn, per_channel=turn == 1)
    check(sanitized, graph, coded)


@TYPES
@pytest.mark.parametrize(("rows", "stride", "size", "padding"), [(1, 1, 3, SAME), (2, 2, 3, SAME), (2, 3, 2, VALID)])
def test_chains(sanitized: Built, dtype: str, rows: int, stride: int, size: int, padding: int) -> None:
    graph, groups = chained(dtype, rows, stride, size, padding)
    check(sanitized, graph, coded_as(graph, dict.fromkeys(range(len(graph.ops)), "huffman")), groups)


@pytest.mark.parametrize("turn", range(5))
def test_a_damaged_stream_stops_the_network(sanitized: Built, turn: int) -> None:
    """Truncated, it does not decode; with bits turned over, where the specification says so; nothing strays outside."""
    graph, coded = turned(layered("int8"), turn, per_channel=False)
    inputs = any_inputs(graph, 2)
    chosen = {op: found for op, found in coded.items() if found.coding != "raw" and op % 3 == turn % 3}
    assert chosen
    for op, found in chosen.items():
        short = {**coded, op: replace(found, stream=found.stream[:-1])}
        assert sanitized.run(graph, short, (), inputs)[0] == [1, 1]
        turned_over = replace(found, stream=bytes(byte ^ 0x5A for byte in found.stream))
        statuses, _ = sanitized.run(graph, {**coded, op: turned_over}, (), inputs)
        assert statuses == ([0, 0] if decodes(turned_over) else [1, 1])


def decodes(coded: Coded) -> bool:
    """By the specification."""
    try:
        decode(coded)
    except CodecError:
        return False
    return True


@pytest.mark.parametrize(("compiler", "optimizing"), [("gcc", "-O3"), ("clang", "-Os")])
def test_no_optimization_changes_an_output(compiler: str, optimizing: str, tmp_path: Path) -> None:
    optimized = Built.of(need(compiler), (optimizing,), tmp_path)
    for dtype in ("int8", "uint8"):
        graph, coded = turned(layered(dtype), 0, per_channel=True)
        check(optimized, graph, coded)
        graph, groups = everything(dtype)
        check(optimized, graph, {}, groups)


@pytest.mark.parametrize("machine", MACHINES)
def test_the_sources_compile_without_warnings(machine: str, tmp_path: Path) -> None:
    compiler, *flags = MACHINES[machine]
    found = need(compiler)
    graph, coded = turned(layered("int8"), 0, per_channel=True)
    source = emit_graph(graph, coded, plan(graph, coded))
    (tmp_path / "model.h").write_text(source.header)
    (tmp_path / "model.c").write_text(source.source)
    for path in [*sorted(SOURCE.glob("*.c")), tmp_path / "model.c"]:
        compile_c(found, *flags, f"-I{tmp_path}", "-c", path, "-o", tmp_path / "made.o")
