"""What each protocol counts, where they differ: repeats, short lists, empty queries, groups, bad input."""

import tracemalloc

import numpy as np
import pytest

from meisho.errors import DatasetError, InputError
from meisho.evaluate.gldv2 import (
    Recognition,
    gldv2_map_at_100,
    gldv2_mean_precisions,
    recognition_gap,
    score_gldv2,
)
from meisho.evaluate.oxford5k import oxford5k_map
from meisho.evaluate.random_baseline import random_ranking
from meisho.evaluate.recall import recall_at
from meisho.evaluate.revisitop import precision_within, revisitop_map, revisitop_mean_precision
from meisho.evaluate.ukbench import ukbench_ns
from meisho.ground_truth import GroundTruth

from .builders import ranking_of


def truth_of(positives, junk=None, groups=()):
    return GroundTruth(positives, junk or [[] for _ in positives], groups=groups)


def test_revisited_precision_does_not_reward_a_list_that_is_cut():
    full = ranking_of([[0, 5, 6, 7, 8, 9, 1]])
    truth = truth_of([[0, 1]])
    # of two positives one is at place 1, the other at 7: P@5 is 1/5, in the full list and in its first 5
    assert revisitop_mean_precision(full, truth, k=5) == 1 / 5
    assert revisitop_mean_precision(full.top(5), truth, k=5) == 1 / 5


def test_revisited_precision_of_nothing_found_is_zero():
    assert precision_within(np.empty(0, np.int64), 2, k=5) == 0


def test_all_queries_empty_is_nan():
    ranking, truth = ranking_of([[0, 1]]), truth_of([[]])
    for score in (revisitop_map, oxford5k_map, gldv2_map_at_100):
        assert np.isnan(score(ranking, truth))


def test_oxford_takes_the_query_photo_itself_as_a_positive():
    assert oxford5k_map(ranking_of([[0, 1, 2]]), truth_of([[0, 1]])) == 1


def test_landmark_repeats_keep_their_place():
    # 3, 3, 1: right at places 1 and 3: (1 + 2/3) / 2
    assert gldv2_map_at_100(ranking_of([[3, 3, 1]]), truth_of([[1, 3]])) == pytest.approx(5 / 6)


def test_landmark_lists_stop_at_100():
    ranking = ranking_of([list(range(150))])
    assert gldv2_map_at_100(ranking, truth_of([[99]])) == pytest.approx(1 / 100)
    assert gldv2_map_at_100(ranking, truth_of([[100]])) == 0
    # 120 positives, all in front: divided by 100, not by 120
    assert gldv2_map_at_100(ranking, truth_of([range(120)])) == pytest.approx(1)


def test_landmark_groups_are_scored_apart():
    ranking = ranking_of([[0], [1], [1]], 2)
    truth = truth_of([[0], [0], [1]], groups=("public", "private", "private"))
    assert gldv2_map_at_100(ranking, truth, group="public") == 1
    assert gldv2_map_at_100(ranking, truth, group="private") == 1 / 2
    assert gldv2_map_at_100(ranking, truth) == pytest.approx(2 / 3)
    with pytest.raises(InputError, match="no queries in group 'test'; it has: private, public"):
        gldv2_map_at_100(ranking, truth, group="test")


def test_gap_ties_go_by_id_and_then_by_landmark():
    # same score: "a" before "b", and of "b" landmark 1 before 2
    predictions = [Recognition("b", 2, 0.5), Recognition("b", 1, 0.5), Recognition("a", 9, 0.5)]
    ids = ("a", "b")
    assert recognition_gap(predictions, ids, [(9,), ()]) == 1
    assert recognition_gap(predictions, ids, [(), (1,)]) == 1 / 2
    assert recognition_gap(predictions, ids, [(), (2,)]) == pytest.approx(1 / 3)


def test_gap_counts_a_query_right_once():
    predictions = [Recognition("a", 1, 0.9), Recognition("a", 1, 0.8), Recognition("b", 2, 0.7)]
    # right at 1; the repeat keeps place 2; right at 3: (1 + 2/3) / 2
    assert recognition_gap(predictions, ("a", "b"), [(1,), (2,)]) == pytest.approx(5 / 6)


