"""Names for runs of the program, shared by the tests that look at what they left."""

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TRIALS, POLISH = 60, 4
TITLE = ["run", "--model", "mobilenet_v2", "--target"]
COMMAND = [*TITLE, "hifive1", "--polish", str(POLISH), "--trials", str(TRIALS)]
SMALL_TRIALS = 100
MICRO_COMMAND = [*TITLE, "nrf52840", "--polish", "0", "--trials", "2", "--tracking-uri", "none"]

Bqsearch = Callable[..., "subprocess.CompletedProcess[str]"]


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        folder: Its output folder.
        output: What it printed on standard output.
        front: Its front.json.
    """

    folder: Path
    output: str
    front: dict[str, Any]
