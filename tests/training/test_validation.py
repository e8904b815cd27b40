import shutil

import numpy as np
import pytest

from meisho.datasets.base import Dataset, load_dataset
from meisho.describing import Describer
from meisho.descriptors import Provenance, normalize_rows
from meisho.errors import DatasetError
from meisho.ground_truth import GradedGroundTruth, GroundTruth
from meisho.images import ImageOptions
from meisho.photos import Photo
from meisho.training.validation import evaluate_descriptors


class Coarse:
    """Photos at 4 x 4 pixels: near to each other where they show one place, but not always nearest."""

    dim = 48
    provenance = Provenance.from_options("coarse", {})
    image_options = ImageOptions(max_side_px=64)

    def extract(self, images):
        small = images.reshape(len(images), 4, 16, 4, 16, 3).mean(axis=(2, 4), dtype=np.float32)
        return normalize_rows(small.reshape(len(images), -1))


@pytest.fixture
def root(places, tmp_path):
    return shutil.copytree(places, tmp_path / "photos")


def score(dataset):
    errors = []
    report = evaluate_descriptors(dataset, Describer(Coarse(), num_workers=0), on_error=errors.append)
    return report, [error.path.name for error in errors]


def test_photos_that_cannot_be_read_count_as_if_they_were_not_there(root):
    for name in ("place_0/1.png", "place_3/5.png"):
        (root / name).write_bytes(b"no photo")
    report, errors = score(load_dataset("folder", root))
    assert sorted(errors) == ["1.png", "5.png"]
    for name in ("place_0/1.png", "place_3/5.png"):
        (root / name).unlink()
    without, _ = score(load_dataset("folder", root))
    assert report.query_scores == without.query_scores and report.figures == without.figures
    assert 0.3 < report.headline.value < 1


def test_of_graded_and_grouped_answers_those_that_can_be_read_count(root):
    paths = [root / f"place_{place}" / f"{number}.png" for place in range(2) for number in range(6)]
    photos = tuple(Photo(str(row), path) for row, path in enumerate(paths))
    queries = tuple(photos[row] for row in (0, 6, 7))
    easy, hard, junk = [[1, 2], [8], [9]], [[3, 4], [9, 10], [8]], [[0], [6], [7]]
    paths[2].write_bytes(b"no photo")
    paths[6].write_bytes(b"no photo")
    graded = Dataset("graded", root, photos, queries, GradedGroundTruth(easy, hard, junk), "revisitop")
    kept = tuple(photo for row, photo in enumerate(photos) if row not in (2, 6))
    fewer = GradedGroundTruth([[1], [7]], [[2, 3], [6]], [[0], [5]])
    by_hand = Dataset("graded", root, kept, (photos[0], photos[7]), fewer, "revisitop")
    assert score(graded)[0].figures == score(by_hand)[0].figures

    truth = GroundTruth(easy, junk, groups=("public", "private", "public"))
    grouped = Dataset("grouped", root, photos, queries, truth, "gldv2")
    assert {(f.setup, f.num_queries) for f in score(grouped)[0].figures} >= {("public", 2)}


def test_many_photos_that_cannot_be_read_are_an_error(root):
    for number in range(4):
        (root / "place_0" / f"{number}.png").write_bytes(b"no photo")
    with pytest.raises(DatasetError, match=r"4 of 36 photos cannot be read; is the drive there"):
        score(load_dataset("folder", root))
