"""Shared fixtures."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from openmoment.encoders.embedded.backbone import Embedded

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # kind to shared machines; before torch loads


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The shared folder of real annotations and videos; the test is skipped where it is absent."""
    default = Path(__file__).parents[1].parent / "shared" / "data"
    root = Path(os.environ.get("OPENMOMENT_DATA", default))
    if not (root / "MANIFEST.csv").is_file():
        pytest.skip(f"no data at {root}: set OPENMOMENT_DATA to run this test")
    return root


@pytest.fixture(scope="session")
def embedded() -> "Embedded":
    """The default backbone, its weights loaded once for the whole run."""
    from openmoment.encoders.embedded.backbone import Embedded

    return Embedded()


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Tests neither read nor fill the user's cache; each starts with an empty one."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("OPENMOMENT_CACHE", str(folder))
    return folder
