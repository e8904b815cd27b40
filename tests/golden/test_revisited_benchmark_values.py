"""Whole-benchmark values on the real ground truths, and the usual mistakes, which give other ones."""

import numpy as np
import pytest

from meisho.descriptors import Provenance
from meisho.evaluate.average_precision import (
    positions_of,
    positions_per_query,
    rectangular_average_precision,
    trapezoid_average_precision,
)
from meisho.evaluate.protocols import evaluate_ranking
from meisho.evaluate.random_baseline import random_ranking, random_scores
from meisho.evaluate.revisitop import revisitop_map
from meisho.ground_truth import SETUPS, GroundTruth

pytestmark = pytest.mark.shared

NAMES = ("roxford5k", "rparis6k")
PER_CENT_EXACT = 1e-4
PRINTED = 0.005  # mistakes are known to two digits


def per_cent(ranking, benchmark):
    return [100 * revisitop_map(ranking, benchmark.ground_truth.at(setup)) for setup in SETUPS]


def evaluate(ranking, benchmark, protocol="revisitop"):
    return evaluate_ranking(
        ranking,
        benchmark.ground_truth,
        protocol=protocol,
        dataset=benchmark.name,
        queries_cropped=True,
        provenance=Provenance("test"),
    )


def test_facts(benchmarks):
    facts = {"roxford5k": (4993, 3029, 2497, 1356), "rparis6k": (6322, 6874, 10350, 7153)}
    for name, (num_database, *totals) in facts.items():
        truth = benchmarks[name].ground_truth
        assert len(benchmarks[name].database_ids) == num_database
        assert len(truth) == 70
        assert [sum(map(len, rows)) for rows in (truth.easy, truth.hard, truth.junk)] == totals
    empty = [q for q, easy in enumerate(benchmarks["roxford5k"].ground_truth.easy) if len(easy) == 0]
    assert empty == [11, 66]
    ids = benchmarks["roxford5k"].query_ids
    assert [ids[q] for q in empty] == ["balliol_000187", "hertford_000082"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("roxford5k", [1.0766, 1.7867, 0.9832]), ("rparis6k", [1.7032, 4.0668, 2.5176])],
)
def test_random_ranking(benchmarks, name, expected):
    benchmark = benchmarks[name]
    ranking = random_ranking(benchmark.query_ids, benchmark.database_ids, name)
    assert per_cent(ranking, benchmark) == pytest.approx(expected, abs=PER_CENT_EXACT)
    assert len(evaluate(ranking, benchmark).warnings) == 3  # each setup is called out as chance


def test_random_scores_skip_as_if_both_benchmarks_were_drawn(benchmarks):
    legacy = np.random.RandomState(1)
    first, second = legacy.rand(4993, 70), legacy.rand(6322, 70)
    assert np.array_equal(random_scores(4993, 70), first.T)
    assert np.array_equal(random_scores(6322, 70, skip=first.size), second.T)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("roxford5k", [0.947192, 1.711396, 0.867938]), ("rparis6k", [1.723624, 4.083332, 2.514963])],
)
def test_database_order(benchmarks, name, expected):
    benchmark = benchmarks[name]
    ranking = benchmark.rank(
        np.zeros((70, len(benchmark.database_ids)))
    )  # all tied: ties go to the lower row
    assert per_cent(ranking, benchmark) == pytest.approx(expected, abs=1e-6)
    warnings = evaluate(ranking, benchmark).warnings
    assert any("same score for every photo" in warning for warning in warnings)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("roxford5k", [67.4182, 43.6615, 8.6288]), ("rparis6k", [83.6488, 58.6930, 20.7802])],
)
def test_planted_ranking(benchmarks, planted, name, expected):
    assert per_cent(planted[name], benchmarks[name]) == pytest.approx(expected, abs=PER_CENT_EXACT)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "roxford5k",
            {
                "easy": [83.8235, 78.1863, 71.973],
                "medium": [81.4286, 74.2857, 67.2857],
                "hard": [24.2857, 25.0, 21.0],
            },
        ),
        (
            "rparis6k",
            {
                "easy": [98.5714, 97.1429, 95.5476],
                "medium": [100, 98.2857, 98.0],
                "hard": [82.8571, 61.4286, 56.2857],
            },
        ),
    ],
)
def test_precisions_of_the_planted_ranking(benchmarks, planted, name, expected):
    report = evaluate(planted[name], benchmarks[name])
    for setup, values in expected.items():
        got = [100 * report.figure(f"revisitop_mp_at_{k}", setup).value for k in (1, 5, 10)]
        assert got == pytest.approx(values, abs=PER_CENT_EXACT)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("junk_score", [5, 0, -5])
