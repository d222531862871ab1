"""Networks in C on this machine: built with its compiler, called through ctypes."""

import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bqsearch.errors import ModelError, OutputError
from bqsearch.firmware.emit import ModelSource
from bqsearch.graph.ir import Graph
from bqsearch.types import Array

SOURCES = Path(__file__).with_name("source")
FLAGS = ("-std=c11", "-O3", "-fPIC", "-shared", "-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections")
_BAD_STREAM = 1


class _Network(ctypes.Structure):
    """`bq_network`."""

    _fields_ = (
        ("records", ctypes.c_void_p),
        ("record_count", ctypes.c_uint32),
        ("arena_bytes", ctypes.c_uint32),
        ("input", ctypes.c_uint32),
        ("input_bytes", ctypes.c_uint32),
        ("output", ctypes.c_uint32),
        ("output_bytes", ctypes.c_uint32),
        ("arena", ctypes.c_void_p),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class HostModel:
    """A network that was built for this machine.

    Attributes:
        graph: What it computes.
        library: Where it lies.
    """

    graph: Graph
    library: Path
    _loaded: ctypes.CDLL = field(repr=False)

    def run(self, inputs: Array, threads: int = 1) -> Array:
        """Output codes for `(n, ...)` input codes of the network's own dtype, `(n, ...)`.

        Raises:
            ModelError: The inputs are not the network's, or its coded weights do not decode.
        """
        shape, dtype = self.graph.input.shape[1:], self.graph.input.dtype
        if inputs.shape[1:] != shape or inputs.dtype != dtype:
            raise ModelError(f"the network reads {dtype} {shape}, not {inputs.dtype} {inputs.shape[1:]}")
        shares = np.array_split(np.ascontiguousarray(inputs), max(1, min(threads, len(inputs))))
        with ThreadPoolExecutor(len(shares)) as pool:
            return np.concatenate(list(pool.map(self._run_share, shares)))

    def _run_share(self, inputs: Array) -> Array:
        network = _Network.in_dll(self._loaded, "bq_model")
        arena = np.zeros(network.arena_bytes // 4 + 1, np.uint32)  # begins at a multiple of 4
        output = self.graph.output
        outputs = np.empty((len(inputs), *output.shape[1:]), output.dtype)
        status = self._loaded.bq_invoke_batch(
            arena.ctypes.data_as(ctypes.c_void_p),
            inputs.ctypes.data_as(ctypes.c_void_p),
            outputs.ctypes.data_as(ctypes.c_void_p),
            ctypes.c_uint32(len(inputs)),
        )
        if status != 0:
            reason = "its coded weights do not decode" if status == _BAD_STREAM else f"status {status}"
            raise ModelError(f"the C runtime stopped: {reason}")
        return outputs


def compiler() -> str:
    """The host's C compiler.

    Raises:
        OutputError: There is none.
    """
    named = os.environ.get("CC", "cc")
    found = shutil.which(named)
    if found is None:
        raise OutputError(f"no C compiler {named!r} on this machine: install one (Debian: apt install gcc), or set CC")
    return found


def build(graph: Graph, model: ModelSource, cache: Path | None = None, flags: Sequence[str] = FLAGS) -> HostModel:
    """Compile a network for this machine, or take what an equal one was compiled to before.

    Args:
        graph: What it computes.
        model: The network in C.
        cache: Folder for what is built; by default one for this user among the temporary files.
        flags: For the compiler.

    Raises:
        OutputError: There is no compiler, or it fails.
    """
    sources = sorted(SOURCES.glob("*.c"))
    digest = hashlib.sha256(repr((model.header, model.source, flags, compiler())).encode())
    for path in sorted(SOURCES.iterdir()):
        digest.update(path.name.encode() + path.read_bytes())
    folder = cache or Path(tempfile.gettempdir()) / f"bqsearch-{os.getuid()}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    library = folder / f"{digest.hexdigest()[:32]}.so"
    if not library.is_file():
        _compile(model, sources, library, flags)
    return HostModel(graph=graph, library=library, _loaded=ctypes.CDLL(str(library)))


def _compile(model: ModelSource, sources: Sequence[Path], library: Path, flags: Sequence[str]) -> None:
    with tempfile.TemporaryDirectory(dir=library.parent) as name:
        folder = Path(name)
        (folder / "model.h").write_text(model.header, "utf-8")
        (folder / "model.c").write_text(model.source, "utf-8")
        made = folder / "model.so"
        command = [compiler(), *flags, f"-I{SOURCES}", f"-I{folder}", str(folder / "model.c"), *map(str, sources)]
        done = subprocess.run([*command, "-o", str(made)], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise OutputError(f"the C compiler failed on the network: {done.stderr.strip()[-2000:]}")
        os.replace(made, library)
