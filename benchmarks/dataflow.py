"""AlexNet and VGG-16 on Eyeriss by layer: what the row-stationary model says, beside what was published.

    python benchmarks/dataflow.py

Weights and activations of 16 bits, activations coded by runs of zeros as on the chip, whose shares are published.
"chip's" are the published mappings, "best" those of least energy that the search finds, and "words" are the best ones
with activations that are not coded, of which only the sum is shown. Letters are those of the papers; a, b, c, d are the
reuse factors of filters at DRAM, global buffer, array and registers. Energy is in MACs.
"""

from collections.abc import Iterator

from bqsearch.hardware import target
from bqsearch.hardware.dataflow import Chip, Mapped, mappings, movement
from bqsearch.testing.eyeriss import ALEXNET, VGG_16, WORD, Network
from paste import markdown, paste

WAYS = ("chip's", "best", "words")
COLUMNS = [
    "mapping",
    "e",
    "n, m",
    "p, q, r, t",
    "PEs",
    "a, b, c, d",
    "MB DRAM",
    "published",
    "DRAM/MAC",
    "energy/MAC",
]
TIMES = ["ms", "published"]


def mapped(network: Network, chip: Chip, way: str) -> list[Mapped]:
    """Each layer under one of `WAYS`; none for the chip's where they were not published."""
    shapes = [layer.shape(network.batch, coded=way != "words") for layer in network.layers]
    if way != "chip's":
        return [mappings(shape, chip).best(WORD * shape.weights) for shape in shapes]
    known = [layer.mapping for layer in network.layers]
    return [Mapped(mapping=m, movement=movement(s, m)) for m, s in zip(known, shapes, strict=True) if m is not None]


def rows(network: Network, chip: Chip, frequency: float, way: str) -> Iterator[list[str]]:
    """A row for each layer, and one for all."""
    found = mapped(network, chip, way)
    words = macs = energy = joules = seconds = 0.0
    for layer, done in zip(network.layers if found else (), found, strict=True):
        moved, m = done.movement, done.mapping
        bits = float(WORD * moved.convolution.weights)
        dram, used, time = (
            float(v)
            for v in (moved.dram_words(chip, bits), moved.energy(chip, bits), moved.seconds(chip, frequency, bits))
        )
        count, share = moved.convolution.macs, m.channel_sets * m.filter_sets
        words, macs, energy, seconds = words + dram, macs + count, energy + used, seconds + time
        joules += float(moved.energy_on_chip(chip)) * chip.mac
        if way == "words":
            continue
        yield [
            f"{layer.name} {way}",
            f"{m.strip}",
            f"{m.inputs}, {min(m.passes * m.filters * m.filter_sets, layer.filters)}",
            f"{m.filters}, {m.channels}, {m.channel_sets}, {m.filter_sets}",
            f"{m.strip * layer.taps * share}",
            ", ".join(f"{float(factor):.4g}" for factor in moved.weights.reuse),
            f"{2 * dram / 1e6:.1f}",
            f"{layer.dram_megabytes or ''}",
            f"{dram / count:.5f}",
            f"{used / count:.2f}",
            f"{1e3 * time:.1f}",
            f"{layer.milliseconds or ''}",
        ]
    if found:
        published = f"{network.accesses} ({100 * (words / macs / network.accesses - 1):+.0f} %)"
        frames = f"{network.batch / seconds:.1f} frames/s at {1e3 * joules / seconds:.0f} mW"
        given = f"{network.frames} at {network.milliwatts} mW"
        filler = [""] * 5
        total = [f"{2 * words / 1e6:.1f}", published, f"{words / macs:.5f}", f"{energy / macs:.2f}", frames, given]
        yield [f"**{network.name} {way}**", *filler, *total]


def main() -> None:
    """Print the table and put it into README.md."""
    board = target.load("eyeriss")
    assert board.chip is not None
    table = []
    for network in (ALEXNET, VGG_16):
        for way in WAYS:
            for row in rows(network, board.chip, board.frequency, way):
                table.append(row)
                print(*row, sep=" | ", flush=True)
    paste("dataflow", "python benchmarks/dataflow.py", markdown([*COLUMNS, *TIMES], table))


if __name__ == "__main__":
    main()
