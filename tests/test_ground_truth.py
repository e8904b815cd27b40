import numpy as np
import pytest

from meisho.errors import DatasetError, InputError
from meisho.ground_truth import GradedGroundTruth, GroundTruth


def lists(rows):
    return [each.tolist() for each in rows]


@pytest.mark.parametrize("make", [list, tuple, np.array, iter])
def test_photos_with_the_label_of_the_query_are_right(make):
    truth = GroundTruth.from_labels(
        make(["castle", "gate", "bridge"]), make(["gate", "castle", "gate", "tower"])
    )
    assert lists(truth.positives) == [[1], [0, 2], []]
    assert lists(truth.junk) == [[], [], []]


def test_numbers_of_any_type_are_labels():
    truth = GroundTruth.from_labels(np.array([3, 1], np.uint8), [1, 3.0, 2])
    assert lists(truth.positives) == [[1], [0]]


def test_what_has_no_label_is_right_for_nothing():
    truth = GroundTruth.from_labels([None, float("nan"), "a"], ["a", None, float("nan")])
    assert lists(truth.positives) == [[], [], [0]]


def test_a_photo_is_no_answer_to_itself_where_ids_are_given():
    ids = ["x", "y", "z"]
    truth = GroundTruth.from_labels(list("aab"), list("aab"), query_ids=ids, database_ids=ids)
    assert lists(truth.positives) == [[1], [0], []]
    assert lists(truth.junk) == [[0], [1], [2]]


@pytest.mark.parametrize(
    ("query", "database", "ids", "words"),
    [
        ("castle", ["castle"], {}, r"query_labels is 'castle'; give a list, one label per photo"),
        (["a"], 3, {}, r"database_labels is 3; give a list"),
        (["a"], [["a", "b"]], {}, r"database_labels\[0\] is \['a', 'b'\]; a label is one text or one number"),
        (np.eye(2), ["a"], {}, r"query_labels\[0\] is \[1.0, 0.0\]; a label is"),
        (["1"], [1, 2], {}, "query_labels are texts and database_labels numbers"),
        (["a"], ["a"], {"query_ids": ["x"]}, "query_ids and database_ids together, or neither"),
        (["a"], ["a"], {"query_ids": ["x"], "database_ids": []}, "1 query labels and 1 database labels need"),
    ],
)
def test_what_is_no_list_of_labels_is_refused_with_what_and_where(query, database, ids, words):
    with pytest.raises(InputError, match=words):
        GroundTruth.from_labels(query, database, **ids)


def test_a_row_is_right_or_junk_but_not_both():
    with pytest.raises(DatasetError, match="query 0 has a database row in two of positives, junk"):
        GroundTruth([[1]], [[1]])


def test_its_repr_is_one_short_line():
    truth = GroundTruth([[0, 1]] * 1000, [[2]] * 1000, groups=("public", "private") * 500)
    assert repr(truth) == "GroundTruth(1,000 queries, 2,000 positives, 1,000 junk, groups public, private)"
    graded = GradedGroundTruth([[0]], [[1]], [[]])
    assert repr(graded) == "GradedGroundTruth(1 query, 1 easy, 1 hard, 0 junk)"
