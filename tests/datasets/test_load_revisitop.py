import pickle
import shutil

import numpy as np
import pytest

from meisho.datasets.base import load_dataset
from meisho.datasets.photo_files import check_photos, missing_photos
from meisho.datasets.revisitop import load_ground_truth, load_roxford5k
from meisho.errors import DatasetError
from meisho.fetching.manifest import load_manifest
from meisho.photos import Box


def small_content():
    answers = [
        {"bbx": [1.5, 2.0, 30.25, 40.0], "easy": [0], "hard": [2], "junk": [1]},
        {"bbx": [0, 0, 10, 10], "easy": [], "hard": [1, 3], "junk": []},
    ]
    return {"imlist": ["a", "b", "c", "d"], "qimlist": ["q", "r"], "gnd": answers}


def write_benchmark(folder, content=None):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "gnd_roxford5k.pkl").write_bytes(pickle.dumps(content or small_content(), protocol=2))
    return folder


@pytest.fixture(scope="module")
def published(shared_data):
    return {name: load_ground_truth(shared_data / "gnd" / f"gnd_{name}.pkl") for name in NUMBERS}


PUBLISHED_SHA256 = {
    name: load_manifest(name).by_path[f"gnd_{name}.pkl"].sha256 for name in ("roxford5k", "rparis6k")
}
NUMBERS = {  # database, easy, hard, junk [golden.md; Radenović et al. 2018, table 2]
    "roxford5k": (4993, 3029, 2497, 1356),
    "rparis6k": (6322, 6874, 10350, 7153),
}


@pytest.mark.shared
@pytest.mark.parametrize("name", NUMBERS)
def test_the_published_ground_truth_has_its_known_numbers(published, name):
    benchmark = published[name]
    num_database, easy, hard, junk = NUMBERS[name]
    truth = benchmark.ground_truth
    assert len(set(benchmark.database_ids)) == num_database
    assert len(set(benchmark.query_ids)) == len(benchmark.boxes) == len(truth) == 70
    assert not set(benchmark.database_ids) & set(benchmark.query_ids)
    assert sum(map(len, truth.easy)) == easy
    assert sum(map(len, truth.hard)) == hard
    assert sum(map(len, truth.junk)) == junk
    assert max(rows.max() for rows in (*truth.easy, *truth.hard, *truth.junk) if len(rows)) < num_database
    assert truth.sha256 == PUBLISHED_SHA256[name]


@pytest.mark.shared
def test_two_oxford_queries_have_no_easy_positive(published):
    benchmark = published["roxford5k"]
    without = [q for q, rows in enumerate(benchmark.ground_truth.easy) if not len(rows)]
    assert without == [11, 66]
    assert [benchmark.query_ids[q] for q in without] == ["balliol_000187", "hertford_000082"]
    assert all(len(rows) for rows in published["rparis6k"].ground_truth.easy)


@pytest.mark.shared
def test_boxes_keep_their_fractions(published):
    assert published["roxford5k"].query_ids[0] == "all_souls_000013"
    assert published["roxford5k"].boxes[0] == Box(136.5, 34.1, 648.5, 955.7)
    assert published["rparis6k"].query_ids[0] == "paris_defense_000605"
    assert published["rparis6k"].boxes[0] == Box(130, 17, 843, 732)


@pytest.mark.shared
@pytest.mark.parametrize("name", NUMBERS)
def test_rows_are_those_that_the_usual_reader_gives(shared_data, published, name):
    content = pickle.loads((shared_data / "gnd" / f"gnd_{name}.pkl").read_bytes())
    truth = published[name].ground_truth
    assert list(published[name].database_ids) == content["imlist"]
    for query, answer in enumerate(content["gnd"]):
        for part in ("easy", "hard", "junk"):
            np.testing.assert_array_equal(getattr(truth, part)[query], sorted(answer[part]))


@pytest.mark.shared
@pytest.mark.parametrize("name", NUMBERS)
def test_the_data_set_loads_while_its_photos_are_missing_and_says_which(shared_data, name):
    dataset = load_dataset(name, shared_data / "gnd")
    assert dataset.protocol == "revisitop"
    assert dataset.queries_cropped
    total = NUMBERS[name][0] + 70
    assert len(missing_photos(dataset)) == total
    with pytest.raises(DatasetError) as caught:
        check_photos(dataset)
    lines = str(caught.value).splitlines()
    assert lines[0].startswith(f"{name}: {total} of {total} photos are missing; put them under")
    assert lines[0].endswith("gnd/jpg:")
    assert dataset.queries[0].path.name in lines[1]
    assert lines[-1].strip() == f"... and {total - 5} more"


