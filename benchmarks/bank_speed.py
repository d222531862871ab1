"""How fast the codebooks and the option bank of a network are made, beside scikit-learn's KMeans and kmeans1d.

    python benchmarks/bank_speed.py

The network is MobileNetV2 1.0, whose file is looked for in the folder that BQSEARCH_MODELS names. First come codebooks
of 2 to 128 levels for all of its weight tensors. bqsearch makes them in one call, from weights to tables: the median of
calls that take turns with the others', when everything is compiled. The others make a sample of the codebooks, and
their time for all is extrapolated: in proportion to weights times levels where they are given the weights, to the
number of codebooks where they are given a histogram (kmeans1d takes none). No codebook with more levels than a tensor
has values is counted. Squared errors are those of the sample, with centroids rounded to codes.

Then comes the bank: all options of all layers, on calibration with random inputs. Each kind is built in a process of
its own, which traces and compiles anew. The tables go into README.md.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from kmeans1d import cluster
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

from bqsearch import registry
from bqsearch.bank.build import build
from bqsearch.graph.ir import Graph
from bqsearch.graph.ops import layers
from bqsearch.importers.tflite import load
from bqsearch.packing.streams import STREAMS
from bqsearch.plan import Method
from bqsearch.quantizers import intervals
from bqsearch.quantizers.base import CODES, LEVELS, Histogram, kernel, offset_codes
from bqsearch.runtime.moments import moments
from bqsearch.search.spec import SCHEMES
from bqsearch.types import Bytes, Floats, Ints
from paste import markdown, paste

MODEL = "mobilenet_v2_1.0_224_uint8.tflite"
SAMPLE_LEVELS = (4, 16, 64)
SAMPLE_TENSORS = 8
LARGEST = 400_000  # weights of a sampled tensor: kmeans1d takes 16 bytes for each weight and level
UP_TO = (8, 16, 32, 64, 128)  # levels of codebooks
FIRST = (1, 2, 4, 8, 16, 32, 53)  # layers of banks
ROUNDS = 12  # of calls that take turns, the first of which compiles
IMAGES = 8  # of random pixels
MEBIBYTE = 1 << 10  # in kilobytes, as which Linux tells memory


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of bank.

    Attributes:
        title: What it has.
        schemes: Registry names.
        compensated: Whether errors are compensated.
    """

    title: str
    schemes: tuple[str, ...]
    compensated: bool


EVERY = tuple(registry.names("scheme"))
KINDS = {
    "kmeans": Kind(title="`kmeans`", schemes=("kmeans",), compensated=False),
    "all": Kind(title=f"all {len(EVERY)} schemes", schemes=EVERY, compensated=False),
    "default": Kind(title="default schemes, compensated", schemes=SCHEMES, compensated=True),
    "all_compensated": Kind(title=f"all {len(EVERY)}, compensated", schemes=EVERY, compensated=True),
}


@dataclass(frozen=True, kw_only=True)
class Peer:
    """Another maker of codebooks.

    Attributes:
        name: With what it is given.
        fit: From `(256,)` occurrences of codes, the weights and a level count to centroids.
        aim: How many times as long it is to take.
        by_weight: Whether its time grows with weights and levels; else with codebooks.
    """

    name: str
    fit: Callable[[Ints, Floats, int], Floats]
    aim: str
    by_weight: bool


def by_kmeans1d(counts: Ints, weights: Floats, levels: int) -> Floats:
    """The exact optimum over real centroids."""
    del counts
    return np.array(cluster(weights, levels).centroids)


def by_sklearn(counts: Ints, weights: Floats, levels: int) -> Floats:
    """Lloyd's algorithm, begun once."""
    del counts
    return KMeans(levels, n_init=1, random_state=0).fit(weights[:, None]).cluster_centers_[:, 0]


def by_sklearn_histogram(counts: Ints, weights: Floats, levels: int) -> Floats:
    """The same over the values that occur."""
    del weights
    values = np.flatnonzero(counts)
    found = KMeans(levels, n_init=1, random_state=0).fit(values[:, None], sample_weight=counts[values])
    return found.cluster_centers_[:, 0]


PEERS = (
    Peer(name="kmeans1d", fit=by_kmeans1d, aim="20", by_weight=True),
    Peer(name="scikit-learn", fit=by_sklearn, aim="100", by_weight=True),
    Peer(name="scikit-learn, of histograms", fit=by_sklearn_histogram, aim="", by_weight=False),
)


