import dataclasses

import numpy as np
import pytest

from meisho.descriptors import Provenance
from meisho.errors import InputError
from meisho.evaluate.comparison import compare_reports
from meisho.evaluate.protocols import evaluate_ranking
from meisho.evaluate.report import load_report
from meisho.ground_truth import GradedGroundTruth
from meisho.ranking import Ranking

from .builders import names

NUM_QUERIES, NUM_DATABASE = 40, 120


@pytest.fixture(scope="module")
def graded():
    rng = np.random.default_rng(0)
    rows = [rng.permutation(NUM_DATABASE) for _ in range(NUM_QUERIES)]
    easy = [[], *[r[:4] for r in rows[1:]]]  # the first query has no easy positives
    return GradedGroundTruth(easy, [r[4:8] for r in rows], [r[8:10] for r in rows])


def run(graded, lift, *, seed=1, size=384):
    scores = np.random.default_rng(seed).standard_normal((NUM_QUERIES, NUM_DATABASE))
    for row, easy, hard in zip(scores, graded.easy, graded.hard, strict=True):
        row[easy] += lift
        row[hard] += lift
    return evaluate_ranking(
        Ranking.from_scores(names("q", NUM_QUERIES), names("d", NUM_DATABASE), scores),
        graded,
        protocol="revisitop",
        dataset="toy",
        queries_cropped=True,
        provenance=Provenance.from_options("timm_gem", {"max_side_px": size}),
    )


def test_a_better_run_is_found_better_in_every_setup(graded):
    first, second = run(graded, 1.0), run(graded, 2.5, size=640)
    comparison = compare_reports(first, second, np.random.default_rng(0))
    assert [c.setup for c in comparison] == ["easy", "medium", "hard"]
    for c in comparison:
        assert c.difference == pytest.approx(c.second - c.first, abs=1e-12)
        assert 0 < c.low < c.difference < c.high
        assert c.p_value < 0.001
        assert c.num_queries == (39 if c.setup == "easy" else 40)
        assert c.first == first.figure("revisitop_map", c.setup).value
    assert comparison.differences == ("max_side_px: 384 / 640",)


def test_the_same_run_is_not_different(graded):
    comparison = compare_reports(run(graded, 1.0), run(graded, 1.0), np.random.default_rng(0))
    assert all((c.difference, c.p_value) == (0, 1) for c in comparison)
    assert comparison.differences == ()


def test_a_saved_run_compares_like_the_one_in_memory(graded, tmp_path):
    first, second = run(graded, 1.0), run(graded, 1.2, seed=2)
    saved = load_report(first.save(tmp_path))
    assert compare_reports(saved, second, np.random.default_rng(0)) == compare_reports(
        first, second, np.random.default_rng(0)
    )


def test_queries_are_matched_by_id_not_by_place(graded):
    first, second = run(graded, 1.0), run(graded, 1.2, seed=2)
    shuffled = dataclasses.replace(second, query_scores=second.query_scores[::-1])
    straight, mixed = (compare_reports(first, s, np.random.default_rng(0)) for s in (second, shuffled))
    assert straight == mixed


def test_a_sentence_says_values_difference_interval_and_p(graded):
    comparison = compare_reports(run(graded, 1.0), run(graded, 2.5), np.random.default_rng(0))
    c = comparison.setups[1]
    assert c.sentence.startswith(f"revisitop_map medium {100 * c.first:.2f} → {100 * c.second:.2f}: +")
    assert c.sentence.endswith(f"p = {c.p_value:.4f}, 40 queries")


def test_cropping_is_named_as_a_difference(graded):
    first = run(graded, 1.0)
    second = dataclasses.replace(first, queries_cropped=False)
    comparison = compare_reports(first, second, np.random.default_rng(0))
    assert comparison.differences == ("queries_cropped: True / False",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dataset": "other"}, "different data sets: 'toy' and 'other'"),
        ({"protocol": "oxford5k"}, "different protocols: 'revisitop' and 'oxford5k'"),
        ({"ground_truth_sha256": "ff"}, "different ground truths: '[0-9a-f]{64}' and 'ff'"),
        ({"num_database": 7}, "different numbers of database photos: 120 and 7"),
    ],
)
def test_runs_on_different_things_are_refused_with_both_named(graded, change, message):
    first = run(graded, 1.0)
    with pytest.raises(InputError, match=message):
        compare_reports(first, dataclasses.replace(first, **change), np.random.default_rng(0))


def test_runs_with_different_queries_are_refused(graded):
    first = run(graded, 1.0)
    fewer = dataclasses.replace(first, query_scores=first.query_scores[1:])
    with pytest.raises(InputError, match=r"1 are scored in one only, the first is 'q0' \(easy\)"):
        compare_reports(first, fewer, np.random.default_rng(0))
