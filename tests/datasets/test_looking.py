"""A few landmarks of a data set, drawn to be looked at."""

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from meisho import cli
from meisho.datasets.looking import _of_query, sample_dataset
from meisho.ground_truth import GroundTruth
from meisho.outputs import PAGE
from meisho.photos import Photo
from meisho.toycity import build_toycity

cli.load_commands()


@pytest.fixture
def labelled(tmp_path):
    """A labelled folder: a tower with 4 photos, a <b>gate</b> with 2."""
    for name, number in (("tower", 4), ("gate & wall", 2)):
        for each in range(number):
            path = tmp_path / "labelled" / name / f"{each}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (40, 30), (60 * each, 90, 120)).save(path)
    return tmp_path / "labelled"


def test_classes_and_photos_are_drawn_and_the_rest_is_counted(labelled):
    sample = sample_dataset("folder", labelled, landmarks=5, photos=3)
    assert sample.about == "2 of 2 classes with 6 photos"
    shown = {each.title: (len(each.photos), each.more, each.note) for each in sample.landmarks}
    assert shown == {"gate & wall": (2, 0, "2 photos"), "tower": (3, 1, "4 photos")}
    assert all(photo.path.is_file() for each in sample.landmarks for photo in each.photos)


def test_the_seed_decides_what_is_drawn(labelled):
    drawn = [
        sample_dataset("folder", labelled, landmarks=1, photos=2, seed=seed) for seed in (1, 1, 2, 3, 4, 5)
    ]
    assert drawn[0] == drawn[1] and len({str(each) for each in drawn}) > 1


def test_a_benchmark_shows_queries_with_their_right_answers(tmp_path):
    build_toycity(tmp_path, landmarks=2, views=4, distractors=1)
    sample = sample_dataset("toycity", tmp_path, landmarks=9, photos=3)
    for each in sample.landmarks:
        place = each.title.rpartition("_q")[0]
        assert each.query.id == each.title and 1 <= len(each.photos) <= 2
        assert all(photo.id.startswith(place) for photo in each.photos)


@pytest.mark.parametrize(
    ("junk", "note"),
    [
        ([], "1 right answer"),
        ([1], "1 right answer; 1 that does not count"),
        ([1, 2], "1 right answer; 2 that do not count"),
    ],
)
def test_what_does_not_count_is_told_where_there_is_any(tmp_path, junk, note):
    photos = tuple(Photo(str(row), tmp_path / f"{row}.png") for row in range(3))
    truth = GroundTruth([[0]], [junk])
    assert _of_query(photos[0], photos, truth, 0, 2, np.random.default_rng(0)).note == note


def test_the_page_shows_them_and_names_what_cannot_be_read(labelled, tmp_path):
    (labelled / "tower" / "0.png").write_bytes(b"no photo")
    page = tmp_path / "to" / "look.html"
    words = ["datasets", "look", "folder", "--root", str(labelled), "--to", str(page), "--photos", "4"]
    done = CliRunner().invoke(cli.app, words)
    assert done.exit_code == 0, done.output
    text = page.read_text()
    assert text.count('<figure class="plain">') == 6 and PAGE.wrote(page)
    assert "<h2>gate &amp; wall</h2>" in text and "1 of the 6 photos here cannot be shown" in text
    assert "1 photo cannot be read" in done.output
