"""Photos that are added to a database are wrong for every query, and change nothing else."""

import pytest
from PIL import Image

from meisho.datasets.base import load_dataset
from meisho.datasets.distractors import add_distractors
from meisho.errors import DatasetError


@pytest.fixture
def dataset(tmp_path):
    for name in ("own/a/1", "own/a/2", "own/b/1", "own/b/2", "more/x", "more/deep/y"):
        path = tmp_path / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(path)
    return load_dataset("folder", tmp_path / "own")


def test_they_stand_behind_the_database_and_are_right_for_nothing(dataset, tmp_path):
    more = add_distractors(dataset, tmp_path / "more")
    assert more.database[: len(dataset.database)] == dataset.database
    assert [photo.id for photo in more.database[len(dataset.database) :]] == [
        "added/deep/y.png",
        "added/x.png",
    ]
    assert more.ground_truth is dataset.ground_truth
    assert (more.name, more.protocol, more.queries) == ("own+2", dataset.protocol, dataset.queries)


@pytest.mark.parametrize(
    ("folder", "words"),
    [
        ("gone", "gone"),
        ("empty", "no photo below it"),
        ("own/a", "is one of own itself"),
        (".", "is one of own"),
    ],
)
def test_what_cannot_be_added_is_refused(dataset, tmp_path, folder, words):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match=words):
        add_distractors(dataset, tmp_path / folder)
