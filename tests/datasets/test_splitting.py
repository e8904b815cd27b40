"""Splits: what each kind promises, and that no photo or landmark is where it must not be."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from meisho.datasets.base import load_dataset
from meisho.datasets.labels import LAYOUTS, Labels, load_labels, read_labels
from meisho.datasets.splitting import number_classes, split_labels, write_split
from meisho.errors import DatasetError, InputError


def make_labels(*, num_classes=60, seed=0):
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 9, num_classes)
    classes = rng.permutation(np.repeat(np.arange(num_classes), counts))
    names = tuple(f"p{i}.jpg" for i in range(len(classes)))
    return Labels(
        Path("t.csv"), Path(), LAYOUTS[-1], names, classes, tuple(f"L{i}" for i in range(num_classes))
    )


def classes_of(labels, rows):
    return set(labels.classes[rows].tolist())


def test_image_takes_one_photo_of_every_class_as_the_chapter_does():
    labels = make_labels()
    split = split_labels(labels, "image")
    assert len(split.queries) == 60
    assert classes_of(labels, split.queries) == set(range(60))
    assert sorted([*split.train, *split.queries]) == list(range(len(labels)))
    assert split.num_untrained == (labels.counts == 1).sum() > 0


def test_image_draws_every_photo_of_a_class_alike():
    labels = replace(make_labels(num_classes=1), classes=np.zeros(5, np.int64), names=tuple("abcde"))
    drawn = [int(split_labels(labels, "image", seed=seed).queries[0]) for seed in range(500)]
    assert np.bincount(drawn, minlength=5).min() > 60  # 100 of each are expected


def test_landmark_keeps_whole_classes_apart():
    labels = make_labels()
    split = split_labels(labels, "landmark", landmarks=10, queries_per_landmark=2)
    assert split.num_validation_classes == split.num_untrained == 10
    assert not classes_of(labels, split.train) & classes_of(labels, split.validation)
    assert np.bincount(labels.classes[split.queries]).max() == 2
    assert classes_of(labels, split.queries) == classes_of(labels, split.database)  # each has an answer
    assert len(split.train) + len(split.queries) + len(split.database) == len(labels)


def test_landmark_takes_a_tenth_when_no_number_is_given():
    assert split_labels(make_labels(), "landmark").num_validation_classes == 6


@pytest.mark.parametrize("kind", ["image", "landmark", "none"])
def test_landmarks_of_the_list_and_small_classes_are_nowhere(kind):
    labels = make_labels()
    split = split_labels(labels, kind, without=frozenset({"L3", "L5", "unheard"}), min_photos=3)
    kept = classes_of(labels, np.concatenate([split.train, split.validation]))
    assert kept == {c for c in range(60) if c not in (3, 5) and labels.counts[c] >= 3}
    assert split.num_unknown == 1
    assert split.left_out == len(labels) - len(split.train) - len(split.validation)


@pytest.mark.parametrize("kind", ["image", "landmark"])
def test_the_seed_decides(kind):
    labels = make_labels()
    first, same, other = (split_labels(labels, kind, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first.validation, same.validation)
    assert not np.array_equal(first.validation, other.validation)


def test_what_cannot_be_is_refused():
    labels = make_labels()
    with pytest.raises(InputError, match="no split is called 'both'; the nearest is 'none'"):
        split_labels(labels, "both")
    with pytest.raises(InputError, match="none of the 1 landmarks to leave out is there"):
        split_labels(labels, "none", without=frozenset({"unheard"}))
    with pytest.raises(DatasetError, match="no photo is left to train on"):
        split_labels(labels, "none", without=frozenset(labels.class_names))
    with pytest.raises(DatasetError, match="60 landmarks are wanted for validation, but only"):
        split_labels(labels, "landmark", landmarks=60)
    with pytest.raises(InputError, match="must be 1 or more"):
        split_labels(labels, "image", min_photos=0)


def test_overlap_is_refused():
    split = split_labels(make_labels(), "landmark")
    with pytest.raises(DatasetError, match="a photo is in two parts"):
        replace(split, train=np.append(split.train, split.queries[0]))
    with pytest.raises(DatasetError, match=r"1 classes, such as 'L.*', are in both parts"):
        replace(
            split,
            train=np.append(split.train, split.database[0]),
            database=split.database[1:],
        )


def test_numbers_of_classes_have_no_gaps_and_follow_first_appearance():
    labels = make_labels()
    split = split_labels(labels, "landmark", landmarks=10)
    numbers = number_classes(split)
    assert sorted(numbers) == list(range(60))
    assert {numbers[c] for c in classes_of(labels, split.train)} == set(range(50))
    appearing = list(dict.fromkeys(labels.classes[split.train].tolist()))
    assert [numbers[c] for c in appearing] == list(range(50))
    whole = number_classes(split_labels(labels, "image"))
    assert [whole[c] for c in dict.fromkeys(labels.classes.tolist())] == list(range(60))
    some = number_classes(split_labels(labels, "none", without=frozenset({"L3"})))
    assert some[3] == -1


def contest_folder(root):
    """The contest's layout: train.csv and train/a/b/c/abc….jpg; three photos of each of 12 landmarks."""
    ids = [f"{number:016x}" for number in np.random.default_rng(0).permutation(36)]
    for photo in ids:
        path = root / "train" / photo[0] / photo[1] / photo[2] / f"{photo}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\xff\xd8")
    rows = "".join(f"{photo},http://x/{photo}.jpg,{100 + i // 3}\n" for i, photo in enumerate(ids))
    (root / "train.csv").write_text(f"id,url,landmark_id\n{rows}")
    return root


