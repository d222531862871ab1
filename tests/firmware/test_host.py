"""Builds for this machine: shared, cached, and refused in plain words."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bqsearch.errors import ModelError, OutputError, ToolError
from bqsearch.firmware import host
from bqsearch.firmware.emit import emit_graph
from bqsearch.firmware.layers import raw_weights
from bqsearch.graph.ops import layers
from firmware.plans import plan
from firmware.reference import any_inputs
from networks import small_int8_network


def test_equal_networks_are_built_once(cache: Path) -> None:
    graph = small_int8_network(3)
    source = emit_graph(graph, {}, plan(graph))
    first = host.build(graph, source, cache)
    made = first.library.stat().st_mtime_ns
    assert host.build(graph, source, cache).library == first.library
    assert first.library.stat().st_mtime_ns == made
    other = small_int8_network(4)
    assert host.build(other, emit_graph(other, {}, plan(other)), cache).library != first.library


def test_a_missing_compiler_is_named(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    graph = small_int8_network()
    with pytest.raises(ToolError, match=r"no C compiler 'no-such-compiler' on this machine: apt-get install gcc"):
        host.build(graph, emit_graph(graph, {}, plan(graph)), cache)


def test_a_compiler_that_fails_says_why(cache: Path) -> None:
    graph = small_int8_network()
    source = emit_graph(graph, {}, plan(graph))
    with pytest.raises(ToolError, match=r"the C compiler failed: (.|\n)*nonsense"):
        host.build(graph, replace(source, source=source.source + "nonsense"), cache)


def test_a_stream_that_does_not_decode_is_an_error(cache: Path) -> None:
    graph = small_int8_network()
    whole = raw_weights(graph, layers(graph)[1])
    coded = {layers(graph)[1].op: replace(whole, stream=whole.stream[:-1])}
    built = host.build(graph, emit_graph(graph, coded, plan(graph, coded)), cache)
    with pytest.raises(ModelError, match="the C runtime stopped: its coded weights do not decode"):
        built.run(any_inputs(graph, 2))


def test_no_inputs_give_no_outputs(cache: Path) -> None:
    graph = small_int8_network()
    built = host.build(graph, emit_graph(graph, {}, plan(graph)), cache)
    assert built.run(np.zeros((0, 8, 8, 3), np.int8)).shape == (0, 10)


def test_a_folder_that_others_may_write_to_is_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    graph = small_int8_network()
    source = emit_graph(graph, {}, plan(graph))
    library = host.build(graph, source).library
    assert library.is_relative_to(tmp_path)
    assert library.parent.stat().st_mode & 0o777 == 0o700
    library.parent.chmod(0o777)
    with pytest.raises(OutputError, match="is not a folder of this user's own"):
        host.build(graph, source)
