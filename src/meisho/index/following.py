"""FollowingIndex: a structure for the vectors that it was built from, exact search for those added since."""

import numpy as np

from meisho.arrays import Float32Array, Int64Array
from meisho.index.base import Searcher
from meisho.index.exact import ExactIndex
from meisho.index.scoring import sort_pairs
from meisho.stored_vectors import Vectors

MOST_ADDED_ROWS = 2**16
"""With more rows than these that a structure does not know, all rows are searched exactly."""


class FollowingIndex:
    """The present rows of a collection, searched through a structure of an earlier state; see `Index.search`.

    Rows that went are masked inside the structure, so they never come back and take no other row's place.

    Args:
        version: Version of the collection that it answers for.
        structure: Bound to the present vectors (N, D).
        added_rows: (A,) int64, ascending: present rows that the structure does not know.
        added_vectors: (A, D) float32, their vectors.
    """

    def __init__(
        self, version: int, structure: Searcher, added_rows: Int64Array, added_vectors: Float32Array
    ) -> None:
        self.version = version
        self._structure = structure
        self._added_rows = added_rows
        self._added = ExactIndex.build(added_vectors)

    @property
    def is_exact(self) -> bool:
        """Whether it looks at every row."""
        return isinstance(self._structure, ExactIndex)

    @property
    def num_added(self) -> int:
        """Number of rows that came since the structure was built."""
        return len(self._added_rows)

    def search(self, queries: Float32Array, top: int) -> tuple[Int64Array, Float32Array]:
        """Find the `top` best present rows of each of (Q, D) queries; see `Index.search`."""
        rows, scores = self._structure.search(queries, top)
        if self.num_added == 0:
            return rows, scores
        added, added_scores = self._added.search(queries, top)
        rows = np.concatenate([rows, self._added_rows[added]], axis=1)
        return sort_pairs(rows, np.concatenate([scores, added_scores], axis=1), top)


def follow_keys(structure: Searcher, rows: Int64Array, vectors: Vectors, version: int) -> FollowingIndex:
    """Return an index over the present vectors (N, D), of which a structure knows those of `rows`.

    Args:
        structure: Bound to the present vectors.
        rows: (B,) int64, the present row of each vector that it was built from; -1 where it is gone.
        vectors: (N, D) float32.
        version: Version of the collection that they are.
    """
    present = np.zeros(len(vectors), np.bool_)
    present[rows[rows >= 0]] = True
    added = np.flatnonzero(~present)
    if len(added) > MOST_ADDED_ROWS:  # they are read into memory: an index that was not built to its end
        return FollowingIndex(version, ExactIndex.build(vectors), added[:0], vectors[:0])
    return FollowingIndex(version, structure, added, vectors[added])
