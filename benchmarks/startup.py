"""How long `bqsearch --help` takes, as whole processes: the median of ten, beside an interpreter that does nothing.

python benchmarks/startup.py
"""

import statistics
import subprocess
import sys
import time

RUNS = 10


def seconds(arguments: list[str]) -> float:
    """Median wall time of a fresh interpreter with these arguments."""
    times = []
    for _ in range(RUNS):
        started = time.perf_counter()
        subprocess.run([sys.executable, *arguments], capture_output=True, check=True)
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def main() -> None:
    """Print both times."""
    print(f"python -c pass: {seconds(['-c', 'pass']):.3f} s")
    print(f"bqsearch --help: {seconds(['-m', 'bqsearch', '--help']):.3f} s")


if __name__ == "__main__":
    main()
