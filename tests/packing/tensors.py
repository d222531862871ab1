"""Tensors as symbols, made by hand and by hypothesis, and their tallies counted the plain way."""

import numpy as np
from hypothesis import strategies as st

from bqsearch.packing.container import MAX_GAP, Symbols, Tally
from bqsearch.types import Bytes

ZERO = 128


def fibonacci(symbols: int) -> list[int]:
    """Counts whose code is as deep as can be: one bit deeper for each symbol."""
    counts = [1, 1]
    while len(counts) < symbols:
        counts.append(counts[-1] + counts[-2])
    return counts[:symbols]


def shuffled(counts: list[int], seed: int) -> Bytes:
    """So many of each symbol, in any order."""
    indices = np.repeat(np.arange(len(counts)), counts).astype(np.uint8)
    np.random.default_rng(seed).shuffle(indices)
    return indices


def tensor(values: list[int], counts: list[int], seed: int, zero_byte: int = ZERO) -> Symbols:
    """One codebook, ascending, and shuffled indices into it, each of which occurs."""
    codebook = sorted(values)
    zero = codebook.index(zero_byte) if zero_byte in codebook else -1
    indices = shuffled(counts[: len(codebook)], seed)
    return Symbols(
        indices=indices, values=np.array([codebook], np.uint8), zero=zero, zero_byte=zero_byte, inner=len(indices) or 1
    )


def grouped(
    groups: int, inner: int, weights: int, symbols: int, zero: int, seed: int, share: float = 0.5, zero_byte: int = ZERO
) -> Symbols:
    """A codebook for each group; `share` of the weights are the symbol `zero`, if there is one."""
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 256, (groups, symbols)).astype(np.uint8)
    indices = rng.geometric(0.3, weights).clip(1, symbols) - 1 if symbols else np.zeros(0)
    if 0 <= zero < symbols:
        values[:, zero] = zero_byte
        indices[rng.random(weights) < share] = zero
    return Symbols(
        indices=indices.astype(np.uint8),
        values=values,
        zero=zero if zero < symbols else -1,
        zero_byte=zero_byte,
        inner=inner,
    )


def weights_of(symbols: Symbols) -> list[int]:
    """The raw bytes, weight by weight."""
    groups = len(symbols.values)
    return [int(symbols.values[i // symbols.inner % groups, s]) for i, s in enumerate(symbols.indices)]


def gaps_of(symbols: Symbols) -> list[int]:
    """Gap symbols as the specification's decoder wants them: zeros, escapes, and a rest that reaches the end."""
    found, run = [], 0
    for index in symbols.indices:
        if index != symbols.zero:
            found.append(run)
            run = 0
        else:
            run += 1
            if run == MAX_GAP:
                found.append(MAX_GAP)
                run = 0
    return [*found, run] if run else found


def tally_of(symbols: Symbols, known_gaps: bool = True) -> Tally:
    """Counted one by one; with one codebook by raw bytes, else by positions."""
    groups = len(symbols.values)
    if groups == 1:
        counts, zero = np.bincount(np.array(weights_of(symbols), int), minlength=256), symbols.zero_byte
    else:
        counts, zero = np.bincount(symbols.indices, minlength=symbols.values.shape[1]), symbols.zero
    gaps = np.bincount(np.array(gaps_of(symbols), int), minlength=MAX_GAP + 1)[None]
    return Tally(
        counts=counts[None].astype(np.int64),
        zero=np.array([zero]),
        groups=groups,
        gaps=gaps.astype(np.int64) if known_gaps else None,
    )


ONE_CODEBOOK = st.builds(
    tensor,
    st.lists(st.integers(0, 255), min_size=0, max_size=256, unique=True),
    st.lists(st.integers(1, 3) | st.integers(1, 60), min_size=256, max_size=256),
    st.integers(0, 2**32),
    st.integers(0, 255),
) | st.builds(
    tensor,
    st.lists(st.integers(0, 255), min_size=1, max_size=20, unique=True),
    st.permutations([*fibonacci(16), 700, 1, 1, 1]),
    st.integers(0, 2**32),
    st.just(ZERO),
)
MANY_CODEBOOKS = st.builds(
    grouped,
    groups=st.integers(2, 9),
    inner=st.integers(1, 30),
    weights=st.integers(0, 300),
    symbols=st.integers(1, 130),
    zero=st.integers(-1, 4) | st.integers(-1, 129),
    seed=st.integers(0, 2**32),
    share=st.sampled_from([0.0, 0.5, 0.97, 1.0]),
    zero_byte=st.integers(0, 255),
)
