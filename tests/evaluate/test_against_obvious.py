"""1,000 random cases of every metric against a slow, obvious version."""

import math

import numpy as np
import pytest

from meisho.evaluate.gldv2 import (
    Recognition,
    gldv2_map,
    gldv2_mean_median_position,
    gldv2_mean_precisions,
    recognition_gap,
)
from meisho.evaluate.oxford5k import oxford5k_map
from meisho.evaluate.recall import recall_at
from meisho.evaluate.revisitop import revisitop_map, revisitop_mean_precision
from meisho.evaluate.ukbench import ukbench_ns
from meisho.ground_truth import GroundTruth
from meisho.ranking import Ranking

from . import obvious
from .builders import lists_of, names, random_case

NUM_CASES = 1_000


@pytest.fixture(scope="module")
def cases():
    return [random_case(seed) for seed in range(NUM_CASES)]


def assert_same(got, expected):
    assert got == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_the_cases_hold_every_difficulty(cases):
    lists = [case for ranking, truth in cases for case in lists_of(ranking, truth)]
    assert any(not positives for _, positives, _ in lists)
    assert any(not positives and junk for _, positives, junk in lists)
    assert any(-1 in ranked for ranked, _, _ in lists)
    assert any(set(ranked) == {-1} for ranked, _, _ in lists)
    assert any(positives - set(ranked) for ranked, positives, _ in lists)
    for group in (1, 2):  # a repeated positive, a repeated junk photo
        assert any(ranked.count(p) > 1 for case in lists for ranked in [case[0]] for p in case[group])


def test_trapezoid_map(cases):
    for ranking, truth in cases:
        expected = obvious.mean([obvious.trapezoid(*case) for case in lists_of(ranking, truth)])
        assert_same(revisitop_map(ranking, truth), expected)
        assert_same(oxford5k_map(ranking, truth), expected)


@pytest.mark.parametrize("k", [1, 3, 10])
def test_mean_precision(cases, k):
    for ranking, truth in cases:
        expected = obvious.mean([obvious.revisited_precision(*case, k) for case in lists_of(ranking, truth)])
        assert_same(revisitop_mean_precision(ranking, truth, k=k), expected)


@pytest.mark.parametrize("k", [1, 5])
def test_recall(cases, k):
    for ranking, truth in cases:
        expected = obvious.mean([obvious.recall(*case, k) for case in lists_of(ranking, truth)])
        assert_same(recall_at(ranking, truth, k=k), expected)


@pytest.mark.parametrize("cut", [1, 4, 100])
def test_landmark_map(cases, cut):
    for ranking, truth in cases:
        plain = [(ranked, positives) for ranked, positives, _ in lists_of(ranking, truth)]
        expected = obvious.mean([obvious.rectangular(*case, cut) for case in plain])
        assert_same(gldv2_map(ranking, truth, cut=cut), expected)


@pytest.mark.parametrize("cut", [1, 7])
def test_landmark_precisions_and_positions(cases, cut):
    for ranking, truth in cases:
        walks = [obvious.walk(ranked, pos, set()) for ranked, pos, _ in lists_of(ranking, truth) if pos]
        if not walks:
            assert np.isnan(gldv2_mean_precisions(ranking, truth, cut=cut)).all()
            assert np.isnan(gldv2_mean_median_position(ranking, truth, cut=cut)).all()
            continue
        precisions = [obvious.mean([sum(w[:k]) / k for w in walks]) for k in range(1, cut + 1)]
        assert_same(gldv2_mean_precisions(ranking, truth, cut=cut).tolist(), precisions)
        first = [w.index(True) + 1 if True in w[:cut] else cut + 1 for w in walks]
        expected = (obvious.mean(first), float(np.median(first)))
        assert_same(gldv2_mean_median_position(ranking, truth, cut=cut), expected)


def test_n_s_score():
    for seed in range(NUM_CASES):
        rng = np.random.default_rng(seed)
        ranks = rng.permuted(np.tile(np.arange(8), (3, 1)), axis=1)[:, : int(rng.integers(1, 9))]
        if seed % 3 == 0:
            ranks = rng.choice(8, size=ranks.shape)
        truth = GroundTruth([rng.permutation(8)[:4] for _ in range(3)], [[], [], []])
        ranking = Ranking(names("q", 3), names("d", 8), ranks, np.zeros(ranks.shape))
        expected = obvious.mean([obvious.photos_of_four(r, p) for r, p, _ in lists_of(ranking, truth)])
        assert_same(ukbench_ns(ranking, truth), expected)


@pytest.mark.parametrize("ignore", [False, True])
def test_recognition_gap(ignore):
    for seed in range(NUM_CASES):
        rng = np.random.default_rng(seed)
        ids = names("q", 6)
        landmarks = [tuple(rng.integers(0, 3, size=int(rng.integers(0, 3))).tolist()) for _ in ids]
        predictions = [  # few scores and landmarks: ties in both; a query may be answered twice or not at all
            (ids[int(rng.integers(6))], int(rng.integers(3)), float(rng.integers(3))) for _ in range(8)
        ]
        got = recognition_gap(
            [Recognition(*p) for p in predictions], ids, landmarks, ignore_queries_without_landmarks=ignore
        )
        if not any(landmarks):
            assert math.isnan(got)
            continue
        solution = {i: set(shown) for i, shown in zip(ids, landmarks, strict=True)}
        assert_same(got, obvious.gap(predictions, solution, ignore))
