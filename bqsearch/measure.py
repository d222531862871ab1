"""Measurements: lazy readings of one compressed model; and the Objective value that reads them."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from time import perf_counter
from typing import Literal, Protocol

import numpy as np

from bqsearch.compress import CompressedModel
from bqsearch.errors import DatasetError
from bqsearch.firmware import host
from bqsearch.firmware.emit import emit
from bqsearch.graph.ir import Tensor
from bqsearch.hardware.cost import CostModel
from bqsearch.hardware.footprint import Flash, Ram
from bqsearch.hardware.micro import coded_file
from bqsearch.hardware.streamed import StreamedFootprint
from bqsearch.runtime import tflm
from bqsearch.runtime.litert import Runner
from bqsearch.runtime.tflm import OnDone
from bqsearch.types import Array, Floats, Ints

Direction = Literal["maximize", "minimize"]
Run = Callable[[Array], Array]  # the first output's codes, `(n, ...)`, for `(n, ...)` codes


class Engine(Protocol):
    """What computes a compressed model's outputs.

    Attributes:
        name: For people.
    """

    name: str

    @property
    def seconds(self) -> float:
        """Time spent inside the runtime so far."""
        ...

    def opened(self, model: CompressedModel) -> Run:
        """The model, ready to be run."""
        ...


class LiteRt:
    """LiteRT on this machine's CPU, with its fast kernels, whose rounding may differ from a board's by a step.

    Args:
        runner: The network, ready for other constants.
    """

    name = "LiteRT"

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    @property
    def seconds(self) -> float:
        """See `Engine`."""
        return self._runner.seconds

    def with_threads(self, threads: int) -> "LiteRt":
        """The same with so many threads."""
        return LiteRt(self._runner.with_threads(threads))

    def opened(self, model: CompressedModel) -> Run:
        """See `Engine`."""
        run = self._runner.opened(model.constants)
        return lambda inputs: run(inputs)[0]


class Micro:
    """TensorFlow Lite Micro's interpreter, on the very file that a board gets.

    Args:
        on_done: Told how many more inputs have been run.
    """

    name = "TensorFlow Lite Micro"

    def __init__(self, on_done: OnDone | None = None) -> None:
        self._on_done = on_done
        self.seconds = 0.0

    def opened(self, model: CompressedModel) -> Run:
        """See `Engine`. Running it raises `ModelError` where the interpreter refuses the file or aborts."""
        content = coded_file(model)

        def run(inputs: Array) -> Array:
            started = perf_counter()
            outputs = tflm.run(content, inputs, self._on_done)
            self.seconds += perf_counter() - started
            return outputs

        return run


class Streamed:
    """bqsearch's runtime, built for this computer, on the weight streams and in the schedule that a board gets.

    Args:
        footprint: Knows the schedule.
        on_done: Told how many more inputs have been run.
    """

    name = "bqsearch's runtime"

    def __init__(self, footprint: StreamedFootprint, on_done: OnDone | None = None) -> None:
        self._footprint, self._on_done = footprint, on_done
        self.seconds = 0.0

    def opened(self, model: CompressedModel) -> Run:
        """See `Engine`. Raises `ToolError` where this computer's compiler is missing or fails."""
        built = host.build(model.graph, emit(model, self._footprint.schedule(model)))

        def run(inputs: Array) -> Array:
            started = perf_counter()
            outputs = built.run(inputs, os.cpu_count() or 1)
            self.seconds += perf_counter() - started
            if self._on_done is not None:
                self._on_done(len(inputs))
            return outputs

        return run


