"""Checking: everything that a collection holds, read once and compared with what was written."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from meisho.errors import CollectionError, ImageError
from meisho.index.live import LiveIndex
from meisho.photos import content_sha256
from meisho.progress import Progress, silent
from meisho.store.collection import Collection
from meisho.store.damage import note_damage
from meisho.store.metadata import INDEX_FOLDER, find_damaged_metadata, read_metadata
from meisho.store.records import PhotoRecord
from meisho.store.repair import find_damaged_rows
from meisho.store.snapshot import Snapshot, holds_snapshot, load_snapshot, read_commit
from meisho.store.tables import DESCRIPTORS, PHOTOS


@dataclass(frozen=True)
class Checked:
    """What was found of one kind of thing in a collection.

    Attributes:
        kind: What it is: "metadata", "photo records", "descriptors", "local features", "index", "snapshot"
            or "photos".
        num_checked: How many of them.
        damaged: What is not as it was written, a line each.
        changed: What is otherwise than recorded, as life goes: photos that were edited or deleted.
    """

    kind: str
    num_checked: int
    damaged: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()


def check_collection(
    path: str | Path, *, read_photos: bool = False, progress: Progress = silent
) -> tuple[Checked, ...]:
    """Read all that a collection holds and compare it with the digests that were written with it.

    Nothing is changed, but where something of the collection is damaged a note is left in it, so that the
    next `index_folder` makes that part anew.

    Args:
        path: The collection's directory.
        read_photos: Read the files of the photos too, and compare them with the digests of their contents.
        progress: Called as kinds are done.

    Returns:
        One entry for each kind of thing that there is.

    Raises:
        CollectionError: There is no collection, or its metadata and their copy are lost.
    """
    path = Path(path).absolute()
    collection = Collection(path, read_metadata(path))
    steps = [*_steps(collection, read_photos=read_photos)]
    found = []
    for number, step in enumerate(steps):
        progress("check", number, len(steps))
        found.append(step())
    progress("check", len(steps), len(steps))
    if damaged := [line for each in found if each.kind != "photos" for line in each.damaged]:
        note_damage(path, CollectionError("\n".join(damaged)))
    return tuple(found)


def _steps(collection: Collection, *, read_photos: bool) -> Iterator[Callable[[], Checked]]:
    yield lambda: Checked("metadata", 2, find_damaged_metadata(collection.path))
    for table in collection.schemas:
        yield partial(_check_table, collection, table)
    yield lambda: _check_index(collection)
    yield lambda: _check_snapshot(collection)
    yield lambda: _check_photos(collection, read_photos=read_photos)


def _check_table(collection: Collection, table: str) -> Checked:
    kind = "photo records" if table == PHOTOS else table.replace("_", " ")
    try:
        num_rows, damaged = find_damaged_rows(collection.path, table, collection.schemas[table])
    except CollectionError as error:
        return Checked(kind, 0, (str(error),))
    lines = tuple(f"row {number} is not what was written" for number in damaged)
    if table == DESCRIPTORS and not damaged:
        lines = tuple(_complaints(collection.snapshot))
    return Checked(kind, num_rows, lines)


def _check_index(collection: Collection) -> Checked:
    folder = collection.path / INDEX_FOLDER
    is_there = (folder / "index.json").exists()
    sound = is_there and LiveIndex.load(folder) is not None
    return Checked("index", int(is_there), () if sound or not is_there else (f"{folder} cannot be used",))


def _check_snapshot(collection: Collection) -> Checked:
    folder, commit = collection.path / INDEX_FOLDER, read_commit(collection.path)
    if not holds_snapshot(folder, commit):
        return Checked("snapshot", 0)
    saved = load_snapshot(folder, commit, collection.provenance, collection.dim)
    if saved is None:
        return Checked("snapshot", 1, (f"the snapshot in {folder} is damaged",))
    lines = _complaints(lambda: _require_same(saved, collection.snapshot()))
    return Checked("snapshot", 1, tuple(lines))


def _require_same(saved: Snapshot, stored: Snapshot) -> None:
    same = (
        saved.descriptors.ids == stored.descriptors.ids
        and saved.files == stored.files
        and np.array_equal(saved.keys, stored.keys)
        and np.array_equal(saved.descriptors.vectors, stored.descriptors.vectors)
    )
    if not same:
        raise CollectionError("the saved snapshot is not what the tables hold")


def _complaints(read: Callable[[], object]) -> Iterator[str]:
    """Yield what a step of reading complains of; nothing where it is content."""
    try:
        read()
    except CollectionError as error:
        yield str(error)


def _check_photos(collection: Collection, *, read_photos: bool) -> Checked:
    try:
        records = [record for record in collection.records() if not record.error]
    except CollectionError:  # said already
        return Checked("photos", 0)
    damaged, changed = [], []
    for record in records:
        if reason := _find_change(collection.photo_root / record.file, record):
            changed.append(f"{record.id}: {reason}")
        elif read_photos and (reason := _find_rot(collection.photo_root / record.file, record)):
            damaged.append(f"{record.id}: {reason}")
    return Checked("photos", len(records), tuple(damaged), tuple(changed))


def _find_change(file: Path, record: PhotoRecord) -> str:
    try:
        status = file.stat()
    except OSError as error:
        return (error.strerror or str(error)).lower()
    same = (status.st_size, status.st_mtime_ns) == (record.size_bytes, record.mtime_ns)
    return "" if same else "it was changed since it was described"


def _find_rot(file: Path, record: PhotoRecord) -> str:
    try:
        digest = content_sha256(file)
    except ImageError as error:
        return error.reason
    same = digest == record.content_sha256.partition("#")[0]
    return "" if same else "its bytes are others than were described, though its size and time are the same"
