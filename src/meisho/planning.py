"""Planning: what must be done to bring a collection in step with a set of photos, and what is gone."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from meisho.buckets import BucketPath, as_place
from meisho.errors import explain_os_error
from meisho.marks import is_our_drawing
from meisho.photo_folder import PhotoFolder
from meisho.photos import (
    Box,
    Photo,
    content_sha256,
    is_whole_place,
    place_at,
    place_below,
    printable_id,
    why_not_a_file,
)
from meisho.store.metadata import UPLOADS_FOLDER
from meisho.store.records import PhotoRecord

FOLDER_GONE = "no such file or directory, nor is its folder there; a drive may be off"
"""Why a photo that was added by hand is kept though its file is not there."""

Pending = tuple[Photo, PhotoRecord]
"""A photo and its unfinished record: place, size and time, no content hash yet."""


@dataclass(frozen=True)
class Plan:
    """What differs between a collection and the photos that it shall hold.

    Attributes:
        pending: New and changed photos, and those that could not be read before.
        gone: Ids in the collection that are no longer among the photos.
        unchanged: Number of photos that are as recorded.
        sizes_px: Content -> (width, height) of every content that is recorded now, where anything is pending.
        contents: Id -> content as recorded, of the pending photos whose size and time are as recorded: they
            are read to be sure.
        stamped: Records that only lack `ctime_ns`, with it.
        drawn: Ids of pictures that meisho drew, which are no photos.
        unseen: Recorded photos that nobody could look for, and why; they stay as recorded.
        sound: Ids of pending photos that have a record and a descriptor.
    """

    pending: tuple[Pending, ...]
    gone: tuple[str, ...]
    unchanged: int
    sizes_px: dict[str, tuple[int, int]]
    contents: dict[str, str] = field(default_factory=dict)
    stamped: tuple[PhotoRecord, ...] = ()
    drawn: tuple[str, ...] = ()
    unseen: tuple[tuple[str, str], ...] = ()
    sound: frozenset[str] = frozenset()


def plan_update(
    records: Sequence[PhotoRecord],
    folder: PhotoFolder,
    *,
    known_contents: frozenset[str],
    rehash: bool = False,
    only: bool = False,
    prune: bool = False,
) -> Plan:
    """Compare records with the files as they are now: what a sync with a folder must do.

    Photos that were added by hand (`is_added_by_hand`) count as photos of the folder while their file is
    there; one whose folder is not there either is gone only with `prune`. What is recorded where nobody could
    look is kept. A new or changed file that meisho drew is passed over.

    Args:
        records: What is recorded.
        folder: What shall be there.
        known_contents: Contents that have a descriptor; a record whose descriptor was lost counts as changed.
        rehash: Read every file, whatever its size and times say.
        only: Whatever is not among the folder's photos is gone.
        prune: What is not there is gone, even where a drive may be off.
    """
    found = {photo.id for photo in folder.photos}
    missing = [r for r in records if r.id not in found and not folder.is_unseen(r.id)]
    asked = [] if only else missing
    places = {r.id: place_at(folder.root, r.file) for r in asked}
    why = {r.id: why_not_sure(places[r.id], by_hand=is_added_by_hand(r) and not prune) for r in asked}
    unseen = {photo_id: _with_advice(reason) for photo_id, reason in why.items() if reason}
    added = find_added(asked)
    photos = (*folder.photos, *added)
    plan = plan_additions(
        records, photos, photo_root=folder.root, known_contents=known_contents, rehash=rehash
    )
    drawn = {photo.id for photo, _ in plan.pending if is_our_drawing(photo.path)}
    stays = {photo.id for photo in added} | {*unseen}
    gone = [r.id for r in missing if r.id not in stays]
    return replace(
        plan,
        pending=tuple(pending for pending in plan.pending if pending[0].id not in drawn),
        gone=(*gone, *(r.id for r in records if r.id in drawn)),
        drawn=tuple(sorted(drawn)),
        unseen=tuple(unseen.items()),
    )


def plan_additions(
    records: Sequence[PhotoRecord],
    photos: Sequence[Photo],
    *,
    photo_root: Path,
    known_contents: frozenset[str],
    rehash: bool = False,
) -> Plan:
    """Compare records with these photos alone; nothing is gone.

    A photo is as recorded where its place, box, size and times are. Where only the time of the last change of
    its inode differs, as after a tool that puts the modification time back, it is read to be sure.

    Args:
        records: What is recorded.
        photos: What shall be there too.
        photo_root: The folder of the collection, absolute.
        known_contents: Contents that have a descriptor.
        rehash: Read every file.
    """
    sound = {r.id: r for r in records if not r.error and r.content_sha256 in known_contents}
    root = f"{photo_root}".rstrip("/" + os.sep) + ("/" if isinstance(photo_root, BucketPath) else os.sep)
    pending, stamped, contents = [], [], {}
    for photo in photos:
        times, before = size_and_times(photo.path), sound.get(photo.id)
        if before is None or not _is_as_recorded(photo, times, before, root):
            pending.append((photo, _unfinished_record(photo, times, photo_root)))
        elif rehash or before.ctime_ns not in (0, times[2]):
            pending.append((photo, _unfinished_record(photo, times, photo_root)))
            contents[photo.id] = before.content_sha256
        elif before.ctime_ns == 0 != times[2]:
            stamped.append(replace(before, ctime_ns=times[2]))
    described = (r for r in records if not r.error) if pending else ()
    return Plan(
        pending=tuple(pending),
        gone=(),
        unchanged=len(photos) - len(pending),
        sizes_px={r.content_sha256: (r.width_px, r.height_px) for r in described},
        contents=contents,
        stamped=tuple(stamped),
        sound=frozenset(photo.id for photo, _ in pending if photo.id in sound),
    )


def plan_local_update(
    records: Sequence[PhotoRecord], photos: Sequence[Photo], *, has_local: Callable[[str], bool]
) -> tuple[Pending, ...]:
    """Find what local features are missing: the first photo, and its record, of each content without some.

    Args:
        records: What is recorded, in step with the photos.
        photos: The photos of the collection.
        has_local: Whether a content has local features.
    """
    recorded = {record.id: record for record in records if not record.error}
    pending: dict[str, Pending] = {}
    for photo in photos:
        record = recorded.get(photo.id)
        if record is not None and not has_local(record.content_sha256):
            pending.setdefault(record.content_sha256, (photo, record))
    return tuple(pending.values())


def is_added_by_hand(record: PhotoRecord) -> bool:
    """Say whether a photo lies outside the photo folder and is known by its whole path: see `add_photos`."""
    return is_whole_place(record.file) and record.id == printable_id(as_place(record.file))


def find_added(records: Sequence[PhotoRecord]) -> tuple[Photo, ...]:
    """Return the photos that were added by hand and whose files are there."""
    added = (Photo(record.id, as_place(record.file)) for record in records if is_added_by_hand(record))
    return tuple(photo for photo in added if why_not_a_file(photo.path) is None)


def with_uploads(folder: PhotoFolder, records: Sequence[PhotoRecord], collection: Path) -> PhotoFolder:
    """Add what was uploaded into a collection below the folder: a walk does not look into collections.

    Args:
        folder: What a walk found.
        records: What is recorded.
        collection: The collection's directory.
    """
    own = collection / UPLOADS_FOLDER
    below = place_below(own, folder.root)
    start = f"{below}/" if isinstance(below, BucketPath) else os.path.join(below, "")  # noqa: PTH118
    found = {photo.id for photo in folder.photos}
    uploaded = [r for r in records if r.file.startswith(start) and r.id not in found]
    photos = [Photo(record.id, place_at(folder.root, record.file)) for record in uploaded]
    if photos and isinstance(own, BucketPath):  # one listing, instead of a question for each
        listed: dict[Path, Path] = {each: each for each in own.walk()}
        photos = [replace(photo, path=listed[photo.path]) for photo in photos if photo.path in listed]
    there = [photo for photo in photos if why_not_a_file(photo.path) is None]
    return replace(folder, photos=(*folder.photos, *there)) if there else folder


def why_not_sure(path: Path, *, by_hand: bool) -> str | None:
    """Say why nobody can tell whether a recorded file is gone; None where it is gone, or is there.

    The one place that decides it. Gone is only what was looked for and answered "no such file". A link that
    leads nowhere is there itself, and what it leads to may be on a drive that is off.

    Args:
        path: The file, which a walk of the photo folder did not find.
        by_hand: It was added from elsewhere. Where its folder is missing too, nobody walked there, and a
            drive may be off.
    """
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        if isinstance(path, BucketPath):
            return None
        dangling = next((place for place in (path, *path.parents) if os.path.lexists(place)), path)
        if dangling.is_symlink():
            return "a link to a folder or file that does not exist"
        return FOLDER_GONE if by_hand and dangling != path.parent else None
    except (OSError, ValueError) as error:
        return explain_os_error(error)
    return None


def _with_advice(reason: str) -> str:
    more = "if it is gone for good, run 'meisho index' with --prune, which removes it"
    return f"{reason}; {more}" if reason == FOLDER_GONE else reason


def _unfinished_record(photo: Photo, times: tuple[int, int, int], photo_root: Path) -> PhotoRecord:
    size_bytes, mtime_ns, ctime_ns = times
    file = str(place_below(photo.path, photo_root))
    return PhotoRecord(photo.id, "", size_bytes, mtime_ns, 0, 0, file=file, ctime_ns=ctime_ns)


def _is_as_recorded(photo: Photo, times: tuple[int, int, int], before: PhotoRecord, root: str) -> bool:
    """Whether a photo has the place, box, size and time of change of its record.

    Args:
        photo: The photo.
        times: Its `size_and_times`.
        before: Its record.
        root: The folder of the collection, with a separator at its end.
    """
    if (before.size_bytes, before.mtime_ns) != times[:2] or _box_of(before.content_sha256) != _box_text(
        photo.box
    ):
        return False
    # most places are as they were, and one comparison of text tells it
    return root + before.file == str(photo.path) or before.file == str(
        place_below(photo.path, as_place(root))
    )


def size_and_times(path: Path) -> tuple[int, int, int]:
    """Return a file's size and the ns of its last change and of its inode's; zeros where nobody can look."""
    try:
        state = path.stat()
    except OSError:  # said when its turn comes to be read
        return 0, 0, 0
    return state.st_size, state.st_mtime_ns, state.st_ctime_ns


def _box_text(box: Box | None) -> str:
    """Return what is added to a file's digest where only a part of the photo is used."""
    return f"#{box.x0!r},{box.y0!r},{box.x1!r},{box.y1!r}" if box else ""


def name_content(photo: Photo, *, check: Callable[[], None] = lambda: None) -> str:
    """Return what a photo's descriptor belongs to: the digest of its file, and its box where it has one.

    Args:
        photo: The photo.
        check: Called between the parts of its file; what it raises ends the reading.

    Raises:
        ImageError: The file cannot be read.
    """
    return f"{content_sha256(photo.path, check=check)}{_box_text(photo.box)}"


def _box_of(content: str) -> str:
    _, mark, box = content.partition("#")
    return mark + box
