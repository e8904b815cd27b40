"""Photos, and a collection of them, for tests of the service; by a model that takes no time."""

import shutil

import numpy as np
import pytest
from PIL import Image

from meisho.describing import Describer
from meisho.extractors.base import EXTRACTORS
from meisho.extractors.local_base import LOCAL_EXTRACTORS, load_local_extractor
from meisho.local_describing import LocalDescriber
from meisho.run.indexing import IndexOptions, index_folder
from service.servers import scene, serving
from toy_features import MeanColor, index_with_corners


def paint(path, seed, *, taken=None, place=None, size=(40, 30), format=None):
    """Draw a photo whose mean colour tells it from others, with EXIF where a time or place is given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, 3)
    exif = Image.Exif()
    if taken or place:
        exif[0x010F] = "toy camera"
    if taken:
        exif.get_ifd(0x8769)[0x9003] = taken
    if place:
        latitude, longitude = place
        exif.get_ifd(0x8825).update(
            {1: "S" if latitude < 0 else "N", 2: (abs(latitude), 0.0, 0.0)}
            | {3: "W" if longitude < 0 else "E", 4: (abs(longitude), 0.0, 0.0)}
        )
    picture = Image.new("RGB", size, tuple(int(value) for value in pixels))
    picture.save(path, format, exif=exif.tobytes() if len(exif) else b"")
    return path


@pytest.fixture(autouse=True)
def corners_by_name(monkeypatch):
    """The toy extractors can be restored by their names."""
    monkeypatch.setitem(EXTRACTORS, "mean_color", "toy_features:load_mean_color")
    monkeypatch.setitem(LOCAL_EXTRACTORS, "corners", "toy_features:Corners")


@pytest.fixture
def photos(tmp_path):
    """Ten photos in two folders; five know when and where they were taken."""
    for seed in range(10):
        known = {"taken": f"2024:05:0{seed + 1} 12:00:00", "place": (35 + seed, 135)} if seed < 5 else {}
        paint(tmp_path / "photos" / "ab"[seed % 2] / f"{seed}.jpg", seed, **known)
    return tmp_path / "photos"


@pytest.fixture
def describer():
    return Describer(MeanColor(), num_workers=0)


@pytest.fixture
def collection(photos, describer):
    """The directory of a collection of them, with local features."""
    return index_with_corners(photos, describer)


@pytest.fixture(scope="session")
def scenes(tmp_path_factory):
    """A collection of six scenes, each also reduced, one copied, with strange names; and with SIFT."""
    root = tmp_path_factory.mktemp("scenes") / "photos"
    for seed in range(6):
        folder = root / f"place {seed}"
        folder.mkdir(parents=True)
        picture = scene(seed)
        picture.save(folder / "whole.png")
        picture.resize((240, 180)).save(folder / "small, né 京.jpg", quality=92)
    shutil.copy(root / "place 0" / "whole.png", root / "place 0" / "whole again.png")
    scene(7).save(root / "<img src=x onerror=alert(1)>.png")
    path = root.parent / "scenes.meisho"
    local = LocalDescriber(load_local_extractor("sift"), num_workers=0)
    index_folder(root, path, Describer(MeanColor(), num_workers=0), IndexOptions(local=local))
    return path


@pytest.fixture(scope="session")
def asked(scenes):
    """A client of a service of that collection."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(EXTRACTORS, "mean_color", "toy_features:load_mean_color")
        with serving(scenes) as client:
            yield client
