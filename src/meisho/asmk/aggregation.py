"""Aggregation: the local features of a photo that share a visual word become one vector, or a few bits."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meisho.arrays import Float32Array, Int64Array, UInt64Array
from meisho.asmk.codebook import Codebook
from meisho.local_features import LocalFeatures


@dataclass(frozen=True, eq=False)
class Aggregated:
    """What B photos hold: E pairs of a photo and a visual word, ordered by photo, then by word.

    Attributes:
        photos: (E,) int64; 0 to B - 1.
        words: (E,) int64.
        values: (E, D) float32, the aggregated residuals at unit length; or (E, ceil(D / 64)) uint64, their
            signs, one bit each (1 above 0), filled up with 0.
    """

    photos: Int64Array
    words: Int64Array
    values: Float32Array | UInt64Array


def aggregate_photos(
    photos: Sequence[LocalFeatures], codebook: Codebook, *, assignments: int = 1, binary: bool = True
) -> Aggregated:
    """Assign the features of B photos to words, and sum the residuals per photo and word.

    Φ(X_c) is the sum of x - c over the features x of a photo that are assigned to word c, scaled to unit
    length, or its signs (ASMK*); Tolias, Avrithis, Jégou, "Image Search with Selective Match Kernels:
    Aggregation Across Single and Multiple Images", IJCV 2016, and arXiv:2007.13172, section 3.1; checked
    against the package `asmk` 0.1.1.

    Args:
        photos: Local features; a photo may have none.
        codebook: Words of the same dimension as the descriptors.
        assignments: How many words each feature is assigned to.
        binary: Whether only the signs are kept.

    Raises:
        InputError: The dimensions differ.
    """
    known = photos if len(codebook) else ()  # without a word there is nothing to assign to
    empty = np.empty((0, codebook.centers.shape[1]), np.float32)
    features = np.concatenate([photo.descriptors for photo in known if len(photo)] or [empty])
    words = codebook.assign(features, count=assignments)
    numbers = np.repeat(np.arange(len(known)), [len(photo) for photo in known])
    keys = numbers[:, None] * max(1, len(codebook)) + words
    sums, found = _sum_residuals(features, words, keys, codebook.centers)
    photo_numbers, found_words = np.divmod(found, max(1, len(codebook)))
    return Aggregated(photo_numbers, found_words, pack_signs(sums) if binary else _unit_rows(sums))


def _sum_residuals(
    features: Float32Array, words: Int64Array, keys: Int64Array, centers: Float32Array
) -> tuple[Float32Array, Int64Array]:
    """Sum residuals with the same key of (F, A); return sums (E, D) and their keys (E,), ascending."""
    order = np.argsort(keys, axis=None, kind="stable")
    sorted_keys = keys.ravel()[order]
    starts = np.flatnonzero(np.diff(sorted_keys, prepend=-1))
    if not len(starts):
        return np.empty((0, centers.shape[1]), np.float32), starts
    rows = order // words.shape[1]
    residuals = features[rows] - centers[words.ravel()[order]]
    return np.add.reduceat(residuals, starts, axis=0), sorted_keys[starts]


def pack_signs(vectors: Float32Array) -> UInt64Array:
    """Return the signs of (E, D) as bits in (E, ceil(D / 64)) uint64: 1 above 0, the rest 0."""
    packed = np.packbits(vectors > 0, axis=1)
    missing = -packed.shape[1] % 8
    filled: NDArray[np.uint8] = np.pad(packed, ((0, 0), (0, missing)))
    return filled.view(np.uint64)


def _unit_rows(vectors: Float32Array) -> Float32Array:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: Float32Array = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
    return scaled
