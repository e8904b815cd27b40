"""The Revisited Oxford / Paris protocol [Radenović et al. 2018, arXiv:1803.11285]; also for your own data.

Easy: positives = easy, junk = junk + hard. Medium: easy + hard, junk. Hard: hard, junk + easy. Junk is taken
out of the ranking before positions are counted. A query without positives is left out of every mean.
"""

from collections.abc import Mapping
from functools import partial

import numpy as np

from meisho.arrays import Float64Array, Int64Array
from meisho.evaluate.average_precision import positions_per_query, trapezoid_average_precision
from meisho.evaluate.chance import expected_trapezoid
from meisho.evaluate.recall import recall_within
from meisho.evaluate.scores import (
    MetricScores,
    Score,
    SetupScores,
    count_positives,
    mean_score,
    score_queries,
)
from meisho.ground_truth import SETUPS, GradedGroundTruth, GroundTruth
from meisho.ranking import Ranking

PRECISION_DEPTHS = (1, 5, 10)
"""The k of mP@k, as the benchmark reports them."""


def revisitop_map(ranking: Ranking, ground_truth: GroundTruth) -> float:
    """Mean trapezoid average precision, 0 to 1; a query without positives is left out of the mean.

    Args:
        ranking: Q ranked lists; positives that are not in a list count as not found.
        ground_truth: One setup of the benchmark (`graded.at("medium")`), or your own positives and junk.

    Returns:
        The mean, or NaN where no query has positives.

    Raises:
        InputError: Ranking and ground truth hold different numbers of queries.
        DatasetError: The ground truth names a row outside the database.

    Source: revisitop `python/evaluate.py`, `compute_map`; checked against it.
    """
    return mean_score(
        score_queries(
            trapezoid_average_precision, positions_per_query(ranking, ground_truth), ground_truth.positives
        )
    )


def revisitop_mean_precision(ranking: Ranking, ground_truth: GroundTruth, *, k: int) -> float:
    """mP@k, 0 to 1: the mean of `precision_within`; a query without positives is left out of the mean.

    Raises:
        InputError: Ranking and ground truth hold different numbers of queries.
        DatasetError: The ground truth names a row outside the database.
    """
    positions = positions_per_query(ranking, ground_truth)
    return mean_score(score_queries(partial(precision_within, k=k), positions, ground_truth.positives))


def precision_within(positions: Int64Array, num_positives: int, *, k: int) -> float:
    """Share of positives within the first min(last positive's place, k) places, as the benchmark counts mP@k.

    The bound keeps a query with fewer than k positives from being punished for it: with positives at 1-based
    places 1, 3, 6 P@10 is 3/6. Where the list ends before the last positive, that one's place is not known to
    lie within k, so k itself is the bound: a list of K ≥ k then scores as the full ranking would (the
    official code would count within the last positive *found*, and reward the shorter list).

    Args:
        positions: (F,) ascending, 0-based, of the positives found, junk taken out.
        num_positives: All positives of the query.
        k: Places that count.

    Returns:
        0 to 1; NaN for a query without positives, which a mean leaves out.
    """
    if num_positives == 0:
        return float("nan")
    all_found = len(positions) == num_positives
    within = min(int(positions[-1]) + 1, k) if all_found else k
    return float(np.count_nonzero(positions < within) / within)


def score_revisitop(
    ranking: Ranking, ground_truth: GroundTruth | GradedGroundTruth
) -> tuple[SetupScores, ...]:
    """Score Easy, Medium and Hard (or the one setup "all" of a plain ground truth): mAP and mP@1, 5, 10."""
    return _score_setups(ranking, ground_truth, _PRECISIONS)


def score_retrieval(
    ranking: Ranking, ground_truth: GroundTruth | GradedGroundTruth
) -> tuple[SetupScores, ...]:
    """Score your own data: the revisited protocol's mAP and mP@1, 5, 10, and recall@1, 5, 10.

    The figures keep the name `revisitop_map`, because that is the formula; a plain ground truth has one
    setup, "all".
    """
    return _score_setups(ranking, ground_truth, {**_PRECISIONS, **_RECALLS})


_PRECISIONS: dict[str, Score] = {
    f"revisitop_mp_at_{k}": partial(precision_within, k=k) for k in PRECISION_DEPTHS
}
_RECALLS: dict[str, Score] = {f"recall_at_{k}": partial(recall_within, k=k) for k in PRECISION_DEPTHS}


def _score_setups(
    ranking: Ranking, ground_truth: GroundTruth | GradedGroundTruth, beside: Mapping[str, Score]
) -> tuple[SetupScores, ...]:
    metrics = {"revisitop_map": trapezoid_average_precision, **beside}
    if isinstance(ground_truth, GroundTruth):
        return (score_with_junk("all", ranking, ground_truth, metrics),)
    return tuple(score_with_junk(setup, ranking, ground_truth.at(setup), metrics) for setup in SETUPS)


def score_with_junk(
    setup: str, ranking: Ranking, ground_truth: GroundTruth, metrics: Mapping[str, Score]
) -> SetupScores:
    """Score one setup once junk is taken out: `metrics`, of which the first is a trapezoid mAP, by name."""
    positions, positives = positions_per_query(ranking, ground_truth), ground_truth.positives
    return SetupScores(
        setup=setup,
        query_rows=np.arange(len(positives)),
        num_positives=count_positives(positives),
        metrics=tuple(
            MetricScores(name, score_queries(score, positions, positives)) for name, score in metrics.items()
        ),
        chance=_chance_of_trapezoid(ranking, ground_truth),
    )


def _chance_of_trapezoid(ranking: Ranking, ground_truth: GroundTruth) -> Float64Array:
    """(Q,) average precision that each query is expected to get from a random ranking of the same depth."""
    num_database = len(ranking.database_ids)
    return np.array(
        [
            expected_trapezoid(len(positives), num_database - len(junk), depth=ranking.depth)
            for positives, junk in zip(ground_truth.positives, ground_truth.junk, strict=True)
        ]
    )
