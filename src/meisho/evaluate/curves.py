"""Curves: what lies behind one figure. Precision over recall, and the mean score of each landmark."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from meisho.arrays import Float64Array, Int64Array
from meisho.evaluate.average_precision import positions_per_query
from meisho.evaluate.report import QueryScore
from meisho.ground_truth import GroundTruth
from meisho.ranking import Ranking

RECALLS = np.linspace(0.0, 1.0, 101)
"""(101,) the shares of the positives at which precision is told."""


def precision_over_recall(ranking: Ranking, ground_truth: GroundTruth) -> Float64Array | None:
    """Return the interpolated precision at each of `RECALLS`, mean over the queries that have positives.

    Junk is taken out first. A share of the positives that the ranking never reaches has precision 0.

    Args:
        ranking: What was found.
        ground_truth: The right answers, of one setup.

    Returns:
        (101,) from 0 to 1, falling; None where no query has positives.

    Raises:
        InputError: Ranking and ground truth hold different numbers of queries.
        DatasetError: The ground truth names a row outside the ranking's database.

    Source: Manning, Raghavan and Schütze, Introduction to Information Retrieval, section 8.4; with 101 shares
    as in COCO.
    """
    curves = [
        interpolated_precision(positions, len(positives))
        for positions, positives in zip(
            positions_per_query(ranking, ground_truth), ground_truth.positives, strict=True
        )
        if len(positives)
    ]
    return np.mean(curves, axis=0) if curves else None


def interpolated_precision(positions: Int64Array, num_positives: int) -> Float64Array:
    """Return the best precision of one query at each of `RECALLS` or a higher one.

    Args:
        positions: (F,) ascending, 0-based, of the positives found.
        num_positives: All positives of the query, at least 1.

    Returns:
        (101,) from 0 to 1.
    """
    precisions = np.arange(1, len(positions) + 1) / (positions + 1)
    best = np.append(np.maximum.accumulate(precisions[::-1])[::-1], 0.0)
    needed = np.maximum(np.ceil(RECALLS * num_positives - 1e-9).astype(np.int64), 1)
    curve: Float64Array = best[np.minimum(needed - 1, len(positions))]
    return curve


@dataclass(frozen=True)
class LandmarkScore:
    """The queries of one landmark.

    Attributes:
        name: What their ids have in common.
        num_queries: How many were scored.
        score: Their mean `QueryScore.average_precision`.
    """

    name: str
    num_queries: int
    score: float


def score_landmarks(
    scores: Sequence[QueryScore], query_ids: Sequence[str], ground_truth: GroundTruth
) -> list[LandmarkScore]:
    """Return the mean score of each landmark, worst first: queries that share a positive show the same one.

    Args:
        scores: One per query that counts, of one setup, none of them NaN.
        query_ids: The Q queries, in the order of the ground truth.
        ground_truth: The right answers of that setup.
    """
    by_id = {score.query_id: score.average_precision for score in scores}
    landmarks: dict[int, list[str]] = {}
    for query_id, landmark in zip(query_ids, _landmark_of_each(ground_truth), strict=True):
        if query_id in by_id:
            landmarks.setdefault(landmark, []).append(query_id)
    found = [
        LandmarkScore(_name_of(ids), len(ids), float(np.mean([by_id[query_id] for query_id in ids])))
        for ids in landmarks.values()
    ]
    return sorted(found, key=lambda each: each.score)


def _landmark_of_each(ground_truth: GroundTruth) -> list[int]:
    """Return for each query the number of its group: whoever shares a positive, directly or by others."""
    parent = list(range(len(ground_truth)))
    owner: dict[int, int] = {}

    def root(query: int) -> int:
        while parent[query] != query:
            parent[query] = parent[parent[query]]
            query = parent[query]
        return query

    for query, positives in enumerate(ground_truth.positives):
        for row in positives.tolist():
            parent[root(query)] = root(owner.setdefault(row, query))
    return [root(query) for query in range(len(parent))]


def _name_of(ids: Sequence[str]) -> str:
    """Return how ids begin, without what only tells them apart: all_souls_1 and all_souls_2 are all_souls."""
    common = ids[0]
    while not all(query_id.startswith(common) for query_id in ids):
        common = common[:-1]
    if len(ids) == 1:
        return re.sub(r"_q\d+$", "", common)
    return re.sub(r"([\W_]q)?[\W_]*$", "", common) or f"{ids[0]} and others"
