"""The host's C compilers, and what they are asked to check."""

import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "bqsearch" / "firmware" / "source"
STRICT = ("-std=c11", "-Wall", "-Wextra", "-Werror", "-Wconversion", "-Wshadow")
SANITIZED = ("-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def need(compiler: str) -> str:
    """Skip where the compiler is missing."""
    found = shutil.which(compiler)
    if found is None:
        pytest.skip(f"{compiler} is not installed")
    return found


@cache
def _sanitizer_works(compiler: str) -> bool:
    command = [compiler, *SANITIZED, "-x", "c", "-", "-o", "/dev/null"]
    return subprocess.run(command, input=b"int main(void) { return 0; }", capture_output=True).returncode == 0


def need_sanitizers(compiler: str) -> str:
    """Skip where the compiler is missing, or its sanitizers' libraries are."""
    found = need(compiler)
    if not _sanitizer_works(found):
        pytest.skip(f"{compiler} has no address and undefined-behavior sanitizers")
    return found


def compile_c(compiler: str, *arguments: str | Path) -> None:
    """Run a compiler on the runtime's sources or others, all warnings being errors."""
    done = subprocess.run([compiler, *STRICT, f"-I{SOURCE}", *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
