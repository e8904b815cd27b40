"""Metrics on cases worked by hand, with the arithmetic, and on the cases of the published test suites."""

import numpy as np
import pytest

from meisho.evaluate.average_precision import (
    positions_of,
    rectangular_average_precision,
    trapezoid_average_precision,
)
from meisho.evaluate.gldv2 import (
    Recognition,
    gldv2_map,
    gldv2_map_at_100,
    gldv2_mean_median_position,
    gldv2_mean_precisions,
    recognition_gap,
)
from meisho.evaluate.revisitop import (
    precision_within,
    revisitop_map,
    revisitop_mean_precision,
    score_revisitop,
)
from meisho.ground_truth import GroundTruth
from meisho.ranking import Ranking

EXACT = 1e-9


def ranking_of(ranks, num_database):
    ranks = np.array(ranks)
    queries = tuple(f"q{i}" for i in range(len(ranks)))
    return Ranking(queries, tuple(f"d{i}" for i in range(num_database)), ranks, np.zeros(ranks.shape))


@pytest.mark.parametrize(
    ("positions", "num_positives", "expected"),
    [
        ([0], 1, (1 + 1 / 1) / 2),  # 1
        ([0, 2], 2, ((1 + 1) + (1 / 2 + 2 / 3)) / 4),  # .7916667
        ([0, 4], 3, ((1 + 1) + (1 / 4 + 2 / 5)) / 6),  # .4416667: the third was not found and adds 0
        ([0, 2, 5], 3, ((1 + 1) + (1 / 2 + 2 / 3) + (2 / 5 + 3 / 6)) / 6),  # .6777778
        ([1], 1, (0 / 1 + 1 / 2) / 2),  # .25
        ([1, 3], 2, ((0 / 1 + 1 / 2) + (1 / 3 + 2 / 4)) / 4),  # .3333333
        ([2], 5, (0 / 2 + 1 / 3) / 10),  # .0333333
    ],
)
def test_trapezoid_average_precision(positions, num_positives, expected):
    got = trapezoid_average_precision(np.array(positions), num_positives)
    assert got == pytest.approx(expected, abs=EXACT)


def test_the_arithmetic_gives_the_printed_values():
    printed = {(0,): 1, (0, 2): 0.7916667, (0, 2, 5): 0.6777778, (1,): 0.25, (1, 3): 0.3333333}
    for positions, value in printed.items():
        got = trapezoid_average_precision(np.array(positions), len(positions))
        assert got == pytest.approx(value, abs=5e-8)
    assert trapezoid_average_precision(np.array([0, 4]), 3) == pytest.approx(0.4416667, abs=5e-8)
    assert trapezoid_average_precision(np.array([2]), 5) == pytest.approx(0.0333333, abs=5e-8)


def test_precision_counts_up_to_the_last_positive():
    positions = np.array([0, 2, 5])  # 1-based 1, 3, 6
    assert precision_within(positions, 3, k=10) == pytest.approx(3 / 6, abs=EXACT)
    assert precision_within(positions, 3, k=5) == pytest.approx(2 / 5, abs=EXACT)
    assert precision_within(positions, 3, k=1) == 1


def test_junk_is_taken_out_before_positions_are_counted():
    # before 0: no junk; before 2: {1}; before 6: {1}; before 10: {1, 8, 9}; before 20: the same three
    positions = positions_of(np.arange(40), np.array([0, 2, 6, 10, 20]), np.array([1, 8, 9, 30]))
    assert positions.tolist() == [0, 1, 5, 7, 17]