def main() -> None:
    """Measure, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", choices=KINDS, help="build one kind of bank here and print its figures as JSON")
    only = parser.parse_args().build
    if only is not None:
        print(json.dumps(built(KINDS[only])))
        return
    network()  # which says what is missing, before anything takes long
    # Before anything grows here: a new process is told the peak of the one that started it, if that is higher.
    banks = {name: in_child(name) for name in KINDS}
    tensors = raw_weights(network())
    parts = [codebook_table(tensors), bank_table(banks), growth_table(tensors, banks), levels_table(tensors)]
    paste("bank_speed", "python benchmarks/bank_speed.py", "\n\n".join(parts))


def network() -> Graph:
    """MobileNetV2, or an end that says what is missing."""
    folder = os.environ.get("BQSEARCH_MODELS")
    if folder is None or not (Path(folder) / MODEL).exists():
        raise SystemExit(f"BQSEARCH_MODELS must name a folder with {MODEL}; it is {folder!r}")
    return load(Path(folder) / MODEL)


def raw_weights(graph: Graph) -> list[Bytes]:
    """The weights of each layer, counted from the type's lowest."""
    datas = [graph.tensors[layer.weights].data for layer in layers(graph)]
    return [offset_codes(data).reshape(-1) for data in datas if data is not None]


def histogram(tensors: Sequence[Bytes]) -> Histogram:
    """Of all tensors, a group each; every weight is as important as another."""
    counts = np.stack([np.bincount(codes, minlength=CODES) for codes in tensors])
    return Histogram(counts=counts, importance=counts.astype(np.float64), zero=0, scale=np.ones(len(tensors)))


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """What a call gives, and its wall time."""
    started = time.perf_counter()
    made = call()
    return made, time.perf_counter() - started


def least(calls: Sequence[Callable[[], Any]]) -> list[float]:
    """The fastest of several times of each call: other work on the machine can only add to them. Calls take turns."""
    rounds = [[timed(call)[1] for call in calls] for _ in range(ROUNDS)]
    return [min(times) for times in zip(*rounds, strict=True)]


# ---- codebooks -------------------------------------------------------------------------------------------------------


def codebook_table(tensors: Sequence[Bytes]) -> str:
    """bqsearch and its peers."""
    sample, own, rows = list(sampled(tensors)), [], []
    for peer in PEERS:
        taken, excess, beside = measured(peer, sample, tensors)
        whole = taken * work(tensors, peer) / sample_work(sample, peer)
        own += beside
        rows.append([peer.name, f"{whole:,.0f}", f"{whole / statistics.median(beside):,.0f}", peer.aim])
        rows[-1] += [f"{len(sample)}, {taken:.1f} s", f"{excess:.3f}"]
        print(rows[-1], flush=True)
    rows.insert(0, ["bqsearch", f"{statistics.median(own):.2f}", "1", "", "all", "1"])
    title = f"codebooks of 2 to 128 levels of {len(tensors)} tensors, {sum(map(len, tensors)):,} weights"
    return markdown([title, "s", "times as long", "aim", "measured", "squared error"], rows)


def fitted(tensors: Sequence[Bytes]) -> Bytes:
    """All codebooks of bqsearch, as tables: one call."""
    return registry.load("scheme", "kmeans").fit(histogram(tensors))


def sampled(tensors: Sequence[Bytes]) -> Iterator[tuple[Bytes, Ints, int]]:
    """Weights, occurrences and level counts that the peers are given: of tensors at even ranks of size."""
    fitting = [codes for codes in tensors if len(codes) <= LARGEST and len(np.unique(codes)) > max(SAMPLE_LEVELS)]
    fitting.sort(key=len)
    for place in np.linspace(0, len(fitting) - 1, SAMPLE_TENSORS).round().astype(int):
        for levels in SAMPLE_LEVELS:
            yield fitting[place], np.bincount(fitting[place], minlength=CODES), levels


def measured(
    peer: Peer, sample: Sequence[tuple[Bytes, Ints, int]], tensors: Sequence[Bytes]
) -> tuple[float, float, list[float]]:
    """Seconds for the sample, the mean of its squared errors over the exact ones, and bqsearch's times beside."""
    fitted(tensors)  # which compiles
    total, excess, own = 0.0, [], []
    for codes, counts, levels in sample:
        own.append(timed(partial(fitted, tensors))[1])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            centroids, took = timed(partial(peer.fit, counts, codes.astype(np.float64), levels))
        total += took
        exact = squared_error(counts, fitted([codes])[0, LEVELS.index(levels)])
        excess.append(squared_error(counts, nearest(centroids)) / exact)
    return total, float(np.mean(excess)), own


def nearest(centroids: Floats) -> Floats:
    """The rounded centroid nearest to each code, `(256,)`."""
    rounded = np.rint(centroids)
    return rounded[np.abs(np.arange(CODES)[:, None] - rounded).argmin(axis=1)]


