"""What the runtime's tests share."""

from pathlib import Path

import pytest

from firmware.compilers import need


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for what is built for this machine."""
    need("cc")
    return tmp_path_factory.mktemp("host")
