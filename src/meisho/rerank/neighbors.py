"""Neighbours by global descriptors, without ever holding an N × N array.

They are looked up in the graph of the evidence and searched for through its index where it has them; else
they are searched for exactly.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from meisho.arrays import Float32Array, Int64Array, cut_rows
from meisho.index.among import AmongIndex
from meisho.index.base import Searcher
from meisho.index.exact import ExactIndex
from meisho.index.neighborhoods import leave_out, spread_rows
from meisho.ranking import NO_ROW, Ranking
from meisho.rerank.evidence import Evidence

_BLOCK_BYTES = 16 * 2**20
_PRODUCT_BYTES = 48 * 2**20  # of dot products held at a time: larger is not faster, see docs/LOG.md


def find_nearest(evidence: Evidence, queries: Float32Array, k: int) -> tuple[Int64Array, Float32Array]:
    """Find the `k` nearest database rows of (Q, D) queries, through the index where there is one.

    Returns:
        Rows (Q, min(k, N)), best first, ties by row, and their dot products. Beside them it holds at most
        about 80 MiB, or what the index takes. Each query is answered as it would be alone.
    """
    database, index = evidence.database, evidence.index
    assert database is not None
    if index is not None:
        return index.search(queries, min(k, len(database)))
    return _search_exactly(
        evidence.keep("exact", lambda: ExactIndex.build(database)), len(database), queries, k
    )


def find_answers(evidence: Evidence, queries: Float32Array, k: int) -> tuple[Int64Array, Float32Array]:
    """Find the `k` nearest of the database rows that may be answers; see `Evidence.among`."""
    return (evidence.answers or answer_index(evidence)).search(queries, k)


def answer_index(evidence: Evidence) -> Searcher:
    """Return what finds database rows that may be answers, and only them."""
    assert evidence.database is not None
    whole = _Whole(evidence)
    if evidence.among is None:
        return whole
    return AmongIndex(whole, evidence.read, evidence.among, len(evidence.database))


@dataclass(frozen=True, eq=False)
class _Whole:
    """Finds any row of the database of an evidence; see `Searcher`."""

    evidence: Evidence

    def search(self, queries: Float32Array, top: int) -> tuple[Int64Array, Float32Array]:
        return find_nearest(self.evidence, queries, top)


def find_farthest(evidence: Evidence, queries: Float32Array, k: int) -> tuple[Int64Array, Float32Array]:
    """Find the `k` database rows least like each of (Q, D) queries, and their dot products, lowest first.

    With an index or a graph, they are looked for among 4096 rows where there are more than 16,384.
    """
    assert evidence.database is not None
    whole = evidence.index is None and evidence.graph is None
    number = len(evidence.database)
    among = np.arange(number) if whole else spread_rows(number)
    index = evidence.keep(("spread", len(among)), lambda: ExactIndex.build(_read_all(evidence, among)))
    rows, scores = _search_exactly(index, len(among), -queries, k)
    return among[rows], -scores


def _read_all(evidence: Evidence, rows: Int64Array) -> Float32Array:
    """Return the vectors of ascending rows, without a copy where these are all."""
    assert evidence.database is not None
    if len(rows) < len(evidence.database):
        return evidence.read(rows)
    if evidence.fill is not None:
        evidence.fill(rows)
    return evidence.database


def _search_exactly(
    index: ExactIndex, number: int, queries: Float32Array, k: int
) -> tuple[Int64Array, Float32Array]:
    rows = np.empty((len(queries), min(k, number)), np.int64)
    scores = np.empty(rows.shape, np.float32)
    for block in block_rows(len(queries), 4 * number, _PRODUCT_BYTES):
        rows[block], scores[block] = index.search(queries[block], rows.shape[1])
    return rows, scores


def find_others(evidence: Evidence, rows: Int64Array, k: int) -> tuple[Int64Array, Float32Array]:
    """Find the `k` nearest others of (R,) database rows, and their dot products.

    A row is never among its own, a copy of it is.

    Returns:
        Rows (R, min(k, N - 1)), best first, ties by row, and their dot products.
    """
    assert evidence.database is not None
    k = min(k, max(len(evidence.database) - 1, 0))
    if evidence.graph is None:
        return search_others(evidence, rows, k)
    found, scores, whole = evidence.graph.find(rows, k)
    if not whole.all():
        found[~whole], scores[~whole] = search_others(evidence, rows[~whole], k)
    return found, scores


def search_others(evidence: Evidence, rows: Int64Array, k: int) -> tuple[Int64Array, Float32Array]:
    """Find what `find_others` does without a look into the graph; `k` is at most N - 1."""
    return leave_out(rows, *find_nearest(evidence, evidence.read(rows), k + 1))


def rank_by_vectors(ranking: Ranking, evidence: Evidence) -> Ranking:
    """Search the whole database with the vectors of the evidence, as deep as the ranking is.

    Of it, only rows that may be answers are ranked.
    """
    queries, database = evidence.vectors_for("search", ranking)
    depth = min(ranking.depth, len(database))
    rows, scores = find_answers(evidence, queries, depth)
    depth = rows.shape[1]
    ranks = np.full(ranking.ranks.shape, NO_ROW, np.int64)
    filled = np.full(ranking.scores.shape, -np.inf, np.float32)
    ranks[:, :depth], filled[:, :depth] = rows, scores
    return Ranking(ranking.query_ids, ranking.database_ids, ranks, filled)


def block_rows(num_rows: int, row_bytes: int, block_bytes: int = _BLOCK_BYTES) -> Iterator[slice]:
    """Cut rows into blocks that take at most `block_bytes`, or one row."""
    return cut_rows(num_rows, max(1, block_bytes // max(1, row_bytes)))
