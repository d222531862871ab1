"""The footprint under TensorFlow Lite Micro: a .tflite file in flash, and the interpreter's arena in RAM.

Flash is the file's size, to the byte, plus the target's allowance for code. The file's size is a sum: what it has with
all weights raw, for each coded layer two constants in place of one and a record of its decoder, a little that comes
with the first one or goes with the last raw one, and the offline memory plan where it wins. RAM is the arena plus the
target's allowances; the arena is head and tail, or what the interpreter needs while it plans them, if that is more.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from bqsearch.compress import CompressedLayer, CompressedModel
from bqsearch.graph.decode import DECODE, Encoded, insert_decode
from bqsearch.graph.diet import diet, unshared, without_bias_quantization
from bqsearch.graph.flatbuffer import data_bytes, file_bytes, serialize, unaligned_bytes
from bqsearch.graph.ir import Graph
from bqsearch.graph.ops import Layer, layers, operator_names
from bqsearch.hardware import offline
from bqsearch.hardware.buffers import Buffer
from bqsearch.hardware.footprint import Flash, Ram, constant_bytes
from bqsearch.hardware.offline import OfflinePlan
from bqsearch.hardware.target import Target
from bqsearch.hardware.tflm import ALIGNMENT, BOARD, aligned, loading, plan_head, standing, tail
from bqsearch.hardware.timeline import Piece, Stage, Timeline
from bqsearch.packing.decode_op import HEADER, KINDS

_VECTOR = 8  # bytes of a shape with one dimension


def coded_file(model: CompressedModel) -> bytes:
    """The file that a board's interpreter runs: decoders before the layers that are coded, memory planned."""
    constants = {entry.layer.weights: entry.coded for entry in _coded(model)}
    encoded = {tensor: Encoded(stream=c.stream, ancillary=c.table) for tensor, c in constants.items()}
    plan = offline.plan(coded_graph(model.decoded(), encoded))
    return serialize(plan.graph, short_zero_points=True, metadata=offline.metadata(plan))


def raw_file(graph: Graph) -> bytes:
    """A network for the interpreter as it is: no decoders, and the memory plan left to the interpreter."""
    return serialize(_slim(graph), short_zero_points=True)


def coded_graph(graph: Graph, constants: Mapping[int, Encoded]) -> Graph:
    """A network with decoders before the readers of these constants, and without what the interpreter does not read."""
    return insert_decode(_slim(graph), constants)


def _slim(graph: Graph) -> Graph:
    own = [t for layer in layers(graph) for t in (layer.weights, layer.bias) if t is not None]
    return unshared(without_bias_quantization(diet(graph)), own)  # or bytes would depend on which layers are equal


def decoders(model: CompressedModel) -> dict[int, int]:
    """Kinds of the decoders that a model needs, by the index of the weights' tensor."""
    return {entry.layer.weights: KINDS[entry.option.choice.coding] for entry in _coded(model)}


def _coded(model: CompressedModel) -> list[CompressedLayer]:
    return [entry for entry in model.layers if entry.option.choice.coding != "raw"]


@dataclass(frozen=True, kw_only=True)
class _Sum:
    """The terms of a file's size, bytes without its root.

    Attributes:
        raw: All weights raw.
        coded: Each coded layer, besides its constants.
        first: The first coded layer.
        last: All layers coded.
        planned: A memory plan, besides its constant.
        shapes: One-dimensional shapes that are there anyway.
    """

    raw: int
    coded: int
    first: int
    last: int
    planned: int
    shapes: frozenset[int]


@dataclass(frozen=True, kw_only=True, eq=False)
class Arena:
    """The interpreter's arena on a board, for one choice of the weights that are coded.

    Attributes:
        plan: Where everything in its head lies.
        tail: Bytes of its persistent part.
        loading: Bytes that the interpreter needs while it plans.
    """

    plan: OfflinePlan
    tail: int
    loading: int

    @property
    def nbytes(self) -> int:
        """Bytes that it must have."""
        return max(self.plan.head + self.tail, self.loading)


