"""Bringing a collection in step with photos: what is described, and what a kill or a loss leaves to do."""

import numpy as np
import pytest
from PIL import Image

from meisho.datasets.base import load_dataset
from meisho.describing import Describer
from meisho.descriptors import Provenance, normalize_rows
from meisho.images import ImageOptions
from meisho.photo_folder import find_photos
from meisho.planning import plan_update
from meisho.run.evaluating import evaluate_dataset
from meisho.run.indexing import index_photos
from meisho.store import tables
from meisho.store.collection import Collection


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
    return index_photos(find_photos(folder), folder.parent / "c.meisho", Describer(extractor, num_workers=0))


def test_nothing_is_planned_when_nothing_changed(photos):
    extractor = MeanColor()
    index(photos, extractor)
    collection = Collection.open(photos.parent / "c.meisho")
    with collection.writer() as writer:
        known = writer.known_contents()
    plan = plan_update(collection.records(), find_photos(photos), known_contents=known)
    assert (plan.pending, plan.gone, plan.unchanged) == ((), (), 5)


def test_descriptors_that_were_lost_are_made_anew(photos):
    extractor = MeanColor()
    index(photos, extractor)
    collection = Collection.open(photos.parent / "c.meisho")
    tables.open_latest(collection.path, tables.DESCRIPTORS).delete("sequence IN (1, 3)")
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


def test_photos_that_could_not_be_read_are_tried_again(photos):
    (photos / "link.png").symlink_to(photos.parent / "later.png")
    extractor = MeanColor()
    assert [s.id for s in index(photos, extractor).skipped] == ["link.png"]
    Image.new("RGB", (50, 50), "orange").save(photos.parent / "later.png")
    again = index(photos, extractor)
    assert (again.described, again.skipped, again.num_photos) == (1, (), 6)


def test_a_twin_of_a_photo_that_vanished_is_described_itself(photos):
    twin = photos / "twin.png"
    twin.write_bytes((photos / "0.png").read_bytes())

    class Thief(MeanColor):
        """The first photo is gone when it is to be decoded."""

        @property
        def image_options(self):
            (photos / "0.png").unlink(missing_ok=True)
            return ImageOptions(max_side_px=64)

    plan = find_photos(photos)
    to = photos.parent / "c.meisho"
    first = index_photos(plan, to, Describer(MeanColor(), num_workers=0))
    assert first.duplicates == 1
    (photos / "0.png").unlink()
    second = index_photos(plan, photos.parent / "d.meisho", Describer(Thief(), num_workers=0))
    assert [s.id for s in second.skipped] == ["0.png"]
    assert second.num_photos == 5


def test_a_folder_that_cannot_be_looked_into_keeps_its_photos(photos):
    disk = photos.parent / "disk"
    disk.mkdir()
    for number in range(3):
        Image.new("RGB", (40, 30), (9, 60 * number, 90)).save(disk / f"{number}.png")
    (photos / "usb").symlink_to(disk)
    extractor = MeanColor()
    assert index(photos, extractor).num_photos == 8
    disk.rename(photos.parent / "unplugged")
    summary = index(photos, extractor)
    assert (summary.num_photos, summary.removed) == (8, 0)
    assert [s.id for s in summary.skipped] == ["usb"]
    (photos.parent / "unplugged").rename(disk)
    assert index(photos, extractor).unchanged == 8


def test_a_kill_after_a_folder_was_renamed_loses_no_photo(photos):
    """Photos that are gone are removed last: at any earlier moment all can be found."""
    index(photos, MeanColor())
    (photos / "trip").mkdir()
    for path in sorted(photos.glob("*.png")):
        path.rename(photos / "trip" / path.name)
    collection = Collection.open(photos.parent / "c.meisho")
    seen = []
    index_photos(
        find_photos(photos),
        collection.path,
        Describer(MeanColor(), num_workers=0),
        progress=lambda *_: seen.append(len(collection.records())),
    )
    assert min(seen) >= 5
    assert [r.id for r in collection.records()] == [f"trip/{number}.png" for number in range(5)]


def test_a_photo_that_changes_while_it_is_read_is_not_recorded_as_either(photos):
    class Painter(MeanColor):
        def extract(self, images):
            Image.new("RGB", (60, 60), "white").save(photos / "3.png")
            return super().extract(images)

    summary = index(photos, Painter())
    assert [(s.id, s.reason) for s in summary.skipped] == [
        ("3.png", "it changed while it was being read; index again")
    ]
    assert index(photos, MeanColor()).num_photos == 5


def test_boxes_of_database_photos_count(tmp_path):
    """Two boxes of one file are two contents, and a box that is changed is described anew."""
    two = Image.new("RGB", (80, 40), "red")
    two.paste("blue", (40, 0, 80, 40))
    two.save(tmp_path / "two.png")
    Image.new("RGB", (40, 40), "blue").save(tmp_path / "asked.png")
    table = tmp_path / "photos.csv"
    header = "file,label,role,id,x0,y0,x1,y1\nasked.png,blue,query,q,,,,\n"

    def best(left, right):
        table.write_text(f"{header}two.png,red,database,left,{left}\ntwo.png,blue,database,right,{right}\n")
        dataset = load_dataset("csv", table)
        evaluation = evaluate_dataset(dataset, Describer(MeanColor(), num_workers=0), tmp_path / "c")
        return evaluation.ranking.ids_of(0)[0], evaluation.ranking.scores[0]

    first, scores = best("0,0,40,40", "40,0,80,40")
    assert first == "right"
    np.testing.assert_allclose(scores, [1, 0], atol=1e-2)
    assert best("40,0,80,40", "0,0,40,40")[0] == "left"


def test_an_uncropped_query_is_not_given_the_vector_of_a_cropped_photo(tmp_path):
    two = Image.new("RGB", (80, 40), "red")
    two.paste("blue", (40, 0, 80, 40))
    two.save(tmp_path / "two.png")
    (tmp_path / "photos.csv").write_text(
        "file,label,role,id,x0,y0,x1,y1\ntwo.png,a,query,q,,,,\ntwo.png,a,database,d,0,0,40,40\n"
    )
    dataset = load_dataset("csv", tmp_path / "photos.csv")
    evaluation = evaluate_dataset(dataset, Describer(MeanColor(), num_workers=0), tmp_path / "c")
    assert evaluation.ranking.scores[0, 0] == pytest.approx(0.5**0.5, abs=1e-2)