def squared_error(counts: Ints, table: Floats | Bytes) -> float:
    """Of a map of codes."""
    return float((counts * (np.arange(CODES) - table.astype(np.float64)) ** 2).sum())


def work(tensors: Sequence[Bytes], peer: Peer) -> int:
    """What a peer's time for all codebooks is in proportion to."""
    possible = [(len(codes), range(2, min(max(LEVELS), len(np.unique(codes))) + 1)) for codes in tensors]
    return sum(count * sum(levels) if peer.by_weight else len(levels) for count, levels in possible)


def sample_work(sample: Sequence[tuple[Bytes, Ints, int]], peer: Peer) -> int:
    """The same of the sample."""
    return sum(len(codes) * levels if peer.by_weight else 1 for codes, _, levels in sample)


def levels_table(tensors: Sequence[Bytes]) -> str:
    """How time grows with the number of level counts."""
    made = histogram(tensors)
    fits = [exact_codebooks(tuple(range(2, most + 1))) for most in UP_TO]
    times = least([partial(fit, made.counts, made.importance) for fit in fits])
    rows = [[f"2 to {most}", str(most - 1), f"{taken:.2f}"] for most, taken in zip(UP_TO, times, strict=True)]
    return markdown([f"codebooks of {len(tensors)} tensors, from histograms", "level counts", "s"], rows)


def exact_codebooks(levels: tuple[int, ...]) -> Callable[..., Any]:
    """What `kmeans` does, for other level counts."""

    @kernel
    def fit(counts: jax.Array, importance: jax.Array) -> jax.Array:
        error, centroid = intervals.clusters(importance)
        return intervals.tables(error, centroid, counts, levels, begins_at=counts > 0)

    return fit


# ---- banks -----------------------------------------------------------------------------------------------------------


def in_child(name: str) -> dict[str, Any]:
    """The figures of a kind of bank, built in a process of its own."""
    command = [sys.executable, __file__, "--build", name]
    figures = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()[-1])
    print(name, {key: value[-1] for key, value in figures.items()}, flush=True)
    return figures


def built(kind: Kind) -> dict[str, list[float]]:
    """Sums after no layer, after the first, the second, ...: seconds, choices to search among, traces, peak memory."""
    graph = network()
    pixels = np.random.default_rng(0).integers(0, CODES, (IMAGES, *graph.input.shape[1:])).astype(np.uint8)
    found = moments(graph, pixels, covariances=kind.compensated)
    figures: dict[str, list[float]] = {"seconds": [], "choices": [0], "traces": [traces()], "peak": [peak()]}
    started = time.perf_counter()
    bank = build(graph, found, kind.schemes, STREAMS, Method(error_compensation=kind.compensated))
    figures["seconds"].append(time.perf_counter() - started)
    for entry in bank.layers:
        figures["choices"].append(figures["choices"][-1] + len(entry.choices()))
        figures["seconds"].append(time.perf_counter() - started)
        figures["traces"].append(traces())
        figures["peak"].append(peak())
    return figures


def peak() -> float:
    """Of this process's memory, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MEBIBYTE


def traces() -> int:
    """How often the quantizers' kernels were traced so far."""
    modules = {sys.modules[type(registry.load("scheme", name)).__module__] for name in EVERY}
    kernels = {value for module in modules for value in vars(module).values() if hasattr(value, "trace_count")}
    return sum(made.trace_count() for made in kernels)


def bank_table(banks: dict[str, dict[str, Any]]) -> str:
    """All kinds."""
    rows = []
    for name, figures in banks.items():
        cells = [f"{figures['seconds'][-1]:.1f}", f"{figures['choices'][-1]:,}"]
        cells += [f"{figures[key][0]:,.0f} → {figures[key][-1]:,.0f}" for key in ("traces", "peak")]
        rows.append([KINDS[name].title, *cells])
    return markdown(["bank of all layers", "s", "choices to search", "traces", "peak MiB"], rows)


def growth_table(tensors: Sequence[Bytes], banks: dict[str, dict[str, Any]]) -> str:
    """How all grows with the layers."""
    rows, last = [], list(banks.values())[-1]
    times = least([partial(fitted, tensors[:count]) for count in FIRST])
    for count, codebooks in zip(FIRST, times, strict=True):
        cells = [f"{figures['seconds'][count]:.1f}" for figures in banks.values()]
        cells += [str(last["traces"][count]), f"{last['peak'][count]:,.0f}"]
        rows.append([str(count), f"{sum(map(len, tensors[:count])):,}", f"{codebooks:.3f}", *cells])
    headings = ["first layers", "weights", "codebooks s", *(f"{KINDS[name].title} s" for name in banks)]
    return markdown([*headings, "traces", "peak MiB"], rows)


if __name__ == "__main__":
    main()
