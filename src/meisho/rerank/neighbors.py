"""Neighbours by global descriptors, exactly, without ever holding an N × N array."""

from collections.abc import Iterator

import numpy as np

from meisho.arrays import Float32Array, Int64Array
from meisho.index.exact import ExactIndex
from meisho.ranking import NO_ROW, Ranking
from meisho.rerank.evidence import Evidence

_BLOCK_BYTES = 16 * 2**20
_PRODUCT_BYTES = 48 * 2**20  # of dot products held at a time: larger is not faster, see docs/LOG.md


def find_neighbors(queries: Float32Array, database: Float32Array, k: int) -> tuple[Int64Array, Float32Array]:
    """Find the `k` nearest of (N, D) database vectors for each of (Q, D) queries.

    Returns:
        Rows (Q, min(k, N)), best first, ties by row, and their dot products. Beside them it holds at most
        about 80 MiB. Each query is answered as it would be alone.
    """
    index = ExactIndex.build(database)
    rows = np.empty((len(queries), min(k, len(database))), np.int64)
    scores = np.empty(rows.shape, np.float32)
    for block in block_rows(len(queries), 4 * len(database), _PRODUCT_BYTES):
        rows[block], scores[block] = index.search(queries[block], rows.shape[1])
    return rows, scores


def find_others(vectors: Float32Array, k: int) -> Iterator[tuple[slice, Int64Array, Float32Array]]:
    """Find the `k` nearest others of each of (N, D) vectors, a block of them at a time.

    A vector's own row is left out, and no other: a copy of it in another row is a neighbour.

    Yields:
        Which vectors (B of them), rows (B, min(k, N - 1)), best first, ties by row, and their dot products.
        Beside them it holds at most about 80 MiB.
    """
    index = ExactIndex.build(vectors)
    k = min(k, len(vectors) - 1)
    for block in block_rows(len(vectors), 4 * len(vectors), _PRODUCT_BYTES):
        rows, scores = index.search(vectors[block], k + 1)
        others = rows != np.arange(block.start, block.stop)[:, None]
        others[others.all(axis=1), -1] = False  # more than k others are as near, in lower rows
        yield block, rows[others].reshape(len(rows), k), scores[others].reshape(len(rows), k)


def rank_by_vectors(ranking: Ranking, evidence: Evidence) -> Ranking:
    """Search the whole database with the vectors of the evidence, as deep as the ranking is."""
    queries, database = evidence.vectors_for("search", ranking)
    depth = min(ranking.depth, len(database))
    rows, scores = find_neighbors(queries, database, depth)
    ranks = np.full(ranking.ranks.shape, NO_ROW, np.int64)
    filled = np.full(ranking.scores.shape, -np.inf, np.float32)
    ranks[:, :depth], filled[:, :depth] = rows, scores
    return Ranking(ranking.query_ids, ranking.database_ids, ranks, filled)


def block_rows(num_rows: int, row_bytes: int, block_bytes: int = _BLOCK_BYTES) -> Iterator[slice]:
    """Cut rows into blocks that take at most `block_bytes`, or one row."""
    step = max(1, block_bytes // max(1, row_bytes))
    for first in range(0, num_rows, step):
        yield slice(first, min(first + step, num_rows))
