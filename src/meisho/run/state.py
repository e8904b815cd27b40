"""State: a collection as it was at one commit, opened to be asked; without LanceDB where it can."""

import threading
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from meisho.arrays import Float32Array
from meisho.engines.base import ENGINE_FILE, open_engine
from meisho.errors import InputError
from meisho.index.following import FollowingIndex
from meisho.index.live import LiveIndex
from meisho.photos import Photo
from meisho.run.folding import Contents
from meisho.run.found import Paths
from meisho.store.metadata import INDEX_FOLDER, METADATA_FILE, Metadata, read_metadata
from meisho.store.places import BucketCollection
from meisho.store.snapshot import Snapshot, read_commit
from meisho.store.snapshot_files import load_snapshot

if TYPE_CHECKING:
    from meisho.index.graph import NeighborGraph
    from meisho.stored_features import StoredFeatures


_MOST_BACKGROUND = 512
"""Photos that a query is compared with to see what similarities it has with any photo."""


class Mark(NamedTuple):
    """What changes whenever something of a collection does; each part is cheap to read."""

    photos: str
    local_features: str
    metadata: int
    engine: int


@dataclass(frozen=True)
class StoredPhoto(Photo):
    """A photo of a collection.

    Attributes:
        row: Its row in the version that it was taken from.
        key: Tells its id and content from others, see `Snapshot.keys`.
    """

    row: int = -1
    key: int = 0


@dataclass(eq=False)
class State:
    """A collection as it was at one commit, and what is kept of it.

    Attributes:
        path: The collection's directory.
        mark: What tells this commit from others, see `read_mark`.
        metadata: What the collection was made with.
        snapshot: Its descriptors.
        index: Finds rows of the snapshot.
        paths: (N,) files of the photos.
        contents: Which of them are copies of each other.
        kept: What rerankers have computed of the database alone.
        hashes: Perceptual hashes of photos that were compared so far, by key; None where one cannot be read.
        local: Its local features, once they were asked for.
        lock: Held while a reranker computes something that is kept.
    """

    path: Path
    mark: Mark
    metadata: Metadata
    snapshot: Snapshot
    index: FollowingIndex
    paths: Sequence[Path]
    contents: Contents
    kept: dict[Hashable, object] = field(default_factory=dict)
    hashes: dict[int, int | None] = field(default_factory=dict)
    local: "StoredFeatures | None" = None
    lock: threading.RLock = field(default_factory=threading.RLock)

    @cached_property
    def graph(self) -> "NeighborGraph | None":
        """The neighbours of its photos; None where none are kept."""
        from meisho.index.graph_files import load_graph  # for rerankers alone

        saved = load_graph(self.path / INDEX_FOLDER)
        return None if saved is None else saved.follow(self.snapshot.keys)

    @cached_property
    def row_of(self) -> dict[str, int]:
        """The row of each photo, by its id."""
        return {photo_id: row for row, photo_id in enumerate(self.snapshot.descriptors.ids)}

    def stored_photo(self, photo_id: str) -> StoredPhoto:
        """Return a photo by its id.

        Raises:
            InputError: There is none.
        """
        photo = self.find_photo(photo_id)
        if photo is None:
            raise InputError(f"{self.path}: holds no photo {photo_id!r:.200}")
        return photo

    def find_photo(self, photo_id: str) -> StoredPhoto | None:
        """Return a photo by its id; None where there is none."""
        row = self.row_of.get(photo_id)
        if row is None:
            return None
        return StoredPhoto(photo_id, self.paths[row], row=row, key=int(self.snapshot.keys[row]))

    @cached_property
    def background(self) -> Float32Array:
        """Descriptors (S, D) of some photos, evenly among all: those of no account for most queries."""
        num_photos = len(self.snapshot.keys)
        rows = np.arange(num_photos)
        if num_photos > _MOST_BACKGROUND:
            rows = np.linspace(0, num_photos - 1, _MOST_BACKGROUND).astype(np.int64)
        return np.asarray(self.snapshot.descriptors.vectors[rows])

    def hash_of(self, row: int) -> int | None:
        """Return the perceptual hash of the photo of a row; None where its file cannot be read."""
        key = int(self.snapshot.keys[row])
        if key not in self.hashes:
            from meisho.datasets.photo_facts import hash_photo  # for --near alone

            self.hashes[key] = hash_photo(self.paths[row])
        return self.hashes[key]

    def take_over(self, before: "State") -> None:
        """Keep what was computed of photos that are the same as in an earlier state."""
        self.hashes = {key: known for key, known in before.hashes.items() if known is not None}


def load_state(path: Path) -> State:
    """Open the collection at `path` as it is now."""
    mark = read_mark(path)
    metadata = read_metadata(path)
    snapshot = load_snapshot(path / INDEX_FOLDER, mark.photos, metadata.provenance, metadata.dim)
    if snapshot is None:
        from meisho.store.collection import Collection  # it imports LanceDB, which is not needed otherwise

        collection = Collection.open(path)
        if isinstance(path, BucketCollection):
            from meisho.run.refreshing import catch_up

            commit = catch_up(collection)
            snapshot = load_snapshot(path / INDEX_FOLDER, commit, metadata.provenance, metadata.dim)
        snapshot = snapshot or collection.snapshot()
    vectors, keys, version = snapshot.descriptors.vectors, snapshot.keys, snapshot.version
    folder = path / INDEX_FOLDER
    live = open_engine(metadata.engine).load(folder)
    if live is None and metadata.engine is not None:  # what was there before answers until it is filled
        live = LiveIndex.load(folder)
    live = live or LiveIndex.build("exact", vectors, keys, version)
    paths = Paths(metadata.photo_root, snapshot.files)
    contents = Contents(snapshot.contents)
    return State(path, mark, metadata, snapshot, live.follow(vectors, keys, version), paths, contents)


def is_same(one: Snapshot, other: Snapshot) -> bool:
    """Say whether two snapshots hold the same photos."""
    return one.version == other.version and np.array_equal(one.keys, other.keys)


def read_mark(path: Path) -> Mark:
    """Read what tells the present commit of a collection from others."""
    metadata, engine = (_changed_ns(path / name) for name in (METADATA_FILE, f"{INDEX_FOLDER}/{ENGINE_FILE}"))
    return Mark(read_commit(path), read_commit(path, "local_features"), metadata, engine)


def _changed_ns(file: Path) -> int:
    try:
        status = file.stat()
        return status.st_mtime_ns + status.st_ctime_ns
    except OSError:
        return 0
