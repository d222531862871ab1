"""The commit that a run was started from."""

import shutil
import subprocess
from pathlib import Path

_PATIENCE = 5.0  # seconds; a slow disk is no reason to keep a run waiting


def commit_of(folder: Path) -> str | None:
    """The commit that is checked out in a folder; None where it is in no git repository, or git is missing."""
    git = shutil.which("git")
    if git is None:
        return None
    command = [git, "rev-parse", "--verify", "--quiet", "HEAD"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
