"""`latency`: milliseconds of one inference"""

from bqsearch.measure import Measurements, Objective


def read(measurements: Measurements) -> float:
    """Milliseconds of one inference on the target."""
    return measurements.latency * 1e3


OBJECTIVE = Objective(
    name="latency",
    summary="milliseconds of one inference",
    direction="minimize",
    unit="ms",
    needs="static",
    read=read,
)
