"""Kinship: what trials lose beyond what their error foretells, and what plans like them will.

Which answers a network gets wrong follows from how its weights are off. Two plans share that as far as they share what
distorts: layers with the same choice are off alike, others independently. So the losses of trials, less what networks
of their error lose in the mean, are a Gaussian process over plans (Rasmussen and Williams, "Gaussian Processes for
Machine Learning", 2006, 2.2) with the shared part of the error as the covariance.
"""

from dataclasses import dataclass

import numpy as np

from bqsearch.types import Floats, Ints

_OWN = 0.15  # of the variance: what plans do not share even where their choices are the same
_LEAST = 0.05  # of the variance, whatever is known
_TINY = 1e-12  # of an error


@dataclass(frozen=True, kw_only=True, eq=False)
class Kinship:
    """Of some trials.

    Attributes:
        rungs: `(n, layers)`.
        errors: `(n, layers)` what each layer distorts.
        inverse: `(n, n)` of the trials' covariance.
        weighted: `(n,)` that times the trials' deviations.
    """

    rungs: Ints
    errors: Floats
    inverse: Floats
    weighted: Floats

    @classmethod
    def of(cls, rungs: Ints, errors: Floats, deviations: Floats) -> "Kinship":
        """Of `(n, layers)` rungs and their errors, and `(n,)` deviations in units of their standard deviation."""
        covariance = _shared(rungs, errors, rungs, errors)
        inverse = np.asarray(np.linalg.inv(covariance + _OWN * np.eye(len(rungs))), np.float64)
        return cls(rungs=rungs, errors=errors, inverse=inverse, weighted=inverse @ deviations)

    def deviations(self, rungs: Ints, errors: Floats) -> tuple[Floats, Floats]:
        """Of `(m, layers)` plans and their errors: `(m,)` means and `(m,)` standard deviations."""
        shared = _shared(rungs, errors, self.rungs, self.errors)
        known = ((shared @ self.inverse) * shared).sum(axis=1)
        return shared @ self.weighted, np.sqrt(np.maximum(1 - known, _LEAST))


def _shared(rungs: Ints, errors: Floats, others: Ints, their: Floats) -> Floats:
    """`(n, m)` the part of the error that plans share."""
    same = rungs[:, None] == others[None]
    common = np.where(same, np.sqrt(errors[:, None] * their[None]), 0.0).sum(axis=-1)
    whole = np.sqrt(np.outer(errors.sum(axis=1), their.sum(axis=1)))
    return np.asarray(common / np.maximum(whole, _TINY), np.float64)
