"""The run's folder: nothing is overwritten, nobody else writes, and a full disk is said so."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bqsearch.errors import OutputError
from bqsearch.search.folder import FRONT, JOURNAL, SPARE, opened, write_bytes, write_json
from bqsearch.tracking.spool import Spool


def test_a_new_folder_is_made_with_its_parents(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "run"
    with opened(path, False, 0) as folder:
        assert path.is_dir()
        assert folder.journal == path / JOURNAL
        assert folder.front == path / FRONT
        assert folder.point(3) == path / "points" / "3"


def test_an_empty_folder_and_a_left_lock_are_no_run(tmp_path: Path) -> None:
    for _ in range(2):
        with opened(tmp_path, False, 0):
            assert [p.name for p in tmp_path.iterdir()] == [".lock"]


@pytest.mark.parametrize("name", [JOURNAL, FRONT])
def test_an_existing_run_needs_resume(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("")
    with pytest.raises(OutputError, match="already holds a run: add --resume"), opened(tmp_path, False, 0):
        pass
    with opened(tmp_path, True, 0):
        pass


def test_a_killed_run_with_its_trials_elsewhere_can_be_resumed(tmp_path: Path) -> None:
    """With --storage URL there is no journal, and before the end no front: the events tell."""
    Spool(tmp_path).start("study", {}, {}, (), None)
    with pytest.raises(OutputError, match="already holds a run: add --resume"), opened(tmp_path, False, 0):
        pass
    with opened(tmp_path, True, 0):
        pass


@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_of_something_else_is_refused(tmp_path: Path, resume: bool) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(OutputError, match="is not empty and holds no run"), opened(tmp_path, resume, 0):
        pass
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_a_path_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(OutputError, match="cannot write to"), opened(path, False, 0):
            pass


def test_a_second_run_is_refused_while_the_first_goes_on(tmp_path: Path) -> None:
    with opened(tmp_path, False, 0) as folder:
        folder.journal.write_text("")
        with pytest.raises(OutputError, match="another run is writing to"), opened(tmp_path, True, 0):
            pass
    with opened(tmp_path, True, 0):
        pass


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_write_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="Permission denied"), opened(tmp_path / "run", False, 0):
        pass
    tmp_path.chmod(0o700)


def test_more_than_the_disk_has_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match=r"needs \d+ MiB free, but its disk has \d+ MiB"),
        opened(tmp_path, False, 1 << 60),
    ):
        pass


def test_files_are_written_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "value.json"
    write_json(path, {"a": [1, 2.5, None]})
    assert json.loads(path.read_text()) == {"a": [1, 2.5, None]}
    write_bytes(path, b"again")
    assert path.read_bytes() == b"again"
    assert [p.name for p in path.parent.iterdir()] == ["value.json"]


def test_values_that_json_has_not_leave_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    write_json(path, 1)
    with pytest.raises(ValueError, match="Out of range float"):
        write_json(path, float("nan"))
    assert path.read_text() == "1\n"


def test_points_are_cleared(tmp_path: Path) -> None:
    with opened(tmp_path, False, 0) as folder:
        write_bytes(folder.point(0) / "plan.json", b"{}")
        folder.clear_points()
        assert not (tmp_path / "points").exists()
        folder.clear_points()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    path = tmp_path / "disk"
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(path)]
    try:
        mounted = subprocess.run(command, check=False, capture_output=True).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("a file system can be mounted by root only")
    try:
        yield path
    finally:
        subprocess.run(["umount", str(path)], check=True)


def test_a_small_disk_is_refused_before_the_search(small_disk: Path) -> None:
    message = f"needs {SPARE >> 20} MiB free, but its disk has 1 MiB"
    with pytest.raises(OutputError, match=message), opened(small_disk / "run", False, 0):
        pass


def test_a_disk_that_fills_up(small_disk: Path) -> None:
    write_bytes(small_disk / "file", b"old")
    with pytest.raises(OutputError, match=r"cannot write to .*: No space left on device"):
        write_bytes(small_disk / "file", bytes(2 << 20))
    assert (small_disk / "file").read_bytes() == b"old"
