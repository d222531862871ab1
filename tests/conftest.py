"""What many tests share."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = "tests/cli/"
CLUSTERS = ("tests/search/test_pool.py", "tests/search/test_ray_pool.py")
settings.register_profile("patient", deadline=None)  # other tests run beside it
settings.load_profile("patient")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Processes share out whole files, for a file's tests share networks and runs.

    Those of the program share one run, and no two tests start a cluster at a time: they are one process's.
    """
    from xdist.scheduler import LoadFileScheduling

    class ByRun(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return PROGRAM if nodeid.startswith((PROGRAM, *CLUSTERS)) else str(super()._split_scope(nodeid))

    return ByRun(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Scores that the user's runs have left are neither read nor written, here and in processes of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def shared_models() -> Path:
    """The folder of real networks beside the checkout, where it is there."""
    folder = ROOT.parent / "shared" / "models"
    if not folder.is_dir():
        pytest.skip("no real networks: ../shared/models is not there")
    return folder


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data that BQSEARCH_DATA names."""
    named = os.environ.get("BQSEARCH_DATA")
    if not named or not Path(named).is_dir():
        pytest.skip("no real data: BQSEARCH_DATA names no folder")
    return Path(named)
