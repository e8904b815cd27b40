"""Fixtures that many tests share."""

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real photos and ground truths beside the repository; skips where it is missing."""
    root = Path(os.environ.get("MEISHO_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
    if not (root / "photos.csv").is_file():
        pytest.skip(f"the shared data are not at {root}; set MEISHO_SHARED_DATA to their folder")
    return root
