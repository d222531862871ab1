"""Runs the README's command and puts what it prints and draws into README.md and docs/pareto.png.

python benchmarks/readme.py
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from paste import ROOT, paste

COMMAND = ["run", "--model", "mobilenet_v2", "--target", "hifive1"]


def main() -> None:
    """Run, paste, copy."""
    with tempfile.TemporaryDirectory() as scratch:
        done = subprocess.run(
            [sys.executable, "-m", "bqsearch", *COMMAND],
            cwd=scratch,
            env={**os.environ, "COLUMNS": "120"},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        shutil.copy(Path(scratch) / "runs/mobilenet_v2-hifive1/pareto.png", ROOT / "docs/pareto.png")
    block = "\n".join(line.rstrip() for line in done.stdout.splitlines())
    paste("output", "make readme", f"```\n{block}\n```")


if __name__ == "__main__":
    main()
