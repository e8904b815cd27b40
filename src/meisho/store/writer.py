"""The one process that writes to a collection."""

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from functools import cached_property
from pathlib import Path

import numpy as np

from meisho.arrays import Float32Array
from meisho.errors import CollectionError, InputError
from meisho.local_features import LocalFeatures
from meisho.store import tables
from meisho.store.commits import check_commits, note_commits
from meisho.store.digests import with_digests
from meisho.store.local_rows import rows_of_local_features
from meisho.store.records import (
    PHOTOS_SCHEMA,
    PhotoRecord,
    ValidRows,
    find_rows_to_drop,
    read_valid_rows,
    records_of_rows,
    rows_of_records,
    rows_of_removals,
)
from meisho.store.tables import pa, pc
from meisho.store.tidying import Keeper
from meisho.store.vectors import rows_of_vectors

KEEP_VERSIONS = timedelta(hours=1)
COPIED_AT_ONCE = 8192


class _Contents:
    """A table with one row per content, and which contents it has."""

    def __init__(self, path: Path, name: str) -> None:
        check_commits(path, name)
        self.table = tables.open_latest(path, name)
        self.keeper = Keeper(path, self.table)
        with tables.plain_errors(path, "read it"):
            stored = tables.read_columns(self.table, ["sequence", "content_sha256"])
        self.next_sequence = int(pc.max(stored["sequence"]).as_py()) + 1 if len(stored) else 0
        self.contents = set(stored["content_sha256"].to_pylist())

    def drop_others(self, needed: pa.ChunkedArray) -> None:
        """Delete the rows of contents that are not needed."""
        if len(self.contents) == pc.count_distinct(needed).as_py() == self.table.count_rows():
            return  # each row is needed: no record names a content that is not here
        stored = tables.read_row_ids(self.table, ["content_sha256"])
        unneeded = stored.filter(pc.invert(pc.is_in(stored["content_sha256"], value_set=needed)))
        # Forget them first: if deleting fails half-way, a content may be stored twice but is never missing.
        self.contents.difference_update(unneeded["content_sha256"].to_pylist())
        self.keeper.delete(unneeded[tables.ROW_ID].to_numpy())


