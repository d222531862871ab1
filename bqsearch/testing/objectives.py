"""What every objective must keep: `check_objective(OBJECTIVE, measurements)` in a test is all that a new one needs."""

import math

from bqsearch.measure import Measurements, Objective


def check_objective(objective: Objective, measurements: Measurements) -> None:
    """Assert the contract of an objective on one model's measurements; static objectives must not run it."""
    assert objective.name.isidentifier(), f"{objective.name!r} is no name"
    assert objective.summary, f"{objective.name}: no summary"
    assert objective.direction in ("maximize", "minimize"), f"{objective.name}: direction {objective.direction!r}"
    assert objective.needs in ("static", "data"), f"{objective.name}: needs {objective.needs!r}"
    before = measurements.scorer.engine.seconds
    value = objective.read(measurements)
    assert isinstance(value, float), f"{objective.name} reads {type(value).__name__}, not a float"
    assert math.isfinite(value), f"{objective.name} reads {value}"
    assert value == objective.read(measurements), f"{objective.name} reads another value the second time"
    if objective.needs == "static":
        assert measurements.scorer.engine.seconds == before, f"{objective.name} is static, but ran the network"
