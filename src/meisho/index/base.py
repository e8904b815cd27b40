"""Index structures: vectors in, nearest rows out; the interface and the table of those known by name.

A new structure is one file in this folder and one line in `INDEXES`. This one runs::

    class MyIndex:
        def __init__(self, vectors, rows):
            self.vectors, self.rows = vectors, rows

        num_rows = property(lambda self: len(self.rows))

        @classmethod
        def build(cls, vectors, *, at_first=None):
            return cls(check_vectors(vectors), np.arange(len(vectors)))

        def bind(self, vectors, rows):
            return MyIndex(check_vectors(vectors), rows)

        def extend(self, vectors, rows):
            return False

        def tune(self):
            pass

        def search(self, queries, top):
            queries = check_queries(queries, self.vectors.shape[1], top)
            rows = np.tile(self.rows[self.rows >= 0], (len(queries), 1))
            return sort_pairs(rows, score_pairs(queries, self.vectors, rows), top)

        def save(self, path):
            path.write_bytes(b"")  # all that it knows are the vectors

        @classmethod
        def load(cls, path):
            return cls(np.empty((0, 0)), np.empty(0, int))
"""

from pathlib import Path
from typing import Protocol, Self

from meisho.arrays import Float32Array, Int64Array
from meisho.stored_vectors import Vectors

INDEXES: dict[str, str] = {
    "exact": "meisho.index.exact:ExactIndex",
    "ivfpq": "meisho.index.faiss_index:IVFPQIndex",
    "hnsw": "meisho.index.faiss_index:HNSWIndex",
}


class Searcher(Protocol):
    """Whatever finds rows; similarity is the dot product, higher is better."""

    def search(self, queries: Float32Array, top: int) -> tuple[Int64Array, Float32Array]:
        """Find the `top` best of N rows for each of (Q, D) float32 queries.

        Returns rows (Q, K) int64, best first, ties by row, and their scores (Q, K) float32 from
        `score_pairs`; K is `top`, or the number of rows where that is less. InputError where a query is not
        finite.
        """
        ...


class Index(Searcher, Protocol):
    """A search structure.

    It was built from B vectors and is bound to N vectors of now: `rows` (B,) int64 names the present row of
    each vector of the build, -1 where it is gone; only present rows are found. After `build` the two are the
    same, after `load` there are none. Scores are computed from the caller's vectors; no structure copies
    them.
    """

    @property
    def num_rows(self) -> int:
        """B."""
        ...

    @classmethod
    def build(cls, vectors: Vectors, *, at_first: int | None = None) -> Self:
        """Build over (N, D) float32 vectors; InputError where they hold NaN or infinity.

        Made for all of them, it may take in only the first `at_first`; `extend` then brings the others.
        """
        ...

    def bind(self, vectors: Vectors, rows: Int64Array) -> Self:
        """Return the same structure bound to other (N, D) vectors by `rows` (B,)."""
        ...

    def extend(self, vectors: Vectors, rows: Int64Array) -> bool:
        """Take in rows (A,) of (N, D) vectors, behind those that it was built from; says whether it could."""
        ...

    def tune(self) -> None:
        """Choose by measuring how far it looks, once it has grown much; most look as far as ever."""
        ...

    def save(self, path: Path) -> None:
        """Write the structure, without the vectors, to one file; to a temporary name first."""
        ...

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote, bound to nothing; CollectionError where the file is missing or broken."""
        ...
