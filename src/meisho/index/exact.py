"""Exact search: every database vector is looked at.

numpy only, so that it runs where FAISS is not installed, and because it is faster: over 200,000 x 512 vectors
on two cores FAISS's flat index took 1.7 times (1 query) and 4.5 times (70 queries) as long as the matrix
product.
"""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np

from meisho.arrays import BoolArray, Float32Array, Int64Array
from meisho.index.files import read_checked, write_checked
from meisho.index.scoring import (
    check_queries,
    check_vectors,
    row_lengths,
    score_all,
    score_pairs,
    sort_pairs,
)

_PRODUCT_BYTES = 128 * 2**20  # of scores held at a time
_STRIDE = 64  # rows that share one maximum
_FEW = 4  # queries for which a matrix product gains nothing
_HALF_ULP = 2.0**-24


class ExactIndex:
    """All of the vectors, compared with each query.

    A matrix product finds the contenders: every row whose product is not further below the k-th best
    than four times the largest error that a float32 product of D terms can have. Their scores are then
    computed pair by pair (`meisho.index.scoring`), so the order is exact, ties at the cut-off included,
    whatever the batch.
    """

    def __init__(self, vectors: Float32Array, rows: Int64Array | None = None) -> None:
        self._vectors = check_vectors(vectors)
        self._alive = None if rows is None else _mark(rows, len(vectors))
        self._size = len(vectors) if self._alive is None else int(self._alive.sum())

    @classmethod
    def build(cls, vectors: Float32Array) -> Self:
        """Build over (N, D) float32 vectors, which are not copied."""
        return cls(vectors)

    def bind(self, vectors: Float32Array, rows: Int64Array) -> Self:
        """Return an exact index over those `rows` of other (N, D) vectors that are not -1."""
        return type(self)(vectors, rows)

    def search(self, queries: Float32Array, top: int) -> tuple[Int64Array, Float32Array]:
        """Find the `top` best rows of each of (Q, D) queries; see `Index.search`.

        Beside the answer it holds at most 128 MiB of scores, or one query's.
        """
        queries = check_queries(queries, self._vectors.shape[1], top)
        top = min(top, self._size)
        rows = np.empty((len(queries), top), np.int64)
        scores = np.empty((len(queries), top), np.float32)
        step = max(1, _PRODUCT_BYTES // (4 * max(1, len(self._vectors))))
        for first in range(0, len(queries) if top else 0, step):
            block = slice(first, first + step)
            rows[block], scores[block] = self._search_block(queries[block], top)
        return rows, scores

    def save(self, path: Path) -> None:
        """Write a file that only says that there is nothing to keep."""
        write_checked(path, "exact", b"")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote; see `Index.load`."""
        read_checked(path, "exact")
        return cls(np.empty((0, 0), np.float32))

    def _search_block(self, queries: Float32Array, top: int) -> tuple[Int64Array, Float32Array]:
        num_rows = len(self._vectors)
        if 4 * top > num_rows:
            return self._rank_all(queries, top)
        if len(queries) <= _FEW:  # reading the vectors takes most of the time: exact scores cost no more
            products, margins = score_all(queries, self._vectors), np.zeros(len(queries), np.float32)
        else:
            products, margins = queries @ self._vectors.T, 4 * self._largest_error(queries)
        if self._alive is not None:
            products[:, ~self._alive] = -np.inf
        found = zip(queries, _find_contenders(products, top, margins), strict=True)
        best = [self._rank_contenders(query, contenders, top) for query, contenders in found]
        return np.stack([rows for rows, _ in best]), np.stack([scores for _, scores in best])

    def _largest_error(self, queries: Float32Array) -> Float32Array:
        # of either way of computing a score, so that two of them differ by up to twice as much and two
        # pairs by four times. Higham, Accuracy and Stability of Numerical Algorithms, eq. 3.5, in any order
        # of summation
        terms = (self._vectors.shape[1] + 2) * _HALF_ULP
        error: Float32Array = terms / (1 - terms) * row_lengths(queries) * self._longest
        return error

    @cached_property
    def _longest(self) -> float:
        return float(row_lengths(self._vectors).max(initial=0))

    def _rank_contenders(
        self, query: Float32Array, contenders: Int64Array, top: int
    ) -> tuple[Int64Array, Float32Array]:
        if self._alive is not None:
            contenders = contenders[self._alive[contenders]]
        if 4 * len(contenders) > len(self._vectors):  # nearly all are alike
            rows, scores = self._rank_all(query[None], top)
        else:
            rows, scores = contenders[None], score_pairs(query[None], self._vectors, contenders[None])
            rows, scores = sort_pairs(rows, scores, top)
        return rows[0], scores[0]

    def _rank_all(self, queries: Float32Array, top: int) -> tuple[Int64Array, Float32Array]:
        scores = score_all(queries, self._vectors)
        if self._alive is not None:
            scores[:, ~self._alive] = -np.inf
        rows = np.argsort(-scores, axis=1, kind="stable")[:, :top]
        return rows, np.take_along_axis(scores, rows, axis=1)


def _find_contenders(products: Float32Array, top: int, margins: Float32Array) -> Iterator[Int64Array]:
    """Yield for each row of (Q, N) products the columns that can be among its `top` best, and few more.

    The k-th best of the maxima of groups is never above the k-th best of all, and is found much sooner.
    """
    groups = products.shape[1] // _STRIDE
    if 4 * top <= groups:
        maxima = products[:, : groups * _STRIDE].reshape(len(products), _STRIDE, groups).max(axis=1)
    else:
        maxima = products
    bounds = np.partition(maxima, -top, axis=1)[:, -top]
    bounds = np.nextafter(bounds - margins.astype(np.float32), np.float32(-np.inf))
    for row, bound in zip(products, bounds, strict=True):
        yield np.flatnonzero(row >= bound)


def _mark(rows: Int64Array, size: int) -> BoolArray | None:
    alive = np.zeros(size, np.bool_)
    alive[rows[rows >= 0]] = True
    return None if alive.all() else alive
