"""Belief: what layers' weights may be, before and after trials."""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_solve, cholesky  # type: ignore[import-untyped]
from scipy.linalg.lapack import dtrtrs  # type: ignore[import-untyped]

from bqsearch.types import Floats


@dataclass(frozen=True, kw_only=True, eq=False)
class Belief:
    """Normally distributed weights.

    Attributes:
        mean: `(layers,)`.
        root: `(layers, layers)` upper triangular; its transpose times itself is the inverse of the covariance.
        scale: Error of the outputs for a unit of distortion of a layer of weight 1.
    """

    mean: Floats
    root: Floats
    scale: float = 1.0

    @classmethod
    def before(cls, count: int, spread: float) -> "Belief":
        """Before anything is known."""
        return cls(mean=np.ones(count), root=np.eye(count) / spread)

    @classmethod
    def after(cls, features: Floats, targets: Floats, spread: float) -> "Belief":
        """After `(n, layers)` features times the weights were seen to be `(n,)` targets, each with an error of 1."""
        prior = np.full(features.shape[1], spread**-2)
        precision = features.T @ features + np.diag(prior)
        root = cholesky(precision, check_finite=False)
        mean = cho_solve((root, False), features.T @ targets + prior, check_finite=False)
        return cls(mean=np.asarray(mean, np.float64), root=np.asarray(root, np.float64))

    def drawn(self, rng: np.random.Generator, count: int) -> Floats:
        """So many `(count, layers)` weights."""
        apart, _ = dtrtrs(self.root, rng.standard_normal((len(self.mean), count)))
        return np.asarray(self.mean + apart.T, np.float64)