@pytest.mark.parametrize("place", ["splits", "../elsewhere", "."])
def test_written_tables_are_read_by_our_own_readers(tmp_path, place):
    root = contest_folder(tmp_path / "gld")
    labels = load_labels("gldv2_train", root)
    to = root / place
    if place == ".":
        with pytest.raises(InputError, match=r"train\.csv: is one of the inputs"):
            write_split(split_labels(labels, "landmark"), to, overwrite=True)
        assert sorted(path.name for path in root.iterdir()) == ["train", "train.csv"]
        return
    split = split_labels(labels, "landmark", landmarks=3)
    paths = write_split(split, to)
    assert [path.name for path in paths] == ["train.csv", "val.csv", "split.json"]
    assert sorted(path.name for path in to.iterdir()) == ["split.json", "train.csv", "val.csv"]
    validation = load_dataset("csv", to / "val.csv")  # looks for every photo
    assert (len(validation.queries), len(validation.database)) == (3, 6)
    assert all(len(rows) == 2 for rows in validation.ground_truth.positives)
    train = read_labels(to / "train.csv")
    assert train.class_names == tuple(map(str, range(9)))
    assert all(train.path_of(row).is_file() for row in range(len(train)))
    stems = {Path(name).stem for name in train.names}
    assert stems == {labels.names[row] for row in split.train}
    assert not stems & {photo.path.stem for photo in (*validation.queries, *validation.database)}
    assert json.loads((to / "split.json").read_text())["source_sha256"] == labels.sha256


def test_nothing_is_overwritten_unless_it_is_said(tmp_path):
    split = split_labels(make_labels(), "image")
    write_split(split, tmp_path)
    before = (tmp_path / "train.csv").read_bytes()
    other = split_labels(make_labels(), "image", seed=2)
    with pytest.raises(InputError, match="is there already; choose another folder, or add --overwrite"):
        write_split(other, tmp_path)
    assert (tmp_path / "train.csv").read_bytes() == before
    write_split(other, tmp_path, overwrite=True)
    assert (tmp_path / "train.csv").read_bytes() != before


def test_names_that_need_quotes_survive(tmp_path):
    labels = Labels(
        Path("t.csv"),
        tmp_path,
        LAYOUTS[-1],
        ('a,"1".jpg', " b.jpg", "c;d.jpg", "e.jpg"),
        np.array([0, 0, 1, 1]),
        ("the, bridge", "tower\nhill"),
    )
    write_split(split_labels(labels, "none"), tmp_path / "to")
    written = read_labels(tmp_path / "to" / "train.csv")
    assert written.names == tuple(f"../{name}" for name in labels.names)
    assert written.classes.tolist() == [0, 0, 1, 1]


def test_a_name_that_is_no_text_is_named_before_anything_is_written(tmp_path):
    labels = make_labels()
    odd = replace(labels, names=(*labels.names[:-1], "caf\udce9.jpg"))
    with pytest.raises(DatasetError, match=r"the name caf\\xE9\.jpg is not UTF-8 text"):
        write_split(split_labels(odd, "landmark"), tmp_path / "new")
    assert not (tmp_path / "new").exists()
