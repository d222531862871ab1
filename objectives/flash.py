"""`flash`: bytes of flash: streams, tables, biases, records and code"""

from bqsearch.measure import Measurements, Objective


def read(measurements: Measurements) -> float:
    """Bytes of flash on the board."""
    return float(measurements.flash.total)


OBJECTIVE = Objective(
    name="flash",
    summary="bytes of flash: streams, tables, biases, records and code",
    direction="minimize",
    unit="B",
    needs="static",
    read=read,
)
