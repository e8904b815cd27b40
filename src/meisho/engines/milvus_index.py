"""MilvusIndex: Milvus proposes candidates, exact scores decide, as with every approximate index."""

import threading

import numpy as np

from meisho.arrays import BoolArray, Float32Array, Int64Array, UInt64Array
from meisho.engines.milvus_table import MOST_ROWS, MilvusTable, as_signed
from meisho.errors import OutOfStepError
from meisho.index.exact import ExactIndex
from meisho.index.scoring import check_queries, score_pairs, sort_pairs
from meisho.stored_vectors import Vectors

_CANDIDATES_PER_ANSWER = 2
_MIN_CANDIDATES = 100
_DEEPER_TIMES = 4
_LEVEL = 1e-4
"""Candidates are too few where the last one scores less than this share below the k-th: what Milvus left out
may be as good. Its float32 scores differ from ours in the last digits.
"""


class MilvusIndex:
    """The vectors of a table, bound to the present rows of a collection; see `Searcher`.

    The first search, and the first after every new connection, makes sure that the table holds what it
    should.

    Args:
        table: Holds the vectors, and maybe more, which are passed over.
        vectors: (N, D) float32, those of now.
        built_keys: (B,) uint64, what the table must hold.
        rows: (B,) int64, the present row of each; -1 where it is gone.
    """

    def __init__(
        self, table: MilvusTable, vectors: Vectors, built_keys: UInt64Array, rows: Int64Array
    ) -> None:
        self._table, self._vectors, self._num_built = table, vectors, len(built_keys)
        present = rows >= 0
        names, self._present = as_signed(built_keys[present]), rows[present]
        order = np.argsort(names)
        self._names, self._rows = names[order], self._present[order]
        self._checking, self._checked_at, self._most = threading.Lock(), 0, MOST_ROWS

    def search(self, queries: Float32Array, top: int) -> tuple[Int64Array, Float32Array]:
        """Find the `top` best rows of each of (Q, D) queries; see `Index.search`.

        Where the last candidate of a query scores as its `top`-th does, four times as many are taken. What
        Milvus cannot tell in 16,384 candidates, and more answers than that, are found exactly here.

        Raises:
            EngineError: Milvus cannot be reached, or does not hold what it should.
        """
        queries = check_queries(queries, self._vectors.shape[1], top)
        top = min(top, len(self._rows))
        rows = np.full((len(queries), top), -1, np.int64)
        scores = np.full((len(queries), top), -np.inf, np.float32)
        if not top or not len(queries):
            return rows, scores
        self._check()
        open_, count = np.arange(len(queries)), max(_MIN_CANDIDATES, _CANDIDATES_PER_ANSWER * top)
        while len(open_) and top <= self._most:
            count = min(count, self._most)
            rows[open_], scores[open_], enough = self._search_among(queries[open_], count, top)
            open_ = open_[~enough]
            if count == self._most:
                break
            count *= _DEEPER_TIMES
        self._check()  # a server that came back meanwhile may have lost something
        if len(open_):
            rows[open_], scores[open_] = ExactIndex(self._vectors, self._present).search(queries[open_], top)
        return rows, scores

    def _search_among(
        self, queries: Float32Array, count: int, top: int
    ) -> tuple[Int64Array, Float32Array, BoolArray]:
        """Return the `top` best of `count` candidates, and for which queries (Q,) these are enough."""
        keys, proposed = self._table.search(queries, count)
        places = np.minimum(np.searchsorted(self._names, keys), len(self._names) - 1)
        known = (self._names[places] == keys) & np.isfinite(proposed)
        candidates = np.where(known, self._rows[places], -1)
        pairs = score_pairs(queries, self._vectors, candidates)
        rows, scores = _pad(*sort_pairs(candidates, pairs, top), top)
        border = np.where(known, proposed, -np.inf)
        border = -np.sort(-border, axis=1)[:, min(top, count) - 1]
        last = proposed[:, -1]  # -inf where Milvus has no more
        with np.errstate(invalid="ignore"):
            level = np.isfinite(last) & (border - last <= _LEVEL * np.abs(border))
        short = (rows < 0).any(axis=1)
        return rows, scores, ~(level | short)

    def _check(self) -> None:
        """Make sure that Milvus holds what is written down, once for each connection."""
        with self._checking:
            if self._checked_at and self._checked_at == self._table.num_connections:
                return
            number = self._table.count()
            if number < self._num_built:
                raise OutOfStepError(
                    f"milvus at {self._table.place.uri}: the collection {self._table.name} holds {number:,} "
                    f"of {self._num_built:,} photos; run 'meisho index' to fill it again"
                )
            self._checked_at, self._most = self._table.num_connections, max(1, min(MOST_ROWS, number))


def _pad(rows: Int64Array, scores: Float32Array, top: int) -> tuple[Int64Array, Float32Array]:
    """Return pairs (Q, top): -1 and -inf where there are fewer."""
    missing = ((0, 0), (0, top - rows.shape[1]))
    return np.pad(rows, missing, constant_values=-1), np.pad(scores, missing, constant_values=-np.inf)
