"""`ram`: bytes of RAM at the peak: arena, decode buffers, stack and statics"""

from bqsearch.measure import Measurements, Objective


def read(measurements: Measurements) -> float:
    """Bytes of RAM on the board."""
    return float(measurements.ram.total)


OBJECTIVE = Objective(
    name="ram",
    summary="bytes of RAM at the peak: arena, decode buffers, stack and statics",
    direction="minimize",
    unit="B",
    needs="static",
    read=read,
)