def test_the_published_test_of_the_revisited_metrics():
    """The DELF code's testComputeMetricsWorks.

    Query 0: 4, [2 is junk], 0, 1, 3: positives at 1, 2: ((0/1 + 1/2) + (1/2 + 2/3)) / 4 = .416667. Query 1:
    0, 2, 4, 1, 3: at 0, 2: .791667. Query 2 has no positives. P@1: 0, 1; P@2: 1/2, 1/2; P@5: 2/3, 2/3.
    """
    ranking = ranking_of([[4, 2, 0, 1, 3], [0, 2, 4, 1, 3], [0, 1, 2, 3, 4]], 5)
    truth = GroundTruth([[0, 1], [0, 4], []], [[2], [], []])
    assert revisitop_map(ranking, truth) == pytest.approx((5 / 12 + 19 / 24) / 2, abs=EXACT)
    assert revisitop_map(ranking, truth) == pytest.approx(0.604167, abs=5e-7)
    per_query = score_revisitop(ranking, truth)[0].main.values
    assert per_query == pytest.approx([5 / 12, 19 / 24, np.nan], abs=EXACT, nan_ok=True)
    precisions = [revisitop_mean_precision(ranking, truth, k=k) for k in (1, 2, 5)]
    assert precisions == pytest.approx([0.5, 0.5, 2 / 3], abs=EXACT)


# The cases of the DELF code's metrics_test.py. Database rows 0..5 are ids ...200, 210, 220, 230, 240, 250.
LANDMARK_TRUTH = GroundTruth([[1, 2], [1], [3, 4, 5], [3]], [[], [], [], []])
LANDMARK_RANKING = ranking_of([[-1, -1], [0, 1], [4, -1], [3, 4]], 6)


def test_landmark_map():
    # query 0 not answered: 0; query 1: (1/2) / 1; query 2: (1/1) / 3; query 3: 1
    expected = (0 + 1 / 2 + 1 / 3 + 1) / 4
    assert gldv2_map_at_100(LANDMARK_RANKING, LANDMARK_TRUTH) == pytest.approx(expected, abs=EXACT)
    assert expected == pytest.approx(0.458333, abs=5e-7)
    # at 1: 0, 0, 1 / min(3, 1), 1
    assert gldv2_map(LANDMARK_RANKING, LANDMARK_TRUTH, cut=1) == pytest.approx(0.5, abs=EXACT)


def test_landmark_mean_precisions():
    # at 1: 0, 0, 1, 1; at 2: 0, 1/2, 1/2, 1/2
    got = gldv2_mean_precisions(LANDMARK_RANKING, LANDMARK_TRUTH, cut=2)
    assert got == pytest.approx([0.5, 0.375], abs=EXACT)


def test_landmark_positions():
    # 101 (not found), 2, 1, 1: mean 105 / 4, median (1 + 2) / 2
    assert gldv2_mean_median_position(LANDMARK_RANKING, LANDMARK_TRUTH) == (26.25, 1.5)
    assert gldv2_mean_median_position(LANDMARK_RANKING, LANDMARK_TRUTH, cut=1) == (1.5, 1.5)


def test_recognition_gap():
    # sorted: 4th (no landmark, score 15) wrong, 3rd (10) right at place 2, 2nd (.01) wrong; 3 show a landmark
    ids = tuple(f"0{n}23456789abcdef" for n in range(1, 6))
    landmarks = [(0, 12), (100, 200, 300), (1,), (), ()]
    predictions = [
        Recognition(ids[1], 0, 0.01),
        Recognition(ids[2], 1, 10.0),
        Recognition(ids[3], 150, 15.0),
    ]
    assert recognition_gap(predictions, ids, landmarks) == pytest.approx((1 / 2) / 3, abs=EXACT)
    ignoring = recognition_gap(predictions, ids, landmarks, ignore_queries_without_landmarks=True)
    assert ignoring == pytest.approx((1 / 1) / 3, abs=EXACT)


def test_map_is_four_numbers():
    positions = np.array([0, 2, 5])  # 1-based 1, 3, 6 of 3 positives
    trapezoid = trapezoid_average_precision(positions, 3)
    rectangular = rectangular_average_precision(positions, 3)
    cut_at_4 = rectangular_average_precision(positions, 3, cut=4)
    assert trapezoid == pytest.approx(0.6777778, abs=5e-8)
    assert rectangular == pytest.approx((1 + 2 / 3 + 3 / 6) / 3, abs=EXACT)  # .7222
    assert cut_at_4 == pytest.approx((1 + 2 / 3) / 3, abs=EXACT)  # .5556
    # "divided by what was found" at 4: (1 + 2/3) / 2 = .8333, which no metric here gives
    by_found = (1 + 2 / 3) / 2
    assert all(abs(value - by_found) > 0.1 for value in (trapezoid, rectangular, cut_at_4))
