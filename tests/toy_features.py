"""Extractors for tests of the second pass: cheap, and every answer can be told from another."""

import numpy as np

from meisho.descriptors import Provenance, normalize_rows
from meisho.images import ImageOptions
from meisho.local_features import LocalFeatures


class MeanColor:
    dim = 3
    provenance = Provenance.from_options("mean_color", {})
    image_options = ImageOptions(max_side_px=64)

    def extract(self, images):
        return normalize_rows(images.mean(axis=(1, 2), dtype=np.float32))


def load_mean_color(rest="", **options):
    """What `EXTRACTORS` calls where a test names `MeanColor` there."""
    return MeanColor()


class Corners:
    """Two corners of the image with their colors; counts what it was asked for."""

    dim = 3
    image_options = ImageOptions(max_side_px=64)

    def __init__(self, *, version: int = 1):
        self.provenance = Provenance.from_options("corners", {"version": version})
        self.count = 0

    def extract(self, image):
        self.count += 1
        height, width = image.shape[:2]
        colors = np.stack([image[0, 0], image[-1, -1]]).astype(np.float32)
        return LocalFeatures(
            np.array([[0, 0], [width - 1, height - 1]]), colors, np.array([2.0, 1.0]), (width, height)
        )


def read_local_features(collection, ids):
    """Read the local features of photos of a collection; ids without some are left out."""
    found = collection.local_reader(ids).read(np.arange(len(ids)))
    return {i: features for i, features in zip(ids, found, strict=True) if features is not None}


def index_with_corners(photos, describer):
    """Index a folder, with local features, into a collection beside it; return the collection's directory."""
    from meisho.local_describing import LocalDescriber
    from meisho.run.indexing import IndexOptions, index_folder  # brings LanceDB, which some tests keep out

    path = photos.parent / "c.meisho"
    index_folder(photos, path, describer, IndexOptions(local=LocalDescriber(Corners(), num_workers=0)))
    return path
