"""LiveIndex: an index built from an earlier state of a collection, which answers for the present one."""

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Self

import numpy as np

from meisho.arrays import cut_rows, find_rows
from meisho.config import build
from meisho.documents import Fields
from meisho.errors import CollectionError, InputError, MissingDependencyError
from meisho.files import remove_leftovers
from meisho.index.base import INDEXES, Index
from meisho.index.exact import ExactIndex
from meisho.index.files import load_keys, save_keys
from meisho.index.following import FollowingIndex, follow_keys
from meisho.index.keys import KeyArray, check_keys, digest_keys
from meisho.sealed import is_digest, read_sealed, write_sealed
from meisho.stored_vectors import Vectors
from meisho.tables import load_named

STALE_FROM_SHARE = 0.2
"""An index is stale when more than this share of its rows are gone."""

GROWN_FROM_TIMES = 2
"""An index is stale when there are more than so many times the rows that its structure was chosen for."""

STEP_ROWS = 2**18
"""Vectors that are taken in before what there is of a structure is kept."""

TUNED_FROM_SHARE = 1 / 8
"""A structure that grows by more than this share chooses anew how far it looks."""

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


Keep = Callable[["LiveIndex"], None]


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
    def build(
        cls, kind: str, vectors: Vectors, keys: KeyArray, version: int, *, keep: Keep | None = None
    ) -> Self:
        """Build from (N, D) vectors with their keys (N,), which are the collection's `version`.

        Args:
            kind: Its name in `INDEXES`.
            vectors: (N, D) float32.
            keys: (N,) what tells them apart.
            version: The collection's.
            keep: Called after every `STEP_ROWS` of many vectors with what there is so far, for example to
                save it: `extend` goes on from there.

        Raises:
            ConfigError: There is no such kind.
            InputError: The vectors are not finite, or the keys not one per vector and unique.
            MissingDependencyError: The kind needs a package that is not installed.
        """
        structure = _class_of(kind).build(vectors, at_first=None if keep is None else STEP_ROWS)
        keys = check_keys(keys, len(vectors))
        built = keys[: structure.num_rows]
        record = IndexRecord(kind, int(version), len(built), len(keys), vectors.shape[1], digest_keys(built))
        live = cls(record, built, structure)
        if keep is None or len(built) == len(keys):
            return live
        keep(live)
        return live.extend(vectors, keys, version, keep=keep)

    def extend(self, vectors: Vectors, keys: KeyArray, version: int, *, keep: Keep | None = None) -> Self:
        """Take in those of the present vectors (N, D) with keys (N,) that it does not know.

        The structure itself grows, so that `self` may not be used any more. Returns `self` where there is
        nothing to take in, or where the structure cannot: they are then searched exactly. For `keep` see
        `build`.
        """
        keys, live = check_keys(keys, len(vectors)), self
        new = np.flatnonzero(find_rows(keys, self.built_keys) < 0)
        for block in cut_rows(len(new) if self.kind != "exact" else 0, STEP_ROWS):
            if not self.structure.extend(vectors, new[block]):
                return live
            built = np.concatenate([live.built_keys, keys[new[block]]])
            record = replace(
                self.record, version=int(version), num_rows=len(built), keys_sha256=digest_keys(built)
            )
            live = type(self)(record, built, self.structure)
            if keep is not None and block.stop < len(new):
                keep(live)
        if len(new) > TUNED_FROM_SHARE * len(self.built_keys):
            self.structure.bind(vectors, find_rows(live.built_keys, keys)).tune()
        return live

    @property
    def kind(self) -> str:
        """Its name in `INDEXES`."""
        return self.record.kind

    @property
    def version(self) -> int:
        """Version of the collection that it was built from."""
        return self.record.version

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

    def count_known(self, keys: KeyArray) -> int:
        """Return how many of the present keys (N,) are in it."""
        return int((find_rows(keys, self.built_keys) >= 0).sum())

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
        return follow_keys(self.structure.bind(vectors, rows), rows, vectors, version)

    def save(self, folder: Path) -> None:
        """Write it into `folder`, in place of what was saved there.

        The record is written last and names the parts, so that a kill leaves the old index or the new one.
        """
        folder.mkdir(parents=True, exist_ok=True)  # a structure may write as it likes
        parts = [self.record.path(folder, suffix) for suffix in ("structure", "keys")]
        self.structure.save(parts[0])
        save_keys(self.built_keys, parts[1])
        write_sealed(folder / _RECORD, asdict(self.record))
        remove_leftovers(folder)
        for path in {*folder.glob("*.structure"), *folder.glob("*.keys")} - {*parts}:
            path.unlink(missing_ok=True)

    @staticmethod
    def remove(folder: Path) -> None:
        """Remove what `save` wrote."""
        for path in (folder / _RECORD, *folder.glob("*.structure"), *folder.glob("*.keys")):
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
            keys = load_keys(record.path(folder, "keys"))
            if digest_keys(keys) != record.keys_sha256:
                raise CollectionError(f"{folder}: the saved index was built from other keys; build it again")
            return cls(record, keys, _class_of(record.kind).load(record.path(folder, "structure")))
        except (CollectionError, MissingDependencyError) as error:
            _logger.warning("%s", error)
            return None


def _class_of(kind: str) -> type[Index]:
    found: type[Index] = load_named(kind, INDEXES, what="index")
    return found


def _read_record(path: Path) -> IndexRecord:
    try:
        fields = Fields(read_sealed(path), path.name, InputError)
        made_in = fields.integer("format")
        record = build(fields, IndexRecord) if made_in == _FORMAT else None
    except (OSError, InputError, ValueError) as error:
        raise CollectionError(f"{path}: the saved index cannot be read ({error}); build it again") from error
    if record is None:
        raise CollectionError(
            f"{path}: the saved index is one of format {made_in}, and this version has {_FORMAT}; photos are "
            "searched exactly until the next 'meisho index' builds it again"
        )
    if record.kind not in INDEXES or not is_digest(record.keys_sha256):
        raise CollectionError(
            f"{path}: an index of kind {record.kind!r:.80} by another version; build it again"
        )
    return record
