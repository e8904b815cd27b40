"""The one process that writes to a collection."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from functools import cached_property
from pathlib import Path

import numpy as np

from meisho.arrays import Float32Array, Int64Array
from meisho.errors import CollectionError, InputError
from meisho.local_features import LocalFeatures
from meisho.store import tables
from meisho.store.commits import check_commits, note_commits
from meisho.store.digests import with_digests
from meisho.store.local_rows import rows_of_local_features
from meisho.store.locks import hold_off_readers
from meisho.store.records import (
    PHOTOS_SCHEMA,
    PhotoRecord,
    read_log,
    resolve_log,
    rows_of_records,
    rows_of_removals,
)
from meisho.store.tables import Table, pa, pc
from meisho.store.vectors import rows_of_vectors

KEEP_VERSIONS = timedelta(hours=1)


class _LocalTable:
    """The local feature table, opened when it is first needed."""

    def __init__(self, path: Path) -> None:
        check_commits(path, tables.LOCAL_FEATURES)
        self.table = tables.open_latest(path, tables.LOCAL_FEATURES)
        with tables.plain_errors(path, "read it"):
            stored = tables.read_columns(self.table, ["sequence", "content_sha256"])
        self.next_sequence = int(pc.max(stored["sequence"]).as_py()) + 1 if len(stored) else 0
        self.contents = set(stored["content_sha256"].to_pylist())


class CollectionWriter:
    """Writes to a locked collection; made by `Collection.writer`.

    Every call is one atomic commit: once it returns, every reader sees the change and it survives a kill;
    before that, nobody sees any part of it. Write the descriptors of a batch first, then its records.
    """

    def __init__(self, path: Path, dim: int, local_dim: int | None = None) -> None:
        self._path, self._dim, self._local_dim, self._closed = path, dim, local_dim, False
        for name in (tables.PHOTOS, tables.DESCRIPTORS):
            check_commits(path, name)
        self._photos = tables.open_latest(path, tables.PHOTOS)
        self._descriptors = tables.open_latest(path, tables.DESCRIPTORS)
        with tables.plain_errors(path, "read it"):
            self._next_record = tables.read_next_sequence(self._photos)
            stored = tables.read_columns(self._descriptors, ["sequence", "content_sha256"])
        self._next_descriptor = int(pc.max(stored["sequence"]).as_py()) + 1 if len(stored) else 0
        self._contents = set(stored["content_sha256"].to_pylist())

    @cached_property
    def _local(self) -> _LocalTable:
        if self._local_dim is None:
            raise CollectionError(
                f"{self._path}: holds no local features; call Collection.enable_local, then make the writer"
            )
        return _LocalTable(self._path)

    def known_contents(self) -> frozenset[str]:
        """Return the content hashes that have a descriptor."""
        return frozenset(self._contents)

    def has_content(self, content_sha256: str) -> bool:
        """Return whether a content has a descriptor."""
        return content_sha256 in self._contents

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
            if content not in self._contents:
                new.setdefault(content, row)
        if not new:
            return
        rows = rows_of_vectors(new, vectors[[*new.values()]], first_sequence=self._next_descriptor)
        self._next_descriptor += len(new)  # even if writing fails: a number is never used twice
        self._append(self._descriptors, rows)
        self._contents.update(new)

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
        self._append(self._local.table, rows)
        self._local.contents.update(new)

    def put_records(self, records: Sequence[PhotoRecord]) -> None:
        """Insert records, or replace those with the same id; if an id occurs twice, the later record wins.

        Raises:
            InputError: A record without an error has a content without a descriptor.
            CollectionError: They cannot be written; nothing from the batch was written.
        """
        for record in records:
            if not record.error and record.content_sha256 not in self._contents:
                raise InputError(
                    f"{self._path}: the record of {record.id!r} names the content {record.content_sha256!r}, "
                    "which has no descriptor; call add_descriptors first, or give the reason in `error`"
                )
        if records:
            rows = rows_of_records(records, first_sequence=self._next_record)
            self._next_record += len(records)
            self._append(self._photos, rows)

    def remove(self, ids: Sequence[str]) -> None:
        """Remove photos by id; unknown ids are ignored.

        Raises:
            CollectionError: It cannot be written; nothing was removed.
        """
        if ids:
            rows = rows_of_removals(ids, first_sequence=self._next_record)
            self._next_record += len(ids)
            self._append(self._photos, rows)

    def tidy(self, *, keep: timedelta = KEEP_VERSIONS) -> None:
        """Drop replaced records, data that no photo needs, and old versions; merge small fragments.

        Work that would rewrite a large table for little gain waits for a later call. The rows that readers
        see do not change, and neither does `Collection.version`.

        Args:
            keep: While somebody is reading, versions that were current less than this long ago stay on disk.
                A reader that takes longer has to retry.

        Raises:
            CollectionError: It cannot be written; the collection is unchanged or partly tidied.
        """
        self._check_open()
        with tables.plain_errors(self._path, "tidy it"):
            log = read_log(self._photos, self._path)
            rows, positions = resolve_log(log)
            rewritten = self._drop_replaced_records(log, rows, positions)
            self._drop_unneeded(log.take(rows))
            for table in self._open_tables():
                note_commits(self._path, table.name)
            if rewritten or tables.is_worth_tidying(self._photos):
                self._tidy_files(self._photos, keep)
            if tables.is_worth_tidying(self._descriptors):
                self._tidy_files(self._descriptors, keep)
            if self._local_dim is not None and tables.is_worth_tidying(self._local.table):
                self._tidy_files(self._local.table, keep)

    def close(self) -> None:
        """Refuse further writes; called at the end of the with-block of `Collection.writer`."""
        self._closed = True

    def _open_tables(self) -> Iterator[Table]:
        yield from (self._photos, self._descriptors)
        if self._local_dim is not None:
            yield self._local.table

    def _drop_replaced_records(self, log: pa.Table, rows: Int64Array, positions: Int64Array) -> bool:
        if len(log) - len(rows) <= 1 + len(rows) // 10:
            return False
        kept = log.take(rows).set_column(1, PHOTOS_SCHEMA.field("position"), pa.array(positions))
        newest = int(np.argmax(log["sequence"].to_numpy()))
        if newest not in rows:  # a removal: keep it, so that `version` never goes back
            kept = pa.concat_tables([kept, log.slice(newest, 1)])
        self._photos.add(with_digests(kept).cast(PHOTOS_SCHEMA), mode="overwrite")
        return True

    def _drop_unneeded(self, valid: pa.Table) -> None:
        needed = valid.filter(pc.equal(pc.binary_length(valid["error"]), 0))["content_sha256"]
        _drop_others(self._descriptors, self._contents, needed)
        if self._local_dim is not None:
            _drop_others(self._local.table, self._local.contents, needed)

    def _tidy_files(self, table: Table, keep: timedelta) -> None:
        tables.compact(table)
        note_commits(self._path, table.name)
        with hold_off_readers(self._path) as nobody_reads:
            tables.prune(table, timedelta(0) if nobody_reads else keep)
        note_commits(self._path, table.name)  # pruning removes files, and may be a commit

    def _append(self, table: Table, rows: pa.Table) -> None:
        self._check_open()
        with tables.plain_errors(self._path, f"write {len(rows)} rows of {table.name}"):
            if tables.has_too_many_fragments(table, len(rows)):
                self._tidy_files(table, KEEP_VERSIONS)
            table.add(rows)
            note_commits(self._path, table.name)

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


def _drop_others(table: Table, contents: set[str], needed: pa.ChunkedArray) -> None:
    """Delete the rows of contents that are not needed."""
    stored = tables.read_columns(table, ["sequence", "content_sha256"])
    unneeded = stored.filter(pc.invert(pc.is_in(stored["content_sha256"], value_set=needed)))
    # Forget them first: if deleting fails half-way, a content may be stored twice but is never missing.
    contents.difference_update(unneeded["content_sha256"].to_pylist())
    tables.delete_rows(table, "sequence", unneeded["sequence"].to_numpy())
