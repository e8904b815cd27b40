"""Index structures: vectors in, nearest rows out; the interface and the table of those known by name.

A new structure is one file in this folder and one line in `INDEXES`::

    class MyIndex:
        @classmethod
        def build(cls, vectors: Float32Array) -> "MyIndex": ...

        def search(self, queries: Float32Array, top: int) -> tuple[Int64Array, Float32Array]: ...
"""

from pathlib import Path
from typing import Protocol, Self

from meisho.arrays import Float32Array, Int64Array

INDEXES: dict[str, str] = {
    "exact": "meisho.index.exact:ExactIndex",
    "ivfpq": "meisho.index.faiss_index:IVFPQIndex",
    "hnsw": "meisho.index.faiss_index:HNSWIndex",
}


class Index(Protocol):
    """A search structure over N vectors; similarity is the dot product, higher is better."""

    @classmethod
    def build(cls, vectors: Float32Array) -> Self:
        """Build over (N, D) float32 vectors."""
        ...

    def search(self, queries: Float32Array, top: int) -> tuple[Int64Array, Float32Array]:
        """Find the `top` best rows for each of (Q, D) float32 queries.

        Returns rows (Q, K) int64, best first, ties by row, -1 where fewer were found; scores (Q, K) float32.
        """
        ...

    def save(self, path: Path) -> None:
        """Write to one file, to a temporary name first."""
        ...

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        ...
