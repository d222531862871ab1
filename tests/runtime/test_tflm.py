"""The interpreter in child processes: same results however they are shared out, and errors in one's own words."""

import subprocess
import sys
import threading

import numpy as np
import pytest

from bqsearch.errors import MissingExtraError, ModelError
from bqsearch.graph.flatbuffer import serialize
from bqsearch.graph.ir import Graph
from bqsearch.runtime import litert, tflm
from decoding import need_tflm
from networks import Builder, random_inputs, small_float_network, small_int8_network, small_uint8_network

HIDDEN = """
import importlib.abc, sys

class Hide(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "tflite_micro":
            raise ModuleNotFoundError(name)

import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name == "tflite_micro" else found(name, package)
sys.meta_path.insert(0, Hide())
import numpy as np
from bqsearch.errors import MissingExtraError
from bqsearch.runtime import tflm
for call in (tflm.require, lambda: tflm.run(b"", np.zeros((1, 1), np.int8)), lambda: tflm.allocations(b"")):
    try:
        call()
    except MissingExtraError as error:
        print(error)
"""


def wide_softmax() -> Graph:
    """Over 1000 equal logits, the kernel shifts by more bits than its check allows, and aborts."""
    net = Builder("int8")
    source = net.activation("logits", (1, 1000))
    return net.build([source], [net.softmax("softmax", source)])


@pytest.mark.parametrize("make", [small_int8_network, small_float_network])
def test_the_first_output_for_each_input(make) -> None:
    need_tflm()
    graph = make()
    inputs = random_inputs(graph, 5)
    outputs = tflm.run(serialize(graph), inputs)
    assert outputs.shape == (5, *graph.output.shape[1:])
    assert outputs.dtype == graph.output.dtype
    runtime = litert.interpreter(serialize(graph))
    (source,), (sink,) = runtime.get_input_details(), runtime.get_output_details()
    for value, output in zip(inputs, outputs, strict=True):
        runtime.set_tensor(source["index"], value[None])
        runtime.invoke()
        apart = np.abs(runtime.get_tensor(sink["index"])[0].astype(float) - output.astype(float)).max()
        assert apart <= (4 if graph.output.dtype == "int8" else 1e-5)  # codes: LiteRT's kernels round in other places


def test_results_do_not_depend_on_processes_or_order(monkeypatch: pytest.MonkeyPatch) -> None:
    need_tflm()
    graph = small_int8_network()
    model, inputs = serialize(graph), random_inputs(graph, 37)
    outputs = []
    for cores in (1, 2, 3):
        monkeypatch.setattr("os.cpu_count", lambda cores=cores: cores)
        outputs.append(tflm.run(model, inputs))
    backwards = tflm.run(model, inputs[::-1])[::-1]
    assert all(np.array_equal(other, outputs[0]) for other in [*outputs[1:], backwards])
    assert len(np.unique(outputs[0], axis=0)) > 30


def test_progress_counts_every_input_once() -> None:
    need_tflm()
    graph = small_int8_network()
    lock, told = threading.Lock(), []

    def on_done(count: int) -> None:
        with lock:
            told.append(count)

    tflm.run(serialize(graph), random_inputs(graph, 41), on_done)
    assert sum(told) == 41
    assert max(told) <= 16


def test_a_uint8_network_is_refused() -> None:
    need_tflm()
    graph = small_uint8_network()
    with pytest.raises(ModelError, match="TensorFlow Lite Micro cannot run this model") as refused:
        tflm.run(serialize(graph), random_inputs(graph, 2))
    assert "Hybrid models are not supported" in str(refused.value)
    assert "Traceback" not in str(refused.value)


def test_an_abort_becomes_an_error() -> None:
    need_tflm()
    model = serialize(wide_softmax())
    with pytest.raises(ModelError, match=r"cannot run this model \(signal 6\)"):
        tflm.run(model, np.zeros((3, 1000), np.int8))
    assert tflm.allocations(model).head == 2 * 1008


def test_what_is_no_model_is_an_error() -> None:
    need_tflm()
    with pytest.raises(ModelError, match="cannot run this model"):
        tflm.allocations(b"no model at all, but some bytes")


def test_a_caller_that_fails_leaves_no_child_behind() -> None:
    need_tflm()
    graph = small_int8_network()

    def on_done(count: int) -> None:
        raise RuntimeError(count)

    with pytest.raises(RuntimeError):
        tflm.run(serialize(graph), random_inputs(graph, 40), on_done)


def test_allocations_have_a_head_and_a_tail() -> None:
    need_tflm()
    told = tflm.allocations(serialize(small_int8_network()))
    assert (told.head, told.tail, told.total) == (768, 2720, 3488)


def test_a_missing_wheel_names_the_extra() -> None:
    done = subprocess.run([sys.executable, "-c", HIDDEN], capture_output=True, text=True, check=True)
    said = done.stdout.splitlines()
    assert len(said) == 3
    assert all("tflite-micro" in line and "bqsearch[tflm]" in line for line in said)
    assert issubclass(MissingExtraError, Exception)
