"""Neighbourhoods: the nearest others and the farthest row of rows of one database, found in blocks."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from meisho.arrays import Float32Array, Int64Array, cut_rows
from meisho.index.base import Searcher
from meisho.index.scoring import score_pairs, sort_pairs
from meisho.stored_vectors import Vectors

Int32Array = NDArray[np.int32]
Lists = tuple[Int32Array, Float32Array]
"""Rows (B, k) of neighbours, best first, ties by row, -1 at the end; their similarities, -inf there."""

FAR_FROM_ROWS = 16_384
"""More rows than these: the farthest is looked for among some of them, see `spread_rows`."""

_FAR_SAMPLE = 4096
_ROWS_AT_ONCE = 1024
_PRODUCT_BYTES = 16 * 2**20
_PAIRS_AT_ONCE = 8192
_MARGIN = np.float32(1e-4)  # a matrix product of unit vectors differs by far less from the score of the pair


def find_lists(
    searcher: Searcher,
    vectors: Vectors,
    rows: Int64Array,
    k: int,
    *,
    advance: Callable[[int], None] = lambda _: None,
) -> Lists:
    """Find the `k` nearest others of (R,) rows of (N, D) vectors.

    A row is never in its own list, a copy of it is.

    Args:
        searcher: Bound to `vectors`.
        vectors: (N, D) float32.
        rows: Whose.
        k: The width of the lists; they are shorter where there are fewer others.
        advance: Called with the number of rows that are done.
    """
    lists = empty_lists(len(rows), k)
    for block in cut_rows(len(rows), _ROWS_AT_ONCE):
        found, scores = leave_out(rows[block], *searcher.search(vectors[rows[block]], k + 1))
        lists[0][block, : found.shape[1]], lists[1][block, : found.shape[1]] = found, scores
        advance(block.stop)
    return lists


def leave_out(rows: Int64Array, found: Int64Array, scores: Float32Array) -> tuple[Int64Array, Float32Array]:
    """Return what was found (R, K) for (R,) rows, and the scores, without the row itself: (R, K - 1) each."""
    left_out = found == rows[:, None]
    left_out[~left_out.any(axis=1), -1] = True  # more copies than places: none of them is the row
    shape = len(found), found.shape[1] - 1
    return found[~left_out].reshape(shape), scores[~left_out].reshape(shape)


def empty_lists(number: int, k: int) -> Lists:
    """Return lists of nothing."""
    return np.full((number, k), -1, np.int32), np.full((number, k), -np.inf, np.float32)


def find_farthest(vectors: Vectors, rows: Int64Array) -> tuple[Int32Array, Float32Array]:
    """Find the row (R,) least like each of (R,) rows of (N, D) vectors, and its similarity.

    Beyond `FAR_FROM_ROWS` rows it is the least like among 4096 of them.
    """
    among = spread_rows(len(vectors))
    farthest = np.empty(len(rows), np.int32)
    lowest = np.empty(len(rows), np.float32)
    sample = vectors[:] if len(among) == len(vectors) else vectors[among]
    for block in cut_rows(len(rows), max(1, _PRODUCT_BYTES // (4 * max(1, len(among))))):
        asked = vectors[rows[block]]
        farthest[block] = among[(asked @ sample.T).argmin(axis=1)]
        lowest[block] = score_pairs(asked, vectors, farthest[block, None].astype(np.int64))[:, 0]
    return farthest, lowest


def spread_rows(num_rows: int) -> Int64Array:
    """Return the rows among which the farthest is looked for: all, or 4096 evenly spread ones."""
    if num_rows <= FAR_FROM_ROWS:
        return np.arange(num_rows)
    return np.linspace(0, num_rows - 1, _FAR_SAMPLE).astype(np.int64)


def compare_rows(
    vectors: Vectors, rows: Int64Array, others: Int64Array
) -> Iterator[tuple[slice, Float32Array]]:
    """Yield which of (R,) rows (B of them), and their products (B, A) with (A,) other rows."""
    of_others = vectors[others].T
    for block in cut_rows(len(rows), max(1, _PRODUCT_BYTES // (4 * max(1, len(others))))):
        yield block, vectors[rows[block]] @ of_others


def lower_farthest(
    far: tuple[Int32Array, Float32Array],
    vectors: Vectors,
    rows: Int64Array,
    added: Int64Array,
    products: Float32Array,
) -> None:
    """Note which of (A,) added rows are less like (B,) rows than the farthest so far; as `insert_rows`."""
    farthest = added[products.argmin(axis=1)]
    scores = score_pairs(vectors[rows], vectors, farthest[:, None])[:, 0]
    lower = scores < far[1][rows]
    far[0][rows[lower]], far[1][rows[lower]] = farthest[lower], scores[lower]


def insert_rows(
    lists: Lists,
    vectors: Vectors,
    rows: Int64Array,
    added: Int64Array,
    *,
    num_before: int,
    products: Float32Array,
) -> None:
    """Put added rows into the lists that they belong to, in place.

    A list that is not full holds the best that are known: what is less like than its last is left out, as
    others that it does not hold may come before.

    Args:
        lists: Those of all rows of `vectors`.
        vectors: (N, D) float32.
        rows: (B,) the rows whose lists may grow.
        added: (A,) rows that are in none of these lists.
        num_before: Number of rows that could be in them.
        products: (B, A) of their vectors, whose last bits are not looked at.
    """
    neighbors, similarities = lists
    k = neighbors.shape[1]
    counts = (neighbors[rows] >= 0).sum(axis=1)
    least: Float32Array = np.where(counts, similarities[rows, np.maximum(counts - 1, 0)], np.float32(np.inf))
    least[(counts >= num_before - 1) & (counts < k)] = -np.inf  # they hold all that there were
    owners, places = np.nonzero(products >= _raise(least - _MARGIN, products, k)[:, None])
    scores = np.empty(len(owners), np.float32)
    for block in cut_rows(len(owners), _PAIRS_AT_ONCE):
        asked = vectors[rows[owners[block]]]
        scores[block] = score_pairs(asked, vectors, added[places[block], None])[:, 0]
    kept = scores >= least[owners]
    if kept.any():
        _merge(lists, rows[owners[kept]], added[places[kept]], scores[kept])


def _raise(least: Float32Array, products: Float32Array, k: int) -> Float32Array:
    """Return least products (B,) that no more than about `k` of each row of (B, A) reach."""
    many = np.flatnonzero((products >= least[:, None]).sum(axis=1) > k)
    if len(many):
        best = np.partition(products[many], -k, axis=1)[:, -k]
        least[many] = np.maximum(least[many], best - _MARGIN)
    return least


def _merge(lists: Lists, owners: Int64Array, rows: Int64Array, scores: Float32Array) -> None:
    """Merge rows (P,) into the lists of (P,) ascending owners, in place."""
    neighbors, similarities = lists
    different, starts, counts = np.unique(owners, return_index=True, return_counts=True)
    places = np.arange(len(owners)) - np.repeat(starts, counts)
    owner_places = np.repeat(np.arange(len(different)), counts)
    more_rows = np.full((len(different), counts.max()), -1, np.int64)
    more_scores = np.full(more_rows.shape, -np.inf, np.float32)
    more_rows[owner_places, places], more_scores[owner_places, places] = rows, scores
    all_rows = np.concatenate([neighbors[different], more_rows], axis=1)
    all_scores = np.concatenate([similarities[different], more_scores], axis=1)
    merged = sort_pairs(all_rows, all_scores, neighbors.shape[1])
    neighbors[different], similarities[different] = merged