@pytest.mark.parametrize("below", [".", "roxford5k", "data/datasets/roxford5k"])
def test_each_known_folder_layout_is_found(tmp_path, below):
    folder = write_benchmark(tmp_path / below)
    dataset = load_roxford5k(tmp_path)
    assert [photo.id for photo in dataset.database] == ["a", "b", "c", "d"]
    assert dataset.database[3].path == folder / "jpg" / "d.jpg"
    assert dataset.queries[0].path == folder / "jpg" / "q.jpg"
    assert dataset.queries[0].box == Box(1.5, 2.0, 30.25, 40.0)
    assert all(photo.box is None for photo in dataset.database)
    assert [list(rows) for rows in dataset.ground_truth.at("medium").positives] == [[0, 2], [1, 3]]


def test_only_the_missing_photos_are_listed(tmp_path):
    write_benchmark(tmp_path)
    (tmp_path / "jpg").mkdir()
    for name in "abcdq":
        (tmp_path / "jpg" / f"{name}.jpg").touch()
    (tmp_path / "jpg" / "r.jpg").mkdir()  # a folder is not a photo
    dataset = load_roxford5k(tmp_path)
    assert [photo.id for photo in missing_photos(dataset)] == ["r"]
    with pytest.raises(DatasetError, match=r"1 of 6 photos are missing"):
        check_photos(dataset)
    (tmp_path / "jpg" / "r.jpg").rmdir()
    (tmp_path / "jpg" / "r.jpg").touch()
    check_photos(dataset)


@pytest.mark.shared
def test_another_ground_truth_is_read_and_known_by_its_digest(shared_data, published, tmp_path):
    content = pickle.loads((shared_data / "gnd" / "gnd_roxford5k.pkl").read_bytes())
    content["gnd"][0]["junk"].pop()
    write_benchmark(tmp_path, content)
    changed = load_ground_truth(tmp_path / "gnd_roxford5k.pkl")
    assert len(changed.ground_truth.sha256) == 64
    assert changed.ground_truth.sha256 != published["roxford5k"].ground_truth.sha256
    shutil.copy(shared_data / "gnd" / "gnd_roxford5k.pkl", tmp_path / "copy.pkl")
    assert load_ground_truth(tmp_path / "copy.pkl").ground_truth.sha256 == PUBLISHED_SHA256["roxford5k"]


def test_a_missing_ground_truth_says_where_it_belongs(tmp_path):
    with pytest.raises(DatasetError, match=r"gnd_roxford5k\.pkl.*folder jpg beside it"):
        load_roxford5k(tmp_path)


def broken(change):
    content = small_content()
    return change(content) or content


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda c: [1, 2], "looked for in a list"),
        (lambda c: c.pop("imlist") and None, "imlist"),
        (lambda c: c.update(imlist="abcd"), "a str stands for a list"),
        (lambda c: c.update(imlist=["a", "../../etc/passwd", "c", "d"]), "not the name of a photo"),
        (lambda c: c.update(imlist=["a", 7, "c", "d"]), "not the name of a photo"),
        (lambda c: c["qimlist"].pop() and None, "1 queries but 2 answers"),
        (lambda c: c["gnd"][0].update(easy=[4]), "not a row of the 4 database photos"),
        (lambda c: c["gnd"][0].update(easy=[-1]), "not a row"),
        (lambda c: c["gnd"][0].update(easy=[0.5]), "not a row"),
        (lambda c: c["gnd"][0].update(easy=[True]), "not a row"),
        (lambda c: c["gnd"][0].update(easy=[1]), "a database row in two of"),
        (lambda c: c["gnd"][0].update(bbx=[1, 2, 3]), "y1"),
        (lambda c: c["gnd"][0].update(bbx=[5, 2, 3, 9]), "needs finite"),
        (lambda c: c["gnd"][0].update(bbx=[0, 0, float("nan"), 9]), "needs finite"),
        (lambda c: c["gnd"][0].update(bbx=["a", 2, 3, 9]), "not a number"),
    ],
)
def test_a_ground_truth_of_another_shape_is_an_error_that_names_file_and_fault(tmp_path, change, reason):
    write_benchmark(tmp_path, broken(change))
    with pytest.raises(DatasetError, match=reason) as caught:
        load_roxford5k(tmp_path)
    assert "gnd_roxford5k.pkl: is not a ground truth" in str(caught.value)
