"""What no code of single symbols can be shorter than."""

import numpy as np

from bqsearch.types import Floats, Ints


def shannon_bytes(counts: Ints) -> Floats:
    """The entropy of order 0, `(n,)` float64 bytes, of `(n, k)` occurrences of symbols.

    Shannon, "A mathematical theory of communication", 1948, section 9: so many bits at least for symbols that are
    coded one by one, with their frequencies known to the decoder for nothing.
    """
    total = counts.sum(axis=1, keepdims=True)
    used = np.maximum(counts, 1)  # what does not occur takes no bits
    bits = counts * (np.log2(np.maximum(total, 1)) - np.log2(used))
    return np.maximum(bits, 0.0).sum(axis=1) / 8