class CollectionWriter:
    """Writes to a locked collection; made by `Collection.writer`.

    Every call is one atomic commit: once it returns, every reader sees the change and it survives a kill;
    before that, nobody sees any part of it. Write the descriptors of a batch first, then its records.
    """

    def __init__(
        self,
        path: Path,
        dim: int,
        local_dim: int | None = None,
        check_lock: Callable[[], None] = lambda: None,
    ) -> None:
        self._path, self._dim, self._local_dim, self._closed = path, dim, local_dim, False
        self._check_lock = check_lock
        check_commits(path, tables.PHOTOS)
        self._photos = Keeper(path, tables.open_latest(path, tables.PHOTOS))
        self._descriptors = _Contents(path, tables.DESCRIPTORS)
        self._valid: ValidRows | None = None
        with tables.plain_errors(path, "read it"):
            self._next_record = tables.read_next_sequence(self._photos.table)

    @cached_property
    def _local(self) -> _Contents:
        if self._local_dim is None:
            raise CollectionError(
                f"{self._path}: holds no local features; call Collection.enable_local, then make the writer"
            )
        return _Contents(self._path, tables.LOCAL_FEATURES)

    def records(self) -> tuple[PhotoRecord, ...]:
        """Return what `Collection.records` does; the log is read only where it has changed since."""
        return records_of_rows(self._read_valid().rows)

    def count_photos(self) -> tuple[int, tuple[tuple[str, str], ...]]:
        """Return how many photos were described, and the ids and errors of those that could not be."""
        valid = self._read_valid()
        errors = valid.find_errors()
        return len(valid.rows) - len(errors), errors

    def _read_valid(self) -> ValidRows:
        if self._valid is None:
            with tables.plain_errors(self._path, "read it"):
                self._valid = read_valid_rows(self._photos.table, self._path)
        return self._valid

    def known_contents(self) -> frozenset[str]:
        """Return the content hashes that have a descriptor."""
        return frozenset(self._descriptors.contents)

    def has_content(self, content_sha256: str) -> bool:
        """Return whether a content has a descriptor."""
        return content_sha256 in self._descriptors.contents

    def add_descriptors(self, content_sha256s: Sequence[str], vectors: Float32Array) -> None:
        """Add descriptors; a content that already has one keeps it.

        Args:
            content_sha256s: B content hashes, hexadecimal.
            vectors: (B, D) float32, finite.

        Raises:
            InputError: The shapes do not fit, a hash is empty, or a value is NaN or infinite.
            CollectionError: They cannot be written; nothing from the batch was written.
        """
        vectors = self._checked_vectors(content_sha256s, vectors)
        new: dict[str, int] = {}
        for row, content in enumerate(content_sha256s):
            if not self.has_content(content):
                new.setdefault(content, row)
        if not new:
            return
        first = self._descriptors.next_sequence
        rows = rows_of_vectors(new, vectors[[*new.values()]], first_sequence=first)
        self._descriptors.next_sequence += len(new)  # even if writing fails: a number is never used twice
        self._append(self._descriptors.keeper, rows)
        self._descriptors.contents.update(new)

    def has_local_features(self, content_sha256: str) -> bool:
        """Return whether local features were added for a content, even if none were found in it."""
        return self._local_dim is not None and content_sha256 in self._local.contents

    def add_local_features(self, content_sha256s: Sequence[str], features: Sequence[LocalFeatures]) -> None:
        """Add local features in one commit; a content that already has some keeps them.

        Args:
            content_sha256s: B content hashes, as for the descriptors.
            features: B local features, one for each content.

        Raises:
            InputError: The lengths differ, a hash is empty, or the descriptors have another dimension.
            CollectionError: The collection holds no local features (see `Collection.enable_local`), or they
                cannot be written; nothing from the batch was written.
        """
        self._check_local_features(content_sha256s, features)
        new = {
            content: each
            for content, each in zip(reversed(content_sha256s), reversed(features), strict=True)
            if content not in self._local.contents
        }
        if not new:
            return
        rows = rows_of_local_features(new, [*new.values()], first_sequence=self._local.next_sequence)
        self._local.next_sequence += len(new)  # even if writing fails: a number is never used twice
        self._append(self._local.keeper, rows)
        self._local.contents.update(new)

    def put_records(self, records: Sequence[PhotoRecord]) -> None:
        """Insert records, or replace those with the same id; if an id occurs twice, the later record wins.

        Raises:
            InputError: A record without an error has a content without a descriptor.
            CollectionError: They cannot be written; nothing from the batch was written.
        """
        for record in records:
            if not record.error and not self.has_content(record.content_sha256):
                raise InputError(
                    f"{self._path}: the record of {record.id!r} names the content {record.content_sha256!r}, "
                    "which has no descriptor; call add_descriptors first, or give the reason in `error`"
                )
        if records:
            rows = rows_of_records(records, first_sequence=self._next_record)
            self._next_record += len(records)
            self._valid = None
            self._append(self._photos, rows)

    def remove(self, ids: Sequence[str]) -> None:
        """Remove photos by id; unknown ids are ignored.

        Raises:
            CollectionError: It cannot be written; nothing was removed.
        """
        if ids:
            rows = rows_of_removals(ids, first_sequence=self._next_record)
            self._next_record += len(ids)
            self._valid = None
            self._append(self._photos, rows)

    def tidy(self, *, keep: timedelta = KEEP_VERSIONS) -> None:
        """Drop replaced records, data that no photo needs, and old versions; merge small fragments.

        Each step is a commit of bounded size. The rows that readers see do not change, and neither does
        `Collection.version`.

        Args:
            keep: While somebody is reading, versions that were current less than this long ago stay on disk.
                A reader that takes longer has to retry.

        Raises:
            CollectionError: It cannot be written; the collection is unchanged or partly tidied.
        """
        self._check_open()
        with tables.plain_errors(self._path, "tidy it"):
            valid = self._read_valid()
            if valid.num_others > 1 + len(valid.rows) // 10:
                self._drop_replaced(valid)
            is_described = pc.equal(pc.binary_length(valid.rows["error"]), 0)
            needed = valid.rows["content_sha256"].filter(is_described)
            del valid
            self._valid = None  # of a million photos, 300 MB
            for stored in self._open_contents():
                stored.drop_others(needed)
            for keeper in (self._photos, *(stored.keeper for stored in self._open_contents())):
                keeper.tidy(keep)

    def close(self) -> None:
        """Refuse further writes; called at the end of the with-block of `Collection.writer`."""
        self._closed = True

    def _open_contents(self) -> Iterator[_Contents]:
        yield self._descriptors
        if self._local_dim is not None:
            yield self._local

    def _drop_replaced(self, valid: ValidRows) -> None:
        """Delete the rows that are not valid, such that the log says the same after each commit.

        First the valid rows whose position is that of a row to be deleted are written once more, with it.
        Then the oldest go first: an insertion before the removal that ended it.
        """
        moved = valid.rows["position"].to_numpy() != valid.positions
        copies = valid.rows.filter(pa.array(moved))
        position = pa.array(valid.positions[moved])
        copies = copies.set_column(1, PHOTOS_SCHEMA.field("position"), position)
        for first in range(0, len(copies), COPIED_AT_ONCE):
            rows = copies.slice(first, COPIED_AT_ONCE)
            self._append(self._photos, with_digests(rows).cast(PHOTOS_SCHEMA))
        self._photos.delete(find_rows_to_drop(self._photos.table, valid))

    def _append(self, keeper: Keeper, rows: pa.Table) -> None:
        self._check_open()
        with tables.plain_errors(self._path, f"write {len(rows)} rows of {keeper.table.name}"):
            keeper.make_room()
            keeper.table.add(rows)
            note_commits(self._path, keeper.table.name)

    def _checked_vectors(self, content_sha256s: Sequence[str], vectors: Float32Array) -> Float32Array:
        vectors = np.ascontiguousarray(vectors, np.float32)
        if vectors.shape != (len(content_sha256s), self._dim):
            raise InputError(
                f"{self._path}: {len(content_sha256s)} contents need vectors "
                f"({len(content_sha256s)}, {self._dim}), got shape {vectors.shape}"
            )
        if "" in content_sha256s:
            raise InputError(f"{self._path}: a descriptor needs the hash of its content, got ''")
        finite = np.isfinite(vectors).all(axis=1)
        if not finite.all():
            first = content_sha256s[int(np.argmin(finite))]
            raise InputError(
                f"{self._path}: {int((~finite).sum())} of {len(vectors)} descriptors hold NaN or infinity, "
                f"first that of content {first}; the extractor is at fault, and nothing was written"
            )
        return vectors

    def _check_local_features(
        self, content_sha256s: Sequence[str], features: Sequence[LocalFeatures]
    ) -> None:
        if len(content_sha256s) != len(features):
            raise InputError(
                f"{self._path}: {len(content_sha256s)} contents need as many local features, "
                f"got {len(features)}"
            )
        if "" in content_sha256s:
            raise InputError(f"{self._path}: local features need the hash of their content, got ''")
        for content, each in zip(content_sha256s, features, strict=True):
            if each.descriptors.shape[1] != self._local_dim and self._local_dim is not None:
                raise InputError(
                    f"{self._path}: its local features have {self._local_dim} dimensions, but those of "
                    f"content {content} have {each.descriptors.shape[1]}"
                )

    def _check_open(self) -> None:
        if self._closed:
            raise CollectionError(
                f"{self._path}: this writer has released its lock; write inside the with-block"
            )
        self._check_lock()
