"""What was published of Eyeriss, for a model of it to be held against.

Chen, Krishna, Emer and Sze, IEEE JSSC 52(1), 2017, at 1 V, 200 MHz and with a link of 60 MHz: abstract, and the tables
of mappings and of AlexNet's and VGG-16's layers. The tables are quoted from memory. Their DRAM accesses are of
activations that the chip codes by runs of zeros, and so are those of `Measured.shape(coded=True)`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from bqsearch.hardware.dataflow import Axis, Convolution, Mapping

WORD = 16
_RUN, _PAIRS, _PACKET = 31, 3, 64  # zeros before a word, such pairs of a 5-bit run and a word in a packet, its bits


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A convolutional layer on the chip.

    Attributes:
        name: In the papers.
        groups: Convolutions side by side.
        channels: Of a group's inputs.
        filters: Of a group.
        size: Rows and columns of inputs, without padding.
        taps: Rows and columns of a filter.
        outputs: Rows and columns of outputs.
        stride: In both directions.
        margin: Padding on each side.
        zeros: Share of zeros among the inputs.
        zeros_after: Share of zeros among the outputs: what the next layer reads; of the last layer, its own inputs'.
        mapping: How the chip ran it; None where it is not known.
        milliseconds: Of the batch in all; None where it is not known. So the others.
        milliwatts: Of the chip, without DRAM.
        dram_megabytes: From and to DRAM.
    """

    name: str
    groups: int = 1
    channels: int
    filters: int
    size: int
    taps: int
    outputs: int
    stride: int = 1
    margin: int = 0
    zeros: float
    zeros_after: float
    mapping: Mapping | None = None
    milliseconds: float | None = None
    milliwatts: float | None = None
    dram_megabytes: float | None = None

    def shape(self, batch: int, *, coded: bool) -> Convolution:
        """The layer for a batch; with activations as words, or `coded` by runs of zeros."""
        axis = Axis(
            size=self.size, taps=self.taps, outputs=self.outputs, stride=self.stride, dilation=1, margin=self.margin
        )
        return Convolution(
            batch=batch,
            groups=self.groups,
            channels=self.channels,
            filters=self.filters,
            height=axis,
            width=axis,
            input_bits=run_length_bits(self.zeros) if coded else WORD,
            output_bits=run_length_bits(self.zeros_after) if coded else WORD,
        )


@dataclass(frozen=True, kw_only=True)
class Network:
    """The convolutional layers of a network, and what was published of all of them together.

    Attributes:
        name: For people.
        batch: Inputs that the layers ran on at a time.
        layers: In order.
        accesses: To DRAM, for each MAC.
        frames: A second.
        milliwatts: Of the chip, without DRAM.
    """

    name: str
    batch: int
    layers: Sequence[Measured]
    accesses: float
    frames: float
    milliwatts: float


def run_length_bits(zeros: float) -> float:
    """Bits for a value on average, of which a share of `zeros` is 0, in the chip's code or as words if that is less.

    JSSC 2017, on run-length compression: 64 bits hold three pairs of a run of up to 31 zeros and the word behind it.
    With zeros at random places a value begins a pair with a probability of (1 - z) / (1 - z^32).
    """
    pairs = (1 - zeros) / (1 - zeros ** (_RUN + 1)) if zeros < 1 else 1 / (_RUN + 1)
    return min(WORD, pairs * _PACKET / _PAIRS)


def _mapping(m: int, n: int, e: int, p: int, q: int, r: int, t: int) -> Mapping:
    """By the letters of the table."""
    return Mapping(strip=e, inputs=n, filters=p, channels=q, channel_sets=r, filter_sets=t, passes=m // (p * t))


ALEXNET = Network(
    name="AlexNet",
    batch=4,
    layers=(
        Measured(
            name="CONV1",
            channels=3,
            filters=96,
            size=227,
            taps=11,
            outputs=55,
            stride=4,
            zeros=0.0001,
            zeros_after=0.387,
            mapping=_mapping(96, 1, 7, 16, 1, 1, 2),
            milliseconds=20.9,
            milliwatts=332,
            dram_megabytes=5.0,
        ),
        Measured(
            name="CONV2",
            groups=2,
            channels=48,
            filters=128,
            size=27,
            taps=5,
            outputs=27,
            margin=2,
            zeros=0.387,
            zeros_after=0.725,
            mapping=_mapping(64, 1, 27, 16, 2, 1, 1),
            milliseconds=41.9,
            milliwatts=288,
            dram_megabytes=4.0,
        ),
        Measured(
            name="CONV3",
            channels=256,
            filters=384,
            size=13,
            taps=3,
            outputs=13,
            margin=1,
            zeros=0.725,
            zeros_after=0.793,
            mapping=_mapping(64, 4, 13, 16, 4, 1, 4),
            milliseconds=23.6,
            milliwatts=266,
            dram_megabytes=3.0,
        ),
        Measured(
            name="CONV4",
            groups=2,
            channels=192,
            filters=192,
            size=13,
            taps=3,
            outputs=13,
            margin=1,
            zeros=0.793,
            zeros_after=0.776,
            mapping=_mapping(64, 4, 13, 16, 3, 2, 2),
            milliseconds=18.4,
            milliwatts=235,
            dram_megabytes=2.1,
        ),
        Measured(
            name="CONV5",
            groups=2,
            channels=192,
            filters=128,
            size=13,
            taps=3,
            outputs=13,
            margin=1,
            zeros=0.776,
            zeros_after=0.776,
            mapping=_mapping(64, 4, 13, 16, 3, 2, 2),
            milliseconds=10.5,
            milliwatts=236,
            dram_megabytes=1.3,
        ),
    ),
    accesses=0.0029,
    frames=34.7,
    milliwatts=278,
)


def _vgg(rows: Sequence[tuple[str, int, int, int, float]]) -> tuple[Measured, ...]:
    """From name, channels, filters, size and share of zeros among the inputs."""
    after = [zeros for *_, zeros in rows[1:]] + [rows[-1][-1]]
    return tuple(
        Measured(
            name=name,
            channels=channels,
            filters=filters,
            size=size,
            taps=3,
            outputs=size,
            margin=1,
            zeros=zeros,
            zeros_after=then,
        )
        for (name, channels, filters, size, zeros), then in zip(rows, after, strict=True)
    )


VGG_16 = Network(
    name="VGG-16",
    batch=3,
    layers=_vgg(
        [
            ("CONV1-1", 3, 64, 224, 0.016),
            ("CONV1-2", 64, 64, 224, 0.477),
            ("CONV2-1", 64, 128, 112, 0.248),
            ("CONV2-2", 128, 128, 112, 0.387),
            ("CONV3-1", 128, 256, 56, 0.397),
            ("CONV3-2", 256, 256, 56, 0.581),
            ("CONV3-3", 256, 256, 56, 0.587),
            ("CONV4-1", 256, 512, 28, 0.643),
            ("CONV4-2", 512, 512, 28, 0.747),
            ("CONV4-3", 512, 512, 28, 0.854),
            ("CONV5-1", 512, 512, 14, 0.794),
            ("CONV5-2", 512, 512, 14, 0.874),
            ("CONV5-3", 512, 512, 14, 0.885),
        ]
    ),
    accesses=0.0035,
    frames=0.7,
    milliwatts=236,
)
