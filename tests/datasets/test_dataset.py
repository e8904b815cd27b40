import textwrap
from pathlib import Path

import pytest
from PIL import Image

from meisho.datasets import base
from meisho.datasets.base import Dataset, load_dataset
from meisho.datasets.photo_files import check_photos
from meisho.errors import DatasetError
from meisho.ground_truth import GradedGroundTruth, GroundTruth, database_rows
from meisho.photos import Box, Photo

A, B = Photo("a", Path("a.jpg")), Photo("b", Path("b.jpg"))


def dataset(database, queries, positives):
    truth = GroundTruth(database_rows(positives), database_rows([] for _ in positives))
    return Dataset("mine", Path("somewhere"), database, queries, truth, "retrieval")


def test_the_template_in_the_docstring_runs(tmp_path):
    (tmp_path / "jpg").mkdir()
    for name in "abcde":
        (tmp_path / "jpg" / f"{name}.jpg").touch()
    template = textwrap.dedent(base.__doc__.partition("::\n")[2])
    names = {
        **vars(base),
        "Path": Path,
        "Photo": Photo,
        "GroundTruth": GroundTruth,
        "database_rows": database_rows,
    }
    exec(template, names)
    mine = names["load_my_set"](tmp_path)
    assert (len(mine.database), len(mine.queries)) == (5, 2)
    check_photos(mine)


def test_an_id_that_stands_twice_is_refused():
    with pytest.raises(DatasetError, match="somewhere: the database id 'a' appears more than once"):
        dataset((A, B, A), (A,), [[0]])
    with pytest.raises(DatasetError, match="somewhere: the query id 'b' appears more than once"):
        dataset((A, B), (B, B), [[0], [0]])


def test_ground_truth_for_another_number_of_queries_is_refused():
    with pytest.raises(DatasetError, match="somewhere: 2 queries but ground truth for 1"):
        dataset((A, B), (A, B), [[0]])


def test_a_data_set_needs_queries_and_a_database():
    with pytest.raises(DatasetError, match="somewhere: has 0 queries and 2 database photos; there must be"):
        dataset((A, B), (), [])
    with pytest.raises(DatasetError, match="somewhere: has 1 query and 0 database photos; there must be"):
        dataset((), (A,), [[]])


@pytest.mark.parametrize("row", [-1, 2, 99])
def test_ground_truth_outside_the_database_is_refused(row):
    with pytest.raises(DatasetError, match=rf"somewhere: .*query 'b' names a row outside the 2 .*{row}"):
        dataset((A, B), (A, B), [[0], [row]])
    parts = [database_rows([[]]), database_rows([[]]), database_rows([[row]])]
    for turn in range(3):  # easy, hard and junk in turn
        graded = GradedGroundTruth(*parts[turn:], *parts[:turn])
        with pytest.raises(DatasetError, match="names a row outside the 2 database photos"):
            Dataset("mine", Path("somewhere"), (A, B), (A,), graded, "revisitop")


def test_the_file_of_a_newcomer_is_short():
    assert Path(base.__file__).read_text().count("\n") < 80


def test_queries_are_cropped_where_one_has_a_box():
    boxed = Photo("c", Path("c.jpg"), Box(0, 0, 1, 1))
    assert not dataset((A,), (A,), [[0]]).queries_cropped
    assert dataset((A,), (A, boxed), [[0], [0]]).queries_cropped


def test_groups_need_one_entry_per_query():
    rows = database_rows([[0], [1]])
    assert GroundTruth(rows, database_rows([[], []]), groups=("public", "private")).groups[1] == "private"
    with pytest.raises(DatasetError, match="1 groups for 2 queries"):
        GroundTruth(rows, database_rows([[], []]), groups=("public",))


def test_database_rows_are_sorted_and_single():
    (rows,) = database_rows([{3, 1, 2}])
    assert rows.tolist() == [1, 2, 3]
    assert database_rows([[2, 2, 0]])[0].tolist() == [0, 2]


def test_its_repr_is_one_short_line():
    assert repr(dataset((A, B), (A,), [[1]])) == (
        "Dataset('mine', 1 query, 2 database photos, protocol 'retrieval', root 'somewhere')"
    )


def test_a_data_set_is_loaded_from_a_text_as_from_a_path(tmp_path, monkeypatch):
    for name in ("gate", "tower"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(2):
            Image.new("RGB", (4, 4)).save(tmp_path / "photos" / name / f"{number}.jpg")
    monkeypatch.setenv("HOME", str(tmp_path))
    by_text, by_path = load_dataset("folder", str(tmp_path / "photos")), load_dataset("folder", "~/photos")
    assert by_text.database == by_path.database == load_dataset("folder", tmp_path / "photos").database
