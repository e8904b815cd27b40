"""Keys: what tells the vectors of a collection apart, whichever rows they stand in."""

import hashlib

import numpy as np

from meisho.arrays import UInt64Array
from meisho.errors import InputError

KeyArray = UInt64Array


def check_keys(keys: KeyArray, num_vectors: int) -> KeyArray:
    """Return keys (N,) as C-contiguous uint64.

    Raises:
        InputError: They are not one per vector, or not unique.
    """
    keys = np.ascontiguousarray(keys, dtype=np.uint64)
    ordered = np.sort(keys, axis=None)  # `np.unique` takes ten times as long
    if keys.shape != (num_vectors,) or (ordered[1:] == ordered[:-1]).any():
        raise InputError(f"index: {num_vectors} vectors need as many unique keys, got shape {keys.shape}")
    return keys


def digest_keys(keys: KeyArray) -> str:
    """Return the SHA-256 of keys (N,), in order, in hex digits."""
    return hashlib.sha256(keys.astype("<u8").tobytes()).hexdigest()
