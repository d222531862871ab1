"""`energy`: millijoules of one inference"""

from bqsearch.measure import Measurements, Objective


def read(measurements: Measurements) -> float:
    """Millijoules of one inference on the board."""
    return measurements.energy * 1e3


OBJECTIVE = Objective(
    name="energy",
    summary="millijoules of one inference: the board's active power times the latency",
    direction="minimize",
    unit="mJ",
    needs="static",
    read=read,
)
