"""Networks in C on this machine: built with its compiler, called through ctypes."""

import contextlib
import ctypes
import hashlib
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bqsearch.errors import ModelError, OutputError, ToolError
from bqsearch.firmware.emit import ModelSource
from bqsearch.graph.ir import Graph
from bqsearch.types import Array

SOURCES = Path(__file__).with_name("source")
FLAGS = ("-std=c11", "-O3", "-fPIC", "-ffunction-sections", "-fdata-sections")
LINK = ("-shared", "-Wl,--gc-sections")
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
        ToolError: There is none.
    """
    named = os.environ.get("CC", "cc")
    found = shutil.which(named)
    if found is None:
        raise ToolError(f"no C compiler {named!r} on this machine: apt-get install gcc libc6-dev, or set CC")
    return found


def obstacle() -> str | None:
    """Why nothing can be built on this machine, and what would help; None if it can. Compiles the runtime, once."""
    try:
        _objects(_own_folder(), FLAGS)
    except (ToolError, OutputError) as error:
        return str(error)
    return None


def build(graph: Graph, model: ModelSource, cache: Path | None = None, flags: Sequence[str] = FLAGS) -> HostModel:
    """Compile a network for this machine, or take what an equal one was compiled to before.

    Args:
        graph: What it computes.
        model: The network in C.
        cache: Folder for what is built; by default one for this user among the temporary files.
        flags: For the compiler.

    Raises:
        ToolError: There is no compiler, or it fails.
        OutputError: Others may write to the folder.
    """
    folder = cache or _own_folder()
    objects = _objects(folder, flags)
    digest = hashlib.sha256(repr((objects.name, model.header, model.source)).encode()).hexdigest()
    library = folder / f"{digest[:32]}.so"
    if not library.is_file():
        with tempfile.TemporaryDirectory(dir=folder) as name:
            made, text = Path(name) / "model.so", Path(name) / "model.c"
            (Path(name) / "model.h").write_text(model.header, "utf-8")
            text.write_text(model.source, "utf-8")
            parts = [str(path) for path in (text, *sorted(objects.glob("*.o")))]
            _compile([*flags, *LINK, f"-I{SOURCES}", *parts, "-o", str(made)])
            os.replace(made, library)
    return HostModel(graph=graph, library=library, _loaded=ctypes.CDLL(str(library)))


def _own_folder() -> Path:
    """A folder among the temporary files that nobody else may write to, for what lies there is loaded and run."""
    folder = Path(tempfile.gettempdir()) / f"bqsearch-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise OutputError(f"{folder} is not a folder of this user's own: remove it, or set TMPDIR to another place")
    return folder


def _objects(folder: Path, flags: Sequence[str]) -> Path:
    """The folder of the runtime's object files, which all networks share."""
    digest = hashlib.sha256(repr((compiler(), flags)).encode())
    for path in sorted(SOURCES.iterdir()):
        digest.update(path.name.encode() + path.read_bytes())
    objects = folder / digest.hexdigest()[:32]
    if not objects.is_dir():
        with tempfile.TemporaryDirectory(dir=folder) as name:
            made = Path(name) / "objects"
            made.mkdir()
            for path in sorted(SOURCES.glob("*.c")):
                _compile([*flags, f"-I{SOURCES}", "-c", str(path), "-o", str(made / f"{path.stem}.o")])
            with contextlib.suppress(OSError):  # another process was faster
                os.rename(made, objects)
    return objects


def _compile(arguments: Sequence[str]) -> None:
    done = subprocess.run([compiler(), *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ToolError(f"the C compiler failed: {done.stderr.strip()[-2000:]}")
