"""`accuracy`: share of held-out inputs classified right, by LiteRT"""

from bqsearch.measure import Measurements, Objective


def read(measurements: Measurements) -> float:
    """Share of the split that the candidate gets right, 0 to 1."""
    return measurements.accuracy


OBJECTIVE = Objective(
    name="accuracy",
    summary="share of held-out inputs classified right, by LiteRT",
    direction="maximize",
    unit="",
    needs="data",
    read=read,
)
