"""LiveIndex: an index built from an earlier state of a collection, which answers for the present one."""

import hashlib
import logging
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Self

import numpy as np

from meisho.arrays import find_rows
from meisho.config import build
from meisho.documents import Fields
from meisho.errors import CollectionError, InputError, MissingDependencyError
from meisho.files import remove_leftovers
from meisho.index.base import INDEXES, Index
from meisho.index.exact import ExactIndex
from meisho.index.files import read_checked, write_checked
from meisho.index.following import FollowingIndex
from meisho.index.keys import KeyArray, check_keys
from meisho.sealed import is_digest, read_sealed, write_sealed
from meisho.stored_vectors import Vectors
from meisho.tables import load_named

STALE_FROM_SHARE = 0.2
"""An index is stale when more than this share of its rows are gone."""

GROWN_FROM_TIMES = 2
"""An index is stale when there are more than so many times the rows that its structure was chosen for."""

_RECORD = "index.json"
_FORMAT = 2
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class IndexRecord:
    """What is written beside a saved index.

    Attributes:
        kind: Its name in `INDEXES`.
        version: Version of the collection that it was built from.
        num_rows: Number of vectors that are in it.
        num_first: How many of them it was built from; the others were taken in later.
        dim: Their dimension.
        keys_sha256: SHA-256 of their keys, in order.
        format: Version of these files.
    """

    kind: str
    version: int
    num_rows: int
    num_first: int
    dim: int
    keys_sha256: str
    format: int = _FORMAT

    def path(self, folder: Path, suffix: str) -> Path:
        """Return where one part of the index stands; parts of different builds never share a name."""
        return folder / f"{self.kind}-{self.keys_sha256[:16]}.{suffix}"