@dataclass(frozen=True, kw_only=True, eq=False)
class MicroFootprint:
    """See `Footprint`.

    Attributes:
        graph: The uncompressed int8 network; every tensor of it is used.
        target: The board.
    """

    graph: Graph
    target: Target
    provenance: ClassVar[str] = (
        "Flash: the size of model_tflm.tflite to the byte, and the board's allowance for code. RAM: the interpreter's "
        "arena, as it would plan it with pointers of 4 bytes and its reference kernels (those of CMSIS-NN ask for some "
        "scratch besides), and the board's allowances for stack and statics."
    )

    @property
    def activations(self) -> int:
        """Head of the arena with all weights raw, bytes."""
        return self.arena({}).plan.head

    @property
    def lower_bound(self) -> int:
        """Most bytes of activations that stand at a time."""
        return self.arena({}).plan.lower_bound

    def arena(self, kinds: Mapping[int, int]) -> Arena:
        """The best arena found with these weights coded: kinds of decoders by tensor index."""
        key = frozenset(kinds.items())
        if key not in self._arenas:
            constants = {t: Encoded(stream=b"\0", ancillary=bytes([kind] * HEADER)) for t, kind in sorted(key)}
            plan = offline.plan(coded_graph(self.graph, constants))
            self._arenas[key] = Arena(plan=plan, tail=tail(plan.graph, BOARD), loading=loading(plan.graph, BOARD))
        return self._arenas[key]

    def flash(self, model: CompressedModel) -> Flash:
        """Bytes of flash."""
        weights = sum(entry.option.stream_bytes for entry in model.layers)
        tables = sum(entry.option.table_bytes for entry in model.layers)
        told = weights + tables + self._bias_bytes + self._scale_bytes
        return Flash(
            weights=weights,
            tables=tables,
            biases=self._bias_bytes,
            requantization=self._scale_bytes,
            records=self.file_bytes(model) - told,
            code=self.target.code,
        )

    def ram(self, model: CompressedModel) -> Ram:
        """Bytes of RAM; the arena's persistent part counts as static."""
        kinds = decoders(model)
        arena = self.arena(kinds)
        return Ram(
            activations=self.activations,
            decode_buffer=arena.plan.head - self.activations,
            weights=0,
            stack=self.target.stack,
            static=self.target.static_ram + arena.nbytes - arena.plan.head,
            peak=self._peak(arena.plan, kinds),
        )

    def file_bytes(self, model: CompressedModel) -> int:
        """Size of `coded_file`, from the bank's bytes alone."""
        terms = self._terms
        coded = _coded(model)
        sizes = [(e.option.stream_bytes, e.option.table_bytes) for e in coded]
        content = sum(data_bytes(stream) + data_bytes(table) for stream, table in sizes)
        replaced = sum(data_bytes(entry.layer.size) for entry in coded)
        shapes = {nbytes for pair in sizes for nbytes in pair} - terms.shapes
        every = len(coded) == len(model.layers)
        plan = self.arena(decoders(model)).plan
        return file_bytes(
            terms.raw
            + content
            - replaced
            + len(coded) * terms.coded
            + len(shapes) * _VECTOR
            + (terms.first if coded else 0)
            + (terms.last if every else 0)
            + (terms.planned + data_bytes(len(offline.metadata(plan)[offline.METADATA])) if plan.offsets else 0)
        )

    def timeline(self, model: CompressedModel) -> Timeline:
        """What stands where in the arena's head; a stage is a scope of `tflm`, a decoder's among them."""
        kinds = decoders(model)
        plan = self.arena(kinds).plan
        ops = self._sources(plan.graph, kinds)
        run = [
            Stage(kind="decode" if op.code == DECODE else "whole", ops=(ops[index],))
            for index, op in enumerate(plan.graph.ops)
        ]
        pieces = [_piece(plan.graph, buffer, ops) for buffer in plan_head(plan.graph, plan.offsets).buffers]
        stages = (Stage(kind="input", ops=()), *run)
        return Timeline(stages=stages, pieces=tuple(pieces), peak=_fullest(plan))

    def decodes(self, model: CompressedModel) -> Mapping[int, int]:
        """Once, as a whole."""
        return {entry.layer.op: 1 for entry in model.layers}

    def stored(self, coding: str, stream_bytes: int, table_bytes: int) -> int:
        """With padding, and for a coded layer with its decoder's record."""
        if coding == "raw":
            return data_bytes(stream_bytes)
        return data_bytes(stream_bytes) + data_bytes(table_bytes) + self._terms.coded + 2 * _VECTOR

    def decoder_code(self, codings: Collection[str]) -> int:
        """None: the interpreter has one operator for all, in the allowance for code."""
        del codings
        return 0

    def least_ram(self, layer: Layer, coding: str, table_bytes: int) -> int:
        """What stands during the layer in any order of the operators, with its decoded weights and nothing else coded.

        Another order may pad the arena's persistent part by up to `ALIGNMENT` bytes less.
        """
        del table_bytes
        raw = coding == "raw"
        arena = self.arena({} if raw else {layer.weights: KINDS[coding]})
        head = self._standing[layer.op] + (0 if raw else aligned(layer.size))
        least = max(head + arena.tail, arena.loading) - ALIGNMENT
        return least + self.target.stack + self.target.static_ram

    @cached_property
    def _standing(self) -> tuple[int, ...]:
        return standing(self.graph)

    @cached_property
    def _arenas(self) -> dict[frozenset[tuple[int, int]], Arena]:
        """What was planned before: many candidates code the same layers."""
        return {}

    def _peak(self, plan: OfflinePlan, kinds: Mapping[int, int]) -> str:
        """The operator during which the head is fullest; a decoder stands for its reader."""
        return self._names[self._sources(plan.graph, kinds)[_fullest(plan) - 1]]

    def _sources(self, graph: Graph, kinds: Mapping[int, int]) -> list[int]:
        """For each operator of a graph with decoders its index in the network; a decoder's is its reader's."""
        found: list[int] = []
        for op in reversed(graph.ops):
            if op.code == DECODE:
                found.append(found[-1])
            else:
                found.append(self.graph.producers[_before_prune(op.outputs[0], kinds)])
        return found[::-1]

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return operator_names(self.graph)

    @cached_property
    def _terms(self) -> _Sum:
        return _terms(self.graph)

    @cached_property
    def _bias_bytes(self) -> int:
        return constant_bytes(self.graph)

    @cached_property
    def _scale_bytes(self) -> int:
        """One float for each output channel, as far as the weights have it."""
        found = (self.graph.tensors[layer.weights].quantization for layer in layers(self.graph))
        return sum(q.scales.nbytes for q in found if q is not None)


