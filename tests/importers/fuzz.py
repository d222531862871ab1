"""Fuzzing of the .tflite importer: `python tests/importers/fuzz.py --runs 20000 [--coverage]`.

Damaged files become a Graph or an error of ours, each within 2 s and 1 GB. Graphs must survive the rewrites that come
before a first run, and being written and read again. The work is done in a child process under these limits; where it
dies, the input that killed it is kept and named.
"""

import argparse
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent.parent)]  # for `networks`, where this is run as a program

try:
    import atheris
except ImportError:
    atheris = None

with atheris.instrument_imports(include=["bqsearch"]) if atheris and "--coverage" in sys.argv else nullcontext():
    from bqsearch.errors import ModelError, UnsupportedError
    from bqsearch.graph import passes
    from bqsearch.graph.flatbuffer import serialize
    from bqsearch.graph.ir import Graph
    from bqsearch.graph.ops import elements, layers, macs
    from bqsearch.importers.tflite import parse
    from networks import VALID, Builder, newer_network, small_float_network, small_int8_network, small_uint8_network

SECONDS = 2
MEMORY = 1 << 30  # bytes on top of what Python holds at the start
SHARED = Path(__file__).resolve().parents[3] / "shared" / "models"
WORDS = (0, 1, 2, 4, 0x7F, 0xFF, 0xFFFF, 100_000, 1 << 20, 1 << 24, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFC, 0xFFFFFFFF)
Fault = tuple[int, int, int]


def pad_and_reshape_network() -> Graph:
    """The operators of which the passes read more than their inputs."""
    net = Builder("int8", 1)
    image = net.activation("x", (1, 8, 8, 3))
    padded = net.pad("pad", image, [(0, 0), (0, 1), (0, 1), (0, 0)])
    tensor = net.conv("conv", padded, 4, 3, 2, padding=VALID)
    tensor = net.op(
        "CONCATENATION", (tensor, tensor), net.activation("both", (1, 4, 4, 8)), "ConcatenationOptions", axis=3
    )
    window = {"filterHeight": 4, "filterWidth": 4, "strideH": 4, "strideW": 4}
    tensor = net.op("MAX_POOL_2D", (tensor,), net.activation("pool", (1, 1, 1, 8)), "Pool2DOptions", **window)
    tensor = net.op("SQUEEZE", (tensor,), net.activation("flat", (1, 8)), "SqueezeOptions", squeezeDims=(1, 2))
    return net.build([image], [net.dense("dense", net.reshape("reshape", tensor, (1, 8)), 3)])


NETWORKS: tuple[Callable[[], Graph], ...] = (
    small_int8_network,
    small_uint8_network,
    small_float_network,
    newer_network,
    lambda: newer_network("float32"),
    pad_and_reshape_network,
)


def seeds(largest: int = 60_000) -> list[bytes]:
    """Good files: networks made in code, and real ones of up to `largest` bytes where they are there."""
    real = [path for path in sorted(SHARED.glob("*.tflite")) if path.stat().st_size <= largest]
    return [serialize(make()) for make in NETWORKS] + [path.read_bytes() for path in real]


