"""Update: what must be done to bring a collection in step with a set of photos, and doing it."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from meisho.arrays import Float32Array
from meisho.errors import ImageError
from meisho.extraction import DescribedBatch, stream_descriptors
from meisho.extractors.base import GlobalExtractor
from meisho.images import Photo, content_sha256, read_size
from meisho.store import CollectionWriter, PhotoRecord

COMMIT_PHOTOS = 64
"""Photos per commit: about what a kill can lose."""

COMMIT_SECONDS = 10.0
"""Slower batches are committed after this time."""


@dataclass(frozen=True)
class Plan:
    """What differs between a collection and the photos that it shall hold.

    Attributes:
        pending: New and changed photos, each with an unfinished record (size and time, no content hash yet).
        gone: Ids in the collection that are no longer among the photos.
        unchanged: Number of photos whose size and time are as recorded.
        sizes_px: Content hash -> (width, height) of every content that is recorded now.
    """

    pending: tuple[tuple[Photo, PhotoRecord], ...]
    gone: tuple[str, ...]
    unchanged: int
    sizes_px: dict[str, tuple[int, int]]


def plan_update(
    records: Sequence[PhotoRecord],
    photos: Sequence[Photo],
    *,
    photo_root: Path,
    known_contents: frozenset[str],
) -> Plan:
    """Compare records with the files as they are now, by place, size and modification time.

    A record whose descriptor was lost (`known_contents` lacks it) counts as changed.
    """
    recorded = {r.id: r for r in records if r.error or r.content_sha256 in known_contents}
    pending = []
    for photo in photos:
        now = _unfinished_record(photo, photo_root)
        before = recorded.get(photo.id)
        if before is None or _state(before) != _state(now):
            pending.append((photo, now))
    ids = {photo.id for photo in photos}
    return Plan(
        pending=tuple(pending),
        gone=tuple(record.id for record in records if record.id not in ids),
        unchanged=len(photos) - len(pending),
        sizes_px={r.content_sha256: (r.width_px, r.height_px) for r in records if not r.error},
    )


@dataclass
class Update:
    """One update under way: the counts so far, and what waits for the next commit.

    Attributes:
        plan: What is to be done.
        writer: Where it is written.
        num_described: Photos whose descriptor was computed.
        num_duplicates: Photos that share the descriptor of the same content under another path.
        num_failed: Photos that cannot be read.
    """

    plan: Plan
    writer: CollectionWriter
    num_described: int = 0
    num_duplicates: int = 0
    num_failed: int = 0
    _records: dict[str, PhotoRecord] = field(default_factory=dict)
    _twins: list[Photo] = field(default_factory=list)
    _errors: dict[str, str] = field(default_factory=dict)
    _ready: list[PhotoRecord] = field(default_factory=list)
    _vectors: list[Float32Array] = field(default_factory=list)
    _vector_contents: list[str] = field(default_factory=list)
    _committed_at: float = field(default_factory=time.monotonic)

    @property
    def num_done(self) -> int:
        """Photos that are described, recognised as duplicates, or known to be broken."""
        return self.num_described + self.num_duplicates + self.num_failed

    def run(
        self,
        extractor: GlobalExtractor,
        *,
        batch_size: int,
        num_workers: int | None,
        progress: Callable[[str, int, int], None],
    ) -> None:
        """Remove what is gone, describe what is new, commit batch by batch."""
        total = len(self.plan.pending)
        if self.plan.gone:
            self.writer.remove(self.plan.gone)
        stream = stream_descriptors(
            self._new_photos(), extractor, batch_size=batch_size, num_workers=num_workers
        )
        for batch in stream:
            self._take(batch)
            progress("describe", self.num_done, total)
        self._resolve_twins()
        self._commit()
        progress("describe", total, total)

    def _new_photos(self) -> Iterator[Photo]:
        """Yield pending photos of new content; each is hashed only when its turn comes."""
        known = set(self.writer.known_contents())
        for photo, record in self.plan.pending:
            try:
                content = content_sha256(photo.path)
            except ImageError as error:
                self._fail(record, error.reason)
                continue
            self._records[photo.id] = replace(record, content_sha256=content)
            if content in known:
                self._twins.append(photo)
            else:
                known.add(content)
                yield photo

    def _take(self, batch: DescribedBatch) -> None:
        for photo, (width, height) in zip(batch.photos, batch.sizes_px.tolist(), strict=True):
            record = replace(self._records.pop(photo.id), width_px=width, height_px=height)
            self.plan.sizes_px[record.content_sha256] = (width, height)
            self._vector_contents.append(record.content_sha256)
            self._ready.append(record)
        if len(batch.photos):
            self._vectors.append(batch.vectors)
        self.num_described += len(batch.photos)
        for photo, error in batch.errors:
            record = self._records.pop(photo.id)
            self._errors[record.content_sha256] = error.reason
            self._fail(record, error.reason)
        late = time.monotonic() - self._committed_at > COMMIT_SECONDS
        if len(self._ready) >= COMMIT_PHOTOS or late:
            self._commit()

    def _resolve_twins(self) -> None:
        """Record the photos whose content was there already, or came earlier in this run."""
        for photo in self._twins:
            record = self._records.pop(photo.id)
            if record.content_sha256 in self._errors:
                self._fail(record, self._errors[record.content_sha256])
                continue
            size = self.plan.sizes_px.get(record.content_sha256)
            if size is None:  # its descriptor was committed before a kill, its record was not
                size = read_size(photo.path)
            self._ready.append(replace(record, width_px=size[0], height_px=size[1]))
            self.num_duplicates += 1

    def _fail(self, record: PhotoRecord, reason: str) -> None:
        self._ready.append(replace(record, error=reason))
        self.num_failed += 1

    def _commit(self) -> None:
        """Write descriptors first: a kill in between leaves only descriptors that no record points to."""
        if self._vectors:
            self.writer.add_descriptors(self._vector_contents, np.concatenate(self._vectors))
        if self._ready:
            self.writer.put_records(self._ready)
        self._ready, self._vectors, self._vector_contents = [], [], []
        self._committed_at = time.monotonic()


def _unfinished_record(photo: Photo, photo_root: Path) -> PhotoRecord:
    path = photo.path.absolute()
    file = str(path.relative_to(photo_root) if path.is_relative_to(photo_root) else path)
    try:
        state = path.stat()
    except OSError:  # said when its turn comes
        return PhotoRecord(photo.id, "", 0, 0, 0, 0, file=file)
    return PhotoRecord(photo.id, "", state.st_size, state.st_mtime_ns, 0, 0, file=file)


def _state(record: PhotoRecord) -> tuple[str, int, int]:
    return record.file, record.size_bytes, record.mtime_ns
