"""A collection: one directory that holds what is known of the photos below one folder.

Layout of the directory::

    collection.json    what it was made with: model, options, dimension, photo folder, format version
    photos.lance/      a log of photo records, see `meisho.store.records`
    descriptors.lance/ one vector per distinct content: sequence, content_sha256, vector
    local_features.lance/  those of each distinct content, see `meisho.store.local_rows`; made when wanted
    writer.lock        locked by the one process that writes
    writer.json        which process that is, for messages
    readers.lock       share-locked by whoever reads, so that no file is deleted meanwhile

A collection with local features has format version 2, one without them 1, and this program reads both. What
reads or writes no local features never opens their table. Files that are derived from a collection, such as
an index, may lie beside these and name the `version` they were built from.

Every write is one atomic commit, descriptors before the records that need them: whenever a process is killed,
the directory opens and holds every commit that was acknowledged. Readers and the writer do not wait for each
other, but for the moment in which old files are deleted.

LanceDB runs threads of its own, which do not survive a fork: worker processes of a program that has opened a
collection must be started by "spawn" or "forkserver".
"""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from meisho.descriptors import Descriptors, Provenance
from meisho.errors import CollectionError, InputError, MismatchError
from meisho.files import is_leftover
from meisho.local_features import LocalFeatures
from meisho.store import tables
from meisho.store.local_reader import LocalFeatureReader
from meisho.store.local_rows import LOCAL_SCHEMA
from meisho.store.locks import LOCK_FILE, OWNER_FILE, READERS_FILE, announce_reading, hold_lock
from meisho.store.metadata import METADATA_FILE, Metadata, read_metadata, write_metadata
from meisho.store.records import (
    LOG_COLUMNS,
    PHOTOS_SCHEMA,
    PhotoRecord,
    UInt64Array,
    decode_texts,
    encode_texts,
    photo_keys,
    records_of_rows,
    resolve_log,
)
from meisho.store.tables import DESCRIPTORS, LOCAL_FEATURES, PHOTOS
from meisho.store.writer import CollectionWriter

T = TypeVar("T")

READ_ATTEMPTS = 5
"""A reader starts again when a writer has tidied away what it was about to read."""

