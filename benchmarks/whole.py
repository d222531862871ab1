"""Whole networks in 8 bits, for benchmarks of the C runtime: built in, and others where BQSEARCH_MODELS says."""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from bqsearch import registry
from bqsearch.datasets import feed
from bqsearch.graph import passes
from bqsearch.graph.ir import Graph
from bqsearch.importers.files import load
from bqsearch.runtime import int8


def networks(names: tuple[str, ...]) -> Mapping[str, Graph]:
    """The built-in networks, quantized, and the files of these names that there are."""
    zoo = registry.load("model", "mobilenet_v2")
    data, given = registry.load("dataset", zoo.dataset)(0), load(zoo.checkpoint)
    found = {"mobilenet_v2": int8.quantize(given, feed.encode(data.train.x[:8], given.input, data.normalize))}
    given = load(registry.load("model", "profiles_64_50").checkpoint)
    drawn = np.random.default_rng(0).uniform(0.0, 1.0, (8, *given.input.shape[1:]))
    found["profiles_64_50"] = int8.quantize(given, drawn.astype(np.float32))
    folder = Path(os.environ.get("BQSEARCH_MODELS", ""))
    found |= {name: load(path) for name in names if (path := folder / f"{name}.tflite").is_file()}
    return {name: passes.prune(passes.fuse_padding(passes.integer_io(graph))) for name, graph in found.items()}
