"""A contest of colours: each landmark is a colour, and each photo a shade of it."""

import numpy as np
import pytest
from PIL import Image

from meisho.descriptors import Provenance, normalize_rows
from meisho.images import ImageOptions

LANDMARKS, PHOTOS = 6, 5


class MeanColor:
    """Describes a photo by its mean colour, some of it; counts what it was asked for."""

    image_options = ImageOptions(max_side_px=32)

    def __init__(self, channels=(0, 1, 2), stop_after=None):
        self.channels = list(channels)
        self.dim = len(self.channels)
        self.provenance = Provenance.from_options("mean_color", {"channels": self.channels})
        self.stop_after = stop_after
        self.count = 0

    def extract(self, images):
        if self.stop_after is not None and self.count >= self.stop_after:
            raise KeyboardInterrupt
        self.count += len(images)
        colors = images.mean(axis=(1, 2), dtype=np.float32)[:, self.channels]
        return normalize_rows(colors - 110)


def photo_id(number):
    return f"{0x1000_0000_0000_0000 * (number % 13) + number:016x}"


def write_photo(folder, name, color):
    path = folder / name[0] / name[1] / name[2] / f"{name}.jpg"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 30), tuple(int(c) for c in color)).save(path, quality=95)
    return path


@pytest.fixture
def contest(tmp_path):
    """The publisher's layout: index/, test/, index.csv, retrieval_solution_v2.1.csv."""
    rng = np.random.default_rng(0)
    root = tmp_path / "gld"
    ids, rows = [], []
    for landmark in range(LANDMARKS):
        color = rng.integers(30, 226, 3)
        shades = np.clip(color + rng.integers(-25, 26, (PHOTOS + 1, 3)), 0, 255)
        right = [photo_id(100 * landmark + n) for n in range(PHOTOS)]
        for name, shade in zip(right, shades, strict=False):
            write_photo(root / "index", name, shade)
        query = photo_id(5_000 + landmark)
        write_photo(root / "test", query, shades[-1])
        rows.append(f"{query},{' '.join(right)},{'Public' if landmark % 2 else 'Private'}")
        ids += right
    unheard = photo_id(9_000)
    write_photo(root / "test", unheard, (1, 2, 3))
    rows.append(f"{unheard},None,Ignored")
    (root / "index" / "index.csv").write_text("\n".join(["id", *ids]) + "\n")
    (root / "test" / "retrieval_solution_v2.1.csv").write_text("\n".join(["id,images,Usage", *rows]) + "\n")
    return root


@pytest.fixture
def mean_color():
    return MeanColor
