"""Neighbours by global descriptors, exactly, without ever holding an N × N array."""

import numpy as np

from meisho.arrays import Float32Array, Int64Array
from meisho.index.exact import ExactIndex
from meisho.ranking import NO_ROW, Ranking
from meisho.rerank.evidence import Evidence


def find_neighbors(queries: Float32Array, database: Float32Array, k: int) -> tuple[Int64Array, Float32Array]:
    """Find the `k` nearest of (N, D) database vectors for each of (Q, D) queries.

    Returns:
        Rows (Q, min(k, N)), best first, ties by row, and their dot products. Beside them it holds at most
        about 200 MiB.
    """
    return ExactIndex.build(database).search(queries, min(k, len(database)))


def rank_by_vectors(ranking: Ranking, evidence: Evidence) -> Ranking:
    """Search the whole database with the vectors of the evidence, as deep as the ranking is."""
    queries, database = evidence.vectors_for("search", ranking)
    depth = min(ranking.depth, len(database))
    rows, scores = find_neighbors(queries, database, depth)
    ranks = np.full(ranking.ranks.shape, NO_ROW, np.int64)
    filled = np.full(ranking.scores.shape, -np.inf, np.float32)
    ranks[:, :depth], filled[:, :depth] = rows, scores
    return Ranking(ranking.query_ids, ranking.database_ids, ranks, filled)
