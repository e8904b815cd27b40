"""NeighborGraph: the nearest others of every photo of a collection, found by its index and kept beside it.

Database augmentation, k-reciprocal encoding, diffusion and groups all ask for the neighbours of database
photos. Found once, each of them is then a look-up.
"""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from meisho.arrays import BoolArray, Float32Array, Int64Array, cut_rows, find_rows
from meisho.errors import InputError
from meisho.index.base import Searcher
from meisho.index.begun_lists import ROWS_AT_ONCE, BegunLists
from meisho.index.exact import ExactIndex
from meisho.index.keys import KeyArray, check_keys
from meisho.index.neighborhoods import (
    Int32Array,
    Lists,
    compare_rows,
    empty_lists,
    find_farthest,
    find_lists,
    insert_rows,
    lower_farthest,
)
from meisho.index.scoring import sort_pairs
from meisho.progress import Progress, silent
from meisho.stored_vectors import Vectors

WIDTH = 24
"""Neighbours that are kept of each photo: rerankers look at 20, and a few may go before more are needed."""

SPARE_SHARE = 1 / 6
"""When more of a list than this share went, `NeighborGraph.grow` finds it anew."""

MOST_ADDED, MOST_ADDED_SHARE = 32_768, 0.5
"""With more new photos than these, or than this share, `grow` builds anew: it would take no less."""

_STAGE = "graph"
_RECALL_SAMPLE = 100


