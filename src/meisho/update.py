"""Update: what must be done to bring a collection in step with a set of photos, and doing it."""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from meisho.arrays import Float32Array
from meisho.describing import DescribedBatch, Describer
from meisho.errors import ImageError
from meisho.images import read_size
from meisho.local_describing import LocalDescriber
from meisho.local_features import LocalFeatures
from meisho.photos import Box, Photo, PhotoFolder, content_sha256, place_below, printable_id
from meisho.progress import Progress
from meisho.store.records import PhotoRecord
from meisho.store.writer import CollectionWriter

COMMIT_PHOTOS = 64
"""Photos per commit: about what a kill can lose."""

COMMIT_SECONDS = 10.0
"""Slower batches are committed after this time."""

Pending = tuple[Photo, PhotoRecord]
"""A photo and its unfinished record: place, size and time, no content hash yet."""


@dataclass(frozen=True)
class Plan:
    """What differs between a collection and the photos that it shall hold.

    Attributes:
        pending: New and changed photos, and those that could not be read before.
        gone: Ids in the collection that are no longer among the photos.
        unchanged: Number of photos that are as recorded.
        sizes_px: Content -> (width, height) of every content that is recorded now.
    """

    pending: tuple[Pending, ...]
    gone: tuple[str, ...]
    unchanged: int
    sizes_px: dict[str, tuple[int, int]]


def plan_update(
    records: Sequence[PhotoRecord], folder: PhotoFolder, *, known_contents: frozenset[str]
) -> Plan:
    """Compare records with the files as they are now: what a sync with a folder must do.

    Photos that were added by hand (`is_added_by_hand`) count as photos of the folder while their file is
    there. What is recorded below a place that could not be looked into is kept.

    Args:
        records: What is recorded.
        folder: What shall be there.
        known_contents: Contents that have a descriptor; a record whose descriptor was lost counts as changed.
    """
    found = {photo.id for photo in folder.photos}
    photos = (*folder.photos, *(photo for photo in find_added(records) if photo.id not in found))
    plan = plan_additions(records, photos, photo_root=folder.root, known_contents=known_contents)
    ids = {photo.id for photo in photos}
    unseen = tuple(f"{folder.name_below(problem.path)}/" for problem in folder.problems)
    gone = tuple(r.id for r in records if r.id not in ids and not r.id.startswith(unseen))
    return replace(plan, gone=gone)


def plan_additions(
    records: Sequence[PhotoRecord],
    photos: Sequence[Photo],
    *,
    photo_root: Path,
    known_contents: frozenset[str],
) -> Plan:
    """Compare records with these photos alone, by place, box, size and modification time; nothing is gone.

    Args:
        records: What is recorded.
        photos: What shall be there too.
        photo_root: The folder of the collection, absolute.
        known_contents: Contents that have a descriptor.
    """
    sound = {r.id: r for r in records if not r.error and r.content_sha256 in known_contents}
    pending = []
    for photo in photos:
        now = _unfinished_record(photo, photo_root)
        before = sound.get(photo.id)
        if before is None or _state(before, _box_of(before.content_sha256)) != _state(now, _text(photo.box)):
            pending.append((photo, now))
    return Plan(
        pending=tuple(pending),
        gone=(),
        unchanged=len(photos) - len(pending),
        sizes_px={r.content_sha256: (r.width_px, r.height_px) for r in records if not r.error},
    )


