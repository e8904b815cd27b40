"""StoredVectors: the vectors of a large collection, which stay in their file until they are asked for."""

from pathlib import Path

import numpy as np

from meisho.arrays import AnyArray, BoolArray, Float32Array, Int64Array, UInt64Array, cut_rows, row_lengths
from meisho.errors import DamagedError
from meisho.texts import count

_BLOCK_ROWS = 16_384
_TINY = np.finfo(np.float32).tiny


class StoredVectors:
    """A matrix (N, D) float32 of which only what is asked for is in memory; indexed as an array is, by rows.

    Each row is compared with its digest when it is read for the first time. Rows of float16 get back the
    length that they had: the rounding of it could put a near copy before the photo itself. `np.asarray` reads
    them all.

    Args:
        stored: (R, D) float16 or float32, mapped.
        digests: (R,) uint64, the XXH3 of the bytes of each row.
        lengths: (R,) float32, the L2 length of each row.
        rows: (N,) rows of `stored`, which are the rows of this; all R when None.
        file: The file, for messages.
    """

    ndim = 2
    dtype = np.dtype(np.float32)

    def __init__(
        self,
        stored: AnyArray,
        digests: UInt64Array,
        lengths: Float32Array,
        rows: Int64Array | None,
        file: Path,
    ) -> None:
        self._stored, self._digests, self._lengths = stored, digests, lengths
        self._rows = np.arange(len(stored)) if rows is None else rows
        self._file = file
        self._sound: BoolArray = np.zeros(len(stored), np.bool_)

    @property
    def shape(self) -> tuple[int, int]:
        """N and D."""
        return len(self), self._stored.shape[1]

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, key: slice | AnyArray) -> Float32Array:
        """Read rows.

        Raises:
            DamagedError: Some are not what was written.
        """
        rows = self._rows[key]
        if len(new := np.unique(rows[~self._sound[rows]])):
            self._compare(new)
        vectors: Float32Array = self._stored[rows].astype(np.float32, copy=False)
        if self._stored.dtype.itemsize == 2:
            vectors *= (self._lengths[rows] / np.maximum(row_lengths(vectors), _TINY))[..., None]
        return vectors

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> AnyArray:
        """Read all; with `dtype` float32 or none."""
        vectors = np.empty(self.shape, np.float32)
        for block in cut_rows(len(self), _BLOCK_ROWS):
            vectors[block] = self[block]
        return vectors if dtype is None else vectors.astype(dtype, copy=False)

    def compare_all(self) -> None:
        """Compare every row with its digest.

        Raises:
            DamagedError: Some are not what was written.
        """
        for block in cut_rows(len(self), _BLOCK_ROWS):
            self._compare(self._rows[block])

    def _compare(self, rows: Int64Array) -> None:
        wrong = rows[digest_vectors(self._stored[rows]) != self._digests[rows]]
        if len(wrong):
            raise DamagedError(
                f"{self._file}: {count(len(wrong), 'vector')} changed on the disk since written, the first "
                f"is row {wrong[0]}; run 'meisho index' to make the file anew"
            )
        self._sound[rows] = True


def digest_vectors(vectors: AnyArray) -> UInt64Array:
    """Return the XXH3 (N,) uint64 of the bytes of each of (N, D) vectors."""
    import xxhash  # for collections alone: describing does without

    view = np.ascontiguousarray(vectors).view(np.uint8).reshape(-1).data
    size = vectors.shape[1] * vectors.itemsize
    digests = (xxhash.xxh3_64_intdigest(view[at : at + size]) for at in range(0, len(vectors) * size, size))
    return np.fromiter(digests, np.uint64, len(vectors))


Vectors = Float32Array | StoredVectors
"""Vectors (N, D) float32, in memory or in their file."""
