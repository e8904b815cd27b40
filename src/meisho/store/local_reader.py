"""Reading the local features of a few photos out of many, in one batch."""

import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import numpy as np

from meisho.arrays import Int64Array, UInt64Array
from meisho.errors import DamagedError
from meisho.local_features import LocalFeatures
from meisho.store import tables
from meisho.store.damage import note_damage
from meisho.store.digests import refuse_damaged
from meisho.store.local_rows import local_features_of_rows
from meisho.store.locks import announce_reading
from meisho.store.records import encode_texts, photo_keys, read_log, resolve_log
from meisho.store.tables import pa, pc

T = TypeVar("T")
_ATTEMPTS = 5

NONE = -1
"""Stands in for the sequence number of a photo without local features."""


class LocalFeatureReader:
    """Reads the local features of given photos; made by `Collection.local_reader`.

    The rows are looked up once, by reading all records; after that, a batch reads only its own rows. The
    features are those of that moment, or newer if the collection has been tidied since.

    Args:
        path: The collection's directory.
        dim: Number of dimensions of the descriptors.
        ids: (N,) ids of the photos.
        keys: (N,) uint64 keys of the photos, see `photo_keys`: a photo whose content is another now has no
            features here. None takes the photos as they are.

    Raises:
        CollectionError: It is damaged.
    """

    def __init__(self, path: Path, dim: int, ids: Sequence[str], keys: UInt64Array | None = None) -> None:
        self._path, self._dim, self._ids, self._keys = path, dim, tuple(ids), keys
        with announce_reading(path):
            self._with_newest(lambda: None)

    def read(self, rows: Int64Array) -> list[LocalFeatures | None]:
        """Read the local features of `ids[rows]`, in that order; None for a photo without any.

        Args:
            rows: (B,) rows of `ids`; may repeat.

        Raises:
            CollectionError: It is damaged.
        """
        with announce_reading(self._path):
            try:
                return self._read(rows)
            except DamagedError:  # perhaps tidying has deleted that version
                return self._with_newest(lambda: self._read(rows))

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the ids in order, their contents, and which of them have local features."""
        digest = hashlib.sha256(repr(self._ids).encode("utf-8", "surrogatepass"))
        digest.update(repr(self._known_contents.to_pylist()).encode())
        digest.update((self._sequences != NONE).tobytes())
        return digest.hexdigest()

    def _with_newest(self, step: Callable[[], T]) -> T:
        """Do `step` on the newest version; retry, as a writer may delete that version too."""
        for _ in range(_ATTEMPTS - 1):
            with suppress(DamagedError):
                self._look_up()
                return step()
        self._look_up()
        return step()

    def _look_up(self) -> None:
        with tables.plain_errors(self._path, "read its local features"):
            self._known_contents = contents = self._contents()
            # Open it after reading the records, as for the descriptors.
            self._table = tables.open_pinned(self._path, tables.LOCAL_FEATURES)
            stored = tables.read_row_ids(self._table, ["sequence", "content_sha256"])
            places = pc.index_in(contents, value_set=stored["content_sha256"])
            known = places.is_valid().to_numpy(zero_copy_only=False)
            places = places.drop_null().to_numpy()
            self._sequences = np.full(len(self._ids), NONE, np.int64)
            self._sequences[known] = stored["sequence"].to_numpy()[places]
            self._row_ids = np.zeros(len(self._ids), np.int64)
            self._row_ids[known] = stored[tables.ROW_ID].to_numpy()[places]
        if not known.all():
            self._check_strangers(stored.filter(pc.invert(pc.is_in(stored["content_sha256"], contents))))

    def _check_strangers(self, stored: pa.Table) -> None:
        """Check rows of contents that no photo has: such a content may have changed on the disk."""
        for first in range(0, len(stored), tables.BATCH_ROWS):
            row_ids = stored[tables.ROW_ID].to_numpy()[first : first + tables.BATCH_ROWS]
            with tables.plain_errors(self._path, "read its local features"):
                rows = tables.take_rows(self._table, row_ids)
            self._refuse_damaged(rows)

    def _refuse_damaged(self, rows: pa.Table) -> None:
        try:
            refuse_damaged(rows, self._path, tables.LOCAL_FEATURES)
        except DamagedError as error:
            note_damage(self._path, error)
            raise

    def _contents(self) -> pa.Array:
        """Return the photos' contents (N,), null where a photo is missing or could not be read."""
        log = read_log(tables.open_pinned(self._path, tables.PHOTOS), self._path)
        log = log.take(resolve_log(log)[0])
        log = log.filter(pc.equal(pc.binary_length(log["error"]), 0))
        wanted = pa.array(encode_texts(self._ids), log["id"].type)
        contents = log["content_sha256"].combine_chunks().take(pc.index_in(wanted, value_set=log["id"]))
        if self._keys is None:
            return contents
        now = photo_keys(self._ids, [content or "" for content in contents.to_pylist()])
        return pc.if_else(pa.array(now == self._keys), contents, None)

    def _read(self, rows: Int64Array) -> list[LocalFeatures | None]:
        sequences = self._sequences[rows]
        distinct, first = np.unique(sequences, return_index=True)
        row_ids = self._row_ids[rows][first[distinct != NONE]]
        found: dict[int, LocalFeatures | None] = {NONE: None}
        if len(row_ids):
            with tables.plain_errors(self._path, f"read the local features of {len(row_ids)} photos"):
                stored = tables.take_rows(self._table, row_ids)
            self._refuse_damaged(stored)
            found.update(
                zip(stored["sequence"].to_pylist(), local_features_of_rows(stored, self._dim), strict=True)
            )
        return [found[sequence] for sequence in sequences.tolist()]