_OWN_NAMES = {f"{PHOTOS}.lance", f"{DESCRIPTORS}.lance", f"{LOCAL_FEATURES}.lance"}
_OWN_NAMES |= {LOCK_FILE, READERS_FILE, OWNER_FILE}


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A collection at one moment.

    Attributes:
        descriptors: One row per photo that could be described, in order of insertion; photos of the same
            content have the same vector.
        keys: (N,) uint64, read-only, one per row: equal exactly when id and content are.
        version: `Collection.version` at that moment.
    """

    descriptors: Descriptors
    keys: UInt64Array
    version: int


@dataclass(frozen=True, eq=False)
class Collection:
    """A collection on disk, got by `create` or `open`; it holds no open file and may go to other processes.

    Attributes:
        path: Its directory, absolute.
        metadata: What it was made with.
    """

    path: Path
    metadata: Metadata

    @classmethod
    def create(cls, path: Path, *, photo_root: Path, provenance: Provenance, dim: int) -> Self:
        """Make an empty collection in a new or empty directory, or where making one was interrupted.

        Raises:
            CollectionError: Something else is there, or the directory cannot be written.
            LockedError: Another process is making it.
            InputError: `dim` is not positive.
        """
        if dim < 1:
            raise InputError(f"{path}: a collection needs descriptors of at least 1 dimension, got {dim}")
        path = Path(path).absolute()
        _check_vacant(path)
        with tables.plain_errors(path, "make a collection"):
            path.mkdir(parents=True, exist_ok=True)
        with hold_lock(path):
            _check_vacant(path)
            for name, schema in ((PHOTOS, PHOTOS_SCHEMA), (DESCRIPTORS, tables.descriptors_schema(dim))):
                shutil.rmtree(path / f"{name}.lance", ignore_errors=True)
                tables.create_table(path, name, schema)
            with tables.plain_errors(path, "make a collection"):
                (path / READERS_FILE).touch()
                write_metadata(path, Metadata(Path(photo_root).absolute(), provenance, dim))
        return cls.open(path)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a collection.

        Raises:
            CollectionError: There is none, it is damaged, or it was made by a newer meisho.
        """
        path = Path(path).absolute()
        _check_is_collection(path)
        metadata = read_metadata(path)
        for name in (PHOTOS, DESCRIPTORS):
            _check_schema(tables.open_latest(path, name), path, metadata.dim)
        return cls(path, metadata)

    @staticmethod
    def exists(path: Path) -> bool:
        """Whether a finished collection is there (it may still be damaged)."""
        return (Path(path) / METADATA_FILE).is_file()

    @property
    def photo_root(self) -> Path:
        """The folder that the photos lie below."""
        return self.metadata.photo_root

    @property
    def provenance(self) -> Provenance:
        """Where the descriptors come from."""
        return self.metadata.provenance

    @property
    def dim(self) -> int:
        """D, the number of dimensions of a descriptor."""
        return self.metadata.dim

    def require_provenance(self, provenance: Provenance) -> None:
        """Check that descriptors of this provenance belong here.

        Raises:
            MismatchError: They do not; names every differing option with both values.
        """
        differences = self.provenance.differences(provenance)
        if differences:
            raise MismatchError(
                f"{self.path}: made with another model or option than the one asked for "
                f"(collection / asked for): {'; '.join(differences)}. "
                "Use the same as the collection, or make another collection"
            )

    @property
    def local_provenance(self) -> Provenance | None:
        """Where the local features come from; None where the collection holds none."""
        return self.metadata.local_provenance

    @property
    def local_dim(self) -> int | None:
        """Number of dimensions of a local feature's descriptor; None where the collection holds none."""
        return self.metadata.local_dim

    @property
    def local_size_bytes(self) -> int:
        """Bytes on disk of the local features; 0 where there are none."""
        files = (self.path / f"{LOCAL_FEATURES}.lance").rglob("*")
        return sum(file.stat().st_size for file in files if file.is_file())

    def enable_local(self, provenance: Provenance, dim: int) -> Self:
        """Say that the collection holds local features, of this provenance only; return it anew.

        Where it holds such already, nothing is changed.

        Args:
            provenance: Where they will come from.
            dim: Number of dimensions of their descriptors.

        Raises:
            MismatchError: It holds local features of another provenance; names what differs.
            LockedError: Another process is writing.
            CollectionError: It cannot be written.
            InputError: `dim` is not positive.
        """
        if dim < 1:
            raise InputError(f"{self.path}: local features need at least 1 dimension, got {dim}")
        if read_metadata(self.path).local_provenance is None:
            self._make_local_table(provenance, dim)
        collection = self.open(self.path)
        collection._require_local(provenance, dim)
        return collection

    def _make_local_table(self, provenance: Provenance, dim: int) -> None:
        with hold_lock(self.path):
            metadata = read_metadata(self.path)
            if metadata.local_provenance is not None:  # another process was faster
                return
            shutil.rmtree(self.path / f"{LOCAL_FEATURES}.lance", ignore_errors=True)  # a kill left it
            tables.create_table(self.path, LOCAL_FEATURES, LOCAL_SCHEMA)
            with tables.plain_errors(self.path, "add local features to it"):
                write_metadata(self.path, metadata.with_local_features(provenance, dim))

    def _require_local(self, provenance: Provenance, dim: int) -> None:
        differences = self.local_provenance.differences(provenance) if self.local_provenance else []
        if not differences and self.local_dim != dim:
            differences = [f"dimensions: {self.local_dim} / {dim}"]
        if differences:
            raise MismatchError(
                f"{self.path}: holds local features of another extractor or option than those asked for "
                f"(collection / asked for): {'; '.join(differences)}. "
                "Use the same as the collection, or make another collection"
            )

    def local_reader(self, ids: Sequence[str]) -> LocalFeatureReader:
        """Return what reads the local features of these photos, a few at a time.

        Raises:
            CollectionError: The collection holds none, see `enable_local`, or is damaged.
        """
        if self.local_dim is None:
            raise CollectionError(
                f"{self.path}: holds no local features; run 'meisho index' with --local to add them"
            )
        return LocalFeatureReader(self.path, self.local_dim, ids)

    def local_features_of(self, ids: Sequence[str]) -> dict[str, LocalFeatures]:
        """Read the local features of these photos in one batch; ids without some are left out.

        Raises:
            CollectionError: The collection holds none, see `enable_local`, or is damaged.
        """
        found = self.local_reader(ids).read(np.arange(len(ids)))
        return {i: features for i, features in zip(ids, found, strict=True) if features is not None}

    def files_of(self, ids: Sequence[str]) -> dict[str, Path]:
        """Return where the photos of these ids are now; those that were removed meanwhile are left out."""

        def read(photos: Any) -> dict[str, str]:
            log = tables.read_columns(photos, [*LOG_COLUMNS, "file"])
            log = log.take(resolve_log(log)[0])
            wanted = pa.array(encode_texts(ids), log["id"].type)
            log = log.filter(pc.is_in(log["id"], value_set=wanted))
            return dict(zip(decode_texts(log["id"]), decode_texts(log["file"]), strict=True))

        return {photo_id: self.photo_root / file for photo_id, file in self._read(read).items()}

    def move_photo_root(self, photo_root: Path) -> Self:
        """Say that the photo folder, with the same files in it, stands elsewhere now; return it anew.

        Raises:
            LockedError: Another process is writing.
            CollectionError: It cannot be written.
        """
        with hold_lock(self.path), tables.plain_errors(self.path, "move its photo folder"):
            metadata = read_metadata(self.path)
            write_metadata(self.path, replace(metadata, photo_root=Path(photo_root).absolute()))
        return self.open(self.path)

    @property
    def version(self) -> int:
        """A number that grows with every commit that changes the rows, and with nothing else."""
        return self._read(tables.read_next_sequence)

    def records(self) -> tuple[PhotoRecord, ...]:
        """Return the record of every photo, in order of first insertion; a replaced one keeps its place."""

        def read(photos: Any) -> tuple[PhotoRecord, ...]:
            log = tables.read_columns(photos, PHOTOS_SCHEMA.names)
            return records_of_rows(log.take(resolve_log(log)[0]))

        return self._read(read)

    def snapshot(self) -> Snapshot:
        """Read the descriptors of all photos that have one, as they are at one moment.

        Memory: the descriptors, about 200 bytes per photo, and a few hundred MB of read-ahead at most.

        Raises:
            CollectionError: It is damaged.
        """
        return self._read(self._read_snapshot)

    @contextmanager
    def writer(self) -> Iterator[CollectionWriter]:
        """Lock the collection and write to it, in a with-block.

        Raises:
            LockedError: Another process or thread is writing; names it.
        """
        with hold_lock(self.path):
            writer = CollectionWriter(self.path, self.dim, self.local_dim)
            try:
                yield writer
            finally:
                writer.close()

    def _read(self, read: Callable[[Any], T]) -> T:
        """Read from the table of photos at one version, and again when a writer tidied that version away."""
        for _ in range(READ_ATTEMPTS - 1):
            with suppress(CollectionError):
                return self._read_once(read)
        return self._read_once(read)

    def _read_once(self, read: Callable[[Any], T]) -> T:
        with announce_reading(self.path), tables.plain_errors(self.path, "read it"):
            return read(tables.open_pinned(self.path, PHOTOS))

    def _read_snapshot(self, photos: Any) -> Snapshot:
        log = tables.read_columns(photos, [*LOG_COLUMNS, "content_sha256", "error"])
        version = int(pc.max(log["sequence"]).as_py()) + 1 if len(log) else 0
        log = log.select(["id", "content_sha256", "error"]).take(resolve_log(log)[0])
        log = log.filter(pc.equal(pc.binary_length(log["error"]), 0))
        # Opened after the records were read: descriptors are written first, so theirs are there.
        descriptors = tables.open_pinned(self.path, DESCRIPTORS)
        stored = tables.read_columns(descriptors, ["sequence", "content_sha256"])
        rows = pc.index_in(log["content_sha256"], value_set=stored["content_sha256"])
        if rows.null_count:
            lost = decode_texts(log["id"].filter(pc.is_null(rows)))
            raise CollectionError(
                f"{self.path}: {len(lost)} photos have a record but no descriptor, the first is {lost[0]!r}; "
                "run 'meisho index' again to describe them anew"
            )
        sequences = stored["sequence"].to_numpy()[rows.to_numpy()]
        ids = tuple(decode_texts(log["id"]))
        keys = photo_keys(ids, log["content_sha256"].to_pylist())
        del log, stored, rows  # before the vectors come, which need the memory
        vectors = tables.gather_vectors(descriptors, sequences, self.dim)
        return Snapshot(Descriptors(ids, vectors, self.provenance), keys, version)


