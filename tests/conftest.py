"""What many tests share."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


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
