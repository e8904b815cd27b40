"""What every data set of the table must give. A new one needs an example here, written by a function."""

import pickle
import shutil
from importlib import import_module
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from meisho.datasets.base import DATASETS, Protocol, load_dataset
from meisho.datasets.photo_files import check_photos, missing_photos
from meisho.errors import DatasetError, InputError
from meisho.evaluate.protocols import PROTOCOLS
from meisho.ground_truth import GradedGroundTruth, GroundTruth
from meisho.toycity import build_toycity

JPEG = b"\xff\xd8"


def write_photos(folder, *names):
    for name in names:
        path = folder / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(JPEG)


def write_revisitop(name):
    def write(root):
        answers = [
            {"bbx": [0.5, 1, 20, 30], "easy": [0], "hard": [2], "junk": [1]},
            {"bbx": [0, 0, 9, 9], "easy": [], "hard": [1], "junk": []},
        ]
        content = {"imlist": ["a", "b", "c"], "qimlist": ["q", "r"], "gnd": answers}
        (root / f"gnd_{name}.pkl").write_bytes(pickle.dumps(content))
        write_photos(root / "jpg", *"abcqr")
        return root

    return write


def write_oxford5k(root):
    (root / "gt").mkdir()
    for part, text in (("query", "oxc1_a 0.5 1 20 30"), ("good", "a"), ("ok", "b"), ("junk", "c")):
        (root / "gt" / f"tower_1_{part}.txt").write_text(text)
    write_photos(root / "jpg", *"abcd")
    return root


def write_gldv2(root):
    write_photos(root / "index", "a/a/a/aaa1", "a/a/a/aaa2")
    write_photos(root / "test", "b/b/b/bbb1")
    (root / "index" / "index.csv").write_text("id\naaa1\naaa2\n")
    (root / "test" / "retrieval_solution_v2.1.csv").write_text("id,images,Usage\nbbb1,aaa2,Public\n")
    return root


def write_gldv2_train(name, text):
    def write(root):
        write_photos(root / "train", "a/a/a/aaa1", "a/a/a/aaa2", "b/b/b/bbb1")
        (root / f"{name}.csv").write_text(text)
        return root

    return write


def write_gldv2_micro(root):
    write_photos(root / "images", "1", "2", "3")
    (root / "gldv2_micro.csv").write_text("filename,landmark_id\n1.jpg,7\n2.jpg,7\n3.jpg,9\n")
    return root


def write_ukbench(root):
    write_photos(root, *(f"ukbench{number:05}" for number in range(8)))
    return root


def write_folder(root):
    write_photos(root, "bridge/1", "bridge/2", "tower/1", "tower/2")
    return root


def write_csv(root):
    write_photos(root, "q", "a", "b")
    (root / "photos.csv").write_text("file,label,role\nq.jpg,x,query\na.jpg,x,database\nb.jpg,x,junk\n")
    return root / "photos.csv"


EXAMPLES = {
    "roxford5k": write_revisitop("roxford5k"),
    "rparis6k": write_revisitop("rparis6k"),
    "oxford5k": write_oxford5k,
    "paris6k": write_oxford5k,
    "gldv2": write_gldv2,
    "gldv2_train": write_gldv2_train("train", "id,landmark_id\naaa1,7\naaa2,7\nbbb1,9\n"),
    "gldv2_clean": write_gldv2_train("train_clean", "landmark_id,images\n7,aaa1 aaa2\n9,bbb1\n"),
    "gldv2_micro": write_gldv2_micro,
    "ukbench": write_ukbench,
    "folder": write_folder,
    "csv": write_csv,
}


@pytest.fixture(params=list(DATASETS))
def name(request):
    return request.param


@pytest.fixture(scope="session")
def city(tmp_path_factory):
    folder = tmp_path_factory.mktemp("city")
    build_toycity(folder, landmarks=2, views=3, distractors=2, num_workers=0)
    return folder


@pytest.fixture
def example(name, tmp_path, request):
    if name != "toycity":
        return EXAMPLES[name](tmp_path)
    return shutil.copytree(request.getfixturevalue("city"), tmp_path / "city")  # tests remove photos


def test_every_data_set_has_an_example_here():
    assert {*EXAMPLES, "toycity"} == set(DATASETS)


@pytest.mark.parametrize("entry", DATASETS.values())
def test_every_entry_of_the_table_names_a_loader(entry):
    module, _, function = entry.partition(":")
    assert callable(getattr(import_module(module), function))


def test_every_protocol_can_be_asked_for_by_a_data_set():
    assert set(get_args(Protocol)) == set(PROTOCOLS)


def test_queries_database_and_answers_fit_together(name, example):
    dataset = load_dataset(name, example)
    assert dataset.root == example
    assert len(dataset.queries) > 0
    assert dataset.protocol in get_args(Protocol)
    truth = dataset.ground_truth
    assert isinstance(truth, GradedGroundTruth if dataset.protocol == "revisitop" else GroundTruth)
    parts = ("easy", "hard", "junk") if isinstance(truth, GradedGroundTruth) else ("positives", "junk")
    for part in parts:
        rows = getattr(truth, part)
        assert len(rows) == len(dataset.queries)
        for some in rows:
            assert some.dtype == np.int64
            assert not some.flags.writeable
            assert np.all((some >= 0) & (some < len(dataset.database)))
            assert np.all(np.diff(some) > 0)
    assert sum(len(rows) for part in parts[:-1] for rows in getattr(truth, part)) > 0


def test_every_photo_is_a_file_and_ids_can_be_printed(name, example):
    dataset = load_dataset(name, example)
    check_photos(dataset)
    for photo in (*dataset.database, *dataset.queries):
        assert photo.path.read_bytes().startswith(JPEG)
        photo.id.encode()
        assert photo.id == photo.id.strip() != ""


def test_loading_twice_gives_the_same(name, example):
    first, second = load_dataset(name, example), load_dataset(name, example)
    assert (first.database, first.queries, first.name) == (second.database, second.queries, second.name)
    assert first.ground_truth.sha256 == second.ground_truth.sha256
    assert len(first.ground_truth.sha256) in (0, 64)


def test_a_photo_that_goes_missing_is_named(name, example):
    dataset = load_dataset(name, example)
    lost = dataset.database[-1]
    lost.path.unlink()
    assert lost.path in [photo.path for photo in missing_photos(dataset)]
    with pytest.raises(DatasetError, match=lost.path.name):
        check_photos(dataset)


def test_a_root_that_is_not_there_is_an_error_that_names_it(name, tmp_path):
    with pytest.raises(DatasetError, match="nowhere"):
        load_dataset(name, tmp_path / "nowhere")


def test_an_empty_folder_is_an_error_that_says_what_to_do(name, tmp_path):
    with pytest.raises(DatasetError) as caught:
        load_dataset(name, tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert len(str(caught.value)) > len(str(tmp_path)) + 30


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(InputError, match=r"no data set is called 'oxford'; the nearest is 'oxford5k'"):
        load_dataset("oxford", Path())
