"""Runs the README's command and puts what it prints and draws into README.md and docs/pareto.png.

python benchmarks/readme.py
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- output: written by `make readme` -->", "<!-- end of output -->"
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
    readme = ROOT / "README.md"
    head, rest = readme.read_text().split(BEGIN)
    block = "\n".join(line.rstrip() for line in done.stdout.splitlines())
    readme.write_text(f"{head}{BEGIN}\n```\n{block}\n```\n{END}{rest.split(END)[1]}")


if __name__ == "__main__":
    main()
