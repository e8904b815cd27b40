"""Neighbour lists: the nearest database rows of database rows, found when first asked for, and kept."""

from typing import Any, Self

import numpy as np

from meisho.arrays import Float32Array, Int64Array
from meisho.rerank.evidence import Evidence
from meisho.rerank.neighbors import find_neighbors
from meisho.stored_vectors import StoredVectors

_ROWS_AT_ONCE = 4096  # so that the copies of their vectors stay small


class NeighborLists:
    """The `k` nearest others of rows of one database, exactly.

    They depend on the database alone. Each row is searched for once: N·D multiplications. Up to N·k rows and
    scores are kept, 8 bytes for each pair.

    Attributes:
        database: (N, D) float32.
        k: Number of others in a list: at most N - 1.
    """

    def __init__(self, database: Float32Array, k: int) -> None:
        self.database = database
        self.k = min(k, max(len(database) - 1, 0))
        self._rows = np.empty((len(database), self.k), np.int32)
        self._scores = np.empty((len(database), self.k), np.float32)
        self._known = np.zeros(len(database), np.bool_)
        self._lowest = np.full(len(database), np.nan, np.float32)

    @classmethod
    def of(cls, evidence: Evidence, k: int) -> Self:
        """Return the lists over the database of the evidence, which keeps them."""
        assert evidence.database is not None
        kept = evidence.of_database.get((cls, k))
        if kept is None or not is_same_array(kept.database, evidence.database):
            kept = evidence.of_database[cls, k] = cls(evidence.database, k)
        lists: Self = kept
        return lists

    def find(self, rows: Int64Array) -> tuple[Int64Array, Float32Array]:
        """Return the nearest others (B, k) of (B,) rows, best first, ties by row, and their dot products.

        A row is never in its own list, its duplicates are.
        """
        new = np.unique(rows[~self._known[rows]])
        for first in range(0, len(new), _ROWS_AT_ONCE):
            self._search(new[first : first + _ROWS_AT_ONCE])
        return self._rows[rows].astype(np.int64), self._scores[rows]

    def find_lowest(self, rows: Int64Array) -> Float32Array:
        """Return the lowest dot product (B,) of each of (B,) rows with any row."""
        new = np.unique(rows[np.isnan(self._lowest[rows])])
        for first in range(0, len(new), _ROWS_AT_ONCE):
            block = new[first : first + _ROWS_AT_ONCE]
            self._lowest[block] = lowest_products(self.database[block], self.database)
        return self._lowest[rows]

    def _search(self, rows: Int64Array) -> None:
        found, scores = find_neighbors(self.database[rows], self.database, self.k + 1)
        left_out = found == rows[:, None]
        left_out[~left_out.any(axis=1), -1] = True  # more duplicates than places: none of them is the row
        shape = len(rows), self.k
        self._rows[rows], self._scores[rows] = (
            found[~left_out].reshape(shape),
            scores[~left_out].reshape(shape),
        )
        self._known[rows] = True


def lowest_products(queries: Float32Array, database: Float32Array) -> Float32Array:
    """Return the lowest dot product (Q,) of each of (Q, D) vectors with any of (N, D); 1 without any."""
    _, highest = find_neighbors(-queries, database, 1)
    return -highest[:, 0] if len(database) else np.ones(len(queries), np.float32)


def is_same_array(one: Any, other: Any) -> bool:
    """Return whether two arrays are the same memory; both must be alive, and C-contiguous."""
    if isinstance(one, StoredVectors) or isinstance(other, StoredVectors):
        return one is other
    return bool(one.shape == other.shape and one.ctypes.data == other.ctypes.data)
