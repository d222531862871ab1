"""Networks, schedules and codings made by hypothesis, against the reference interpreters."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bqsearch.graph.ir import Graph
from bqsearch.graph.ops import layers
from bqsearch.packing.streams import STREAMS
from firmware.checks import check
from firmware.coding import LEVELS, coded_as, with_levels
from firmware.plans import Group
from networks import LINEAR, RELU, SAME, VALID, Builder

RELU6 = 3
EXAMPLES = settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))


class Drawn:
    """A network that grows operator by operator, and how its operators are executed."""

    def __init__(self, draw: st.DrawFn, dtype: str) -> None:
        self.draw, self.net = draw, Builder(dtype, draw(st.integers(0, 1000)))
        sides = draw(st.tuples(st.integers(1, 13), st.integers(1, 13), st.integers(1, 12)))
        self.last = self.source = self.net.activation("x", (1, *sides))
        self.groups: list[Group] = []

    @property
    def shape(self) -> tuple[int, ...]:
        return self.net.tensors[self.last].shape

    def window(self) -> dict[str, int]:
        """A filter's size, stride and padding that fit."""
        size = self.draw(st.integers(1, 4))
        fits = min(self.shape[1:3]) >= size
        return {
            "size": size,
            "stride": self.draw(st.integers(1, 3)),
            "padding": self.draw(st.sampled_from([SAME, VALID])) if fits else SAME,
            "fusedActivationFunction": self.draw(st.sampled_from([LINEAR, RELU, RELU6])),
        }

    def conv(self) -> None:
        strips = self.draw(st.sampled_from([None, None, 1, 2, 3]))
        if strips is not None:
            direct = self.draw(st.booleans())
            self.groups.append(Group(ops=(len(self.net.ops),), kind="strips", rows=strips, direct=direct))
        self.last = self.net.conv(self.name(), self.last, self.draw(st.integers(1, 12)), **self.window())

    def depthwise(self) -> None:
        kind = self.draw(st.sampled_from(["whole", "in_place", "strips"]))
        rows = self.draw(st.integers(1, 3)) if kind == "strips" else None
        self.groups.append(Group(ops=(len(self.net.ops),), kind=kind, rows=rows))
        self.last = self.net.depthwise(self.name(), self.last, **self.window())

    def chain(self) -> None:
        first = len(self.net.ops)
        if self.draw(st.booleans()):
            self.last = self.net.conv(self.name(), self.last, self.draw(st.integers(1, 12)))
        self.last = self.net.depthwise(self.name(), self.last, **self.window())
        if self.draw(st.booleans()):
            self.last = self.net.conv(self.name(), self.last, self.draw(st.integers(1, 12)))
        ops = tuple(range(first, len(self.net.ops)))
        self.groups.append(Group(ops=ops, kind="strips", rows=self.draw(st.integers(1, 4))))

    def pool(self) -> None:
        height, width = (self.draw(st.integers(1, min(3, side))) for side in self.shape[1:3])
        strides = self.draw(st.integers(1, 3)), self.draw(st.integers(1, 3))
        shape = (1, -(-self.shape[1] // strides[0]), -(-self.shape[2] // strides[1]), self.shape[3])
        code = self.draw(st.sampled_from(["AVERAGE_POOL_2D", "MAX_POOL_2D"]))
        options = {"strideH": strides[0], "strideW": strides[1], "filterHeight": height, "filterWidth": width}
        self.last = self.net.like(code, self.name(), self.last, shape, padding=SAME, **options)

    def pad(self) -> None:
        margins = [[0, 0], *[[self.draw(st.integers(0, 2)), self.draw(st.integers(0, 2))] for _ in range(3)]]
        self.last = self.net.pad(self.name(), self.last, margins)

    def residual(self) -> None:
        """A convolution whose input is added to its output, which gives its place to the sum."""
        other = self.net.conv(self.name(), self.last, self.shape[3], fusedActivationFunction=LINEAR)
        self.groups.append(Group(ops=(len(self.net.ops),), kind="in_place"))
        self.last = self.net.add(self.name(), other, self.last)

    def dense(self) -> None:
        size = int(np.prod(self.shape))
        self.last = self.net.reshape(self.name(), self.last, (1, size))
        self.last = self.net.dense(self.name(), self.last, self.draw(st.integers(1, 20)))

    def name(self) -> str:
        return f"n{len(self.net.tensors)}"

    def build(self) -> Graph:
        return self.net.build([self.source], [self.last])


@st.composite
def networks(draw: st.DrawFn, dtype: str) -> tuple[Graph, list[Group], dict[int, str], frozenset[int]]:
    """A network, groups of its operators, codings of its layers, and those with a codebook for each channel."""
    made = Drawn(draw, dtype)
    steps = [made.conv, made.depthwise, made.chain, made.pool, made.pad, made.residual]
    for step in draw(st.lists(st.sampled_from(steps), min_size=1, max_size=5)):
        step()
    if draw(st.booleans()):
        made.dense()
    graph = made.build()
    ops = [layer.op for layer in layers(graph)]
    graph = with_levels(graph, {op: draw(st.sampled_from(LEVELS)) for op in ops}, draw(st.integers(0, 99)))
    codings = {op: draw(st.sampled_from(STREAMS.codings)) for op in ops}
    return graph, made.groups, codings, frozenset(draw(st.sets(st.sampled_from(ops)))) if ops else frozenset()


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@given(data=st.data())
@EXAMPLES
def test_random_networks(cache: Path, dtype: str, data: st.DataObject) -> None:
    graph, groups, codings, per_channel = data.draw(networks(dtype))
    check(graph, cache, coded_as(graph, codings, per_channel), groups, telling=False)
