"""Networks that use every kernel."""

from bqsearch.firmware.maps import MAPPED
from bqsearch.graph.ir import Graph
from bqsearch.graph.ops import SUPPORTED, layers
from bqsearch.packing.container import Coded
from bqsearch.packing.streams import STREAMS
from firmware.coding import LEVELS, coded_as, with_levels
from firmware.plans import Group
from networks import LINEAR, REACH, SAME, VALID, Builder


def layered(dtype: str) -> Graph:
    """Three layers of each kind."""
    net = Builder(dtype)
    last = source = net.activation("x", (1, 7, 6, 5))
    for i in range(3):
        last = net.conv(f"c{i}", last, 8, 3, fusedActivationFunction=LINEAR)
        last = net.depthwise(f"d{i}", last, 3, 2 if i == 0 else 1, fusedActivationFunction=LINEAR)
        last = net.conv(f"p{i}", last, 9, fusedActivationFunction=LINEAR)
    last = net.reshape("r", last, (1, 4 * 3 * 9))
    for i in range(3):
        last = net.dense(f"f{i}", last, 70 - i)
    return net.build([source], [last])


def turned(graph: Graph, turn: int, per_channel: bool) -> tuple[Graph, dict[int, Coded]]:
    """Layers' kinds of weights and codings turn at different speeds, so that over all turns each meets each."""
    ops = [layer.op for layer in layers(graph)]
    graph = with_levels(graph, {op: LEVELS[(i + turn) % len(LEVELS)] for i, op in enumerate(ops)}, turn)
    codings = {op: STREAMS.codings[(i + i // 5 + turn) % len(STREAMS.codings)] for i, op in enumerate(ops)}
    return graph, coded_as(graph, codings, frozenset(ops) if per_channel else frozenset())


def chained(dtype: str, rows: int, stride: int, size: int, padding: int) -> tuple[Graph, list[Group]]:
    """All chains that there are, one after the other: e expands, d filters, p projects."""
    net = Builder(dtype, rows + stride)
    last = source = net.activation("x", (1, 40 if stride > 1 else 12, 31 if stride > 1 else 7, 4))
    groups: list[Group] = []
    for chain, direct in (("edp", False), ("dp", False), ("ed", False), ("ed", True), ("d", False), ("d", True)):
        first = len(net.ops)
        sides = net.tensors[last].shape[1:3]
        step = stride if min(sides) > 2 * size else 1
        for kind in chain:
            if kind == "d":
                padded = padding if min(sides) > size else SAME
                last = net.depthwise(f"d{first}", last, size, step, padding=padded, fusedActivationFunction=LINEAR)
            else:
                last = net.conv(f"{kind}{first}", last, 7 if kind == "e" else 4)
        groups.append(Group(ops=tuple(range(first, len(net.ops))), kind="strips", rows=rows, direct=direct))
    graph = net.build([source], [last])
    return with_levels(graph, {layer.op: "coarse" for layer in layers(graph)}), groups


def everything(dtype: str) -> tuple[Graph, list[Group]]:
    """Every operator without weights, some of them in place or in strips."""
    net = Builder(dtype)
    last = source = net.activation("x", (1, 9, 8, 4))
    for code in MAPPED:
        if code == "RSQRT" and dtype == "uint8":
            continue
        low, high = {"LOGISTIC": (0.0, 255 / 256), "RELU6": (-4.0, 4.0)}.get(code, (-3.0, 4.0))
        if code in ("RELU6", "RSQRT"):
            least = 0.0 if code == "RSQRT" else -REACH
            last = net.op("QUANTIZE", (last,), net.activation(f"q{code}", (1, 9, 8, 4), least), "QuantizeOptions")
        last = net.op(code, (last,), net.activation(code, (1, 9, 8, 4), low, high), SUPPORTED[code].options)
    last = net.op("MUL", (last, source), net.activation("m", (1, 9, 8, 4)), "MulOptions")
    last = net.add("a", last, source)
    both = net.tensor("both", (1, 9, 8, 8), dtype, quantization=net.tensors[last].quantization)
    last = net.op("CONCATENATION", (last, last), both, "ConcatenationOptions", axis=-1)
    last = net.pad("p", last, [[0, 0], [1, 2], [0, 3], [0, 0]])
    options = {"padding": VALID, "strideH": 2, "strideW": 2, "filterHeight": 3, "filterWidth": 2}
    last = net.like("MAX_POOL_2D", "m", last, (1, 5, 5, 8), **options)
    last = net.like("AVERAGE_POOL_2D", "v", last, (1, 2, 2, 8), **options)
    last = net.softmax("s", net.mean("n", last))
    graph = net.build([source], [last])
    places = {op.code: i for i, op in enumerate(graph.ops)}
    strips = [Group(ops=(places[code],), kind="strips", rows=2) for code in ("MAX_POOL_2D", "AVERAGE_POOL_2D")]
    return graph, [*strips, Group(ops=(places["ADD"],), kind="in_place")]
