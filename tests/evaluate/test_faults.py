import numpy as np
import pytest

from meisho.descriptors import Provenance
from meisho.evaluate.faults import describe_ranking_faults
from meisho.evaluate.protocols import evaluate_ranking
from meisho.ground_truth import GroundTruth
from meisho.ranking import Ranking

from .builders import names, ranking_of

NUM_QUERIES, NUM_DATABASE = 30, 200


def warnings_of(ranking, truth, protocol="retrieval"):
    report = evaluate_ranking(
        ranking, truth, protocol=protocol, dataset="toy", queries_cropped=False, provenance=Provenance("x")
    )
    return report.warnings


def random_truth(rng, num_positives=4, num_junk=3):
    rows = [rng.permutation(NUM_DATABASE) for _ in range(NUM_QUERIES)]
    return GroundTruth(
        [r[:num_positives] for r in rows], [r[num_positives : num_positives + num_junk] for r in rows]
    )


def raised_ranking(rng, truth, lift):
    scores = rng.standard_normal((NUM_QUERIES, NUM_DATABASE))
    for row, positives in zip(scores, truth.positives, strict=True):
        row[positives] += lift
    return Ranking.from_scores(names("q", NUM_QUERIES), names("d", NUM_DATABASE), scores)


@pytest.mark.parametrize("protocol", ["retrieval", "oxford5k", "gldv2", "ukbench"])
def test_random_rankings_are_called_chance_and_good_ones_are_not(protocol):
    called = {0.0: 0, 2.5: 0}
    for lift in called:
        for seed in range(60):
            rng = np.random.default_rng(seed)
            truth = random_truth(rng, num_junk=0)
            warnings = warnings_of(raised_ranking(rng, truth, lift), truth, protocol)
            called[lift] += any("at chance level" in warning for warning in warnings)
    assert called[0.0] >= 57
    assert called[2.5] == 0


def test_a_perfect_score_where_everything_is_right_is_chance():
    truth = GroundTruth([[0, 1, 2]] * 5, [[]] * 5)
    assert any("at chance level" in w for w in warnings_of(ranking_of([[2, 0, 1]] * 5), truth))


def test_a_weak_score_far_above_a_tiny_chance_is_not_called_chance():
    # one positive at place 20 of 100,000: average precision about .024, chance about .00006
    ranks = np.arange(100)
    ranking = Ranking(names("q", 3), names("d", 100_000), [ranks] * 3, [-ranks.astype(float)] * 3)
    truth = GroundTruth([[20]] * 3, [[]] * 3)
    assert not any("chance" in warning for warning in warnings_of(ranking, truth))


def test_a_sound_ranking_has_no_faults():
    rng = np.random.default_rng(0)
    truth = random_truth(rng)
    assert describe_ranking_faults(raised_ranking(rng, truth, 3)) == []
    assert warnings_of(raised_ranking(rng, truth, 3), truth) == ()


def test_constant_scores_are_called_out_but_not_a_single_answer():
    tied = Ranking.from_scores(names("q", 2), names("d", 3), np.array([[1.0, 1, 1], [1, 1, 2]]))
    (fault,) = describe_ranking_faults(tied)
    assert fault.startswith("1 of 2 queries: the same score for every photo")
    single = Ranking(names("q", 1), names("d", 3), [[2, -1, -1]], [[0.5, -np.inf, -np.inf]])
    assert describe_ranking_faults(single) == []
    filled = Ranking(names("q", 1), names("d", 3), [[2, 0, -1]], [[0.5, 0.5, -np.inf]])
    assert len(describe_ranking_faults(filled)) == 1


def test_repeats_are_called_out_and_empty_places_are_not():
    ranking = ranking_of([[0, 1, 0], [2, 1], [2, 2]])
    (fault,) = describe_ranking_faults(ranking)
    assert fault.startswith("2 of 3 queries: a database photo more than once")


@pytest.mark.parametrize("protocol", ["gldv2", "ukbench"])
def test_junk_is_called_out_where_the_protocol_knows_none(protocol):
    rng = np.random.default_rng(0)
    truth = random_truth(rng)
    (warning,) = warnings_of(raised_ranking(rng, truth, 9), truth, protocol)
    assert "names junk" in warning


@pytest.mark.parametrize(
    ("protocol", "depth", "is_short"),
    [
        ("gldv2", 10, True),
        ("gldv2", 100, False),
        ("ukbench", 4, False),
        ("ukbench", 3, True),
        ("retrieval", 199, True),
        ("retrieval", 200, False),
    ],
)
def test_lists_shorter_than_what_is_scored_are_called_out(protocol, depth, is_short):
    rng = np.random.default_rng(0)
    truth = random_truth(rng, num_junk=0)
    warnings = warnings_of(raised_ranking(rng, truth, 9).top(depth), truth, protocol)
    assert any(f"lists hold {depth} photos" in warning for warning in warnings) == is_short