@dataclass
class Update:
    """One update under way: the counts so far, and what waits for the next commit.

    A content is what a descriptor belongs to: the digest of a file, with the box where only a part of the
    photo is used. Photos of a content that is known already, or comes earlier in the same run, are its twins.

    Attributes:
        plan: What is to be done.
        writer: Where it is written.
        num_described: Photos whose descriptor was computed.
        num_duplicates: Twins.
        num_failed: Photos that cannot be read.
    """

    plan: Plan
    writer: CollectionWriter
    progress: Progress
    num_described: int = 0
    num_duplicates: int = 0
    num_failed: int = 0
    _sizes_px: dict[str, tuple[int, int]] = field(init=False)
    _records: dict[str, PhotoRecord] = field(default_factory=dict)
    _waiting_twins: list[Pending] = field(default_factory=list)
    _ready: list[PhotoRecord] = field(default_factory=list)
    _vectors: list[Float32Array] = field(default_factory=list)
    _vector_contents: list[str] = field(default_factory=list)
    _committed_at: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self._sizes_px = dict(self.plan.sizes_px)

    def run(self, describer: Describer) -> None:
        """Describe what is new, commit batch by batch, and remove what is gone at the end.

        A photo that was moved is its own twin: removed last, its content is never without a record.
        """
        self._report()
        self._describe(self._new_contents(), describer)
        self._commit()
        left = [pending for pending in self._waiting_twins if not self._record_twin(*pending)]
        self._records |= {photo.id: record for photo, record in left}  # the first of their content failed
        self._describe((photo for photo, _ in left), describer)
        self._commit()
        if self.plan.gone:
            self.writer.remove(self.plan.gone)

    def _describe(self, photos: Iterable[Photo], describer: Describer) -> None:
        with closing(describer.stream(photos)) as stream:
            for batch in stream:
                self._take(batch)
                self._commit_when_due()

    def _new_contents(self) -> Iterator[Photo]:
        """Yield pending photos of new content; each is hashed only when its turn comes."""
        met = set()
        for photo, unfinished in self.plan.pending:
            try:
                content = f"{content_sha256(photo.path)}{_text(photo.box)}"
            except ImageError as error:
                self._fail(unfinished, error.reason)
                continue
            record = replace(unfinished, content_sha256=content)
            if self._record_twin(photo, record):
                self._commit_when_due()
            elif content in met:
                self._waiting_twins.append((photo, record))
            else:
                met.add(content)
                self._records[photo.id] = record
                yield photo

    def _record_twin(self, photo: Photo, record: PhotoRecord) -> bool:
        """Record a photo whose content has a descriptor; False where it has none."""
        if not self.writer.has_content(record.content_sha256):
            return False
        size = self._sizes_px.get(record.content_sha256)
        try:
            size = size or read_size(photo)  # not recorded: a kill came between two commits
        except ImageError as error:
            self._fail(record, error.reason)
            return True
        self._ready.append(replace(record, width_px=size[0], height_px=size[1]))
        self.num_duplicates += 1
        self._report()
        return True

    def _take(self, batch: DescribedBatch) -> None:
        stays = np.zeros(len(batch.photos), np.bool_)
        for row, (photo, (width, height)) in enumerate(
            zip(batch.photos, batch.sizes_px.tolist(), strict=True)
        ):
            record = replace(self._records.pop(photo.id), width_px=width, height_px=height)
            if (record.size_bytes, record.mtime_ns) != _size_and_time(photo.path):
                self._fail(record, "it changed while it was being read; index again")
                continue
            stays[row] = True
            self._sizes_px[record.content_sha256] = (width, height)
            self._vector_contents.append(record.content_sha256)
            self._ready.append(record)
        self._vectors.append(batch.vectors[stays])
        self.num_described += int(stays.sum())
        for photo, error in batch.errors:
            self._fail(self._records.pop(photo.id), error.reason)
        self._report()

    def _fail(self, record: PhotoRecord, reason: str) -> None:
        self._ready.append(replace(record, error=reason))
        self.num_failed += 1

    def _report(self) -> None:
        done = self.num_described + self.num_duplicates + self.num_failed
        self.progress("describe", done, len(self.plan.pending))

    def _commit_when_due(self) -> None:
        if len(self._ready) >= COMMIT_PHOTOS or time.monotonic() - self._committed_at > COMMIT_SECONDS:
            self._commit()

    def _commit(self) -> None:
        """Write descriptors first: a kill in between leaves only descriptors that no record points to."""
        if self._vector_contents:
            self.writer.add_descriptors(self._vector_contents, np.concatenate(self._vectors))
        if self._ready:
            self.writer.put_records(self._ready)
        self._ready, self._vectors, self._vector_contents = [], [], []
        self._committed_at = time.monotonic()
        self._report()


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


