"""Update: doing what a plan says, described and committed batch by batch."""

import time
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace

import numpy as np

from meisho.arrays import Float32Array
from meisho.describing import DescribedBatch, Describer
from meisho.errors import ImageError
from meisho.hashing import name_contents
from meisho.images import read_size
from meisho.local_describing import LocalDescriber
from meisho.local_features import LocalFeatures
from meisho.photos import Photo
from meisho.planning import Pending, Plan, name_content, size_and_times
from meisho.progress import READING, SAVING, Progress, Stages
from meisho.store.records import PhotoRecord
from meisho.store.writer import CollectionWriter

COMMIT_PHOTOS = 64
"""Photos per commit: about what a kill can lose."""

COMMIT_SECONDS = 10.0
"""Slower batches are committed after this time."""

STAMPED_AT_ONCE = 4096
"""Records per commit that only lack a time: nothing is read for them."""


@dataclass
class Update:
    """One update under way: the counts so far, and what waits for the next commit.

    A content is what a descriptor belongs to: the digest of a file, with the box where only a part of the
    photo is used. Photos of a content that is known already, or comes earlier in the same run, are its twins.

    Attributes:
        plan: What is to be done.
        writer: Where it is written.
        progress: Called as photos are done.
        stages: Told what the time is spent on.
        num_described: Photos whose descriptor was computed.
        num_duplicates: Twins.
        num_reread: Photos that were read to be sure, and are as recorded.
        num_failed: Photos that cannot be read.
        unread: Photos that were read once and cannot be now, and why; they stay as recorded.
    """

    plan: Plan
    writer: CollectionWriter
    progress: Progress
    stages: Stages = field(default_factory=Stages)
    num_described: int = 0
    num_duplicates: int = 0
    num_reread: int = 0
    num_failed: int = 0
    unread: list[tuple[Photo, str]] = field(default_factory=list)
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
        """Describe what is new, and commit batch by batch; nothing is removed."""
        self._report()
        with closing(self._new_contents()) as photos:
            self._describe(photos, describer)
        self._commit()
        left = [pending for pending in self._waiting_twins if not self._record_twin(*pending)]
        self._records |= {photo.id: record for photo, record in left}  # the first of their content failed
        self._describe((photo for photo, _ in left), describer)
        self._commit()
        for first in range(0, len(self.plan.stamped), STAMPED_AT_ONCE):
            self.writer.put_records(self.plan.stamped[first : first + STAMPED_AT_ONCE])

    def _describe(self, photos: Iterable[Photo], describer: Describer) -> None:
        with closing(describer.stream(photos, self.stages)) as stream:
            for batch in stream:
                self._take(batch)
                self._commit_when_due()

    def _new_contents(self) -> Generator[Photo]:
        """Yield pending photos of new content; they are hashed a little ahead of their turn."""
        met = set()
        with closing(name_contents(photo for photo, _ in self.plan.pending)) as contents:
            named = zip(self.plan.pending, self.stages.waiting(READING, contents), strict=True)
            for (photo, unfinished), content in named:
                if isinstance(content, ImageError):
                    self._cannot_read(photo, unfinished, content.reason)
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
        if self.plan.contents.get(photo.id) == record.content_sha256:
            self.num_reread += 1
        else:
            self.num_duplicates += 1
        self._report()
        return True

    def _take(self, batch: DescribedBatch) -> None:
        stays = np.zeros(len(batch.photos), np.bool_)
        for row, (photo, (width, height)) in enumerate(
            zip(batch.photos, batch.sizes_px.tolist(), strict=True)
        ):
            described = replace(self._records.pop(photo.id), width_px=width, height_px=height)
            record = _as_it_is_now(described, photo)
            if record is None:
                self._fail(described, "it changed while it was being read; index again")
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

    def _cannot_read(self, photo: Photo, unfinished: PhotoRecord, reason: str) -> None:
        """Record that a photo cannot be read; one that was read before stays as it was then."""
        if photo.id in self.plan.sound:
            self.unread.append((photo, reason))
        else:
            self._fail(unfinished, reason)

    def _fail(self, record: PhotoRecord, reason: str) -> None:
        self._ready.append(replace(record, error=reason))
        self.num_failed += 1

    def _report(self) -> None:
        done = self.num_described + self.num_duplicates + self.num_reread + self.num_failed + len(self.unread)
        self.progress("describe", done, len(self.plan.pending))

    def _commit_when_due(self) -> None:
        if len(self._ready) >= COMMIT_PHOTOS or time.monotonic() - self._committed_at > COMMIT_SECONDS:
            self._commit()

    def _commit(self) -> None:
        """Write descriptors first: a kill in between leaves only descriptors that no record points to."""
        with self.stages.at(SAVING):
            if self._vector_contents:
                self.writer.add_descriptors(self._vector_contents, np.concatenate(self._vectors))
            if self._ready:
                self.writer.put_records(self._ready)
        self._ready, self._vectors, self._vector_contents = [], [], []
        self._committed_at = time.monotonic()
        self._report()


