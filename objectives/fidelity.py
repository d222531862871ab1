"""`fidelity`: how well held-out outputs keep to the uncompressed network's; needs no labels"""

from bqsearch.measure import Measurements, Objective


def read(measurements: Measurements) -> float:
    """Coefficient of determination of the candidate's outputs against the uncompressed network's, at most 1."""
    return measurements.fidelity


OBJECTIVE = Objective(
    name="fidelity",
    summary="1 - error / variance of the uncompressed network's outputs on the search split; needs no labels",
    direction="maximize",
    unit="share",
    needs="data",
    read=read,
)
