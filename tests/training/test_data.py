import csv

import numpy as np
import pytest
from places import write_places

from meisho.config import parse_config
from meisho.errors import DatasetError
from meisho.training.data import load_training_data
from meisho.training.recipe import Recipe


def load(root, *, dataset="folder", seed=0, data=None, **validation):
    values = {
        "seed": seed,
        "data": {"dataset": dataset, "root": str(root), **(data or {})},
        "validation": validation,
    }
    return load_training_data(parse_config(values, Recipe, source="test"))


def test_landmarks_held_out_are_not_trained_on(places):
    data = load(places, share=0.34)
    held_out = {photo.id.partition("/")[0] for photo in data.validation.database}
    assert len(held_out) == 2 and len(data.train.landmarks) == 4
    assert held_out.isdisjoint(data.train.landmarks)
    assert {data.train.photo(r).id.partition("/")[0] for r in range(len(data.train))} == {
        *data.train.landmarks
    }
    assert len(data.train) == 24 and len(data.validation.queries) == 12
    for row in range(len(data.train)):
        assert data.train.photo(row).id.startswith(data.train.landmarks[data.train.classes[row]] + "/")


def test_the_split_depends_on_the_seed_alone(places):
    digests = [load(places, share=0.34, seed=seed).train.digest() for seed in (0, 0, 1, 2, 3)]
    assert digests[0] == digests[1] and len(set(digests)) > 1


def test_queries_are_bounded_and_all_photos_searched(places):
    data = load(places, landmarks=["place_1", "place_3"], max_queries=5)
    assert len(data.validation.queries) == 5 and len(data.validation.database) == 12
    assert data.train.landmarks == ("place_0", "place_2", "place_4", "place_5")


def test_photos_for_the_accuracy_are_of_training_landmarks_and_not_trained_on(tmp_path):
    write_places(tmp_path / "photos", landmarks=4, photos=4)
    for number in (2, 3):
        (tmp_path / "photos" / "place_0" / f"{number}.png").unlink()  # two left: too few to give one
    data = load(tmp_path / "photos", share=0.0, accuracy_photos=2)
    assert data.validation is None
    assert data.train.sizes.tolist() == [2, 2, 2, 2]
    assert data.accuracy.sizes.tolist() == [0, 2, 2, 2]
    ids = [{p.id for p in part.photos()} for part in (data.train, data.accuracy)]
    assert len(ids[0]) == 8 and len(ids[1]) == 6 and ids[0].isdisjoint(ids[1])


def test_junk_distractors_and_small_landmarks_of_a_table_are_left_out(places, tmp_path):
    rows = [(places / "place_0" / f"{n}.png", "a", "database") for n in range(3)]
    rows += [(places / "place_1" / f"{n}.png", "b", "query") for n in range(3)]
    rows += [(places / "place_2" / "0.png", "c", "database"), (places / "place_2" / "1.png", "a", "junk")]
    rows += [(places / "place_2" / "2.png", "", "distractor")]
    with (tmp_path / "t.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("file", "label", "role"), *rows])
    data = load(tmp_path / "t.csv", dataset="csv", share=0.0)
    assert data.train.landmarks == ("a", "b") and data.train.classes.tolist() == [0, 0, 0, 1, 1, 1]


def test_a_data_set_of_its_own_can_validate(places, tmp_path):
    write_places(tmp_path / "others", landmarks=3, photos=2, seed=1)
    data = load(places, dataset="folder", share=0.3)
    other = load_training_data(
        parse_config(
            {
                "data": {"dataset": "folder", "root": str(places)},
                "validation": {"dataset": "folder", "root": str(tmp_path / "others")},
            },
            Recipe,
            source="test",
        )
    )
    assert len(data.train.landmarks) == 4 and len(other.train.landmarks) == 6
    assert len(other.validation.queries) == 6


def test_a_toy_city_is_drawn_and_trained_on_without_its_streets(tmp_path):
    city = {"landmarks": 3, "views": 2, "distractors": 2, "seed": 5}
    data = load(tmp_path / "city", dataset="toycity", data={"city": city}, share=0.0)
    assert len(data.train.landmarks) == 3
    assert data.train.sizes.tolist() == [4, 3, 4]  # two views, and two queries for every second landmark
    assert all(photo.path.is_file() for photo in data.train.photos())
    assert np.array_equal(np.sort(np.unique(data.train.rows)), np.arange(11))


@pytest.mark.parametrize(
    ("validation", "message"),
    [
        ({"landmarks": ["nowhere"]}, "'nowhere' is no landmark"),
        ({"share": 0.9}, "1 landmarks are left to train on"),
    ],
)
def test_a_split_that_cannot_be_is_told(places, validation, message):
    with pytest.raises(DatasetError, match=message):
        load(places, **validation)


def test_the_digest_sees_another_photo_in_the_place_of_one(tmp_path):
    write_places(tmp_path / "photos", landmarks=2, photos=2)
    before = load(tmp_path / "photos", share=0.0).train.digest()
    (tmp_path / "photos" / "place_0" / "1.png").write_bytes(b"other")
    assert load(tmp_path / "photos", share=0.0).train.digest() != before
