"""LayerCoding: how a layer's codes stand in a stream, and what that takes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bqsearch.bank.codebooks import Codebooks
from bqsearch.bank.weights import LayerWeights
from bqsearch.packing.container import MAX_GAP, Container, Sizes, Symbols, Tally, gap_counts
from bqsearch.quantizers.base import CODES
from bqsearch.types import Bytes, Ints

_SPARSE = 0.5  # zeros among the weights, from which on gaps between the others may be worth coding
_UNKNOWN = -1  # occurrences of a gap: not as many zeros as there are, so that no container takes them


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerCoding:
    """A layer's streams.

    Attributes:
        weights: Of the layer.
        container: How they are stored.
    """

    weights: LayerWeights
    container: Container

    @property
    def codings(self) -> tuple[str, ...]:
        """The container's; weights that several operators read stay as they are."""
        return ("raw",) if self.weights.layer.shared else self.container.codings

    def stream(self, codes: Bytes) -> Bytes:
        """`(channels, columns)` codes in the order of the stream, `(size,)`."""
        return (codes if self.container.by_channel else self.weights.restore(codes)).reshape(-1)

    def symbols(self, books: Codebooks, codes: Bytes) -> Symbols:
        """`(channels, columns)` codes as places in codebooks, in the order of the stream."""
        layer, zero = self.weights.layer, self.weights.zero
        if len(books.values) == 1:  # without the values that no weight has
            held = np.bincount(codes.reshape(-1), minlength=CODES).astype(np.int64)
            books = Codebooks.of(held[None], zero)
        channels_last = layer.channel_axis == len(layer.shape) - 1
        return Symbols(
            indices=self.stream(books.places(codes)),
            values=books.values,
            zero=books.zero,
            zero_byte=zero,
            inner=1 if channels_last and not self.container.by_channel else codes.shape[1],
        )

    @property
    def fewest_zeros(self) -> float:
        """Weights of zero from which on gaps between the others are counted."""
        return _SPARSE * self.weights.layer.size if "sparse" in self.codings else np.inf

    def tally(self, symbols: Symbols) -> Tally:
        """One row."""
        counts = np.bincount(symbols.indices, minlength=symbols.values.shape[1])[None].astype(np.int64)
        many = symbols.zero >= 0 and counts[0, symbols.zero] >= self.fewest_zeros
        return Tally(
            counts=counts,
            zero=np.array([symbols.zero]),
            groups=symbols.groups,
            scaled=self.weights.per_channel,
            gaps=gap_counts(symbols.indices != symbols.zero) if many else unknown_gaps(1),
        )

    def sizes(self, tallies: Sequence[Tally]) -> list[Sizes]:
        """Exact bytes of each tally, worked out together: the codes of many alphabets are built in step."""
        made: dict[int, Sizes] = {}
        for groups in {tally.groups for tally in tallies}:
            alike = [i for i, tally in enumerate(tallies) if tally.groups == groups]
            whole = self.container.sizes(joined([tallies[i] for i in alike]))
            ends = np.cumsum([len(tallies[i].counts) for i in alike]).tolist()
            for i, start, end in zip(alike, [0, *ends], ends, strict=False):
                made[i] = part(whole, slice(start, end))
        return [made[i] for i in range(len(tallies))]


def unknown_gaps(rows: int) -> Ints:
    """Gaps that no container takes, `(rows, MAX_GAP + 1)`."""
    return np.full((rows, MAX_GAP + 1), _UNKNOWN)


def joined(tallies: Sequence[Tally]) -> Tally:
    """One tally of all rows, of equally many groups."""
    width = max(tally.counts.shape[1] for tally in tallies)
    counts = [np.pad(tally.counts, ((0, 0), (0, width - tally.counts.shape[1]))) for tally in tallies]
    gaps = [unknown_gaps(len(tally.counts)) if tally.gaps is None else tally.gaps for tally in tallies]
    return Tally(
        counts=np.concatenate(counts),
        zero=np.concatenate([tally.zero for tally in tallies]),
        groups=tallies[0].groups,
        scaled=tallies[0].scaled,
        gaps=np.concatenate(gaps),
    )


def part(whole: Sizes, rows: slice) -> Sizes:
    """Some rows."""
    return Sizes(
        stream={coding: nbytes[rows] for coding, nbytes in whole.stream.items()},
        table={coding: nbytes[rows] for coding, nbytes in whole.table.items()},
    )
