"""The whole runtime under the address and undefined-behavior sanitizers of both compilers, and for other machines."""

import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from bqsearch.firmware.emit import emit_graph
from bqsearch.graph.ir import Graph
from bqsearch.packing.container import Coded
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
    "gcc -O3": ("gcc", "-O3"),
    "clang -Os": ("clang", "-Os"),
    "riscv -O2": ("riscv64-unknown-elf-gcc", "-O2", "-march=rv32imac_zicsr", "-mabi=ilp32", "--specs=picolibc.specs"),
    "riscv -Os": ("riscv64-unknown-elf-gcc", "-Os", "-march=rv32imac_zicsr", "-mabi=ilp32", "--specs=picolibc.specs"),
    "arm -O2": ("arm-none-eabi-gcc", "-O2", "-mcpu=cortex-m3", "-mthumb"),
}


@dataclass(frozen=True, kw_only=True)
class Sanitized:
    """Builds programs.

    Attributes:
        compiler: Which.
        objects: The runtime's.
        folder: For what is built.
    """

    compiler: str
    objects: list[Path]
    folder: Path

    def run(
        self, graph: Graph, coded: Mapping[int, Coded], groups: Iterable[Group], inputs: Array
    ) -> tuple[list[int], Array]:
        """Statuses and outputs; a stray access ends the program."""
        source = emit_graph(graph, coded, plan(graph, coded, groups))
        (self.folder / "model.h").write_text(source.header)
        (self.folder / "model.c").write_text(source.source)
        program, model = self.folder / "network", self.folder / "model.c"
        compile_c(self.compiler, *SANITIZED, f"-I{self.folder}", model, DRIVER, *self.objects, "-o", program)
        done = subprocess.run([program], input=inputs.tobytes(), capture_output=True, timeout=120)
        assert done.returncode == 0, done.stderr.decode()
        answers = np.frombuffer(done.stdout, np.uint8).reshape(len(inputs), 1 + graph.output.nbytes)
        outputs = np.ascontiguousarray(answers[:, 1:]).view(graph.output.dtype)
        return answers[:, 0].tolist(), outputs.reshape(len(inputs), *graph.output.shape[1:])


@pytest.fixture(scope="module", params=["gcc", "clang"])
def sanitized(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Sanitized:
    compiler = need_sanitizers(request.param)
    folder = tmp_path_factory.mktemp(request.param)
    objects = []
    for source in sorted(SOURCE.glob("*.c")):
        objects.append(folder / f"{source.stem}.o")
        compile_c(compiler, "-O1", *SANITIZED, "-c", source, "-o", objects[-1])
    return Sanitized(compiler=compiler, objects=objects, folder=folder)


def check(sanitized: Sanitized, graph: Graph, coded: Mapping[int, Coded], groups: Iterable[Group] = ()) -> None:
    if graph.input.dtype == "int8":
        need_tflm()
    inputs = any_inputs(graph, 3)
    statuses, outputs = sanitized.run(graph, coded, groups, inputs)
    assert statuses == [0, 0, 0]
    assert np.array_equal(outputs, expected(graph, inputs))


@TYPES
def test_operators_without_weights(sanitized: Sanitized, dtype: str) -> None:
    graph, groups = everything(dtype)
    check(sanitized, graph, {}, groups)


@TYPES
@pytest.mark.parametrize("turn", range(3))
def test_layers(sanitized: Sanitized, dtype: str, turn: int) -> None:
    graph, coded = turned(layered(dtype), turn, per_channel=turn == 1)
    check(sanitized, graph, coded)


@TYPES
@pytest.mark.parametrize(("rows", "stride", "size", "padding"), [(1, 1, 3, SAME), (2, 2, 3, SAME), (2, 3, 2, VALID)])
def test_chains(sanitized: Sanitized, dtype: str, rows: int, stride: int, size: int, padding: int) -> None:
    graph, groups = chained(dtype, rows, stride, size, padding)
    check(sanitized, graph, coded_as(graph, dict.fromkeys(range(len(graph.ops)), "huffman")), groups)


@pytest.mark.parametrize("turn", range(5))
def test_a_damaged_stream_stops_the_network(sanitized: Sanitized, turn: int) -> None:
    """Truncated, it does not decode; with bits turned over, it does or does not; nothing is read or written outside."""
    graph, coded = turned(layered("int8"), turn, per_channel=False)
    inputs = any_inputs(graph, 2)
    for op, found in coded.items():
        if found.coding == "raw" or op % 3 != turn % 3:
            continue
        short = {**coded, op: replace(found, stream=found.stream[:-1])}
        assert sanitized.run(graph, short, (), inputs)[0] == [1, 1]
        turned_over = bytes(byte ^ 0x5A for byte in found.stream)
        statuses, _ = sanitized.run(graph, {**coded, op: replace(found, stream=turned_over)}, (), inputs)
        assert statuses in ([0, 0], [1, 1])


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
