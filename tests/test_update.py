"""Bringing a collection in step with photos: what is described, and what a kill or a loss leaves to do."""

import numpy as np
import pytest
from PIL import Image

from meisho.descriptors import Provenance, normalize_rows
from meisho.images import ImageOptions, find_photos
from meisho.run import index_photos
from meisho.store import Collection, tables
from meisho.update import plan_update


class MeanColor:
    """Counts what it was asked to describe."""

    dim = 3
    provenance = Provenance.from_options("mean_color", {})
    image_options = ImageOptions(max_side_px=64)

    def __init__(self):
        self.count = 0

    def extract(self, images):
        self.count += len(images)
        return normalize_rows(images.mean(axis=(1, 2), dtype=np.float32))


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(5):
        Image.new("RGB", (40, 30), (40 * number, 200 - 30 * number, 90)).save(folder / f"{number}.png")
    return folder


def index(folder, extractor):
    photos, problems = find_photos(folder)
    to = folder.parent / "c.meisho"
    return index_photos(photos, to, extractor, photo_root=folder, problems=problems, num_workers=0)


def test_nothing_is_planned_when_nothing_changed(photos):
    extractor = MeanColor()
    index(photos, extractor)
    collection = Collection.open(photos.parent / "c.meisho")
    with collection.writer() as writer:
        known = writer.known_contents()
    plan = plan_update(collection.records(), find_photos(photos)[0], photo_root=photos, known_contents=known)
    assert (plan.pending, plan.gone, plan.unchanged) == ((), (), 5)


def test_descriptors_that_were_lost_are_made_anew(photos):
    extractor = MeanColor()
    index(photos, extractor)
    collection = Collection.open(photos.parent / "c.meisho")
    tables.delete_sequences(tables.open_latest(collection.path, tables.DESCRIPTORS), np.array([1, 3]))
    summary = index(photos, extractor)
    assert (summary.described, summary.unchanged, extractor.count) == (2, 3, 7)
    assert len(collection.snapshot().descriptors) == 5


def test_descriptors_without_records_are_used_not_made_again(photos):
    """A kill between the two commits of a batch leaves this."""
    extractor = MeanColor()
    index(photos, extractor)
    collection = Collection.open(photos.parent / "c.meisho")
    before = collection.snapshot().descriptors.vectors
    with collection.writer() as writer:
        writer.remove(["2.png", "4.png"])
    summary = index(photos, extractor)
    assert (summary.described, summary.duplicates, extractor.count) == (0, 2, 5)
    snapshot = collection.snapshot()
    assert snapshot.descriptors.ids == ("0.png", "1.png", "3.png", "2.png", "4.png")
    np.testing.assert_array_equal(snapshot.descriptors.vectors, before[[0, 1, 3, 2, 4]])
    assert all((r.width_px, r.height_px) == (40, 30) for r in collection.records())


def test_twins_of_a_broken_photo_are_broken_too_and_mend_when_it_is_replaced(photos):
    for name in ("x.jpg", "y.jpg"):
        (photos / name).write_bytes(b"not a photo")
    extractor = MeanColor()
    summary = index(photos, extractor)
    assert [s.id for s in summary.skipped] == ["x.jpg", "y.jpg"]
    assert len({s.reason for s in summary.skipped}) == 1
    Image.new("RGB", (50, 50), "orange").save(photos / "x.jpg")
    again = index(photos, extractor)
    assert (again.described, again.num_photos) == (1, 6)
    assert [s.id for s in again.skipped] == ["y.jpg"]
