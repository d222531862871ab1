"""The commit of a folder."""

import subprocess
from pathlib import Path

import pytest

from bqsearch.tracking.git import commit_of


def test_the_commit_that_is_checked_out(tmp_path: Path) -> None:
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    assert commit_of(tmp_path) is None
    subprocess.run([*git, "commit", "--quiet", "--allow-empty", "-m", "first"], check=True)
    wanted = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    (tmp_path / "inner").mkdir()
    assert commit_of(tmp_path) == commit_of(tmp_path / "inner") == wanted


def test_no_repository_and_no_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert commit_of(tmp_path) is None
    assert commit_of(tmp_path / "gone") is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert commit_of(Path.cwd()) is None
