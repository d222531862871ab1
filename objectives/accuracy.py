"""`accuracy`: share of held-out inputs classified right"""

from bqsearch.measure import Measurements, Objective


def read(measurements: Measurements) -> float:
    """Share of the split that the candidate gets right, 0 to 1."""
    return measurements.accuracy


OBJECTIVE = Objective(
    name="accuracy",
    summary="inputs of the search split classified right; the front is re-scored on the holdout",
    direction="maximize",
    unit="share",
    needs="data",
    read=read,
)
