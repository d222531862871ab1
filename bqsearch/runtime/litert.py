"""LiteRT on the CPU: the scorer of the search."""

import os
from collections.abc import Callable, Iterator, Mapping
from copy import copy
from time import perf_counter

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from bqsearch.errors import ModelError, UnsupportedError
from bqsearch.graph import passes
from bqsearch.graph.diet import unshared
from bqsearch.graph.flatbuffer import buffer_spans, serialize
from bqsearch.graph.ir import Graph
from bqsearch.graph.ops import macs
from bqsearch.quiet import silent_stderr
from bqsearch.types import Array

BATCH_BYTES = 8 << 20  # of the largest activation of a batch: beyond, batching gains nothing and caches lose

LONG_WORK = 10**10  # multiply-accumulates


class Runner:
    """A network that is run again and again with other values in its constants.

    The file is built once; a candidate is a copy with some bytes overwritten, so no flatbuffer is written in the
    search.

    Args:
        graph: The network; its activations must have a batch dimension of 1.
        variable: Constant tensors whose values `run` may replace.
        batch: Inputs at a time; fewer where the network cannot be batched.
        threads: Of LiteRT.
    """

    def __init__(self, graph: Graph, variable: tuple[int, ...] = (), batch: int = 1, threads: int = 1) -> None:
        self.batch = batch
        try:
            batched = passes.with_batch(graph, batch)
        except UnsupportedError:
            self.batch, batched = 1, graph
        batched = unshared(batched, variable)
        self._content = serialize(batched)
        self._spans = buffer_spans(batched, self._content, variable)
        self._threads = threads
        with silent_stderr():  # LiteRT greets once; and a model that it refuses is refused here
            interpreter(self._content, threads)
        self.seconds = 0.0
        """Time spent inside LiteRT's own inference so far."""

    def with_threads(self, threads: int) -> "Runner":
        """The same network with so many threads."""
        made = copy(self)
        made._threads, made.seconds = threads, 0.0
        return made

    def run(self, inputs: Array, constants: Mapping[int, Array] | None = None) -> list[Array]:
        """Outputs for `(n, ...)` inputs of the network's own dtype, `(n, ...)` each, under these constants."""
        return self.opened(constants or {})(inputs)

    def opened(self, constants: Mapping[int, Array]) -> Callable[[Array], list[Array]]:
        """The network under these constants, to be run more than once; see `run`."""
        interpreter = self._interpreter(constants)
        index = interpreter.get_input_details()[0]["index"]
        outputs = [detail["index"] for detail in interpreter.get_output_details()]

        def run(inputs: Array) -> list[Array]:
            collected: list[list[Array]] = [[] for _ in outputs]
            for chunk in _chunks(inputs, self.batch):
                interpreter.set_tensor(index, chunk)
                started = perf_counter()
                interpreter.invoke()
                self.seconds += perf_counter() - started
                for values, output in zip(collected, outputs, strict=True):
                    values.append(interpreter.get_tensor(output))
            return [np.concatenate(values)[: len(inputs)] for values in collected]

        return run

    def _interpreter(self, constants: Mapping[int, Array]) -> Interpreter:
        content: bytes | bytearray = self._content
        if constants:
            content = bytearray(self._content)
            for tensor, values in constants.items():
                content[self._spans[tensor]] = np.ascontiguousarray(values).data.cast("B")
        return interpreter(bytes(content), self._threads)


def interpreter(content: bytes, threads: int = 1) -> Interpreter:
    """An allocated LiteRT interpreter.

    Raises:
        ModelError: LiteRT refuses the file.
    """
    try:
        made = Interpreter(model_content=content, num_threads=threads)
        made.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise ModelError(f"LiteRT cannot run this model: {' '.join(str(error).split())}") from error
    return made


def fitting_batch(graph: Graph, wanted: int) -> int:
    """How many of `wanted` inputs to run at a time: all of them where the activations stay small."""
    largest = max(t.nbytes for t in graph.tensors if t.data is None)
    return max(1, min(wanted, BATCH_BYTES // max(largest, 1)))


def fitting_threads(graph: Graph, count: int) -> int:
    """All cores where scoring `count` inputs is long work; one where the hand-over between cores would cost more."""
    work = count * sum(macs(graph, op) for op in graph.ops)
    return (os.cpu_count() or 1) if work >= LONG_WORK else 1


def _chunks(inputs: Array, size: int) -> Iterator[Array]:
    """Whole batches; the last one is filled up with copies of its first input."""
    for start in range(0, len(inputs), size):
        chunk = inputs[start : start + size]
        if len(chunk) < size:
            chunk = np.concatenate([chunk, np.repeat(chunk[:1], size - len(chunk), axis=0)])
        yield np.ascontiguousarray(chunk)
