"""Keys: what tells the vectors of a collection apart, whichever rows they stand in."""

import numpy as np
from numpy.typing import NDArray

from meisho.arrays import Int64Array
from meisho.errors import InputError

KeyArray = NDArray[np.uint64]


def check_keys(keys: KeyArray, num_vectors: int) -> KeyArray:
    """Return keys (N,) as C-contiguous uint64.

    Raises:
        InputError: They are not one per vector, or not unique.
    """
    keys = np.ascontiguousarray(keys, dtype=np.uint64)
    if keys.shape != (num_vectors,) or len(np.unique(keys)) != num_vectors:
        raise InputError(f"index: {num_vectors} vectors need as many unique keys, got shape {keys.shape}")
    return keys


def find_rows(built_keys: KeyArray, keys: KeyArray) -> Int64Array:
    """Return for each of (B,) built keys its row (B,) int64 in `keys` (N,), -1 where it is not there."""
    if len(keys) == 0:
        return np.full(len(built_keys), -1, np.int64)
    order, built_order = np.argsort(keys), np.argsort(built_keys)  # both sorted: three times as fast as one
    sorted_keys, sorted_built = keys[order], built_keys[built_order]
    places = np.minimum(np.searchsorted(sorted_keys, sorted_built), len(keys) - 1)
    rows = np.empty(len(built_keys), np.int64)
    rows[built_order] = np.where(sorted_keys[places] == sorted_built, order[places], -1)
    return rows
