"""What TensorFlow Lite Micro takes of its arena, without running it.

The arena has a *head*, where activations, decoded weights and scratch come and go, and a *tail*, where everything else
stays. `plan_head` and `tail` read them off a graph.

**Head.** Every tensor without data and every scratch buffer stands from the operator that writes it to the last one
that reads it. Times are *scopes*: 0 is the network's input, operator i is scope i + 1, and the network's outputs stay
until the end. Sizes are rounded up to `ALIGNMENT`. GreedyMemoryPlanner places buffers by size, the largest first and of
equal ones the last in the file first, each in the lowest gap between those that it meets in time; buffers that the file
places (`offsets`) come before all others. The head is where the highest buffer ends.

**Tail.** With p bytes to a pointer, t tensors, n operators and s scratch buffers, it holds in this order, from the
arena's end downwards, each aligned downwards (16 where nothing else is said):

    allocator, planner, MicroAllocator                     fixed                          p
    parser's allocator, subgraph's pointers                fixed                          p
    TfLiteEvalTensor                                       t * (2 p + 4, rounded to p)    p
    NodeAndRegistration                                    n * 8 p                        p
    options of each operator                               Kernel.params                  their own
    kernels' data                                          Kernel.data, .prepared
    pointers to scratch                                    s * p                          p
    for inputs, then outputs: pointers                     count * p
        and for each TfLiteTensor, its TfLiteAffineQuantization, and its zero points: 4 + 4 for each scale

The formulas were compared with the wheel's `print_allocations` (`WHEEL`); `BOARD` is the same with pointers of 4 bytes
and without what only records. Resource variables, profiling or a second interpreter need more.

**Loading.** While it plans, the interpreter keeps notes where the head will be: a record of each tensor, and the
planner's lists. In networks of many small tensors they outgrow the head, so that an arena needs the larger of head +
tail and `loading`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from operator import or_
from typing import TypeAlias

from bqsearch.graph.ir import Graph, Op
from bqsearch.hardware.buffers import Buffer, lowest_gap
from bqsearch.hardware.tflm_kernels import alignof, int_array, kernel, sizeof

ALIGNMENT = 16  # bytes; MicroArenaBufferAlignment()

_Request: TypeAlias = tuple[int, int]  # bytes, alignment


@dataclass(frozen=True, kw_only=True)
class Build:
    """How TensorFlow Lite Micro was compiled.

    Attributes:
        pointer: Bytes of a pointer.
        recording: Whether RecordingMicroAllocator is used, which counts what it gives.
        compression: Whether USE_TFLM_COMPRESSION is defined; decoding with `TFLM_DECODE` does not need it.
    """

    pointer: int
    recording: bool = False
    compression: bool = False


WHEEL = Build(pointer=8, recording=True, compression=True)
BOARD = Build(pointer=4)


@dataclass(frozen=True, kw_only=True)
class HeadPlan:
    """The head, planned.

    Attributes:
        buffers: In the file's order of tensors, scratch last; sizes are multiples of `ALIGNMENT`, steps are scopes.
    """

    buffers: tuple[Buffer, ...]

    @cached_property
    def nbytes(self) -> int:
        """Size of the head."""
        return max((b.end for b in self.buffers), default=0)

    @cached_property
    def lower_bound(self) -> int:
        """Most bytes that stand in one scope: no plan that lets nothing overlap needs fewer."""
        changes: dict[int, int] = {}
        for buffer in self.buffers:
            changes[buffer.first] = changes.get(buffer.first, 0) + buffer.nbytes
            changes[buffer.last + 1] = changes.get(buffer.last + 1, 0) - buffer.nbytes
        standing, most = 0, 0
        for scope in sorted(changes):
            standing += changes[scope]
            most = max(most, standing)
        return most


def plan_head(graph: Graph, offsets: Sequence[int] | None = None) -> HeadPlan:
    """Plan the head as TensorFlow Lite Micro does when it loads a file.

    Args:
        graph: May hold decoders.
        offsets: For each tensor its place, or -1 for "plan it": the metadata `OfflineMemoryAllocation`.
    """
    needs = [*_tensor_needs(graph), *_scratch_needs(graph)]
    fixed = [-1 if n.tensor is None or offsets is None else offsets[n.tensor] for n in needs]
    online = sorted((i for i, place in enumerate(fixed) if place < 0), key=lambda i: (-needs[i].nbytes, -i))
    places = {i: place for i, place in enumerate(fixed) if place >= 0}
    for index in online:
        need = needs[index]
        beside = [(p, p + needs[i].nbytes) for i, p in places.items() if needs[i].meets(need)]
        places[index] = lowest_gap(beside, need.nbytes)
    return HeadPlan(buffers=tuple(need.at(places[i]) for i, need in enumerate(needs)))


def tail(graph: Graph, build: Build) -> int:
    """Bytes of the tail, for a graph that may hold decoders."""
    return _stacked([*_lasting(graph, build), *_ends(graph, build)])


def loading(graph: Graph, build: Build) -> int:
    """Bytes of arena that the interpreter needs while it plans the head."""
    buffers = len(plan_head(graph).buffers)
    return _stacked(_lasting(graph, build)) + _notes(len(graph.tensors), buffers, _scratch_count(graph), build)


@dataclass(frozen=True, kw_only=True)
class _Need:
    """A buffer before it has a place; fields as in `Buffer`."""

    tensor: int | None
    nbytes: int
    first: int
    last: int

    def meets(self, other: "_Need") -> bool:
        return self.first <= other.last and other.first <= self.last

    def at(self, offset: int) -> Buffer:
        return Buffer(tensor=self.tensor, offset=offset, nbytes=self.nbytes, first=self.first, last=self.last)


def aligned(nbytes: int) -> int:
    """Rounded up to `ALIGNMENT`."""
    return -(-nbytes // ALIGNMENT) * ALIGNMENT


def standing(graph: Graph) -> tuple[int, ...]:
    """For each operator the bytes that stand while it runs, whatever the operators' order: no plan's head is smaller.

    They are what it reads and writes, and what operators before it write and operators behind it read, before and
    behind in the sense of who needs whom; scratch is left out.
    """
    before = _ancestors(graph)
    end = 1 << len(before)  # who reads the network's outputs
    behind = [end + sum(1 << j for j, needed in enumerate(before) if needed >> i & 1) for i in range(len(before))]
    needs = [(n.nbytes, *_sides(graph, n.tensor, end)) for n in _tensor_needs(graph) if n.tensor is not None]

    def stands(i: int, writer: int, readers: int) -> bool:
        return bool((writer | readers) >> i & 1 or (writer & before[i] == writer and readers & behind[i]))

    return tuple(sum(n for n, writer, readers in needs if stands(i, writer, readers)) for i in range(len(before)))


def _ancestors(graph: Graph) -> list[int]:
    """For each operator a bit for each that it needs, directly or not."""
    found: list[int] = []
    for op in graph.ops:
        direct = {graph.producers[t] for t in op.inputs if t in graph.producers}
        found.append(reduce(or_, (1 << i | found[i] for i in direct), 0))
    return found


def _sides(graph: Graph, tensor: int, end: int) -> tuple[int, int]:
    """Bits of the operator that writes a tensor, none for the network's inputs, and of those that read it."""
    writer = 1 << graph.producers[tensor] if tensor in graph.producers else 0
    readers = sum(1 << i for i in graph.consumers.get(tensor, ()))
    return writer, readers | (end if tensor in graph.outputs else 0)