def _check_is_collection(path: Path) -> None:
    if Collection.exists(path):
        return
    if not path.exists():
        raise CollectionError(
            f"{path}: there is no collection; make one with 'meisho index PHOTOS --to {path}'"
        )
    if not path.is_dir():
        raise CollectionError(f"{path}: is a file, and a collection is a directory; check the path")
    if (path / f"{PHOTOS}.lance").exists() or (path / LOCK_FILE).exists():
        raise CollectionError(
            f"{path}: {METADATA_FILE} is missing, making the collection was probably interrupted; "
            f"run 'meisho index PHOTOS --to {path}' again"
        )
    raise CollectionError(f"{path}: is not a collection (no {METADATA_FILE} in it); check the path")


def _check_vacant(path: Path) -> None:
    """Refuse to make a collection where anything lies that could be of worth."""
    if Collection.exists(path):
        raise CollectionError(f"{path}: is a collection already; open it, or choose another directory")
    if not path.exists():
        return
    if not path.is_dir():
        raise CollectionError(f"{path}: is a file; choose another path for the collection")
    strange = sorted(
        entry.name for entry in path.iterdir() if entry.name not in _OWN_NAMES and not is_leftover(entry)
    )
    if strange:
        raise CollectionError(
            f"{path}: holds something else than a collection ({strange[0]!r}); "
            "choose a new or empty directory"
        )
    if any(path.glob("*.lance/data/*")):
        raise CollectionError(
            f"{path}: holds photos' records but {METADATA_FILE} is missing; restore that file from a copy, "
            "or delete the directory and index again"
        )


def _check_schema(table: Any, path: Path, dim: int) -> None:
    expected: pa.Schema = PHOTOS_SCHEMA if table.name == PHOTOS else tables.descriptors_schema(dim)
    fits = set(table.schema.names) >= set(expected.names) and (
        table.name != DESCRIPTORS or table.schema.field("vector").type.list_size == dim
    )
    if not fits:
        raise CollectionError(
            f"{path}: the table of {table.name} does not have the columns that {METADATA_FILE} says "
            f"(dimension {dim}); restore the directory from a copy, or delete it and index again"
        )
