"""AmongIndex: search of some rows of a database, as if there were no others."""

from collections.abc import Callable

import numpy as np

from meisho.arrays import Float32Array, Int64Array, cut_rows
from meisho.errors import InputError
from meisho.index.base import Searcher
from meisho.index.scoring import score_all, sort_pairs

FEW_ROWS = 16_384
FEW_SHARE = 0.2
"""So many rows, and at most this share of all, are compared with each query one by one; of more, an index is
asked ever deeper. Comparing copies their vectors: half of 20,000 took 2.6 times a search of all, a tenth 0.2
times (benchmarks/bench_desk.py).
"""

_DEEPER_TIMES = 4
_DEEPEST_SHARE = 0.25


class AmongIndex:
    """Finds the best of some rows, whatever else the database holds; see `Searcher`.

    Few rows are compared one by one. Of many, an index of the whole database is searched deeper until enough
    of them came; where a quarter of the database does not hold them, they are compared one by one too. So
    the answer is exact where the index is, and never shorter than it could be.

    Args:
        index: Finds rows of the whole database.
        read: Returns the vectors (B, D) of rows (B,).
        rows: (R,) int64, ascending and unique: the rows that may be found.
        number: N, the size of the database.
    """

    def __init__(
        self, index: Searcher, read: Callable[[Int64Array], Float32Array], rows: Int64Array, number: int
    ) -> None:
        self._index, self._read = index, read
        self._rows, self._number = rows, number

    def search(self, queries: Float32Array, top: int) -> tuple[Int64Array, Float32Array]:
        """Find the `top` best of the rows for each of (Q, D) queries; K is `top`, or R where that is less."""
        top = min(top, len(self._rows))
        if not top or len(self._rows) <= min(FEW_ROWS, FEW_SHARE * self._number):
            return self._compare_all(queries, top)
        depth = 2 * top * self._number // len(self._rows)
        while depth < _DEEPEST_SHARE * self._number:
            rows, scores = self._index.search(queries, depth)
            found = np.isin(rows, self._rows)
            if found.sum(axis=1).min(initial=top) >= top:
                order = np.argsort(~found, axis=1, kind="stable")[:, :top]
                return np.take_along_axis(rows, order, axis=1), np.take_along_axis(scores, order, axis=1)
            depth *= _DEEPER_TIMES
        return self._compare_all(queries, top)

    def _compare_all(self, queries: Float32Array, top: int) -> tuple[Int64Array, Float32Array]:
        rows, scores = np.empty((len(queries), 0), np.int64), np.empty((len(queries), 0), np.float32)
        for part in cut_rows(len(self._rows) if top else 0, FEW_ROWS):
            block = self._rows[part]
            more = np.broadcast_to(block, (len(queries), len(block)))
            rows = np.concatenate([rows, more], axis=1)
            scores = np.concatenate([scores, score_all(queries, self._read(block))], axis=1)
            rows, scores = sort_pairs(rows, scores, top)
        return rows, scores


def check_among(rows: Int64Array, number: int) -> Int64Array:
    """Return rows of a database of N photos, or a mask (N,) bool of them, as ascending rows (R,).

    Raises:
        InputError: They are no whole numbers, or lie outside of the database.
    """
    given = np.asarray(rows)
    if given.dtype == np.bool_ and given.shape == (number,):
        return np.flatnonzero(given)
    if given.size and (given.ndim != 1 or given.dtype.kind not in "ui"):
        raise InputError(
            f"among is {given.dtype} {given.shape}; give rows of the database, or a mask ({number},)"
        )
    found = np.unique(given.astype(np.int64))
    if len(found) and (found[0] < 0 or found[-1] >= number):
        raise InputError(
            f"among names rows {found[0]} to {found[-1]}; the database has rows 0 to {number - 1}"
        )
    return found