def test_gap_without_landmarks_is_nan():
    assert np.isnan(recognition_gap([], ("a",), [()]))


@pytest.mark.parametrize(
    ("predictions", "ids", "landmarks", "message"),
    [
        ([Recognition("x", 1, 1.0)], ("a",), [(1,)], "query 'x' is not in the solution"),
        ([Recognition("a", 1, float("nan"))], ("a",), [(1,)], "score of query 'a' is NaN"),
        ([], ("a", "a"), [(1,), (1,)], "appears more than once"),
        ([], ("a",), [], "0 lists of landmarks for 1 queries"),
    ],
)
def test_gap_refuses_what_it_cannot_score(predictions, ids, landmarks, message):
    with pytest.raises(InputError, match=message):
        recognition_gap(predictions, ids, landmarks)


def test_n_s_score_counts_the_four_photos():
    # 4 of 4, and 2 of 4 with the third right photo at place 5
    ranking = ranking_of([[3, 2, 1, 0, 4], [4, 9, 5, 8, 6]])
    assert ukbench_ns(ranking, truth_of([[0, 1, 2, 3], [4, 5, 6, 7]])) == (4 + 2) / 2


def test_n_s_score_needs_four_photos():
    with pytest.raises(DatasetError, match="'q1' has 3 positives"):
        ukbench_ns(ranking_of([[0], [1]], 8), truth_of([[0, 1, 2, 3], [4, 5, 6]]))


def test_recall_is_one_as_soon_as_one_is_found_and_junk_takes_no_place():
    ranking = ranking_of([[9, 8, 0], [1, 2, 3], [4, 5, 6]])
    truth = truth_of([[0, 7], [3], []], [[9, 8], [], []])
    assert recall_at(ranking, truth, k=1) == 1 / 2  # the first by junk taken out; the third does not count
    assert recall_at(ranking, truth, k=3) == 1


def test_a_random_ranking_is_the_same_each_time_and_other_for_rparis():
    ids = ("q0", "q1"), tuple(f"d{i}" for i in range(50))
    first, again = random_ranking(*ids, "mine"), random_ranking(*ids, "other")
    assert np.array_equal(first.ranks, again.ranks)
    assert not np.array_equal(first.ranks, random_ranking(*ids, "rparis6k").ranks)
    assert all(sorted(row) == list(range(50)) for row in first.ranks.tolist())
    assert (np.diff(first.scores, axis=1) <= 0).all()


@pytest.mark.parametrize("name", ["mine", "roxford5k", "rparis6k"])
def test_the_best_of_a_random_ranking_are_those_of_the_whole(name):
    ids = ("q0", "q1", "q2"), tuple(f"d{i}" for i in range(50))
    whole, best = random_ranking(*ids, name), random_ranking(*ids, name, top=7)
    assert np.array_equal(best.ranks, whole.ranks[:, :7])
    assert np.array_equal(best.scores, whole.scores[:, :7])
    assert random_ranking(*ids, name, top=99).depth == 50
    assert not np.array_equal(whole.ranks[0], whole.ranks[1])


def test_a_random_ranking_takes_the_memory_of_a_few_lists():
    queries, database = tuple(f"q{i}" for i in range(40)), tuple(f"d{i}" for i in range(20_000))
    tracemalloc.start()
    ranking = random_ranking(queries, database, "gldv2", top=100)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert ranking.depth == 100
    assert peak < 6 * 8 * len(database)


def test_landmark_figures_agree_with_the_functions():
    rng = np.random.default_rng(0)
    ranking = ranking_of([rng.permutation(200) for _ in range(9)])
    truth = truth_of([rng.permutation(200)[:30] for _ in range(9)])
    main, *precisions = score_gldv2(ranking, truth)[0].metrics
    assert main.values.mean() == pytest.approx(gldv2_map_at_100(ranking, truth), abs=1e-12)
    expected = gldv2_mean_precisions(ranking, truth)
    assert [m.name for m in precisions] == [f"gldv2_precision_at_{k}" for k in (1, 10, 100)]
    for metric, k in zip(precisions, (1, 10, 100), strict=True):
        assert metric.values.mean() == pytest.approx(expected[k - 1], abs=1e-12)