@dataclass
class LocalUpdate:
    """The second pass of an update, under way: local features of contents that have none.

    A photo whose local features cannot be had stays in the collection without them, and is tried again by the
    next update.

    Attributes:
        pending: What is to be done, of each content one photo.
        writer: Where it is written.
        progress: Called as photos are done.
        stages: Told what the time is spent on.
        num_described: Contents whose local features were found.
        failed: Photos that cannot be read any more, and why.
    """

    pending: Sequence[Pending]
    writer: CollectionWriter
    progress: Progress
    stages: Stages = field(default_factory=Stages)
    num_described: int = 0
    failed: list[tuple[Photo, str]] = field(default_factory=list)
    _ready: dict[str, LocalFeatures] = field(default_factory=dict)
    _committed_at: float = field(default_factory=time.monotonic)

    def run(self, describer: LocalDescriber) -> None:
        """Find local features and commit them batch by batch."""
        self._report()
        records = {photo.id: record for photo, record in self.pending}
        photos = (photo for photo, _ in self.pending)
        with closing(describer.stream(photos, self.stages)) as stream:
            for photo, found in stream:  # from a cluster they come in any order
                self._take(photo, found, records[photo.id])
                if self._is_due():
                    self._commit()
                self._report()
        self._commit()

    def _take(self, photo: Photo, found: LocalFeatures | ImageError, record: PhotoRecord) -> None:
        if isinstance(found, ImageError):
            self.failed.append((photo, found.reason))
        elif (record.size_bytes, record.mtime_ns) != size_and_times(photo.path)[:2]:
            self.failed.append((photo, "it changed since it was described; index again"))
        else:
            self._ready[record.content_sha256] = found
            self.num_described += 1

    def _is_due(self) -> bool:
        return len(self._ready) >= COMMIT_PHOTOS or time.monotonic() - self._committed_at > COMMIT_SECONDS

    def _commit(self) -> None:
        if self._ready:
            with self.stages.at(SAVING):
                self.writer.add_local_features([*self._ready], [*self._ready.values()])
        self._ready = {}
        self._committed_at = time.monotonic()

    def _report(self) -> None:
        self.progress("local features", self.num_described + len(self.failed), len(self.pending))


def _as_it_is_now(record: PhotoRecord, photo: Photo) -> PhotoRecord | None:
    """Return the record of a photo that was read just now with its times; None where its content changed.

    A backup that links to files, or a change of rights, gives a file another time and no other content.
    """
    times = size_and_times(photo.path)
    if times == (record.size_bytes, record.mtime_ns, record.ctime_ns):
        return record
    try:
        if name_content(photo) != record.content_sha256:
            return None
    except ImageError:
        return None
    size_bytes, mtime_ns, ctime_ns = times
    return replace(record, size_bytes=size_bytes, mtime_ns=mtime_ns, ctime_ns=ctime_ns)
