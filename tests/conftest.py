"""Shared fixtures."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The shared folder of real annotations and videos; the test is skipped where it is absent."""
    default = Path(__file__).parents[1].parent / "shared" / "data"
    root = Path(os.environ.get("OPENMOMENT_DATA", default))
    if not (root / "MANIFEST.csv").is_file():
        pytest.skip(f"no data at {root}: set OPENMOMENT_DATA to run this test")
    return root
