"""Scores of pairs, and their order: what every index shares, so that all of them give the same numbers.

A score is always computed pair by pair, by the same loop over the dimensions: it does not depend on the other
queries of the batch, on the block of the database, or on the index. A BLAS product does not keep that promise
(measured: nine of ten scores of a matrix-vector product differ in the last bit from those of the
matrix-matrix product), so products only choose which pairs are worth scoring. Ties are ties of these float32
scores.
"""

from collections.abc import Iterator

import numpy as np

from meisho.arrays import Float32Array, Int64Array, cut_rows, row_lengths
from meisho.errors import InputError
from meisho.index.products import multiply
from meisho.stored_vectors import StoredVectors, Vectors

_GATHER_BYTES = 64 * 2**20  # of vectors copied at a time
_EINSUM_DIM = 4096  # beyond 8192 the order in which einsum adds depends on the shapes
_LONGEST = 1e18  # lengths whose products still fit into float32
_BLOCK_ROWS = 16_384


def check_vectors(vectors: Vectors) -> Vectors:
    """Return vectors (N, D) as C-contiguous float32, without a copy where they are.

    Stored ones are returned as they are: they were looked at before they were written.

    Raises:
        InputError: They are not a matrix, or hold NaN, infinity, or values too large to multiply.
    """
    if isinstance(vectors, StoredVectors):
        return vectors
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    if vectors.ndim != 2:
        raise InputError(f"index: vectors must be (N, D), got shape {vectors.shape}")
    refuse_unusable(vectors, "database")
    return vectors


def check_queries(queries: Float32Array, dim: int, top: int) -> Float32Array:
    """Return queries (Q, D) as C-contiguous float32, without a copy where they are.

    Raises:
        InputError: They are not (Q, dim), hold NaN or infinity, or `top` is negative.
    """
    queries = np.ascontiguousarray(queries, dtype=np.float32)
    if queries.ndim != 2 or queries.shape[1] != dim:
        raise InputError(f"search: queries must be (Q, {dim}) as the database is, got shape {queries.shape}")
    if top < 0:
        raise InputError(f"search: top must be 0 or more, got {top}")
    refuse_unusable(queries, "query")
    return queries


def refuse_unusable(vectors: Float32Array, what: str) -> None:
    """Raise InputError where a row of (N, D) is not finite or is too long to multiply."""
    usable = row_lengths(vectors) < _LONGEST
    if not usable.all():
        raise InputError(
            f"search: {int((~usable).sum())} of {len(vectors)} {what} descriptors hold NaN, infinity "
            f"or huge values (first: row {int(np.argmin(usable))}); extract them again"
        )


def blocks_of(vectors: Vectors) -> Iterator[tuple[slice, Float32Array]]:
    """Yield (N, D) vectors whole, or, where they are stored, as many at a time as memory bears."""
    step = _BLOCK_ROWS if isinstance(vectors, StoredVectors) else max(1, len(vectors))
    for block in cut_rows(len(vectors), step):
        yield block, vectors[block]


def multiply_all(queries: Float32Array, vectors: Vectors) -> Float32Array:
    """Return the matrix product (Q, N) of (Q, D) and (N, D)."""
    blocks = [multiply(queries, block) for _, block in blocks_of(vectors)]
    return blocks[0] if len(blocks) == 1 else np.concatenate([queries[:, :0], *blocks], axis=1)


def score_all(queries: Float32Array, vectors: Vectors) -> Float32Array:
    """Score (Q, D) queries against every one of (N, D) vectors: (Q, N) float32."""
    scores = np.empty((len(queries), len(vectors)), np.float32)
    for part, block in blocks_of(vectors):
        for row, query in enumerate(queries):
            _multiply("nd,d->n", block, query, out=scores[row, part])
    return scores


def score_pairs(queries: Float32Array, vectors: Vectors, rows: Int64Array) -> Float32Array:
    """Score (Q, D) queries against their own candidates among (N, D) vectors.

    Args:
        queries: (Q, D) float32.
        vectors: (N, D) float32.
        rows: (Q, C) int64 rows of `vectors`; -1 stands for none.

    Returns:
        (Q, C) float32, equal to the bit to `score_all` at those rows; -inf where the row is -1.
    """
    scores = np.full(rows.shape, -np.inf, np.float32)
    if scores.size == 0 or len(vectors) == 0:
        return scores
    step = max(1, _GATHER_BYTES // (4 * max(1, rows.shape[1] * vectors.shape[1])))
    for first in range(0, len(queries), step):
        block = slice(first, first + step)
        _multiply("qcd,qd->qc", vectors[rows[block]], queries[block], out=scores[block])
    scores[rows < 0] = -np.inf
    return scores


def _multiply(subscripts: str, vectors: Float32Array, queries: Float32Array, *, out: Float32Array) -> None:
    np.einsum(subscripts, vectors[..., :_EINSUM_DIM], queries[..., :_EINSUM_DIM], out=out)
    for first in range(_EINSUM_DIM, vectors.shape[-1], _EINSUM_DIM):
        part = slice(first, first + _EINSUM_DIM)
        out += np.einsum(subscripts, vectors[..., part], queries[..., part])


def sort_pairs(rows: Int64Array, scores: Float32Array, top: int) -> tuple[Int64Array, Float32Array]:
    """Sort (Q, C) pairs by score, best first, ties by row, and keep the first `top` of each query."""
    order = np.lexsort((rows, -scores), axis=-1)[:, :top]
    return np.take_along_axis(rows, order, axis=1), np.take_along_axis(scores, order, axis=1)
