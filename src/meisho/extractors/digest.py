"""The digest of weights, whatever library holds them and whatever file they came from."""

import hashlib
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray


def digest_arrays(state: Mapping[str, NDArray[np.generic]]) -> str:
    """Return the SHA-256 of a state's names, types, shapes and bytes; that of torch's tensors is the same."""
    arrays = {name: np.ascontiguousarray(state[name]) for name in sorted(state)}
    return digest_entries(
        (name, str(array.dtype), state[name].shape, array.reshape(-1).view(np.uint8).data)
        for name, array in arrays.items()
    )


def digest_entries(entries: Iterable[tuple[str, str, tuple[int, ...], memoryview]]) -> str:
    """Return the SHA-256 of entries that are sorted by name.

    Args:
        entries: Name, type ("float32"), shape, and the bytes in C order.
    """
    digest = hashlib.sha256()
    for name, dtype, shape, content in entries:
        digest.update(f"{name} torch.{dtype} {shape}\n".encode())
        digest.update(content)
    return digest.hexdigest()
