"""`energy`: millijoules of one inference"""

from bqsearch.measure import Measurements, Objective


def read(measurements: Measurements) -> float:
    """Millijoules of one inference on the target."""
    return measurements.energy * 1e3


OBJECTIVE = Objective(
    name="energy",
    summary="millijoules of one inference: a board's active power times the latency, an accelerator's accesses",
    direction="minimize",
    unit="mJ",
    needs="static",
    read=read,
)