def test_every_positive_first_with_junk_anywhere(benchmarks, name, junk_score):
    benchmark, rng = benchmarks[name], np.random.default_rng(3)
    for setup in SETUPS:
        truth = benchmark.ground_truth.at(setup)
        scores = rng.random((70, len(benchmark.database_ids)))
        for row, positives, junk in zip(scores, truth.positives, truth.junk, strict=True):
            row[positives] += 2
            row[junk] = rng.random(len(junk)) * 10 + junk_score
        assert revisitop_map(benchmark.rank(scores), truth) == pytest.approx(1, abs=1e-12)


def test_the_report_says_it_all(benchmarks, planted):
    report = evaluate(planted["roxford5k"], benchmarks["roxford5k"])
    assert report.warnings == ()
    assert report.headline.metric == "revisitop_map"
    assert report.headline.setup == "medium"
    assert report.figure("revisitop_map", "easy").num_queries == 68
    assert report.figure("revisitop_map", "hard").num_queries == 70
    sentence = report.sentence(report.headline)
    assert sentence.startswith("revisitop_map medium 43.66 [")
    assert sentence.endswith(", 70 queries cropped where they have a box, ground truth ba796775…")
    without = {q.query_id for q in report.query_scores if np.isnan(q.average_precision)}
    assert without == {"balliol_000187", "hertford_000082"}


# The usual mistakes, each made here on purpose: it gives the number that it is known by, and ours differs.


def mistaken_map(ranking, positives, junk, average_precision=trapezoid_average_precision):
    values = [
        average_precision(positions_of(row, p, j), len(p))
        for row, p, j in zip(ranking.ranks, positives, junk, strict=True)
    ]
    return 100 * np.nanmean(values)


def assert_is_a_mistake(mistaken, known, right):
    assert mistaken == pytest.approx(known, abs=PRINTED)
    assert abs(mistaken - right) > 0.1


@pytest.mark.parametrize(("setup", "known"), list(zip(SETUPS, [58.33, 39.47, 4.56], strict=True)))
def test_junk_left_in_is_another_number(benchmarks, planted, setup, known):
    truth, ranking = benchmarks["roxford5k"].ground_truth.at(setup), planted["roxford5k"]
    nothing = [np.empty(0, np.int64)] * 70
    mistaken = mistaken_map(ranking, truth.positives, nothing)
    assert_is_a_mistake(mistaken, known, 100 * revisitop_map(ranking, truth))


def test_easy_as_negatives_is_another_number(benchmarks, planted):
    graded, ranking = benchmarks["roxford5k"].ground_truth, planted["roxford5k"]
    mistaken = mistaken_map(ranking, graded.hard, graded.junk)
    assert_is_a_mistake(mistaken, 5.01, 100 * revisitop_map(ranking, graded.at("hard")))


@pytest.mark.parametrize(("setup", "known"), list(zip(SETUPS, [69.59, 44.89, 9.87], strict=True)))
def test_rectangles_are_another_number(benchmarks, planted, setup, known):
    truth, ranking = benchmarks["roxford5k"].ground_truth.at(setup), planted["roxford5k"]
    mistaken = mistaken_map(ranking, truth.positives, truth.junk, rectangular_average_precision)
    assert_is_a_mistake(mistaken, known, 100 * revisitop_map(ranking, truth))


def test_empty_queries_as_zero_are_another_number(benchmarks, planted):
    truth, ranking = benchmarks["roxford5k"].ground_truth.at("easy"), planted["roxford5k"]
    positions = positions_per_query(ranking, truth)
    values = [trapezoid_average_precision(p, len(n)) for p, n in zip(positions, truth.positives, strict=True)]
    mistaken = 100 * np.nan_to_num(values).mean()
    assert_is_a_mistake(mistaken, 65.49, 100 * revisitop_map(ranking, truth))


@pytest.mark.parametrize(("setup", "known"), list(zip(SETUPS, [59.72, 29.78, 4.48], strict=True)))
def test_a_list_cut_at_100_is_another_number(benchmarks, planted, setup, known):
    truth, ranking = benchmarks["rparis6k"].ground_truth.at(setup), planted["rparis6k"]
    mistaken = 100 * revisitop_map(ranking.top(100), truth)
    assert_is_a_mistake(mistaken, known, 100 * revisitop_map(ranking, truth))


def test_a_list_cut_at_100_is_called_out(benchmarks, planted):
    report = evaluate(planted["rparis6k"].top(100), benchmarks["rparis6k"])
    assert any("lists hold 100 photos" in w and "6322" in w for w in report.warnings)


def test_own_data_protocol_takes_the_same_formula(benchmarks, planted):
    benchmark = benchmarks["roxford5k"]
    medium = benchmark.ground_truth.at("medium")
    plain = GroundTruth(medium.positives, medium.junk)
    report = evaluate_ranking(
        planted["roxford5k"],
        plain,
        protocol="retrieval",
        dataset="mine",
        queries_cropped=False,
        provenance=Provenance("test"),
    )
    assert 100 * report.headline.value == pytest.approx(43.6615, abs=PER_CENT_EXACT)
    assert report.figure("recall_at_10", "all").value >= report.figure("recall_at_1", "all").value
