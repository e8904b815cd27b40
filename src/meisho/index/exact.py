"""Exact search: every database vector is looked at.

Not by FAISS, whose flat index takes longer: over 200,000 x 512 vectors on two cores 2.1 times as long for one
query, and 7.5 times for 70 at once (`benchmarks/bench_index.py`).
"""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np

from meisho.arrays import BoolArray, Float32Array, Int64Array, row_lengths
from meisho.index.files import read_checked, write_checked
from meisho.index.scoring import (
    blocks_of,
    check_queries,
    check_vectors,
    multiply_all,
    score_all,
    score_pairs,
    sort_pairs,
)
from meisho.stored_vectors import Vectors

_PRODUCT_BYTES = 128 * 2**20  # of scores held at a time
_GROUP_ROWS = 64  # rows that share one maximum
_FEW = 2  # queries for which a matrix product gains nothing
_HALF_ULP = 2.0**-24


class ExactIndex:
    """All of the vectors, compared with each query.

    A matrix product finds the contenders: every row whose product is not further below the k-th best
    than four times the largest error that a float32 product of D terms can have. Their scores are then
    computed pair by pair (`meisho.index.scoring`), so the order is exact, ties at the cut-off included,
    whatever the batch.
    """

    def __init__(self, vectors: Vectors, rows: Int64Array | None = None) -> None:
        self._vectors = check_vectors(vectors)
        self._alive = None if rows is None else _mark(rows, len(vectors))
        self._size = len(vectors) if self._alive is None else int(self._alive.sum())

    @classmethod
    def build(cls, vectors: Vectors, *, at_first: int | None = None) -> Self:
        """Build over (N, D) float32 vectors, which are not copied: over all of them at once."""
        return cls(vectors)

    @property
    def num_rows(self) -> int:
        """Number of vectors that are looked at."""
        return self._size

    def bind(self, vectors: Vectors, rows: Int64Array) -> Self:
        """Return an exact index over those `rows` of other (N, D) vectors that are not -1."""
        return type(self)(vectors, rows)

    def extend(self, vectors: Vectors, rows: Int64Array) -> bool:
        """Return False: it holds nothing that could grow."""
        return False

    def tune(self) -> None:
        """Do nothing: it looks at all."""

    def search(self, queries: Float32Array, top: int) -> tuple[Int64Array, Float32Array]:
        """Find the `top` best rows of each of (Q, D) queries; see `Index.search`.

        Beside the answer it holds at most 128 MiB of products and half as much again, or one query's.
        """
        queries = check_queries(queries, self._vectors.shape[1], top)
        top = min(top, self._size)
        rows = np.empty((len(queries), top), np.int64)
        scores = np.empty((len(queries), top), np.float32)
        step = max(1, _PRODUCT_BYTES // (4 * max(1, len(self._vectors))))
        for first in range(0, len(queries) if top else 0, step):
            for place, contenders in enumerate(
                self._find_contenders(queries[first : first + step], top), first
            ):
                rows[place], scores[place] = self._rank(queries[place], contenders, top)
        return rows, scores

    def save(self, path: Path) -> None:
        """Write a file that only says that there is nothing to keep."""
        write_checked(path, "exact", b"")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote; see `Index.load`."""
        read_checked(path, "exact")
        return cls(np.empty((0, 0), np.float32))

    def _find_contenders(self, queries: Float32Array, top: int) -> Iterator[Int64Array | None]:
        """Yield for each of (Q, D) queries the rows that can be among its `top` best; None for all rows."""
        if 4 * top > len(self._vectors):
            yield from [None] * len(queries)
            return
        if len(queries) <= _FEW:  # reading the vectors takes most of the time: exact scores cost no more
            products, margins = score_all(queries, self._vectors), np.zeros(len(queries), np.float32)
        else:
            products, margins = multiply_all(queries, self._vectors), 4 * self._largest_error(queries)
        if self._alive is not None:
            products[:, ~self._alive] = -np.inf
        bounds = _bound_below(products, top) - margins
        bounds = np.nextafter(bounds.astype(np.float32), np.float32(-np.inf))
        for row, bound in zip(products, bounds, strict=True):
            contenders = np.flatnonzero(row >= bound)
            yield contenders if 4 * len(contenders) <= len(row) else None  # nearly all are alike

    def _largest_error(self, queries: Float32Array) -> Float32Array:
        # of either way of computing a score, so that two of them differ by up to twice as much and two
        # pairs by four times. Higham, Accuracy and Stability of Numerical Algorithms, eq. 3.5, in any order
        # of summation
        terms = (self._vectors.shape[1] + 2) * _HALF_ULP
        error: Float32Array = terms / (1 - terms) * row_lengths(queries) * self._longest
        return error

    @cached_property
    def _longest(self) -> float:
        return max((float(row_lengths(block).max()) for _, block in blocks_of(self._vectors)), default=0.0)

    def _rank(
        self, query: Float32Array, contenders: Int64Array | None, top: int
    ) -> tuple[Int64Array, Float32Array]:
        """Return the `top` best rows (K,) of the contenders, or of all, and their scores (K,)."""
        if contenders is None:
            scores = score_all(query[None], self._vectors)[0]
            if self._alive is not None:
                scores[~self._alive] = -np.inf
            rows = np.argsort(-scores, kind="stable")[:top]
            return rows, scores[rows]
        if self._alive is not None:
            contenders = contenders[self._alive[contenders]]
        pairs = score_pairs(query[None], self._vectors, contenders[None])
        best_rows, best_scores = sort_pairs(contenders[None], pairs, top)
        return best_rows[0], best_scores[0]


def _bound_below(products: Float32Array, top: int) -> Float32Array:
    """Return for each row of (Q, N) products a value (Q,) that is not above its `top`-th best.

    The k-th best of the maxima of groups is such a value, close to it, and found much sooner.
    """
    groups = products.shape[1] // _GROUP_ROWS
    if 4 * top > groups:
        return np.array([np.partition(row, -top)[-top] for row in products], np.float32)
    maxima = products[:, : groups * _GROUP_ROWS].reshape(len(products), _GROUP_ROWS, groups).max(axis=1)
    bounds: Float32Array = np.partition(maxima, -top, axis=1)[:, -top]
    return bounds


def _mark(rows: Int64Array, size: int) -> BoolArray | None:
    alive = np.zeros(size, np.bool_)
    alive[rows[rows >= 0]] = True
    return None if alive.all() else alive
