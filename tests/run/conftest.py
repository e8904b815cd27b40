"""Photos, and a collection of them, for tests of the runs."""

import numpy as np
import pytest
from PIL import Image

from meisho.describing import Describer
from meisho.extractors.local_base import LOCAL_EXTRACTORS
from toy_features import MeanColor, index_with_corners


def paint(path, seed):
    """Draw a photo whose mean colour tells it from others."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, 3)
    Image.new("RGB", (40, 30), tuple(int(value) for value in pixels)).save(path)
    return path


@pytest.fixture(autouse=True)
def corners_by_name(monkeypatch):
    """The toy extractor of local features can be restored by its name."""
    monkeypatch.setitem(LOCAL_EXTRACTORS, "corners", "toy_features:Corners")


@pytest.fixture
def photos(tmp_path):
    """A folder of ten photos."""
    for seed in range(10):
        paint(tmp_path / "photos" / f"{seed}.png", seed)
    return tmp_path / "photos"


@pytest.fixture
def describer():
    return Describer(MeanColor(), num_workers=0)


@pytest.fixture
def collection(photos, describer):
    """The directory of a collection of them, with local features."""
    return index_with_corners(photos, describer)