def _fullest(plan: OfflinePlan) -> int:
    """The scope of the operator during which the head is fullest."""
    buffers = plan_head(plan.graph, plan.offsets).buffers
    live = [[b for b in buffers if b.first <= scope <= b.last] for scope in range(1, len(plan.graph.ops) + 1)]
    fill = [(max((b.end for b in held), default=0), sum(b.nbytes for b in held)) for held in live]
    return 1 + max(range(len(fill)), key=fill.__getitem__)


def _piece(graph: Graph, buffer: Buffer, sources: Sequence[int]) -> Piece:
    """What a buffer of the head is for; `sources` as `MicroFootprint` finds them."""
    if buffer.tensor is None:
        return Piece(role="scratch", op=sources[buffer.first - 1], buffer=buffer)
    writer = graph.producers.get(buffer.tensor)
    if writer is None:
        return Piece(role="input", op=None, buffer=buffer)
    role = "weights" if graph.ops[writer].code == DECODE else "output"
    return Piece(role=role, op=sources[writer], buffer=buffer)


def _before_prune(tensor: int, kinds: Mapping[int, int]) -> int:
    """A tensor's index before the coded weights were taken out."""
    for removed in sorted(kinds):
        tensor += tensor >= removed
    return tensor


def _terms(graph: Graph) -> _Sum:
    """Measured on files with short streams in place of the real ones."""
    codable = [layer for layer in layers(graph) if not layer.shared]
    raw = _unaligned(graph, [])
    shapes = frozenset(t.shape[0] for t in coded_graph(graph, {}).tensors if len(t.shape) == 1)
    one = _extra(graph, codable[:1], shapes) if codable else 0
    two = _extra(graph, codable[:2], shapes)
    coded = two - one if len(codable) > 1 else one
    every = _extra(graph, codable, shapes)
    last = every - one - (len(codable) - 1) * coded
    return _Sum(raw=raw, coded=coded, first=one - coded, last=last, planned=_planned(graph, raw), shapes=shapes)


def _planned(graph: Graph, raw: int) -> int:
    metadata = {offline.METADATA: bytes(4)}
    return unaligned_bytes(_slim(graph), short_zero_points=True, metadata=metadata) - raw - data_bytes(4)


def _extra(graph: Graph, coded: Sequence[Layer], shapes: Collection[int]) -> int:
    """Bytes that coding these layers adds besides their constants and their shapes."""
    lengths = {nbytes for position in range(len(coded)) for nbytes in _lengths(position)}
    content = sum(data_bytes(n) for position in range(len(coded)) for n in _lengths(position))
    replaced = sum(data_bytes(layer.size) for layer in coded)
    added = _unaligned(graph, coded) - _unaligned(graph, [])
    return added - content + replaced - len(lengths - set(shapes)) * _VECTOR


def _lengths(position: int) -> tuple[int, int]:
    return 1 + 2 * position, 2 + 2 * position


def _unaligned(graph: Graph, coded: Sequence[Layer]) -> int:
    contents = {
        layer.weights: Encoded(stream=bytes(_lengths(i)[0]), ancillary=bytes(_lengths(i)[1]))
        for i, layer in enumerate(coded)
    }
    return unaligned_bytes(coded_graph(graph, contents), short_zero_points=True)
