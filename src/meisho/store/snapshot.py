"""Snapshot: the descriptors of a collection at one moment, saved in files that can be read without LanceDB.

The collection's tables are the truth. A saved snapshot is derived from them, so that searching needs neither
LanceDB nor pyarrow. It names the commit it was taken from; if the tables have another commit, the tables are
read instead. How it is saved: `meisho.store.snapshot_files`.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from meisho.arrays import Int64Array, UInt64Array
from meisho.buckets import BucketPath
from meisho.descriptors import Descriptors


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The contents of a collection at one moment.

    Attributes:
        descriptors: One row per photo that could be described, in order of insertion; photos with the same
            content share a vector. Of a large collection that was read from its files, the ids and vectors
            stay in them, see `StoredVectors`.
        keys: (N,) uint64, read-only; two rows have the same key only if both id and content are the same.
        version: `Collection.version` at that moment.
        files: N files of the photos: paths relative to the photo folder, or absolute if they lie elsewhere.
        contents: (N,) int64, read-only; the content of each photo, named by the first row that has it.
    """

    descriptors: Descriptors
    keys: UInt64Array
    version: int
    files: Sequence[str]
    contents: Int64Array


@dataclass(frozen=True, eq=False)
class PhotoRows:
    """The photos of a snapshot without their vectors.

    Attributes:
        ids: N ids, in order of insertion.
        files: N files.
        keys: (N,) uint64.
        sequences: (N,) int64; the number of each photo's vector in the descriptor table: photos with the same
            content have the same one.
        version: `Collection.version` at that moment.
    """

    ids: tuple[str, ...]
    files: tuple[str, ...]
    keys: UInt64Array
    sequences: Int64Array
    version: int

    @property
    def contents(self) -> Int64Array:
        """(N,) int64; the content of each photo, named by the first row that has it."""
        return name_contents(self.sequences)


def name_contents(numbers: Int64Array) -> Int64Array:
    """Return (N,) for each of (N,) numbers the first row that has it."""
    _, first, content = np.unique(numbers, return_index=True, return_inverse=True)
    return first[content].astype(np.int64, copy=False)


def read_commit(collection: Path, table: str = "photos") -> str:
    """Name the newest commit of a table of a collection, without opening it; "" where none is found.

    LanceDB writes one manifest per version of a table, so the name of the newest tells one state from every
    other. In a bucket its content does: what is derived from a collection may outlive it there, and meet
    another of the same name.
    """
    folder = collection / f"{table}.lance" / "_versions"
    if not isinstance(folder, BucketPath):
        return newest_manifest(collection, table)
    newest = _newest_in_bucket(folder)
    return f"{newest.name} {newest.look().etag}" if newest else ""


def newest_manifest(collection: Path, table: str) -> str:
    """Return the name of the newest manifest of a table; "" where none is found."""
    folder = collection / f"{table}.lance" / "_versions"
    try:
        if isinstance(folder, BucketPath):
            return newest.name if (newest := _newest_in_bucket(folder)) else ""
        names = [name for name in os.listdir(folder) if name.endswith(".manifest")]  # noqa: PTH208
    except OSError:
        return ""
    # named by 2^64 - 1 - version, with 20 digits; older tables by the version itself
    return min((name for name in names if len(name) == 29), default=max(names, key=_number, default=""))


def _newest_in_bucket(folder: BucketPath) -> BucketPath | None:
    """Return the newest manifest there, the first that is listed: a long list is not read to its end."""
    older: list[BucketPath] = []
    for each in folder.walk():
        if each.suffix == ".manifest" and len(each.name) == 29:
            return each
        older += [each] * (each.suffix == ".manifest")
    return max(older, key=lambda each: _number(each.name), default=None)


def _number(name: str) -> int:
    stem = name.partition(".")[0]
    return int(stem) if stem.isdigit() else -1
