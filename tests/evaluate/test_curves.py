"""Precision over recall and the scores of landmarks, worked by hand and against obvious code."""

import math

import numpy as np
import pytest

from evaluate.builders import random_case, ranking_of
from meisho.evaluate.average_precision import positions_of
from meisho.evaluate.curves import (
    RECALLS,
    interpolated_precision,
    precision_over_recall,
    score_landmarks,
)
from meisho.evaluate.report import QueryScore
from meisho.ground_truth import GroundTruth


def truth_of(*positives, junk=None):
    return GroundTruth([np.array(rows, np.int64) for rows in positives], junk or [[] for _ in positives])


def test_precision_worked_by_hand():
    """Hits at 1-based places 1, 3 and 6 of 4 positives: precisions 1, 2/3, 1/2; the fourth is never found."""
    found = interpolated_precision(np.array([0, 2, 5]), 4)
    assert found[RECALLS <= 0.25] == pytest.approx(1)
    assert found[(RECALLS > 0.25) & (RECALLS <= 0.5)] == pytest.approx(2 / 3)
    assert found[(RECALLS > 0.5) & (RECALLS <= 0.75)] == pytest.approx(1 / 2)
    assert (found[RECALLS > 0.75] == 0).all()
    later = interpolated_precision(
        np.array([3, 4]), 2
    )  # 1/4 and then 2/5: the better one counts from the start
    assert later == pytest.approx(np.full(101, 2 / 5))
    assert (interpolated_precision(np.array([], np.int64), 3) == 0).all()


def obvious(positions, num_positives):
    """The best precision of any prefix that holds at least this share of the positives."""
    best = []
    for hundredth in range(101):
        precisions = [
            (hits + 1) / (place + 1)
            for hits, place in enumerate(positions)
            if 100 * (hits + 1) >= hundredth * num_positives
        ]
        best.append(max(precisions, default=0.0))
    return best


@pytest.mark.parametrize("seed", range(40))
def test_the_mean_curve_is_that_of_obvious_code(seed):
    ranking, truth = random_case(seed)
    curves = [
        obvious(positions_of(row, positives, junk).tolist(), len(positives))
        for row, positives, junk in zip(ranking.ranks, truth.positives, truth.junk, strict=True)
        if len(positives)
    ]
    found = precision_over_recall(ranking, truth)
    if not curves:
        assert found is None
    else:
        np.testing.assert_allclose(found, np.mean(curves, axis=0), atol=1e-12)
        assert (np.diff(found) <= 1e-12).all()


def test_no_query_with_positives_has_no_curve():
    assert precision_over_recall(ranking_of([[0, 1]]), truth_of([])) is None


def scores_of(**by_id):
    return [QueryScore(query_id, "medium", score, 3) for query_id, score in by_id.items()]


def test_queries_that_share_a_positive_are_of_one_landmark_even_by_a_third():
    truth = truth_of([0, 1], [5, 6], [1, 2], [2, 3], [9])
    ids = ("hall_1", "tower_013_q0", "hall_2", "hall_3", "gate")
    scores = scores_of(hall_1=0.2, tower_013_q0=0.9, hall_2=0.4, hall_3=0.6, gate=0.1)
    found = score_landmarks(scores, ids, truth)
    assert [(each.name, each.num_queries) for each in found] == [
        ("gate", 1),
        ("hall", 3),
        ("tower_013", 1),
    ]
    assert [each.score for each in found] == pytest.approx([0.1, 0.4, 0.9])


@pytest.mark.parametrize(
    ("ids", "name"),
    [
        (("city_hall_013_q0", "city_hall_013_q1"), "city_hall_013"),
        (("塔/1.jpg", "塔/2.jpg"), "塔"),
        (("a", "b"), "a and others"),
    ],
)
def test_the_name_is_what_the_ids_have_in_common(ids, name):
    scores = [QueryScore(query_id, "all", 0.5, 1) for query_id in ids]
    assert [each.name for each in score_landmarks(scores, ids, truth_of([0], [0]))] == [name]


def test_a_query_that_does_not_count_is_in_no_landmark():
    scores = [score for score in scores_of(a_1=0.5) if not math.isnan(score.average_precision)]
    (only,) = score_landmarks(scores, ("a_1", "a_2"), truth_of([0], []))
    assert (only.name, only.num_queries) == ("a_1", 1)
