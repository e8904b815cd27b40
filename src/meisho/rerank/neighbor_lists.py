"""Neighbour lists: the nearest database rows of database rows, found when first asked for, and kept."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from meisho.arrays import Float32Array, Int64Array, cut_rows
from meisho.rerank.evidence import Evidence
from meisho.rerank.neighbors import find_farthest, search_others

_ROWS_AT_ONCE = 4096  # so that the copies of their vectors stay small


class KeptLists:
    """What was found of one database so far: up to N·k rows and scores, 8 bytes for each pair.

    Attributes:
        database: (N, D) float32.
        k: Number of others in a list: at most N - 1.
    """

    def __init__(self, database: Float32Array, k: int) -> None:
        self.database = database
        self.k = min(k, max(len(database) - 1, 0))
        self.rows = np.empty((len(database), self.k), np.int32)
        self.scores = np.empty((len(database), self.k), np.float32)
        self.known = np.zeros(len(database), np.bool_)
        self.lowest = np.full(len(database), np.nan, np.float32)


@dataclass(frozen=True, eq=False)
class NeighborLists:
    """The `k` nearest others of rows of the database of some evidence.

    They depend on the database alone. Each row is looked up in the graph of the evidence, or searched for
    once: N·D multiplications where there is no index.

    Attributes:
        evidence: What is known of the database.
        kept: What was found so far, which the evidence keeps.
    """

    evidence: Evidence
    kept: KeptLists

    @classmethod
    def of(cls, evidence: Evidence, k: int) -> Self:
        """Return the lists over the database of the evidence."""
        database = evidence.database
        assert database is not None
        return cls(evidence, evidence.keep((cls, k), lambda: KeptLists(database, k)))

    @property
    def database(self) -> Float32Array:
        """Return the vectors (N, D)."""
        return self.kept.database

    def find(self, rows: Int64Array) -> tuple[Int64Array, Float32Array]:
        """Return the nearest others (B, k) of (B,) rows, best first, ties by row, and their dot products.

        A row is never in its own list, its duplicates are.
        """
        graph = self.evidence.graph
        if graph is None:
            return self._find_kept(rows)
        found, scores, whole = graph.find(rows, self.kept.k)
        if not whole.all():
            found[~whole], scores[~whole] = self._find_kept(rows[~whole])
        return found, scores

    def _find_kept(self, rows: Int64Array) -> tuple[Int64Array, Float32Array]:
        """Search for what was not found before, and keep it: a look-up in the graph is as quick."""
        kept = self.kept
        new = np.unique(rows[~kept.known[rows]])
        for part in cut_rows(len(new), _ROWS_AT_ONCE):
            block = new[part]
            kept.rows[block], kept.scores[block] = search_others(self.evidence, block, kept.k)
            kept.known[block] = True
        return kept.rows[rows].astype(np.int64), kept.scores[rows]

    def find_lowest(self, rows: Int64Array) -> Float32Array:
        """Return the lowest dot product (B,) of each of (B,) rows with any row."""
        lowest, graph = self.kept.lowest, self.evidence.graph
        new = np.unique(rows[np.isnan(lowest[rows])])
        if graph is not None:
            lowest[new] = graph.find_lowest(new)
            new = new[np.isnan(lowest[new])]
        for part in cut_rows(len(new), _ROWS_AT_ONCE):
            lowest[new[part]] = lowest_products(self.evidence, self.evidence.read(new[part]))
        return lowest[rows]


def lowest_products(evidence: Evidence, queries: Float32Array) -> Float32Array:
    """Return the lowest dot product (Q,) of each of (Q, D) vectors with any of the database, or 1."""
    _, lowest = find_farthest(evidence, queries, 1)
    return lowest[:, 0] if lowest.shape[1] else np.ones(len(queries), np.float32)