@dataclass(frozen=True, eq=False)
class LiveIndex:
    """A structure with the keys of the vectors it was built from; `follow` makes it answer for present ones.

    A key stands for one vector for ever: a photo that changes must get another key. Exact indexes hold
    nothing and are never stale.

    Attributes:
        record: What the structure was built from.
        built_keys: (B,) uint64, the keys of the vectors that are in it.
        structure: The index itself.
    """

    record: IndexRecord
    built_keys: KeyArray
    structure: Index

    @classmethod
    def build(cls, kind: str, vectors: Vectors, keys: KeyArray, version: int) -> Self:
        """Build from (N, D) vectors with their keys (N,), which are the collection's `version`.

        Raises:
            ConfigError: There is no such kind.
            InputError: The vectors are not finite, or the keys not one per vector and unique.
            MissingDependencyError: The kind needs a package that is not installed.
        """
        structure = _class_of(kind).build(vectors)
        keys = check_keys(keys, len(vectors))
        size = len(vectors)
        record = IndexRecord(kind, int(version), size, size, vectors.shape[1], _digest(keys))
        return cls(record, keys, structure)

    def extend(self, vectors: Vectors, keys: KeyArray, version: int) -> Self:
        """Take in those of the present vectors (N, D) with keys (N,) that it does not know.

        The structure itself grows, so that `self` may not be used any more. Returns `self` where there is
        nothing to take in, or where the structure cannot: they are then searched exactly.
        """
        keys = check_keys(keys, len(vectors))
        new = np.flatnonzero(find_rows(keys, self.built_keys) < 0)
        if not len(new) or self.kind == "exact" or not self.structure.extend(vectors, new):
            return self
        built = np.concatenate([self.built_keys, keys[new]])
        record = replace(self.record, version=int(version), num_rows=len(built), keys_sha256=_digest(built))
        return type(self)(record, built, self.structure)

    @property
    def kind(self) -> str:
        """Its name in `INDEXES`."""
        return self.record.kind

    def is_stale(self, keys: KeyArray) -> bool:
        """Say whether it should be built again for the present keys (N,).

        See `STALE_FROM_SHARE` and `GROWN_FROM_TIMES`.
        """
        if self.kind == "exact":
            return False
        gone = int((find_rows(self.built_keys, keys) < 0).sum())
        return gone > STALE_FROM_SHARE * len(self.built_keys) or (
            len(keys) > GROWN_FROM_TIMES * self.record.num_first
        )

    def follow(self, vectors: Vectors, keys: KeyArray, version: int) -> FollowingIndex:
        """Return an index over the present vectors (N, D) with keys (N,), the collection's `version`.

        Raises:
            CollectionError: It was built from vectors of another dimension.
            InputError: The vectors are not finite, or the keys not one per vector and unique.
        """
        keys = check_keys(keys, len(vectors))
        if self.kind == "exact":
            return FollowingIndex(version, ExactIndex.build(vectors), np.empty(0, np.int64), vectors[:0])
        if vectors.shape[1] != self.record.dim:
            raise CollectionError(
                f"index: built from descriptors of {self.record.dim} dimensions, "
                f"but they have {vectors.shape[1]} now; build it again"
            )
        rows = find_rows(self.built_keys, keys)
        present = np.zeros(len(keys), np.bool_)
        present[rows[rows >= 0]] = True
        added = np.flatnonzero(~present)
        return FollowingIndex(version, self.structure.bind(vectors, rows), added, vectors[added])

    def save(self, folder: Path) -> None:
        """Write it into `folder`, in place of what was saved there.

        The record is written last and names the parts, so that a kill leaves the old index or the new one.
        """
        folder.mkdir(parents=True, exist_ok=True)  # a structure may write as it likes
        parts = [self.record.path(folder, suffix) for suffix in ("structure", "keys")]
        self.structure.save(parts[0])
        write_checked(parts[1], "keys", self.built_keys.astype("<u8").tobytes())
        write_sealed(folder / _RECORD, asdict(self.record))
        remove_leftovers(folder)
        for path in {*folder.glob("*.structure"), *folder.glob("*.keys")} - {*parts}:
            path.unlink(missing_ok=True)

    @staticmethod
    def read_kind(folder: Path) -> str | None:
        """Say which kind of approximate index `folder` holds, even where it is broken.

        None where there is none, or it cannot be built again, as FAISS is not installed.
        """
        kinds = {path.name.partition("-")[0] for path in folder.glob("*.structure")} & {*INDEXES} - {"exact"}
        return min(kinds, default=None) if find_spec("faiss") else None

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """Read what `save` wrote.

        None where there is nothing, or, with a logged warning, where it is broken or needs a package that
        is not installed: exact search then gives the same answers, later.
        """
        if not (folder / _RECORD).exists():
            return None
        try:
            record = _read_record(folder / _RECORD)
            keys = np.frombuffer(read_checked(record.path(folder, "keys"), "keys"), "<u8").astype(np.uint64)
            if _digest(keys) != record.keys_sha256:
                raise CollectionError(f"{folder}: the saved index was built from other keys; build it again")
            return cls(record, keys, _class_of(record.kind).load(record.path(folder, "structure")))
        except (CollectionError, MissingDependencyError) as error:
            _logger.warning("%s", error)
            return None


def _class_of(kind: str) -> type[Index]:
    found: type[Index] = load_named(kind, INDEXES, what="index")
    return found


def _digest(keys: KeyArray) -> str:
    return hashlib.sha256(keys.astype("<u8").tobytes()).hexdigest()


def _read_record(path: Path) -> IndexRecord:
    try:
        record = build(Fields(read_sealed(path), path.name, InputError), IndexRecord)
    except (OSError, InputError, ValueError) as error:
        raise CollectionError(f"{path}: the saved index cannot be read ({error}); build it again") from error
    if record.format != _FORMAT or record.kind not in INDEXES or not is_digest(record.keys_sha256):
        raise CollectionError(
            f"{path}: an index of kind {record.kind!r:.80} by another version; build it again"
        )
    return record
