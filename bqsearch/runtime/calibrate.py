"""How errors of each layer reach the network's output."""

import numpy as np

from bqsearch.bank.build import OptionBank
from bqsearch.compress import compress
from bqsearch.graph import passes
from bqsearch.graph.ir import Graph
from bqsearch.plan import Choice
from bqsearch.runtime.litert import Runner, fitting_batch, fitting_threads
from bqsearch.types import Array, Floats

PROBE_LEVELS = 8  # coarse enough that the error stands out of the runtime's rounding


def sensitivity(graph: Graph, bank: OptionBank, inputs: Array) -> dict[str, float]:
    """For each layer: mean squared error of the logits for a unit of the layer's distortion.

    Each layer alone is put to about `PROBE_LEVELS` levels, those of k-means if the bank has it, and run.
    """
    runner = logits_runner(graph, bank, len(inputs))
    reference = real_outputs(graph, runner.run(inputs)[0])
    found = {}
    for entry in bank.layers:
        choice = _probe(bank, entry.layer.name)
        if choice is None:
            continue
        model = compress(graph, bank, bank.plan({entry.layer.name: choice}))
        outputs = real_outputs(graph, runner.run(inputs, model.constants)[0])
        distortion = entry.option(choice).distortion
        if distortion > 0:
            found[entry.layer.name] = float(np.mean((outputs - reference) ** 2)) / distortion
    floor = min((v for v in found.values() if v > 0), default=1.0)
    return {name: max(value, floor) for name, value in found.items()}


def logits_runner(graph: Graph, bank: OptionBank, count: int) -> Runner:
    """A runner of the network without its softmax, ready for `count` inputs under the bank's plans."""
    variable = [t for e in bank.layers for t in (e.layer.weights, e.layer.bias) if t is not None]
    return Runner(passes.logits(graph), tuple(variable), fitting_batch(graph, count), fitting_threads(graph, count))


def real_outputs(graph: Graph, codes: Array) -> Floats:
    """The logits' real values, `(n, ...)` float64."""
    quantization = passes.logits(graph).output.quantization
    if quantization is None:
        return codes.astype(np.float64)
    return (codes.astype(np.float64) - quantization.zero_points[0]) * float(quantization.scales[0])


def _probe(bank: OptionBank, name: str) -> Choice | None:
    quantizers = bank.by_name[name].quantizers
    schemes = [s for s in quantizers if s != "keep"]
    if not schemes:
        return None
    scheme = "kmeans" if "kmeans" in schemes else schemes[0]
    levels = min(quantizers[scheme].levels, key=lambda count: abs(count - PROBE_LEVELS))
    return Choice(scheme=scheme, levels=levels, coding="raw")