@dataclass(frozen=True, kw_only=True, eq=False)
class Scorer:
    """Runs candidates over one split, and scores outputs for its inputs.

    Attributes:
        engine: Runs the candidates.
        output: The network's output tensor.
        baseline: The uncompressed network.
        inputs: `(n, ...)` codes.
        labels: `(n,)` class indices, already shifted where the network has a background class; None without labels.
        windows: Consecutive inputs that are windows of one row of the data; a row counts as one input to statistics.
    """

    engine: Engine
    output: Tensor
    baseline: CompressedModel
    inputs: Array
    labels: Ints | None
    windows: int = 1

    def outputs(self, model: CompressedModel) -> Floats:
        """The model's outputs in real values, `(n, elements)`. Runs the network."""
        return self.opened(model)(self.inputs)

    def opened(self, model: CompressedModel) -> Callable[[Array], Floats]:
        """The model, ready to be run: takes `(k, ...)` codes to outputs in real values, `(k, elements)`."""
        run = self.engine.opened(model)
        return lambda inputs: real_values(run(inputs).reshape(len(inputs), -1), self.output)

    def with_threads(self, threads: int) -> "Scorer":
        """With as many of LiteRT, in a process of its own."""
        assert isinstance(self.engine, LiteRt), "only LiteRT scores in workers"
        return replace(self, engine=self.engine.with_threads(threads))

    @cached_property
    def reference(self) -> Floats:
        """The uncompressed network's outputs, `(n, elements)`. Runs the network, once."""
        return self.outputs(self.baseline)

    def correct(self, outputs: Floats) -> Array:
        """Which inputs are classified right by `(n, elements)` outputs, `(n,)` bool; of equal ones the lowest counts.

        Raises:
            DatasetError: The data has no labels.
        """
        if self.labels is None:
            raise DatasetError("accuracy needs labels, but the data has none: search for fidelity instead")
        return np.argmax(outputs, axis=1) == self.labels

    def fidelities(self, outputs: Floats) -> Floats:
        """How well `(n, elements)` outputs keep to the uncompressed network's, for each row of data, `(n / windows,)`.

        The score of input i is 1 - |y'_i - y_i|^2 / v, where v is the mean over the split of |y_i - mean(y)|^2. The
        mean of the scores is the coefficient of determination of y' against y (Wright, J. Agricultural Research 20,
        1921), pooled over the output's elements. Softmax outputs are taken as they are: they are what an application
        reads, and a difference in the logits that no probability shows is no loss. Where all y are equal, an input
        scores 1 if y' is y and 0 otherwise. A row's score is the mean over its windows.
        """
        spread = ((self.reference - self.reference.mean(axis=0)) ** 2).sum(axis=1).mean()
        error = ((outputs - self.reference) ** 2).sum(axis=1)
        scores = 1 - error / spread if spread > 0 else (error == 0).astype(np.float64)
        return scores.reshape(-1, self.windows).mean(axis=1)


def real_values(values: Array, tensor: Tensor) -> Floats:
    """A tensor's codes as the real values they stand for; values of a tensor without quantization as they are."""
    if tensor.quantization is None:
        return values.astype(np.float64)
    return (values.astype(np.float64) - tensor.quantization.zero_points[0]) * float(tensor.quantization.scales[0])


@dataclass(frozen=True, kw_only=True, eq=False)
class Measurements:
    """What is known of one compressed model on one board; each figure is worked out when first read.

    Attributes:
        model: The candidate.
        cost: Its network's cost model on the board.
        scorer: The split that it is scored on; running it is what makes an objective expensive.
    """

    model: CompressedModel
    cost: CostModel
    scorer: Scorer = field(repr=False)

    @cached_property
    def outputs(self) -> Floats:
        """Its outputs for the split's inputs in real values, `(n, elements)`. Runs the network."""
        return self.scorer.outputs(self.model)

    @cached_property
    def correct(self) -> Array:
        """Which inputs of the split it gets right, `(n,)` bool. Runs the network."""
        return self.scorer.correct(self.outputs)

    @property
    def accuracy(self) -> float:
        """Share of the split that it gets right, 0 to 1. Runs the network."""
        return float(self.correct.mean())

    @cached_property
    def fidelities(self) -> Floats:
        """How well it keeps to the uncompressed network on each row of the data, at most 1. Runs the network."""
        return self.scorer.fidelities(self.outputs)

    @property
    def fidelity(self) -> float:
        """How well its outputs keep to the uncompressed network's, at most 1. Runs the network."""
        return float(self.fidelities.mean())

    @cached_property
    def flash(self) -> Flash:
        """Flash by part, bytes."""
        return self.cost.flash(self.model)

    @cached_property
    def ram(self) -> Ram:
        """RAM by part, bytes."""
        return self.cost.ram(self.model)

    @property
    def weight_bytes(self) -> int:
        """Coded weights with their tables, bytes."""
        return self.flash.weights + self.flash.tables

    @cached_property
    def latency(self) -> float:
        """Seconds of one inference."""
        return self.cost.latency(self.model)

    @cached_property
    def energy(self) -> float:
        """Joules of one inference."""
        return self.cost.energy(self.model)


@dataclass(frozen=True, kw_only=True)
class Objective:
    """Something to search for.

    Attributes:
        name: The name that it is looked up by.
        summary: One line for a list of objectives.
        direction: Which way is better.
        unit: Of what `read` returns.
        needs: `"static"` if no data is run; static objectives are read first, and a candidate that breaks a limit is
            not run at all.
        read: Takes the figure from the measurements.
    """

    name: str
    summary: str
    direction: Direction
    unit: str
    needs: Literal["static", "data"]
    read: Callable[[Measurements], float]
