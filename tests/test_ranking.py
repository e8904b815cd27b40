import re
import tracemalloc

import numpy as np
import pytest

from meisho.errors import InputError
from meisho.ranking import Ranking


def ranking_of(ranks, num_database=4):
    ranks = np.array(ranks)
    queries = tuple(f"q{i}" for i in range(len(ranks)))
    return Ranking(queries, tuple(f"d{i}" for i in range(num_database)), ranks, np.zeros(ranks.shape))


@pytest.mark.parametrize("row", [[-1, 0, 1], [0, -1, 1], [-1, -1, 2]])
def test_an_empty_place_before_the_end_is_refused_and_its_query_named(row):
    with pytest.raises(InputError, match="query 'q1' has an empty place before the end"):
        ranking_of([[0, 1, 2], row])


def test_short_and_empty_lists_are_taken():
    ranking = ranking_of([[0, 1, 2], [3, -1, -1], [-1, -1, -1]])
    assert [ranking.ids_of(query) for query in range(3)] == [["d0", "d1", "d2"], ["d3"], []]
    assert ranking_of(np.empty((2, 0), int)).depth == 0
    assert len(ranking_of(np.empty((0, 3), int)).ranks) == 0


@pytest.mark.parametrize("row", [-2, 4])
def test_a_row_outside_the_database_is_refused(row):
    with pytest.raises(InputError, match="outside the 4 database rows"):
        ranking_of([[0, row]])


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="1 query id need ranks and scores"):
        Ranking(("q",), ("d",), np.zeros((1, 1), int), np.zeros((1, 2)))
    with pytest.raises(InputError, match="2 query ids need ranks and scores"):
        Ranking(("q", "r"), ("d",), np.zeros((1, 1), int), np.zeros((1, 1)))


def test_the_check_takes_the_memory_of_one_list():
    ranks, scores = np.zeros((50, 10_000), np.int64), np.zeros((50, 10_000), np.float32)
    queries = tuple(f"q{i}" for i in range(50))
    tracemalloc.start()
    Ranking(queries, ("d",), ranks, scores)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000


def test_ties_go_to_the_lower_row():
    ranking = Ranking.from_scores(("q",), ("a", "b", "c"), np.array([[0.5, 1.0, 0.5]]))
    assert ranking.ranks.tolist() == [[1, 0, 2]]
    assert ranking.top(2).ids_of(0) == ["b", "a"]


def test_nan_scores_are_refused_and_their_query_named():
    scores = np.array([[0.5, 0.1], [0.5, np.nan]])
    with pytest.raises(InputError, match="query 'q1' has a score that is NaN"):
        Ranking(("q0", "q1"), ("a", "b"), np.array([[0, 1], [0, 1]]), scores)
    with pytest.raises(InputError, match="query '1' has a score that is NaN"):
        Ranking.from_scores(range(2), range(2), scores)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "uint64", "int8", "int32", "int64"])
def test_ranks_of_any_integer_type_are_taken(dtype):
    ranking = Ranking.from_ranks(["q"], ["a", "b", "c"], np.array([[2, 0, 1]], dtype))
    assert ranking.ids_of(0) == ["c", "a", "b"]
    assert ranking.ranks.dtype == np.int64
    np.testing.assert_allclose(ranking.scores, [[1, 1 / 2, 1 / 3]])


@pytest.mark.parametrize("dtype", [bool, "uint8", "uint64", "int8", "int64", "float16", "float64"])
def test_scores_of_any_type_rank_the_highest_first(dtype):
    ranking = Ranking.from_scores(["q"], ["a", "b", "c"], np.array([[0, 1, 0]], dtype))
    assert ranking.ids_of(0) == ["b", "a", "c"]


def test_empty_places_of_given_ranks_have_no_score():
    ranking = Ranking.from_ranks(range(2), range(3), [[1, -1], [0, 2]])
    assert ranking.scores[0].tolist() == [1, -np.inf]
    assert (ranking.query_ids, ranking.database_ids) == (("0", "1"), ("0", "1", "2"))


@pytest.mark.parametrize(
    ("ranks", "words"),
    [
        ([[0.5, 0.1]], "ranks are of the type float64; they must be whole numbers"),
        ([["a", "b"]], "ranks are of the type <U1; they must be whole numbers"),
        ([[1, 2]], "outside the 2 database rows (ranks 1 to 2; rows are counted from 0)"),
        (
            np.array([[0, 2**64 - 1]], np.uint64),
            "outside the 2 database rows (ranks 0 to 18446744073709551615",
        ),
        ([0, 1], "1 query id need ranks and scores (Q, K), got (2,)"),
        (None, "ranks and scores (Q, K), got ()"),
    ],
)
def test_what_is_no_array_of_rows_is_refused_with_what_and_where(ranks, words):
    with pytest.raises(InputError, match=re.escape(words)):
        Ranking.from_ranks(["q"], ["a", "b"], ranks)


def test_ids_and_scores_that_are_none_are_refused():
    with pytest.raises(InputError, match="query_ids is 'abc'; give a list of ids"):
        Ranking.from_ranks("abc", ["a"], [[0]] * 3)
    with pytest.raises(InputError, match="database_ids is 3; give a list of ids"):
        Ranking.from_ranks(["q"], 3, [[0]])
    with pytest.raises(InputError, match="scores are of the type <U1; give an array of numbers"):
        Ranking.from_scores(["q"], ["a"], [["x"]])
    with pytest.raises(InputError, match=r"1 query id and 2 database ids need scores \(1, 2\), got \(2, 1\)"):
        Ranking.from_scores(["q"], ["a", "b"], [[1], [2]])


def test_warnings_stay_with_the_first_of_every_list():
    ranking = Ranking(("q",), ("a", "b"), [[0, 1]], [[1, 0]], ("doubtful",))
    assert ranking.top(1).warnings == ("doubtful",)


def test_its_repr_is_one_short_line():
    assert repr(ranking_of([[0, 1, 2]] * 1000, 70000)) == (
        "Ranking(1,000 queries over 70,000 photos, ranks (1000, 3))"
    )
