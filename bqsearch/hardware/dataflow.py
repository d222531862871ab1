"""The row-stationary dataflow of Eyeriss: how often a convolution's values move between the levels of its storage.

Chen, Emer and Sze, ISCA 2016; Chen, Krishna, Emer and Sze, IEEE JSSC 52(1), 2017. A processing element convolves one
row of filters with one row of inputs. As many elements as filters have rows, times as many as a strip has output rows,
form a set; sets beside each other work on other channels (`r`) or other filters (`t`). A pass of the array takes `n`
inputs, `q * r` channels and `p * t` filters, and passes follow each other as on the chip:

    for each n inputs, for each strip of e output rows, for each chunk of m filters:
        for each q * r channels: fetch their inputs into the global buffer
            for each p * t filters of the chunk: fetch them for a pass; its partial sums stay in the global buffer
        write the chunk's outputs to DRAM

so filters are fetched again for each strip and each n inputs, and inputs for each chunk of filters. Nothing is fetched
again that is still there: inputs that need one step of channels stay for all chunks, and filters that need one pass
stay in the array.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np

from bqsearch.errors import UnsupportedError

_Counts: TypeAlias = Any  # int, or an int64 array with one entry for each mapping


@dataclass(frozen=True, kw_only=True)
class Chip:
    """A row-stationary accelerator.

    Attributes:
        rows: Of processing elements.
        columns: Of processing elements.
        word: Bits of a value in all storage on the chip.
        global_buffer: Words for inputs and partial sums.
        filter_buffer: Words in which the filters of the next pass wait.
        filter_registers: Words for filters in a processing element.
        input_registers: Words for inputs in a processing element.
        sum_registers: Words for partial sums in a processing element.
        bandwidth: Bytes a second from and to DRAM.
        mac: Joules of a multiply-accumulate.
        dram_access: Energy of moving a word from or to DRAM, in MACs; so the following.
        buffer_access: From or to the global buffer.
        array_access: Between processing elements.
        register_access: From or to a processing element's registers.
    """

    rows: int
    columns: int
    word: int
    global_buffer: int
    filter_buffer: int
    filter_registers: int
    input_registers: int
    sum_registers: int
    bandwidth: float
    mac: float
    dram_access: float
    buffer_access: float
    array_access: float
    register_access: float

    @property
    def elements(self) -> int:
        """Processing elements."""
        return self.rows * self.columns


@dataclass(frozen=True, kw_only=True)
class Axis:
    """Height or width of a convolution.

    Attributes:
        size: Inputs, without padding.
        taps: Of a filter.
        outputs: Places of the filter.
        stride: Inputs between two places.
        dilation: Inputs between two taps.
        margin: Padding before the first input.
    """

    size: int
    taps: int
    outputs: int
    stride: int = 1
    dilation: int = 1
    margin: int = 0

    @cached_property
    def pairs(self) -> int:
        """Places and taps that meet an input and not the padding."""
        return sum(1 for place in range(self.outputs) for _ in self._inputs(place))

    def span(self, outputs: int) -> int:
        """Inputs, padding among them, from the first to the last that so many places side by side reach."""
        return (outputs - 1) * self.stride + (self.taps - 1) * self.dilation + 1

    def reached(self, strip: int) -> int:
        """Inputs that the places reach, `strip` of them at a time; one counts once for each strip that needs it."""
        strips = (range(first, min(first + strip, self.outputs)) for first in range(0, self.outputs, strip))
        return sum(len({i for place in places for i in self._inputs(place)}) for places in strips)

    def _inputs(self, place: int) -> Iterator[int]:
        first = place * self.stride - self.margin
        return (i for i in range(first, first + self.taps * self.dilation, self.dilation) if 0 <= i < self.size)


@dataclass(frozen=True, kw_only=True)
class Convolution:
    """The shape of a convolution; a dense layer is one whose axes have one tap and one output.

    Attributes:
        batch: Inputs.
        groups: Convolutions side by side, one after another on the chip; in a depthwise one each channel is a group.
        channels: Of a group's inputs.
        filters: Of a group.
        height: Vertical axis.
        width: Horizontal axis; all of a row is used at a time.
        input_bits: Bits in DRAM of an input value, on average.
        output_bits: Bits in DRAM of an output value, on average.
    """

    batch: int = 1
    groups: int = 1
    channels: int
    filters: int
    height: Axis
    width: Axis
    input_bits: float
    output_bits: float

    @property
    def weights(self) -> int:
        """Number of them."""
        return self.groups * self.filters * self.channels * self.height.taps * self.width.taps

    @property
    def inputs(self) -> int:
        """Number of input values that are read."""
        outputs = self.height.outputs
        return self.batch * self.groups * self.channels * self.height.reached(outputs) * self.columns_reached

    @property
    def outputs(self) -> int:
        """Number of output values."""
        return self.batch * self.groups * self.filters * self.height.outputs * self.width.outputs

    @property
    def macs(self) -> int:
        """Multiply-accumulates, padding among them."""
        return self.outputs * self.channels * self.height.taps * self.width.taps

    @cached_property
    def columns_reached(self) -> int:
        """Input columns that are read."""
        return self.width.reached(self.width.outputs)


@dataclass(frozen=True, kw_only=True)
class Mapping:
    """How a convolution runs on the array; letters as in the papers.

    Attributes:
        strip: Output rows of a strip, e.
        inputs: Inputs of a pass, n.
        filters: In a processing element, p.
        channels: In a processing element, q.
        channel_sets: Sets of processing elements with channels of their own, r.
        filter_sets: Sets of processing elements with filters of their own, t.
        passes: Passes with other filters that share inputs in the global buffer; m is passes * p * t.
    """

    strip: _Counts
    inputs: _Counts
    filters: _Counts
    channels: _Counts
    channel_sets: _Counts
    filter_sets: _Counts
    passes: _Counts


@dataclass(frozen=True, kw_only=True)
class Accesses:
    """How often the values of one kind are used at each level, all of them together.

    For filters and inputs: reads from DRAM, reads from the global buffer, arrivals at processing elements, and uses by
    MACs. For partial sums: outputs that go to DRAM, sums that the global buffer gathers, sums that leave the registers
    of a processing element, and MACs.

    Attributes:
        values: Different ones.
        dram: See above; so the following.
        buffer: Second level.
        array: Third level.
        register: Last level.
    """

    values: int
    dram: _Counts
    buffer: _Counts
    array: _Counts
    register: int

    @property
    def reuse(self) -> tuple[Fraction, Fraction, Fraction, Fraction]:
        """The factors a, b, c, d of ISCA 2016, section 6: the uses of a value at each level, on average."""
        levels = [self.values, self.dram, self.buffer, self.array, self.register]
        a, b, c, d = (Fraction(int(used), int(held)) for held, used in pairwise(levels))
        return a, b, c, d


@dataclass(frozen=True, kw_only=True)
class Movement:
    """What a convolution moves under a mapping.

    Attributes:
        convolution: Its shape.
        weights: Of filters.
        inputs: Of inputs.
        sums: Of partial sums.
        cycles: In which the busiest processing element of each pass multiplies.
    """

    convolution: Convolution
    weights: Accesses
    inputs: Accesses
    sums: Accesses
    cycles: _Counts

    @property
    def weight_reads(self) -> _Counts:
        """How often all weights are fetched from DRAM."""
        return self.weights.dram // self.weights.values

    @property
    def activation_bits(self) -> _Counts:
        """Bits of inputs and outputs from and to DRAM."""
        shape = self.convolution
        return self.inputs.dram * shape.input_bits + (2 * self.sums.dram - self.sums.values) * shape.output_bits

    def dram_words(self, chip: Chip, weight_bits: float) -> _Counts:
        """Words from and to DRAM, with `weight_bits` in which all weights are stored there."""
        return (self.activation_bits + self.weight_reads * weight_bits) / chip.word

    def energy(self, chip: Chip, weight_bits: float) -> _Counts:
        """In MACs, as `energy_on_chip`, with accesses to DRAM counted in words of what is stored there."""
        return self.dram_words(chip, weight_bits) * chip.dram_access + self.energy_on_chip(chip)

    def seconds(self, chip: Chip, frequency: float, weight_bits: float) -> _Counts:
        """Time at a clock of `frequency` Hz: `max(cycles / frequency, weights / bandwidth) + activations / bandwidth`.

        The next pass's filters are fetched into a buffer of their own while the array computes, but inputs and outputs
        are not moved meanwhile.
        """
        bits = 8 * chip.bandwidth
        fetching = self.weight_reads * weight_bits / bits
        return np.maximum(self.cycles / frequency, fetching) + self.activation_bits / bits

    def energy_on_chip(self, chip: Chip) -> _Counts:
        """In MACs, without accesses to DRAM.

        ISCA 2016, equations 3 and 4, and the MACs themselves: of N inputs or weights
        N (ab E_G + abc E_A + abcd E_R); of N partial sums N (2a(b-1) E_G + ab(c-1) E_A + 2abc(d-1) E_R).
        """
        w, i, s = self.weights, self.inputs, self.sums
        return (
            self.convolution.macs
            + (w.buffer + i.buffer + 2 * (s.buffer - s.dram)) * chip.buffer_access
            + (w.array + i.array + s.array - s.buffer) * chip.array_access
            + (w.register + i.register + 2 * (s.register - s.array)) * chip.register_access
        )


def movement(shape: Convolution, mapping: Mapping) -> Movement:
    """What the loops of the module's docstring move, in closed form."""
    height, width = shape.height, shape.width
    strips = -(-height.outputs // mapping.strip)
    channel_steps = _ceil(shape.channels, mapping.channels * mapping.channel_sets)
    filter_passes = _ceil(shape.filters, mapping.filters * mapping.filter_sets)
    resident = (channel_steps == 1) & (filter_passes == 1)
    weight_reads = np.where(resident, 1, strips * _ceil(shape.batch, mapping.inputs))
    shared_columns = np.where(resident, mapping.strip, height.outputs * _ceil(shape.batch, mapping.inputs))
    input_reads = np.where(channel_steps == 1, 1, _ceil(filter_passes, mapping.passes))
    images = shape.batch * shape.groups * shape.channels * shape.columns_reached
    fetched = images * height.reached(mapping.strip)
    busiest = _largest(shape.channels, mapping.channels, mapping.channel_sets) * _largest(
        shape.filters, mapping.filters, mapping.filter_sets
    )
    return Movement(
        convolution=shape,
        weights=Accesses(
            values=shape.weights,
            dram=shape.weights * weight_reads,
            buffer=shape.weights * weight_reads,
            array=shape.weights * shared_columns,
            register=shape.macs,
        ),
        inputs=Accesses(
            values=shape.inputs,
            dram=fetched * input_reads,
            buffer=fetched * filter_passes,
            array=images * height.pairs * _ceil(shape.filters, mapping.filters),
            register=shape.macs,
        ),
        sums=Accesses(
            values=shape.outputs,
            dram=shape.outputs,
            buffer=shape.outputs * channel_steps,
            array=shape.outputs * height.taps * _ceil(shape.channels, mapping.channels),
            register=shape.macs,
        ),
        cycles=shape.batch * shape.groups * strips * width.outputs * width.taps * busiest,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Mapped:
    """A convolution under a mapping.

    Attributes:
        mapping: How it runs.
        movement: What that moves.
    """

    mapping: Mapping
    movement: Movement


@dataclass(frozen=True, kw_only=True, eq=False)
class Mappings:
    """The mappings of a convolution that are the best for some size of its weights.

    Attributes:
        chip: The array.
        found: For each number of times that weights may be fetched, the one of least energy besides that.
    """

    chip: Chip
    found: tuple[Mapped, ...]

    def best(self, weight_bits: float) -> Mapped:
        """The one of least energy, with `weight_bits` in which all weights are stored in DRAM."""
        return min(self.found, key=lambda m: (m.movement.energy(self.chip, weight_bits), m.movement.cycles))


def mappings(shape: Convolution, chip: Chip) -> Mappings:
    """Search all mappings of a convolution that the chip's storage holds.

    Raises:
        UnsupportedError: No mapping fits.
    """
    best: dict[int, tuple[float, int, Mapping]] = {}
    for candidates in _candidates(shape, chip):
        moved = movement(shape, candidates)
        energy, reads = moved.energy(chip, 0.0), np.broadcast_to(moved.weight_reads, candidates.filters.shape)
        for count in np.unique(reads):
            chosen = np.flatnonzero(reads == count)
            index = chosen[np.lexsort((moved.cycles[chosen], energy[chosen]))[0]]
            key = (float(energy[index]), int(moved.cycles[index]))
            if int(count) not in best or key < best[int(count)][:2]:
                best[int(count)] = (*key, _at(candidates, index))
    if not best:
        raise UnsupportedError(
            f"filters of {shape.height.taps}x{shape.width.taps} over rows of {shape.width.span(shape.width.outputs)} "
            f"values do not fit into the accelerator's storage"
        )
    chosen_mappings = [best[count][2] for count in sorted(best)]
    return Mappings(chip=chip, found=tuple(Mapped(mapping=m, movement=movement(shape, m)) for m in chosen_mappings))


def _candidates(shape: Convolution, chip: Chip) -> Iterator[Mapping]:
    """Mappings that fit, as arrays, for each height of strip and number of inputs.

    Of sizes that divide something into equally many parts only the smallest is tried: it takes the least storage. Of
    strips a larger one is tried if it reaches fewer inputs.
    """
    if shape.height.taps > chip.rows or shape.width.taps > chip.input_registers:
        return
    tallest = chip.columns * (chip.rows // shape.height.taps)
    for strip in _strips(shape.height, tallest):
        grid = _grid(shape, chip, _sets(shape.height.taps, strip, chip))
        for inputs in _sizes(shape.batch, shape.batch):
            p, q, r, t = grid
            channels, filters = np.minimum(q * r, shape.channels), np.minimum(p * t, shape.filters)
            tile = shape.height.span(strip) * shape.width.span(shape.width.outputs)
            room = chip.global_buffer // inputs - channels * tile
            held = room // (strip * shape.width.outputs)  # filters whose partial sums find room
            passes = np.where(held >= shape.filters, _ceil(shape.filters, p * t), held // filters)
            kept = passes >= 1
            if kept.any():
                p, q, r, t = (axis[kept] for axis in grid)
                yield Mapping(
                    strip=strip,
                    inputs=inputs,
                    filters=p,
                    channels=q,
                    channel_sets=r,
                    filter_sets=t,
                    passes=passes[kept],
                )


def _strips(height: Axis, most: int) -> list[int]:
    """The heights of strips that no smaller one undercuts in both strips and inputs fetched."""
    kept: list[tuple[int, int, int]] = []
    for strip in range(1, min(height.outputs, most) + 1):
        count, reached = -(-height.outputs // strip), height.reached(strip)
        if not any(count == other and reached >= inputs for _, other, inputs in kept):
            kept.append((strip, count, reached))
    return [strip for strip, _, _ in kept]


def _sets(taps: int, strip: int, chip: Chip) -> int:
    """How many sets of processing elements fit; one wider than the array is folded into several beneath each other."""
    if strip <= chip.columns:
        return (chip.rows // taps) * (chip.columns // strip)
    return chip.rows // (taps * -(-strip // chip.columns))


def _grid(shape: Convolution, chip: Chip, sets: int) -> tuple[Any, ...]:
    """All p, q, r and t that the registers and the filter buffer hold, as arrays of one length."""
    sharing = np.array([(r, t) for r in range(1, sets + 1) for t in range(1, sets // r + 1)])
    p, q, pair = (
        axis.ravel()
        for axis in np.meshgrid(
            _sizes(shape.filters, chip.sum_registers),
            _sizes(shape.channels, chip.input_registers // shape.width.taps),
            np.arange(len(sharing)),
            indexing="ij",
        )
    )
    r, t = sharing[pair].T
    filters = p * t * q * r * shape.height.taps * shape.width.taps
    fits = (p * q * shape.width.taps <= chip.filter_registers) & (filters <= chip.filter_buffer)
    fits &= (r <= _ceil(shape.channels, q)) & (t <= _ceil(shape.filters, p))
    return tuple(axis[fits].astype(np.int64) for axis in (p, q, r, t))


def _sizes(total: int, most: int) -> list[int]:
    """For each number of parts that `total` falls into with sizes up to `most`, the smallest size, ascending."""
    return sorted({-(-total // -(-total // size)) for size in range(1, min(total, most) + 1)})


def _at(mapping: Mapping, index: Any) -> Mapping:
    arrays = {
        key: int(getattr(mapping, key)[index])
        for key in ("filters", "channels", "channel_sets", "filter_sets", "passes")
    }
    return Mapping(strip=mapping.strip, inputs=mapping.inputs, **arrays)


def _ceil(total: _Counts, size: _Counts) -> _Counts:
    return -(-total // size)


def _largest(total: int, size: _Counts, sets: _Counts) -> _Counts:
    """How many of `total` the busiest set takes, over all steps of `sets` times `size`: sets are filled in order."""
    whole, rest = total // (size * sets), total % (size * sets)
    return whole * size + np.minimum(size, rest)
