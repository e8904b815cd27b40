"""Checking: everything that a collection holds, read once and compared with what was written."""

import errno
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from meisho.engines.base import ENGINE_FILE, open_engine
from meisho.errors import CollectionError, DamagedError, ImageError, explain_os_error
from meisho.index.graph_files import has_graph, load_graph
from meisho.index.live import LiveIndex
from meisho.photos import content_sha256, place_at
from meisho.planning import is_added_by_hand, why_not_sure
from meisho.progress import Progress, silent
from meisho.store.collection import Collection
from meisho.store.commits import COMMITS_FILE
from meisho.store.damage import note_damage
from meisho.store.metadata import COPY_FILE, INDEX_FOLDER, METADATA_FILE, read_metadata
from meisho.store.places import place_of
from meisho.store.records import PhotoRecord
from meisho.store.repair import find_damaged_rows
from meisho.store.snapshot import PhotoRows, read_commit
from meisho.store.snapshot_files import holds_snapshot, load_snapshot
from meisho.store.tables import PHOTOS

T = TypeVar("T")


@dataclass(frozen=True)
class Checked:
    """What was found of one kind of thing in a collection.

    Attributes:
        kind: What it is: "metadata", "photo records", "descriptors", "local features", "index", "snapshot"
            or "photos".
        num_checked: How many of them.
        damaged: What is not as it was written, a line each.
        changed: What is otherwise than recorded, as life goes: photos that were edited or deleted.
        unseen: What could not be looked at, which says nothing of it: a shut folder, a drive that is off.
    """

    kind: str
    num_checked: int
    damaged: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()


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
        One entry for each kind of thing that there is, also where a part of the collection cannot be read.

    Raises:
        CollectionError: There is no collection, or its metadata and their copy are lost.
    """
    path = place_of(path)
    collection = Collection(path, read_metadata(path))
    kinds = 4 + len(collection.schemas)
    found: list[Checked] = []
    for checked in _check_all(collection, read_photos=read_photos):
        found.append(checked)
        progress("check", len(found), kinds)
    if damaged := [line for each in found if each.kind != "photos" for line in each.damaged]:
        note_damage(path, CollectionError("\n".join(damaged)))
    return tuple(found)


def _check_all(collection: Collection, *, read_photos: bool) -> Iterator[Checked]:
    path, folder = collection.path, collection.path / INDEX_FOLDER
    small = [path / name for name in (METADATA_FILE, COPY_FILE, COMMITS_FILE)]
    yield _check_part("metadata", small, lambda: Checked("metadata", 3, collection.find_damaged_files()))
    tables = [_check_table(collection, name) for name in collection.schemas]
    stored = None
    if not any(table.damaged or table.unseen for table in tables):
        stored = _read(collection.list_photos)
        if isinstance(stored, CollectionError):  # each row is sound, but some are missing
            tables[1] = _fault(tables[1].kind, stored)
    yield from tables
    yield _check_part("index", [folder], lambda: _check_index(collection))
    listed = stored if isinstance(stored, PhotoRows) else None
    versions = path / f"{PHOTOS}.lance" / "_versions"  # which say what it is a snapshot of
    yield _check_part("snapshot", [folder, versions], lambda: _check_snapshot(collection, listed))
    records = _read(collection.records)
    if isinstance(records, CollectionError):
        yield Checked("photos", 0, unseen=("which photos there are cannot be read",))
    else:
        yield _check_photos(collection, records, read_photos=read_photos)


def _check_part(kind: str, places: Iterable[Path], check: Callable[[], Checked]) -> Checked:
    """Check a part of a collection, if its files may be read at all."""
    if shut := tuple(_find_shut(places)):
        return Checked(kind, 0, unseen=shut)
    try:
        return check()
    except (CollectionError, OSError) as error:
        return _fault(kind, error)


def _find_shut(places: Iterable[Path]) -> Iterator[str]:
    """Yield which of these files and folders, and of what is below them, may not be read, and why."""
    for place in places:
        try:
            if place.is_dir():
                yield from _find_shut(sorted(place.iterdir()))
            else:
                place.open("rb").close()
        except FileNotFoundError:  # a part that a collection need not have, or a writer tidies meanwhile
            continue
        except OSError as error:
            yield f"{place}: {explain_os_error(error)}"


def _fault(kind: str, error: CollectionError | OSError) -> Checked:
    """Return what an error says of a part: that it is damaged, or that nobody could look at it."""
    if isinstance(error, DamagedError):
        return Checked(kind, 0, damaged=(str(error),))
    said = (
        str(error) if isinstance(error, CollectionError) else f"{error.filename}: {explain_os_error(error)}"
    )
    return Checked(kind, 0, unseen=(said,))


def _read(read: Callable[[], T]) -> T | CollectionError:
    """Return what a step of reading gives, or its complaint."""
    try:
        return read()
    except CollectionError as error:
        return error


def _check_table(collection: Collection, table: str) -> Checked:
    kind = "photo records" if table == PHOTOS else table.replace("_", " ")

    def check() -> Checked:
        num_rows, damaged = find_damaged_rows(collection.path, table, collection.schemas[table])
        numbers = damaged["sequence"].to_pylist()
        return Checked(kind, num_rows, tuple(f"row {number} is not what was written" for number in numbers))

    return _check_part(kind, [collection.path / f"{table}.lance"], check)


def _check_index(collection: Collection) -> Checked:
    folder = collection.path / INDEX_FOLDER
    found = {
        "index": (folder / "index.json").exists() and LiveIndex.load(folder),
        "graph": has_graph(folder) and load_graph(folder),
        "engine": (folder / ENGINE_FILE).exists() and open_engine(collection.metadata.engine).load(folder),
    }
    broken = [name for name, saved in found.items() if saved is None]
    damaged = tuple(f"the {name} in {folder} cannot be used" for name in broken)
    return Checked("index", sum(saved is not False for saved in found.values()), damaged)


def _check_snapshot(collection: Collection, listed: PhotoRows | None) -> Checked:
    """Check the saved snapshot, against what the tables hold where that is known."""
    folder, commit = collection.path / INDEX_FOLDER, read_commit(collection.path)
    if not holds_snapshot(folder, commit):
        return Checked("snapshot", 0)
    saved = load_snapshot(folder, commit, collection.provenance, collection.dim, every_vector=True)
    if saved is None:
        return Checked("snapshot", 1, (f"the snapshot in {folder} is damaged",))
    if listed is not None and not (
        tuple(saved.descriptors.ids) == listed.ids
        and tuple(saved.files) == listed.files
        and np.array_equal(saved.keys, listed.keys)
    ):
        return Checked("snapshot", 1, ("the saved snapshot is not what the tables hold",))
    return Checked("snapshot", 1)


def _check_photos(collection: Collection, records: Sequence[PhotoRecord], *, read_photos: bool) -> Checked:
    found: defaultdict[str, list[str]] = defaultdict(list)
    sound = [record for record in records if not record.error]
    nobody_walked = not collection.photo_root.is_dir()
    for record in sound:
        file = place_at(collection.photo_root, record.file)
        if reason := why_not_sure(file, by_hand=nobody_walked or is_added_by_hand(record)):
            found["unseen"].append(f"{record.id}: {reason}")
        elif reason := _find_change(file, record):
            found["changed"].append(f"{record.id}: {reason}")
        elif read_photos and (fault := _find_rot(file, record)):
            kind, reason = fault
            found[kind].append(f"{record.id}: {reason}")
    return Checked("photos", len(sound), **{kind: tuple(lines) for kind, lines in found.items()})


def _find_change(file: Path, record: PhotoRecord) -> str:
    try:
        status = file.stat()
    except OSError as error:
        return explain_os_error(error)
    same = (status.st_size, status.st_mtime_ns) == (record.size_bytes, record.mtime_ns)
    return "" if same else "it was changed since it was described"


def _find_rot(file: Path, record: PhotoRecord) -> tuple[str, str] | None:
    """Read a file that is as recorded by size and time; return what its bytes are, and why, or None."""
    try:
        digest = content_sha256(file)
    except ImageError as error:
        cause = error.__cause__
        lost = isinstance(cause, OSError) and cause.errno == errno.EIO  # the disk has the file, not its bytes
        return "damaged" if lost else "unseen", error.reason
    if digest == record.content_sha256.partition("#")[0]:
        return None
    return "damaged", "its bytes are others than were described, though its size and time are the same"
