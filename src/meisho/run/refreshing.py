"""Refreshing: what is derived from a collection, brought in step with it by whoever writes to it."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from meisho.engines.base import UNFINISHED, Live, PhotoVectors, forget_others, open_engine
from meisho.errors import DamagedError
from meisho.index.begun_lists import BegunLists
from meisho.index.graph import WIDTH, NeighborGraph
from meisho.index.graph_files import has_graph, load_graph, remove_graph, save_graph
from meisho.progress import Progress, silent
from meisho.store.collection import READ_ATTEMPTS, Collection
from meisho.store.metadata import INDEX_FOLDER, read_metadata
from meisho.store.places import BucketCollection
from meisho.store.snapshot import Snapshot, read_commit
from meisho.store.snapshot_files import holds_snapshot, save_snapshot
from meisho.store.tables import FileLock

BUILD_INDEX = "build index"
"""The stage of a `Progress` in which the structure is built."""


def refresh_index(
    collection: Collection,
    kind: str | None = None,
    *,
    graph: bool | None = None,
    progress: Progress = silent,
) -> str:
    """Bring what is derived from a collection in step with it, and return the kind of the search structure.

    First the snapshot, which is what a `Finder` reads: what was added is appended to it. Then the engine of
    the collection, whose structure takes in what was added. Then the graph of neighbours, where there is one
    or `graph` asks for it. Each goes on from where it was interrupted; until it is whole, whoever asks has
    the one before. Only whoever writes to the collection may call this; `catch_up` is for all others, of a
    collection in a bucket, where each machine derives for itself.
    """
    with _alone(collection.path):
        return _refresh(collection, kind, graph=graph, progress=progress)


def catch_up(collection: Collection) -> str:
    """Bring what this machine derived from a collection in a bucket in step with it, without writing to it.

    Returns:
        The commit of the saved snapshot.

    Raises:
        CollectionError: It is damaged, or writers replaced it again and again while it was read.
    """
    for attempt in range(1, READ_ATTEMPTS + 1):
        with _alone(collection.path):
            commit = read_commit(collection.path)
            if holds_snapshot(collection.path / INDEX_FOLDER, commit):
                return commit  # another process of this machine was first
            try:
                _refresh(collection, None)
                return commit
            except DamagedError:
                if attempt == READ_ATTEMPTS:
                    raise
    raise AssertionError("unreachable")


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Derive alone: on a disk the writer does, of a collection in a bucket any process of this machine."""
    if not isinstance(path, BucketCollection):
        yield
        return
    path.cache.mkdir(parents=True, exist_ok=True)
    with FileLock(path.cache / "derived.lock"):
        yield


def _refresh(
    collection: Collection, kind: str | None, *, graph: bool | None = None, progress: Progress = silent
) -> str:
    folder = collection.path / INDEX_FOLDER
    snapshot = save_snapshot(
        folder,
        read_commit(collection.path),
        collection.list_photos(),
        collection.read_vectors,
        provenance=collection.provenance,
        dim=collection.dim,
    )
    engine = open_engine(read_metadata(collection.path).engine)
    photos = PhotoVectors(snapshot.descriptors.vectors, snapshot.keys, snapshot.version)
    live = engine.refresh(folder, photos, kind, lambda done, of: progress(BUILD_INDEX, done, of))
    forget_others(engine, folder)
    if graph is False:
        remove_graph(folder)
    elif graph or has_graph(folder):
        _refresh_graph(folder, live, snapshot, progress)
    if (folder / UNFINISHED).exists():
        shutil.rmtree(folder / UNFINISHED)
    return live.kind


def _refresh_graph(folder: Path, live: Live, snapshot: Snapshot, progress: Progress) -> None:
    vectors, keys = snapshot.descriptors.vectors, snapshot.keys
    searcher, saved = live.follow(vectors, keys, snapshot.version), load_graph(folder)
    begun = BegunLists(folder / UNFINISHED, keys, WIDTH if saved is None else saved.k)
    if saved is None:
        save_graph(NeighborGraph.build(searcher, vectors, keys, begun=begun, progress=progress), folder)
    elif (grown := saved.grow(searcher, vectors, keys, begun=begun, progress=progress)) is not saved:
        save_graph(grown, folder)