def _tensor_needs(graph: Graph) -> list[_Need]:
    """One for each tensor without data that has elements."""
    first, last = _scopes(graph)
    return [
        _Need(tensor=i, nbytes=aligned(t.nbytes), first=first.get(i, -1), last=last.get(i, -1))
        for i, t in enumerate(graph.tensors)
        if t.data is None and t.nbytes
    ]


def _scopes(graph: Graph) -> tuple[dict[int, int], dict[int, int]]:
    """For each tensor the scope that writes it and the last that needs it; absent if there is none."""
    first = dict.fromkeys((*graph.inputs, *graph.outputs), 0)
    last = dict(first)
    for index, op in enumerate(graph.ops):
        first.update(dict.fromkeys(op.outputs, index + 1))
        last.update(dict.fromkeys((*op.inputs, *op.outputs), index + 1))
    last.update(dict.fromkeys(graph.outputs, len(graph.ops)))
    return first, last


def _scratch_needs(graph: Graph) -> Iterator[_Need]:
    for index, op in enumerate(graph.ops):
        for nbytes in kernel(op.code).scratch(graph, op, WHEEL.pointer):
            yield _Need(tensor=None, nbytes=aligned(nbytes), first=index + 1, last=index + 1)


def _stacked(requests: Iterable[_Request]) -> int:
    """Bytes below the end of an aligned arena after these requests, each aligned downwards."""
    depth = 0
    for nbytes, alignment in requests:
        depth = -(-(depth + nbytes) // alignment) * alignment
    return depth


def _lasting(graph: Graph, build: Build) -> Iterator[_Request]:
    """The tail when the head is planned."""
    yield from _structures(len(graph.tensors), len(graph.ops), build)
    for requests in (_parsed, _initialized, _prepared):
        for op in graph.ops:
            yield from requests(graph, op, build)
    yield from _handles(_scratch_count(graph), build)


def _scratch_count(graph: Graph) -> int:
    return sum(1 for _ in _scratch_needs(graph))


def _handles(scratch: int, build: Build) -> list[_Request]:
    """Pointers to scratch."""
    return [(scratch * build.pointer, build.pointer)] if scratch else []


_ALLOCATOR = "pp" + "ppppp" + "pi"  # SingleArenaBufferAllocator
_PLANNER = "p" + "ii" + "pppp" + "ii" + "p" + "b"  # GreedyMemoryPlanner
_MICRO_ALLOCATOR = "ppppp" + "b" + "ppp"
_RECORD = "ppp"  # RecordedAllocation: one for each of 8 kinds
_DATA_ALLOCATOR = "pp"  # MicroBuiltinDataAllocator
_SUBGRAPH = "pp"  # SubgraphAllocations
_EVAL_TENSOR = "ppi"
_NODE = "pppppp" + "i" + "p"  # NodeAndRegistration
_TENSOR = "ip" + "ii" + "ppp" + "iib"  # TfLiteTensor with TF_LITE_STATIC_MEMORY
_QUANTIZATION = "ppi"  # TfLiteAffineQuantization


def _structures(tensors: int, operators: int, build: Build) -> Iterator[_Request]:
    """What does not depend on the operators' kinds."""
    pointer = build.pointer
    yield sizeof(_ALLOCATOR + "pppp" * build.recording, pointer), pointer
    yield sizeof(_PLANNER, pointer), pointer
    yield sizeof(_MICRO_ALLOCATOR + ("p" + _RECORD * 8) * build.recording, pointer), pointer
    yield sizeof(_DATA_ALLOCATOR, pointer), pointer
    yield sizeof(_SUBGRAPH + "p" * build.compression, pointer), pointer
    yield tensors * sizeof(_EVAL_TENSOR, pointer), pointer
    yield operators * sizeof(_NODE, pointer), pointer


def _parsed(graph: Graph, op: Op, build: Build) -> list[_Request]:
    """One operator's options."""
    del graph
    fields = kernel(op.code).params
    return [(sizeof(fields, build.pointer), alignof(fields, build.pointer))] if fields else []


def _initialized(graph: Graph, op: Op, build: Build) -> list[_Request]:
    """What its kernel's `Init` allocates."""
    del graph
    asked = kernel(op.code)
    fields = asked.data + asked.compressed * build.compression
    return [(sizeof(fields, build.pointer), ALIGNMENT)] if fields else []


def _prepared(graph: Graph, op: Op, build: Build) -> list[_Request]:
    """What its kernel's `Prepare` allocates."""
    return [(nbytes, ALIGNMENT) for nbytes in kernel(op.code).prepared(graph, op, build.pointer)]


def _ends(graph: Graph, build: Build) -> Iterator[_Request]:
    """The records of the network's inputs and outputs."""
    pointer = build.pointer
    for group in (graph.inputs, graph.outputs):
        yield len(group) * pointer, ALIGNMENT
        for index in group:
            yield sizeof(_TENSOR, pointer), pointer
            quantization = graph.tensors[index].quantization
            if quantization is not None:
                yield sizeof(_QUANTIZATION, pointer), pointer
                yield int_array(len(quantization.scales)), alignof("i", pointer)


_SCRATCH_REQUEST = "pii"
_SPARE_REQUESTS = 12  # kMaxScratchBuffersPerOp
_ALLOCATION_INFO = "ppiiib"
_PLANNED = 40  # bytes; GreedyMemoryPlanner::per_buffer_size()


def _notes(tensors: int, buffers: int, scratch: int, build: Build) -> int:
    """Bytes of what the interpreter writes down while it plans the head."""
    pointer = build.pointer
    requests = (_SPARE_REQUESTS + scratch) * sizeof(_SCRATCH_REQUEST, pointer)
    infos = pointer + (tensors + scratch) * sizeof(_ALLOCATION_INFO, pointer)
    return aligned(requests + infos) + buffers * _PLANNED