def damaged(content: bytes, faults: list[Fault]) -> bytes:
    """The file with faults: what kind, where, and a number for it."""
    changed = bytearray(content)
    for kind, place, number in faults:
        if len(changed) < 16:
            break
        # Half of the faults go to the front, where the structure is: most bytes are weights.
        at = place % (len(changed) - 8 if number & 1 else max(len(changed) * 2 // 5, 8))
        _FAULTS[kind % len(_FAULTS)](changed, at, number >> 1)
    return bytes(changed)


def _flip(changed: bytearray, at: int, number: int) -> None:
    changed[at] ^= 1 << number % 8


def _byte(changed: bytearray, at: int, number: int) -> None:
    changed[at] = number % 256


def _word(changed: bytearray, at: int, number: int) -> None:
    changed[at & ~3 : (at & ~3) + 4] = WORDS[number % len(WORDS)].to_bytes(4, "little")


def _shift(changed: bytearray, at: int, number: int) -> None:
    """An offset, or a length, that is a little off."""
    start = at & ~3
    moved = int.from_bytes(changed[start : start + 4], "little") + number % 65 - 32
    changed[start : start + 4] = (moved % (1 << 32)).to_bytes(4, "little")


def _splice(changed: bytearray, at: int, number: int) -> None:
    """A part of the file over another part of it: vectors, tables and offsets at the wrong place."""
    source, length = number % len(changed), 4 * (1 + number % 16)
    part = changed[source : source + length]
    changed[at : at + len(part)] = part


def _cut(changed: bytearray, at: int, number: int) -> None:
    del number
    del changed[at:]


def _grow(changed: bytearray, at: int, number: int) -> None:
    changed[at:at] = bytes(4 * (1 + number % 4))


_FAULTS = (_flip, _byte, _word, _word, _shift, _shift, _splice, _splice, _grow, _cut)


def examine(content: bytes) -> bool:
    """Whether a file becomes a Graph. Anything but that and an error of ours is raised."""
    try:
        graph = parse(content)
    except ModelError:
        return False
    for rewrite in (passes.fuse_padding, passes.fold_float16, passes.integer_io, passes.logits, passes.prune):
        rewrite(graph)
    with suppress(UnsupportedError):
        passes.with_batch(graph, 4)
    assert len({layer.name for layer in layers(graph)}) == len(layers(graph))
    assert all(macs(graph, op) >= 0 and elements(graph, op) >= 0 for op in graph.ops)
    again = parse(serialize(graph))
    assert again.fingerprint == graph.fingerprint
    return True


@contextmanager
def _limits(current: Path) -> Iterator[Callable[[bytes], bool]]:
    """`examine` under both limits; the input at hand lies in `current`."""
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + MEMORY, held + MEMORY))

    def limited(content: bytes) -> bool:
        current.write_bytes(content)
        signal.setitimer(signal.ITIMER_REAL, SECONDS)  # whose signal ends the process
        try:
            return examine(content)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)

    yield limited


def _mutate(runs: int, seed: int, current: Path) -> None:
    """Hypothesis chooses files and faults, and shrinks what fails."""
    from hypothesis import HealthCheck, Phase, given, settings, strategies
    from hypothesis import seed as seeded

    files = seeds()
    word = strategies.integers(0, (1 << 32) - 1)
    faults = strategies.lists(strategies.tuples(strategies.integers(0, 255), word, word), min_size=1, max_size=4)
    counted = [0, 0]
    with _limits(current) as limited:

        @seeded(seed)
        @settings(
            max_examples=runs,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.generate, Phase.shrink),
        )
        @given(strategies.integers(0, len(files) - 1), faults)
        def case(number: int, chosen: list[Fault]) -> None:
            counted[0] += 1
            counted[1] += limited(damaged(files[number], chosen))

        case()
    print(f"{counted[0]} files, {counted[1]} of them good")


def _explore(runs: int, seed: int, current: Path) -> None:
    """Coverage leads the choice of faults: atheris, from the seeds on."""
    if atheris is None:
        sys.exit("--coverage needs atheris, which is not installed: pip install atheris")
    corpus = current.parent / "corpus"
    corpus.mkdir()
    for number, content in enumerate(seeds(20_000)):
        (corpus / f"seed{number}").write_bytes(content)
    limits = [f"-timeout={SECONDS}", f"-rss_limit_mb={MEMORY >> 20}", "-max_len=65536"]
    options = [f"-runs={runs}", f"-seed={seed}", f"-artifact_prefix={current.parent}/", "-print_final_stats=1"]

    def case(content: bytes) -> None:
        examine(content)

    atheris.Setup([sys.argv[0], *limits, *options, str(corpus)], case)
    atheris.Fuzz()


def run(runs: int, seed: int = 0, coverage: bool = False) -> str:
    """Fuzz in a child process: what it reports.

    Raises:
        RuntimeError: A file made it fail, hang or burst; the message names where that file is kept.
    """
    folder = Path(tempfile.mkdtemp(prefix="bqsearch-fuzz-"))
    command = [sys.executable, __file__, "--runs", str(runs), "--seed", str(seed), "--child", str(folder)]
    done = subprocess.run(
        command + ["--coverage"] * coverage, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode != 0:
        raise RuntimeError(f"status {done.returncode}, the input is in {folder}:\n{done.stdout[-6000:]}")
    shutil.rmtree(folder)
    return done.stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--coverage", action="store_true", help="let coverage lead, with atheris")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child is None:
        print(run(given.runs, given.seed, given.coverage).strip()[-1000:])
    else:
        (_explore if given.coverage else _mutate)(given.runs, given.seed, given.child / "input.tflite")


if __name__ == "__main__":
    main()
