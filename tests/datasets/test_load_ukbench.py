import numpy as np
import pytest

from meisho.datasets.base import load_dataset
from meisho.datasets.ukbench import load_ukbench
from meisho.errors import DatasetError


def write_photos(folder, numbers):
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        (folder / f"ukbench{number:05}.jpg").write_bytes(b"\xff\xd8")


@pytest.mark.parametrize("below", [".", "full"])
def test_a_photo_is_asked_for_and_is_itself_one_of_its_four_answers(tmp_path, below):
    write_photos(tmp_path / below, [*range(4), *range(20, 24)])  # objects 0 and 5: any subset will do
    dataset = load_ukbench(tmp_path)
    assert dataset.queries == dataset.database
    assert dataset.protocol == "ukbench"
    assert not dataset.queries_cropped
    rows = [list(r) for r in dataset.ground_truth.positives]
    assert rows == [[0, 1, 2, 3]] * 4 + [[4, 5, 6, 7]] * 4
    assert all(len(r) == 0 for r in dataset.ground_truth.junk)


def test_other_files_are_not_photos_of_ukbench(tmp_path):
    write_photos(tmp_path, range(4))
    for name in ("index.html", "cover.jpg", "ukbench1.jpg", "ukbench00004.txt"):
        (tmp_path / name).write_bytes(b"\xff\xd8")
    assert len(load_ukbench(tmp_path).database) == 4


def test_an_object_without_its_four_photos_is_named(tmp_path):
    write_photos(tmp_path, [*range(8), 9, 10, 11])
    with pytest.raises(DatasetError, match=r"1 of 3 objects.*3 of ukbench00008\.jpg to ukbench00011\.jpg"):
        load_ukbench(tmp_path)


def test_a_folder_without_such_photos_says_what_it_looks_for(tmp_path):
    with pytest.raises(DatasetError, match=r"ukbench00000\.jpg"):
        load_ukbench(tmp_path)


@pytest.mark.shared
def test_the_shared_objects_keep_their_four_photos(shared_data, shared_sets, tmp_path):
    dataset = load_dataset("ukbench", shared_sets.link_ukbench(shared_data, tmp_path))
    assert len(dataset.queries) == 848 == 4 * 212
    object_of = {r["file"].split("/")[-1][:12]: r["landmark"] for r in shared_sets.read_records(shared_data)}
    for query, rows in zip(dataset.queries, dataset.ground_truth.positives, strict=True):
        assert np.unique([object_of[dataset.database[r].path.stem] for r in rows]) == [
            object_of[query.path.stem]
        ]
