"""A collection: one directory that holds everything known about the photos in one folder.

Layout of the directory::

    collection.json        how it was made: model, options, dimension, photo folder, format version
    collection-copy.json   the same, read where the first is damaged
    commits.json           digests of the files that say which rows the tables have
    damaged.txt            left by a reader that met damage, for the next `meisho index`; mostly absent
    photos.lance/          a log of photo records, see `meisho.store.records`
    descriptors.lance/     one vector per distinct content: sequence, content_sha256, vector
    local_features.lance/  one row per distinct content, see `meisho.store.local_rows`; optional
    writer.lock            locked by the one process that writes
    writer.json            names that process, for error messages
    readers.lock           share-locked by every reader, so that no file is deleted while it is being read

The format version is 3. Collections of versions 1 and 2, without digests, are read, and become version 3
when they are written to for the first time. The table of local features is opened only to read or write them.
Files derived from a collection, such as an index, may lie next to these; they record the `version` they were
built from. Of a collection in a bucket they lie in a directory of this machine's cache
(`meisho.store.places`), and in place of the locks there is a lease (`meisho.store.leases`).

What is read is what was written, or it is an error: each row carries a digest (`meisho.store.digests`), and
so do collection.json and, in commits.json, the files that say which rows there are (`meisho.store.commits`).

Every write is one atomic commit, and descriptors are written before the records that need them. So after a
kill at any moment, the directory opens and holds every acknowledged commit. Readers and the writer never wait
for each other, except while old files are being deleted.

LanceDB runs its own threads, which do not survive a fork: a program that has opened a collection must start
worker processes by "spawn" or "forkserver".
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self, TypeVar

import numpy as np

from meisho.arrays import Float32Array, Int64Array, UInt64Array
from meisho.buckets import BucketPath, as_place, remove_tree
from meisho.descriptors import Descriptors, Provenance
from meisho.errors import CollectionError, DamagedError, InputError, MismatchError
from meisho.files import is_leftover
from meisho.store import tables
from meisho.store.commits import COMMITS_FILE, check_commits, find_damaged_commits, note_commits
from meisho.store.damage import DAMAGE_FILE, forget_damage, is_noted, note_damage
from meisho.store.digests import refuse_damaged, with_digests
from meisho.store.leases import PROBE
from meisho.store.listing import list_photos
from meisho.store.local_reader import LocalFeatureReader
from meisho.store.local_rows import LOCAL_SCHEMA
from meisho.store.locks import LOCK_FILE, READERS_FILE, announce_reading, hold_lock
from meisho.store.metadata import (
    COPY_FILE,
    FORMAT_VERSION,
    INDEX_FOLDER,
    METADATA_FILE,
    Metadata,
    find_damaged_metadata,
    is_collection,
    read_metadata,
    write_metadata,
)
from meisho.store.places import OWNER_FILE, place_of
from meisho.store.records import PHOTOS_SCHEMA, PhotoRecord, read_valid_rows, records_of_rows
from meisho.store.repair import put_back_added, refuse_damaged_table, repair_table
from meisho.store.snapshot import PhotoRows, Snapshot
from meisho.store.snapshot_files import forget_snapshot
from meisho.store.tables import ADDED, DESCRIPTORS, LOCAL_FEATURES, PHOTOS, Table, pa
from meisho.store.vectors import descriptors_schema, find_vectors
from meisho.store.writer import CollectionWriter

T = TypeVar("T")

READ_ALONG_BYTES = 2**30
"""Tables up to this size are compared with their digests by each update: about 1.5 s per GB."""

READ_ATTEMPTS = 5
"""A reader retries when a writer has deleted the version that it was about to read."""

_OWN_NAMES = {f"{PHOTOS}.lance", f"{DESCRIPTORS}.lance", f"{LOCAL_FEATURES}.lance"}
_OWN_NAMES |= {LOCK_FILE, READERS_FILE, OWNER_FILE, COMMITS_FILE, COPY_FILE, DAMAGE_FILE}


@dataclass(frozen=True, eq=False)
class Collection:
    """A collection on disk, from `create` or `open`.

    It holds no open file, so it may be sent to other processes.

    Attributes:
        path: Its directory, absolute.
        metadata: The contents of its collection.json.
    """

    path: Path
    metadata: Metadata

    @classmethod
    def create(cls, path: Path, *, photo_root: Path, provenance: Provenance, dim: int) -> Self:
        """Create an empty collection in a new or empty directory, or after an interrupted `create`.

        Raises:
            CollectionError: The directory holds something else, or cannot be written.
            LockedError: Another process is creating it.
            InputError: `dim` is not positive.
        """
        if dim < 1:
            raise InputError(f"{path}: a collection needs descriptors of at least 1 dimension, got {dim}")
        path = place_of(path)
        _check_vacant(path)
        with tables.plain_errors(path, "make a collection"):
            if not isinstance(path, BucketPath):
                path.mkdir(parents=True, exist_ok=True)
        with hold_lock(path):
            _check_vacant(path)
            for name, schema in ((PHOTOS, PHOTOS_SCHEMA), (DESCRIPTORS, descriptors_schema(dim))):
                remove_tree(path / f"{name}.lance")
                tables.create_table(path, name, schema)
            with tables.plain_errors(path, "make a collection"):
                if not isinstance(path, BucketPath):
                    (path / READERS_FILE).touch()
                for name in (PHOTOS, DESCRIPTORS):
                    note_commits(path, name)
                write_metadata(path, Metadata(as_place(photo_root).absolute(), provenance, dim))
        return cls.open(path)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a collection.

        Raises:
            CollectionError: There is no collection, it is damaged, or a newer meisho made it.
        """
        path = place_of(path)
        metadata = read_metadata(path)
        for name in (PHOTOS, DESCRIPTORS):
            _check_schema(tables.open_latest(path, name), path, metadata)
        return cls(path, metadata)

    @property
    def photo_root(self) -> Path:
        """The folder that holds the photos."""
        return self.metadata.photo_root

    @property
    def provenance(self) -> Provenance:
        """The model and options that made the descriptors."""
        return self.metadata.provenance

    @property
    def dim(self) -> int:
        """D, the number of dimensions of a descriptor."""
        return self.metadata.dim

    def require_provenance(self, provenance: Provenance) -> None:
        """Check that descriptors of this provenance belong in this collection.

        Raises:
            MismatchError: They do not; the message names every differing option with both values.
        """
        self.metadata.require_provenance(provenance, self.path)

    @property
    def local_provenance(self) -> Provenance | None:
        """The extractor and options that made the local features; None if there are none."""
        return self.metadata.local_provenance

    @property
    def local_dim(self) -> int | None:
        """Dimensions of a local feature's descriptor; None if the collection holds no local features."""
        return self.metadata.local_dim

    @property
    def local_size_bytes(self) -> int:
        """Size of the local features on disk, bytes; 0 if there are none."""
        return tables.size_bytes(self.path, LOCAL_FEATURES)

    def enable_local(self, provenance: Provenance, dim: int) -> Self:
        """Let the collection hold local features of this provenance; return the updated collection.

        Does nothing if it already holds local features of this provenance.

        Args:
            provenance: The extractor and options that will make them.
            dim: Number of dimensions of their descriptors.

        Raises:
            MismatchError: It holds local features of another provenance; the message names what differs.
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
            if metadata.local_provenance is not None:  # another process got there first
                return
            remove_tree(self.path / f"{LOCAL_FEATURES}.lance")  # left by a kill
            tables.create_table(self.path, LOCAL_FEATURES, LOCAL_SCHEMA)
            with tables.plain_errors(self.path, "add local features to it"):
                note_commits(self.path, LOCAL_FEATURES)
                write_metadata(self.path, metadata.with_local_features(provenance, dim))

    def _require_local(self, provenance: Provenance, dim: int) -> None:
        differences = self.local_provenance.differences(provenance) if self.local_provenance else []
        if not differences and self.local_dim != dim:
            differences = [f"dimensions: {self.local_dim} / {dim}"]
        if differences:
            raise MismatchError(
                f"{self.path}: holds local features of another extractor or other options than you asked for "
                f"(collection / asked for): {'; '.join(differences)}. "
                "Use the collection's extractor and options, or make another collection"
            )

    def local_reader(self, ids: Sequence[str], keys: UInt64Array | None = None) -> LocalFeatureReader:
        """Return a reader of the local features of these photos, which reads a few at a time.

        Raises:
            CollectionError: The collection holds no local features (see `enable_local`), or is damaged.
        """
        if self.local_dim is None:
            raise CollectionError(
                f"{self.path}: holds no local features; run 'meisho index' with --local to add them"
            )
        return LocalFeatureReader(self.path, self.local_dim, ids, keys)

    def move_photo_root(self, photo_root: Path) -> Self:
        """Record that the photo folder, with the same files, has moved; return the updated collection.

        Raises:
            LockedError: Another process is writing.
            CollectionError: It cannot be written.
        """
        with hold_lock(self.path), tables.plain_errors(self.path, "move its photo folder"):
            metadata = read_metadata(self.path)
            write_metadata(self.path, replace(metadata, photo_root=as_place(photo_root).absolute()))
        return self.open(self.path)

    @property
    def version(self) -> int:
        """A number that grows with every commit that changes rows, and at no other time."""
        return self._read(tables.read_next_sequence)

    def records(self) -> tuple[PhotoRecord, ...]:
        """Return the record of every photo, in order of first insertion; a replaced one keeps its place."""
        return self._read(lambda photos: records_of_rows(read_valid_rows(photos, self.path).rows))

    def errors(self) -> tuple[tuple[str, str], ...]:
        """Return the ids of the photos that could not be described, and why."""
        return self._read(lambda photos: read_valid_rows(photos, self.path).find_errors())

    def snapshot(self) -> Snapshot:
        """Read the descriptors of all photos that have one, all from the same moment.

        Memory: the descriptors, about 200 bytes per photo, and at most a few hundred MB of read-ahead.

        Raises:
            CollectionError: It is damaged.
        """
        return self._read(self._read_snapshot)

    @contextmanager
    def writer(self) -> Iterator[CollectionWriter]:
        """Lock the collection for writing, in a with-block; one of an older format gets the present one.

        Raises:
            LockedError: Another process or thread is writing; the message names it.
            DamagedError: A table is damaged; see `repair`.
        """
        with hold_lock(self.path) as check_lock:
            self._upgrade()
            writer = CollectionWriter(self.path, self.dim, self.local_dim, check_lock)
            try:
                yield writer
            finally:
                writer.close()

    @classmethod
    def repair(cls, path: Path) -> tuple[str, ...]:
        """Drop all that is damaged of a collection, so that it can be described anew.

        Returns:
            What was done, a sentence each.

        Raises:
            LockedError: Another process is writing.
            CollectionError: It cannot be written, or collection.json and its copy are lost.
        """
        path = place_of(path)
        collection = cls(path, read_metadata(path))
        with hold_lock(collection.path):
            note_damage(collection.path, DamagedError("a repair was begun"))  # a kill does not end it
            done = [f"{line}, and is restored" for line in collection.find_damaged_files()]
            write_metadata(collection.path, collection.metadata)
            for name, schema in collection.schemas.items():
                done.append(repair_table(collection.path, name, schema))
                if name == PHOTOS and done[-1]:
                    done.append(put_back_added(collection.path))
                note_commits(collection.path, name)
            forget_snapshot(collection.path / INDEX_FOLDER)
            forget_damage(collection.path)
        return tuple(filter(None, done))

    def find_damaged_files(self) -> tuple[str, ...]:
        """Say which of collection.json, its copy and commits.json is damaged.

        An older format has the first alone, and without that it is no collection.
        """
        if self.metadata.format_version < FORMAT_VERSION:
            return ()
        return (*find_damaged_metadata(self.path), *find_damaged_commits(self.path))

    def refuse_unseen_damage(self) -> None:
        """Look for damage where an update would not meet it: in small files, descriptors and local features.

        Tables of more than `READ_ALONG_BYTES` are left to `meisho check`, and to whoever reads them.

        Raises:
            DamagedError: There is some, or somebody noted that there is.
        """
        damaged = self.find_damaged_files()
        if damaged or is_noted(self.path):
            raise DamagedError(f"{self.path}: {', '.join(damaged) or 'somebody met damage in it'}")
        for name, schema in self.schemas.items():
            if name != PHOTOS and tables.size_bytes(self.path, name) <= READ_ALONG_BYTES:
                with announce_reading(self.path):
                    refuse_damaged_table(self.path, name, schema)

    @property
    def schemas(self) -> dict[str, pa.Schema]:
        """The tables that it has, and their schemas."""
        schemas = {PHOTOS: PHOTOS_SCHEMA, DESCRIPTORS: descriptors_schema(self.dim)}
        return schemas if self.local_dim is None else {**schemas, LOCAL_FEATURES: LOCAL_SCHEMA}

    def _upgrade(self) -> None:
        """Give the rows of an older format what they do not have."""
        metadata = read_metadata(self.path)
        if metadata.format_version == FORMAT_VERSION:
            return
        with tables.plain_errors(self.path, "bring it to the present format"):
            for name, schema in self.schemas.items():
                tables.rewrite(self.path, name, schema, self._read_upgraded(name, schema))
                note_commits(self.path, name)
            write_metadata(self.path, replace(metadata, format_version=FORMAT_VERSION))

    def _read_upgraded(self, name: str, schema: pa.Schema) -> Iterator[pa.Table]:
        for rows in tables.read_batches(tables.open_pinned(self.path, name), schema.names):
            refuse_damaged(rows, self.path, name)  # a kill may have come after this table had its digests
            yield with_digests(rows)

    def _read(self, read: Callable[[Table], T]) -> T:
        """Read from the photo table at one version; retry if a writer has deleted that version."""
        for _ in range(READ_ATTEMPTS - 1):
            with suppress(DamagedError):
                return self._read_once(read)
        return self._read_once(read)

    def _read_once(self, read: Callable[[Table], T]) -> T:
        with announce_reading(self.path), tables.plain_errors(self.path, "read it"):
            check_commits(self.path, PHOTOS)
            return read(tables.open_pinned(self.path, PHOTOS))

    def list_photos(self) -> PhotoRows:
        """List all photos that have a descriptor, without reading it.

        Memory: about 400 bytes per photo.

        Raises:
            CollectionError: It is damaged.
        """
        return self._read(lambda photos: list_photos(photos, self.path)[0])

    def read_vectors(self, sequences: Int64Array) -> Iterator[tuple[Int64Array, Float32Array]]:
        """Read vectors by their numbers, see `PhotoRows.sequences`, a batch of them at a time.

        For whoever holds the writer's lock: others may find that they are gone.

        Args:
            sequences: (N,) numbers, in any order; may repeat.

        Yields:
            Places (B,) among the N, and their vectors (B, D) float32.

        Raises:
            DamagedError: Vectors are damaged, or not there.
        """
        with tables.plain_errors(self.path, "read it"):
            check_commits(self.path, DESCRIPTORS)
            table = tables.open_pinned(self.path, DESCRIPTORS)
            yield from find_vectors(table, sequences, self.dim, self.path)

    def _read_snapshot(self, photos: Table) -> Snapshot:
        listed, descriptors = list_photos(photos, self.path)
        vectors = np.empty((len(listed.ids), self.dim), np.float32)
        for places, found in find_vectors(descriptors, listed.sequences, self.dim, self.path):
            vectors[places] = found
        described = Descriptors(listed.ids, vectors, self.provenance)
        return Snapshot(described, listed.keys, listed.version, listed.files, listed.contents)


def _check_vacant(path: Path) -> None:
    """Refuse to create a collection where other data would be lost."""
    if is_collection(path):
        raise CollectionError(f"{path}: is already a collection; open it, or choose another directory")
    if not path.exists():
        return
    if not path.is_dir():
        raise CollectionError(f"{path}: is a file; choose another path for the collection")
    strange = sorted(
        entry.name
        for entry in path.iterdir()
        if entry.name not in _OWN_NAMES and not is_leftover(entry) and not entry.name.startswith(PROBE)
    )
    if strange:
        raise CollectionError(
            f"{path}: is not a collection and is not empty (it holds {strange[0]!r}); "
            "choose a new or empty directory"
        )
    if any(path.glob("*.lance/data/*")):
        raise CollectionError(
            f"{path}: holds photo records, but {METADATA_FILE} is missing; restore that file from a backup, "
            "or delete the directory and index again"
        )


def _check_schema(table: Table, path: Path, metadata: Metadata) -> None:
    dim = metadata.dim
    expected: pa.Schema = PHOTOS_SCHEMA if table.name == PHOTOS else descriptors_schema(dim)
    needed = {*expected.names} - {*(ADDED.names if metadata.format_version < FORMAT_VERSION else ())}
    with tables.plain_errors(path, f"read the {table.name} table"):
        schema = table.schema
    fits = {*schema.names} >= needed and (
        table.name != DESCRIPTORS or getattr(schema.field("vector").type, "list_size", 0) == dim
    )
    if not fits:
        raise DamagedError(
            f"{path}: the {table.name} table does not have the columns that {METADATA_FILE} promises "
            f"(dimension {dim}); run 'meisho index' to make it anew"
        )