@dataclass(frozen=True, eq=False)
class NeighborGraph:
    """Neighbour lists of the photos of a collection, by row; made by `build` or `grow`.

    It takes 8 k + 16 bytes for each photo. A list is always the first part of the true one, as far as the
    index that found it is exact: where photos went, it is shorter.

    Attributes:
        keys: (B,) uint64, the photos that it was built from. A key stands for one vector for ever.
        neighbors: (B, k) int32, rows of that build, best first, ties by row, -1 at the end.
        similarities: (B, k) float32, their dot products, -inf at the end.
        farthest: (B,) int32, the row least like each; beyond 16,384 rows, the least like among 4096.
        lowest: (B,) float32, their dot products.
        recall: Share of a sample's neighbours that exact search finds too, see `measure_recall`.
        rows: (B,) int64, the present row of each photo, -1 where it is gone; None: the same rows.
        places: (N,) int64, the place in the build of each present row, -1 where it is new; None likewise.
    """

    keys: KeyArray
    neighbors: Int32Array
    similarities: Float32Array
    farthest: Int32Array
    lowest: Float32Array
    recall: float
    rows: Int64Array | None = None
    places: Int64Array | None = None

    @classmethod
    def build(
        cls,
        searcher: Searcher,
        vectors: Vectors,
        keys: KeyArray,
        *,
        k: int = WIDTH,
        begun: BegunLists | None = None,
        progress: Progress = silent,
    ) -> Self:
        """Find the neighbours of all of (N, D) unit vectors.

        Beside the lists it holds what the index takes for 1024 queries, and at most about 100 MiB.

        Args:
            searcher: Bound to `vectors`.
            vectors: (N, D) float32.
            keys: (N,) what tells them apart.
            k: Neighbours of each.
            begun: Keeps what is found, and knows what was found before.
            progress: Called as lists are found.

        Raises:
            InputError: `k` is less than 1, or the keys are not one per vector and unique.
        """
        if k < 1:
            raise InputError(f"graph: k is {k}; ask for at least 1 neighbour")
        keys, rows = check_keys(keys, len(vectors)), np.arange(len(vectors))
        lists, before = empty_lists(len(rows), k), empty_lists(0, k) if begun is None else begun.read()
        done = len(before[0])
        lists[0][:done], lists[1][:done] = before
        for block in cut_rows(len(rows), ROWS_AT_ONCE):
            if block.start < done:
                continue
            found = find_lists(searcher, vectors, rows[block], k)
            lists[0][block], lists[1][block] = found
            if begun is not None:
                begun.write(block.start, found)
            progress(_STAGE, block.stop, len(rows))
        return cls(keys, *lists, *find_farthest(vectors, rows), recall=measure_recall(lists, vectors))

    def __len__(self) -> int:
        return len(self.neighbors if self.places is None else self.places)

    @property
    def k(self) -> int:
        """Number of neighbours of a photo, where there are as many."""
        return int(self.neighbors.shape[1])

    def follow(self, keys: KeyArray) -> Self:
        """Return the same graph by the rows of the present photos, whose keys are (N,).

        Photos that went are in no list. New ones are in none either, and have none: see `grow`.

        Raises:
            InputError: The keys are not unique.
        """
        if np.array_equal(keys, self.keys):
            return replace(self, rows=None, places=None)
        keys = check_keys(keys, len(keys))
        return replace(self, rows=find_rows(self.keys, keys), places=find_rows(keys, self.keys))

    def find(self, rows: Int64Array, k: int) -> tuple[Int64Array, Float32Array, BoolArray]:
        """Look up the `k` nearest others of (R,) present rows.

        Returns:
            Rows (R, k) int64, best first, ties by row, -1 where there is none; their dot products (R, k),
            -inf there; and which lists (R,) are whole: hold all of the `k` that there are.
        """
        neighbors, similarities = self._find_lists(rows)
        found = np.full((len(rows), k), -1, np.int64)
        scores = np.full((len(rows), k), -np.inf, np.float32)
        width = min(k, self.k)
        found[:, :width], scores[:, :width] = neighbors[:, :width], similarities[:, :width]
        return found, scores, (found >= 0).sum(axis=1) >= min(k, len(self) - 1)

    def find_lowest(self, rows: Int64Array) -> Float32Array:
        """Look up the lowest dot product (R,) of present rows with any row; NaN where it is not known."""
        places = rows if self.places is None else self.places[rows]
        return np.where(places >= 0, self.lowest[places], np.float32(np.nan))

    def _find_lists(self, rows: Int64Array) -> tuple[Int64Array, Float32Array]:
        """Return the lists (R, k) of present rows, by present rows."""
        if self.rows is None or self.places is None:
            return self.neighbors[rows].astype(np.int64), self.similarities[rows]
        places = self.places[rows]
        if not len(self.rows):
            return empty_lists(len(rows), self.k)[0].astype(np.int64), empty_lists(len(rows), self.k)[1]
        built = self.neighbors[places]
        neighbors = np.where((built >= 0) & (places >= 0)[:, None], self.rows[built], -1)
        similarities = np.where(neighbors >= 0, self.similarities[places], np.float32(-np.inf))
        return sort_pairs(neighbors, similarities, self.k)

    def grow(
        self,
        searcher: Searcher,
        vectors: Vectors,
        keys: KeyArray,
        *,
        begun: BegunLists | None = None,
        progress: Progress = silent,
    ) -> Self:
        """Return the graph of the present vectors (N, D) with keys (N,); itself where they are the same.

        New photos are searched for, and come into the lists of others by their products with all vectors:
        A · N · D multiplications for A of them. Photos that went leave the lists; a list that becomes too
        short is found anew. With many new photos the graph is built anew.

        Args:
            searcher: Bound to `vectors`.
            vectors: (N, D) float32.
            keys: (N,) what tells them apart.
            begun: As `build` takes it.
            progress: Called as lists are found.

        Raises:
            InputError: The keys are not one per vector and unique.
        """
        keys = check_keys(keys, len(vectors))
        if np.array_equal(keys, self.keys):
            return self
        followed = self.follow(keys)
        assert followed.places is not None
        added = np.flatnonzero(followed.places < 0)
        if len(added) > min(MOST_ADDED, MOST_ADDED_SHARE * len(vectors)):
            return self.build(searcher, vectors, keys, k=self.k, begun=begun, progress=progress)
        return followed._take_in(added, searcher, vectors, keys, progress)

    def _take_in(
        self,
        added: Int64Array,
        searcher: Searcher,
        vectors: Vectors,
        keys: KeyArray,
        progress: Progress,
    ) -> Self:
        """Return the graph in which (A,) new rows, which `follow` left without lists, have theirs."""
        lists, far = self._copy_lists(), self._copy_farthest()
        old = np.setdiff1d(np.arange(len(vectors)), added)
        counts = (lists[0] >= 0).sum(axis=1)
        short = counts < min(self.k - int(SPARE_SHARE * self.k), len(old) - 1)
        short[added] = True
        anew, done = np.flatnonzero(short), len(old) if len(added) else 0
        total = len(anew) + done
        for block, products in compare_rows(vectors, old, added) if done else ():
            rows, full = old[block], ~short[old[block]]
            insert_rows(lists, vectors, rows[full], added, num_before=len(old), products=products[full])
            lower_farthest(far, vectors, rows, added, products)
            progress(_STAGE, block.stop, total)
        found = find_lists(
            searcher, vectors, anew, self.k, advance=lambda number: progress(_STAGE, done + number, total)
        )
        lists[0][anew], lists[1][anew] = found
        unknown = np.flatnonzero(far[0] < 0)
        far[0][unknown], far[1][unknown] = find_farthest(vectors, unknown)
        return type(self)(keys, *lists, *far, recall=measure_recall(lists, vectors))

    def _copy_lists(self) -> Lists:
        """Return the lists of all present rows, to write into."""
        lists = empty_lists(len(self), self.k)
        for block in cut_rows(len(self), ROWS_AT_ONCE):
            lists[0][block], lists[1][block] = self._find_lists(np.arange(block.start, block.stop))
        return lists

    def _copy_farthest(self) -> tuple[Int32Array, Float32Array]:
        """Return the farthest row of each present row, -1 where it is gone or not known, to write into."""
        assert self.rows is not None and self.places is not None
        if not len(self.rows):
            return np.full(len(self), -1, np.int32), np.full(len(self), np.nan, np.float32)
        farthest = np.where(self.places >= 0, self.rows[self.farthest[self.places]], -1)
        return farthest.astype(np.int32), self.lowest[self.places]


def measure_recall(lists: Lists, vectors: Vectors) -> float:
    """Return which share of the neighbours of 100 evenly spread rows is as near as the true ones."""
    k = min(lists[0].shape[1], len(vectors) - 1)
    rows = np.unique(np.linspace(0, len(vectors) - 1, _RECALL_SAMPLE).astype(np.int64))
    held = (lists[0][rows] >= 0) if k > 0 else np.zeros((0, 0), np.bool_)
    if not held.any():
        return 1.0
    _, exact = find_lists(ExactIndex.build(vectors), vectors, rows, k)
    last = exact[np.arange(len(rows)), held.sum(axis=1) - 1]
    return float((lists[1][rows] >= last[:, None])[held].mean())
