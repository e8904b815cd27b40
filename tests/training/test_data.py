import csv
import os
import shutil
import sys
from dataclasses import asdict

import numpy as np
import pytest
from places import write_places

from meisho.config import parse_config
from meisho.datasets.base import load_dataset
from meisho.errors import DatasetError
from meisho.toycity.records import read_records
from meisho.training.data import digest_dataset, load_training_data
from meisho.training.recipe import Recipe


def load(root, *, dataset="folder", seed=0, data=None, **validation):
    values = {
        "seed": seed,
        "data": {"dataset": dataset, "root": str(root), **(data or {})},
        "validation": validation,
    }
    return load_training_data(parse_config(values, Recipe, source="test"))


def load_with_set(root, validation_root, *, dataset="folder"):
    values = {
        "data": {"dataset": dataset, "root": str(root)},
        "validation": {"dataset": dataset, "root": str(validation_root)},
    }
    return load_training_data(parse_config(values, Recipe, source="test"))


def write_table(path, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("file", "label", "role"), *rows])


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
    data = load(places, landmark_names=["place_1", "place_3"], max_queries=5)
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
    write_table(tmp_path / "t.csv", rows)
    data = load(tmp_path / "t.csv", dataset="csv", share=0.0)
    assert data.train.landmarks == ("a", "b") and data.train.classes.tolist() == [0, 0, 0, 1, 1, 1]


def test_a_data_set_of_its_own_can_validate(places, tmp_path):
    write_places(tmp_path / "others", landmarks=3, photos=2, seed=1)
    data = load(places, dataset="folder", share=0.3)
    other = load_with_set(places, tmp_path / "others")
    assert len(data.train.landmarks) == 4 and len(other.train.landmarks) == 6
    assert len(other.validation.queries) == 6


@pytest.mark.parametrize("link", ["symlink_to", "hardlink_to"])
def test_a_validation_set_with_a_photo_that_is_trained_on_is_refused(places, tmp_path, link):
    others = write_places(tmp_path / "others", landmarks=3, photos=2, seed=1)
    getattr(others / "place_1" / "7.png", link)(places / "place_4" / "2.png")
    with pytest.raises(DatasetError, match=r"validation\.root: 1 of 7 photos .* such as .*place_1.7\.png"):
        load_with_set(places, others)


def test_the_training_folder_cannot_validate(places):
    with pytest.raises(DatasetError, match=r"validation\.root: 36 of 36 photos are trained on"):
        load_with_set(places, places / ".." / places.name)


def test_photos_that_are_left_out_of_training_may_validate(places, tmp_path):
    rows = [(places / "place_0" / f"{n}.png", "a", "database") for n in range(3)]
    rows += [(places / "place_1" / f"{n}.png", "b", "junk" if n else "database") for n in range(3)]
    rows += [(places / "place_2" / f"{n}.png", "c", "database") for n in range(3)]
    write_table(tmp_path / "train.csv", rows)
    write_table(tmp_path / "test.csv", [(path, label, "both") for path, label, _ in rows[3:6]])
    data = load_with_set(tmp_path / "train.csv", tmp_path / "test.csv", dataset="csv")
    assert data.train.landmarks == ("a", "c") and len(data.validation.queries) == 3


def test_a_toy_city_is_drawn_and_trained_on_without_its_streets(tmp_path):
    city = {"landmarks": 3, "views": 2, "distractors": 2, "seed": 5}
    data = load(tmp_path / "city", dataset="toycity", data={"city": city}, share=0.0)
    assert len(data.train.landmarks) == 3
    assert data.train.sizes.tolist() == [4, 3, 4]  # two views, and two queries for every second landmark
    assert all(photo.path.is_file() for photo in data.train.photos())
    assert np.array_equal(np.sort(np.unique(data.train.rows)), np.arange(11))


def test_a_recipe_chooses_what_a_toy_city_draws(tmp_path):
    variety = {"kinds": ["sign", "statue"], "faults": 0.5, "renderings": 0.25, "seasons": True}
    city = {"landmarks": 2, "views": 2, "seed": 5, **variety}
    data = load(tmp_path / "city", dataset="toycity", data={"city": city}, share=0.0)
    records = read_records(tmp_path / "city")
    assert asdict(records.parameters.variety) == {**variety, "kinds": ("sign", "statue")}
    assert [site.family for site in records.sites] == ["sign", "statue"]
    assert data.train.sizes.tolist() == [4, 3]


@pytest.mark.parametrize(
    ("validation", "message"),
    [
        ({"landmark_names": ["nowhere"]}, "'nowhere' is no landmark"),
        ({"share": 0.9}, "1 landmarks are left to train on"),
        ({"landmark_names": ["place_1"]}, "1 landmark is held out, 2 are needed"),
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


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere every name is text")
def test_the_digest_takes_a_name_that_is_no_text(tmp_path):
    write_places(tmp_path / "photos", landmarks=2, photos=2)
    (tmp_path / "photos" / "place_0" / os.fsdecode(b"\xff.png")).write_bytes(b"other")
    photos = load(tmp_path / "photos", share=0.0).train
    assert len(photos) == 5 and len(photos.digest()) == 64


def test_the_digest_of_a_validation_set_sees_its_photos_and_its_answers(places, tmp_path):
    rows = [(places / f"place_{p}" / f"{n}.png", str(p), "both") for p in range(2) for n in range(3)]
    other_label = [*rows[:-1], (rows[-1][0], "0", "both")]
    other_role = [*rows[:-1], (*rows[-1][:2], "junk")]
    digests = []
    for number, table in enumerate((rows, rows, other_label, other_role, rows[:-1])):
        write_table(tmp_path / f"{number}.csv", table)
        digests.append(digest_dataset(load_dataset("csv", tmp_path / f"{number}.csv")))
    assert digests[0] == digests[1] and len(set(digests)) == 4
    photo = shutil.copy(rows[0][0], tmp_path / "photo.png")
    write_table(tmp_path / "t.csv", [(photo, "0", "both"), *rows[1:]])
    dataset = load_dataset("csv", tmp_path / "t.csv")
    before = digest_dataset(dataset)
    photo.write_bytes(b"other")
    assert digest_dataset(dataset) != before
    photo.unlink()
    with pytest.raises(DatasetError, match=r"^1 photo cannot be read; put back.*\n  .*photo\.png: [^\n]*$"):
        digest_dataset(dataset)


def test_training_photos_that_are_missing_are_counted_and_named_together(places, tmp_path):
    for photo in sorted(places.glob("*/*"))[:24]:
        (tmp_path / "photos" / photo.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(photo, tmp_path / "photos" / photo.parent.name)
    photos = load(tmp_path / "photos").train
    lost = [photos.photo(row).path for row in (0, 3)]
    for path in lost:
        path.unlink()
    with pytest.raises(DatasetError) as error:
        photos.digest()
    assert str(error.value).startswith("2 photos cannot be read")
    assert all(str(path) in str(error.value) for path in lost)
