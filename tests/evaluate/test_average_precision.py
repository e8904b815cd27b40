import tracemalloc

import numpy as np
import pytest

from meisho.errors import DatasetError, InputError
from meisho.evaluate.average_precision import (
    check_fit,
    positions_of,
    positions_per_query,
    rectangular_average_precision,
    trapezoid_average_precision,
)
from meisho.ground_truth import GroundTruth

from .builders import ranking_of

NONE = np.empty(0, np.int64)


def rows(*values):
    return np.array(values, np.int64)


def test_a_repeated_positive_counts_once_at_its_first_place():
    # places: 7, 3, 7, 5: the second 7 takes place 2 and is no hit, so 5 stands at 3
    assert positions_of(rows(7, 3, 7, 5), rows(5, 7), NONE).tolist() == [0, 3]


def test_repeated_junk_is_taken_out_each_time():
    assert positions_of(rows(4, 4, 1, 4, 2), rows(1, 2), rows(4)).tolist() == [0, 1]


def test_empty_places_are_no_database_row():
    # -1 must not be read as the last row, positive or junk
    assert positions_of(rows(1, -1, -1), rows(1, 2), rows(0)).tolist() == [0]
    assert positions_of(rows(-1, -1), rows(2), rows(1)).tolist() == []


@pytest.mark.parametrize("positives", [NONE, rows(3)])
def test_an_empty_list_has_no_positions(positives):
    assert positions_of(NONE, positives, rows(1)).tolist() == []


def test_rows_beyond_the_list_are_not_found():
    assert positions_of(rows(0, 1), rows(9), rows(8)).tolist() == []


def test_arguments_are_not_written_to():
    arguments = rows(4, 3, 2, 1), rows(1, 3), rows(4)
    before = [a.copy() for a in arguments]
    positions = positions_of(*arguments)
    trapezoid_average_precision(positions, 2)
    rectangular_average_precision(positions, 2, cut=1)
    assert all(np.array_equal(a, b) for a, b in zip(arguments, before, strict=True))


def test_without_positives_the_score_is_nan():
    assert np.isnan(trapezoid_average_precision(NONE, 0))
    assert np.isnan(rectangular_average_precision(NONE, 0, cut=5))


def test_nothing_found_scores_zero():
    assert trapezoid_average_precision(NONE, 3) == 0
    assert rectangular_average_precision(NONE, 3) == 0


def test_a_cut_divides_by_what_fits_into_it():
    # five positives, all in front, cut at 2: (1 + 1) / min(5, 2)
    assert rectangular_average_precision(np.arange(5), 5, cut=2) == 1


def test_a_ground_truth_of_other_queries_is_refused():
    with pytest.raises(InputError, match="2 queries but the ground truth 1"):
        check_fit(ranking_of([[0], [1]]), GroundTruth([[0]], [[]]))


@pytest.mark.parametrize(("positives", "junk"), [([5], []), ([0], [5]), ([-1], [])])
def test_a_ground_truth_of_another_database_is_refused(positives, junk):
    with pytest.raises(DatasetError, match="'q0' names a row outside the 3 database"):
        positions_per_query(ranking_of([[0, 1]], 3), GroundTruth([positives], [junk]))


def test_memory_is_that_of_one_list():
    num_database, num_queries = 200_000, 20
    rng = np.random.default_rng(0)
    ranking = ranking_of([rng.permutation(num_database) for _ in range(num_queries)])
    labels = rng.permutation(num_database)[:3000]
    truth = GroundTruth([labels[:1000]] * num_queries, [labels[1000:]] * num_queries)
    tracemalloc.start()
    try:
        positions_per_query(ranking, truth)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    one_list = num_database * 8
    assert peak < one_list
    assert ranking.ranks.nbytes == num_queries * one_list