@dataclass
class LocalUpdate:
    """The second pass of an update, under way: local features of contents that have none.

    A photo whose local features cannot be had stays in the collection without them, and is tried again by the
    next update.

    Attributes:
        pending: What is to be done, of each content one photo.
        writer: Where it is written.
        num_described: Contents whose local features were found.
        failed: Photos that cannot be read any more, and why.
    """

    pending: Sequence[Pending]
    writer: CollectionWriter
    progress: Progress
    num_described: int = 0
    failed: list[tuple[Photo, str]] = field(default_factory=list)
    _ready: dict[str, LocalFeatures] = field(default_factory=dict)
    _committed_at: float = field(default_factory=time.monotonic)

    def run(self, describer: LocalDescriber) -> None:
        """Find local features and commit them batch by batch."""
        self._report()
        photos = (photo for photo, _ in self.pending)
        with closing(describer.stream(photos)) as stream:
            for (photo, found), (_, record) in zip(stream, self.pending, strict=True):
                self._take(photo, found, record)
                if self._is_due():
                    self._commit()
                self._report()
        self._commit()

    def _take(self, photo: Photo, found: LocalFeatures | ImageError, record: PhotoRecord) -> None:
        if isinstance(found, ImageError):
            self.failed.append((photo, found.reason))
        elif (record.size_bytes, record.mtime_ns) != _size_and_time(photo.path):
            self.failed.append((photo, "it changed since it was described; index again"))
        else:
            self._ready[record.content_sha256] = found
            self.num_described += 1

    def _is_due(self) -> bool:
        return len(self._ready) >= COMMIT_PHOTOS or time.monotonic() - self._committed_at > COMMIT_SECONDS

    def _commit(self) -> None:
        if self._ready:
            self.writer.add_local_features([*self._ready], [*self._ready.values()])
        self._ready = {}
        self._committed_at = time.monotonic()

    def _report(self) -> None:
        self.progress("local features", self.num_described + len(self.failed), len(self.pending))


def is_added_by_hand(record: PhotoRecord) -> bool:
    """Say whether a photo lies outside the photo folder and is known by its whole path: see `add_photos`."""
    is_absolute = os.path.isabs(record.file)  # noqa: PTH117 - asked for every record; a Path takes ten times as long
    return is_absolute and record.id == printable_id(Path(record.file))


def find_added(records: Sequence[PhotoRecord]) -> tuple[Photo, ...]:
    """Return the photos that were added by hand and whose files are there."""
    added = (Photo(record.id, Path(record.file)) for record in records if is_added_by_hand(record))
    return tuple(photo for photo in added if not _is_gone(photo.path))


def _is_gone(path: Path) -> bool:
    """Say whether a file was looked for and is not there; one that could not be looked for is not gone."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def _unfinished_record(photo: Photo, photo_root: Path) -> PhotoRecord:
    size_bytes, mtime_ns = _size_and_time(photo.path)
    file = str(place_below(photo.path, photo_root))
    return PhotoRecord(photo.id, "", size_bytes, mtime_ns, 0, 0, file=file)


def _size_and_time(path: Path) -> tuple[int, int]:
    try:
        state = path.stat()
    except OSError:  # said when its turn comes to be read
        return 0, 0
    return state.st_size, state.st_mtime_ns


def _state(record: PhotoRecord, box: str) -> tuple[str, str, int, int]:
    return record.file, box, record.size_bytes, record.mtime_ns


def _text(box: Box | None) -> str:
    """Return what is added to a file's digest where only a part of the photo is used."""
    return f"#{box.x0!r},{box.y0!r},{box.x1!r},{box.y1!r}" if box else ""


def _box_of(content: str) -> str:
    _, mark, box = content.partition("#")
    return mark + box
