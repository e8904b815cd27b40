"""The original Oxford5k / Paris6k protocol [Philbin et al. 2007, 2008].

Positives are the "good" and "ok" photos, "junk" is taken out of the ranking, and the query's own photo is a
positive like any other. The average precision is the same trapezoid as in the revisited benchmarks, which
took it over from here.
"""

from meisho.errors import InputError
from meisho.evaluate.average_precision import positions_per_query, trapezoid_average_precision
from meisho.evaluate.revisitop import score_with_junk
from meisho.evaluate.scores import SetupScores, mean_score, score_queries
from meisho.ground_truth import GradedGroundTruth, GroundTruth
from meisho.ranking import Ranking


def oxford5k_map(ranking: Ranking, ground_truth: GroundTruth) -> float:
    """Mean trapezoid average precision, 0 to 1; a query without positives is left out (the sets have none).

    Args:
        ranking: Q ranked lists; positives that are not in a list count as not found.
        ground_truth: positives = good + ok, junk = junk.

    Raises:
        InputError: Ranking and ground truth hold different numbers of queries.
        DatasetError: The ground truth names a row outside the database.

    Source: Philbin et al., CVPR 2007; the benchmark's `compute_ap.cpp`, checked against it (it sums in
    float32: they agree to 1e-6).
    """
    positions = positions_per_query(ranking, ground_truth)
    return mean_score(score_queries(trapezoid_average_precision, positions, ground_truth.positives))


def score_oxford5k(
    ranking: Ranking, ground_truth: GroundTruth | GradedGroundTruth
) -> tuple[SetupScores, ...]:
    """Score the one setup "all" with `oxford5k_map`.

    Raises:
        InputError: The ground truth is graded (easy / hard): that is the revisited benchmark.
    """
    if isinstance(ground_truth, GradedGroundTruth):
        raise InputError("protocol oxford5k needs positives and junk, got easy / hard / junk: use revisitop")
    metrics = {"oxford5k_map": trapezoid_average_precision}
    return (score_with_junk("all", ranking, ground_truth, metrics),)
