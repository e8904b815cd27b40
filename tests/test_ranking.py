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
    with pytest.raises(InputError, match="1 queries need ranks and scores"):
        Ranking(("q",), ("d",), np.zeros((1, 1), int), np.zeros((1, 2)))
    with pytest.raises(InputError, match="2 queries need ranks and scores"):
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
