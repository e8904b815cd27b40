"""Array types, the one way to freeze an array inside a value, and what is done with rows everywhere."""

from collections.abc import Iterator
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
Int64Array = NDArray[np.int64]
UInt8Array = NDArray[np.uint8]
UInt64Array = NDArray[np.uint64]
BoolArray = NDArray[np.bool_]
AnyArray = NDArray[Any]


Scalar = TypeVar("Scalar", bound=np.generic)


def read_only(array: ArrayLike, dtype: type[Scalar]) -> NDArray[Scalar]:
    """Return `array` as a C-contiguous, read-only array of `dtype`; copies only if necessary."""
    frozen = np.ascontiguousarray(array, dtype=dtype).view()
    frozen.setflags(write=False)
    return frozen


def cut_rows(number: int, step: int) -> Iterator[slice]:
    """Cut a number of rows into blocks of `step`."""
    for first in range(0, number, step):
        yield slice(first, min(first + step, number))


def row_lengths(vectors: Float32Array) -> Float32Array:
    """Return the L2 lengths (...) of (..., D) rows; NaN and infinity show in them."""
    with np.errstate(over="ignore", invalid="ignore"):
        lengths: Float32Array = np.sqrt(np.einsum("...d,...d->...", vectors, vectors))
    return lengths


def find_rows(wanted: UInt64Array, keys: UInt64Array) -> Int64Array:
    """Return for each of (W,) wanted keys its row (W,) int64 in `keys` (N,), -1 where it is not there."""
    wanted, keys = np.ascontiguousarray(wanted), np.ascontiguousarray(keys)
    shared = min(len(wanted), len(keys))
    if np.array_equal(wanted[:shared], keys[:shared]):  # nothing went: no need to sort
        rows = np.arange(len(wanted))
        if len(wanted) > shared:
            rows[shared:] = -1
        return rows
    order, wanted_order = np.argsort(keys), np.argsort(wanted)  # both sorted: three times as fast as one
    sorted_keys, sorted_wanted = keys[order], wanted[wanted_order]
    places = np.minimum(np.searchsorted(sorted_keys, sorted_wanted), len(keys) - 1)
    rows = np.empty(len(wanted), np.int64)
    rows[wanted_order] = np.where(sorted_keys[places] == sorted_wanted, order[places], -1)
    return rows
