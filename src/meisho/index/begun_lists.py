"""BegunLists: the lists of a graph that is being built, kept as they are found."""

import hashlib
from pathlib import Path

import numpy as np
import xxhash

from meisho.index.keys import KeyArray
from meisho.index.neighborhoods import Lists, empty_lists

ROWS_AT_ONCE = 16_384
"""Lists that are kept together."""


class BegunLists:
    """A file of the first lists of a graph, so that a build that was interrupted goes on from there.

    One block of `ROWS_AT_ONCE` lists stands behind the other, each with its digest: what a kill cut off, or
    what rotted, is found anew.

    Args:
        folder: Where the file is; made when it is needed.
        keys: (N,) the photos of the graph.
        k: Neighbours of each.
    """

    def __init__(self, folder: Path, keys: KeyArray, k: int) -> None:
        graph = hashlib.sha256(f"{k} ".encode() + keys.astype("<u8").tobytes()).hexdigest()
        self._path = folder / f"graph-{graph[:16]}.begun"
        self._num_rows, self._k = len(keys), k

    def read(self) -> Lists:
        """Return the lists (B, k) of the first B rows that are there."""
        content = memoryview(self._path.read_bytes() if self._path.exists() else b"")
        neighbors, similarities = ([part] for part in empty_lists(0, self._k))
        for first in range(0, self._num_rows, ROWS_AT_ONCE):
            size = 8 * self._k * min(ROWS_AT_ONCE, self._num_rows - first)
            block, digest, content = content[:size], content[size : size + 8], content[size + 8 :]
            if xxhash.xxh3_64_digest(block) != digest:
                break
            neighbors.append(np.frombuffer(block, "<i4", len(block) // 8).reshape(-1, self._k))
            similarities.append(np.frombuffer(block, "<f4", offset=len(block) // 2).reshape(-1, self._k))
        return np.concatenate(neighbors), np.concatenate(similarities)

    def write(self, first: int, lists: Lists) -> None:
        """Write the lists of a block of rows that begins at `first`, behind those before it."""
        block = lists[0].astype("<i4").tobytes() + lists[1].astype("<f4").tobytes()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("r+b" if first else "wb") as file:
            file.seek(first // ROWS_AT_ONCE * (8 * self._k * ROWS_AT_ONCE + 8))
            file.write(block + xxhash.xxh3_64_digest(block))
