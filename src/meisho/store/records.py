"""Photo records and their log: every change is appended, and the newest row of an id wins.

A log never searches for the row to replace, so a commit costs the same for the millionth photo as for the
first, and no id ever gets into an SQL string.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from meisho.arrays import Int64Array, UInt64Array, read_only
from meisho.errors import InputError
from meisho.store import tables
from meisho.store.digests import refuse_damaged, with_digests
from meisho.store.tables import DIGEST, PHOTOS, Table, pa, pc

PHOTOS_SCHEMA = pa.schema(
    [
        pa.field("sequence", pa.int64(), nullable=False),  # order of writing; never used twice
        pa.field("position", pa.int64(), nullable=False),  # sequence of the id's first row: gives the order
        pa.field("removed", pa.bool_(), nullable=False),
        pa.field("id", pa.large_binary(), nullable=False),
        pa.field("content_sha256", pa.large_string(), nullable=False),
        pa.field("size_bytes", pa.int64(), nullable=False),
        pa.field("mtime_ns", pa.int64(), nullable=False),
        pa.field("width_px", pa.int32(), nullable=False),
        pa.field("height_px", pa.int32(), nullable=False),
        pa.field("error", pa.large_binary(), nullable=False),
        pa.field("file", pa.large_binary(), nullable=False),
        pa.field("ctime_ns", pa.int64()),
        DIGEST,
    ]
)

_AT_ONCE = 2**15
"""Rows that become Python objects at a time."""


@dataclass(frozen=True, slots=True)
class PhotoRecord:
    """One photo of a collection.

    Attributes:
        id: Its unique name; in a folder of photos, its path relative to the folder, with "/".
        content_sha256: Digest of the file, hexadecimal, followed by "#x0,y0,x1,y1" if only that box is used;
            "" if the file could not be read.
        size_bytes: Size of the file.
        mtime_ns: Time of its last change, ns since 1970.
        width_px: Width of the upright photo; 0 if unknown.
        height_px: Height of the upright photo; 0 if unknown.
        error: Why the photo could not be described; "" if it was.
        file: Path of the file, relative to the photo folder; absolute if it lies elsewhere.
        ctime_ns: Time of the last change of the file or of what the file system says of it, ns since 1970; 0
            if unknown.
    """

    id: str
    content_sha256: str
    size_bytes: int
    mtime_ns: int
    width_px: int
    height_px: int
    error: str = ""
    file: str = ""
    ctime_ns: int = 0


def read_log(photos: Table, path: Path) -> pa.Table:
    """Read the whole log of the collection at `path`: rows of `PHOTOS_SCHEMA`, in no defined order.

    Raises:
        DamagedError: Rows are damaged.
    """
    log = tables.read_columns(photos, PHOTOS_SCHEMA.names)
    refuse_damaged(log, path, PHOTOS)
    return log


@dataclass(frozen=True, eq=False)
class ValidRows:
    """What a log says: the rows that are valid, and what else is in it.

    Attributes:
        rows: One row per photo, in order of first insertion, of `PHOTOS_SCHEMA`.
        positions: (N,) int64; the sequence number of that insertion, which "position" of a row may not say.
        num_others: Rows of the log that were replaced, or tell of a removal.
        newest: The highest sequence number in the log; -1 in an empty one.
    """

    rows: pa.Table
    positions: Int64Array
    num_others: int
    newest: int

    def find_errors(self) -> tuple[tuple[str, str], ...]:
        """Return the ids and errors of the photos that could not be described."""
        broken = self.rows.filter(pc.greater(pc.binary_length(self.rows["error"]), 0))
        return tuple(zip(decode_texts(broken["id"]), decode_texts(broken["error"]), strict=True))


def read_valid_rows(photos: Table, path: Path) -> ValidRows:
    """Read the whole log of the collection at `path`, and find what is valid.

    Raises:
        DamagedError: Rows are damaged.
    """
    log = read_log(photos, path)
    newest = int(pc.max(log["sequence"]).as_py()) if len(log) else -1
    rows, positions = resolve_log(log)
    in_order = len(rows) == len(log) and np.array_equal(rows, np.arange(len(log)))
    return ValidRows(log if in_order else log.take(rows), positions, len(log) - len(rows), newest)


def find_rows_to_drop(photos: Table, valid: ValidRows) -> Int64Array:
    """Return the ids of the rows of a log that can go, the oldest first, once valid ones have their position.

    The newest row stays, even if it tells of a removal, so that `Collection.version` never goes back.
    """
    log = tables.read_row_ids(photos, ["sequence", "position"])
    sequence, position = log["sequence"].to_numpy(), log["position"].to_numpy()
    valid_sequence = valid.rows["sequence"].to_numpy()
    order = np.argsort(valid_sequence)
    place = np.searchsorted(valid_sequence, sequence, sorter=order)
    place = order[np.minimum(place, len(order) - 1)] if len(order) else np.zeros(len(sequence), np.int64)
    stays = sequence == valid.newest
    if len(order):
        is_valid = valid_sequence[place] == sequence
        stays = np.where(is_valid, position == valid.positions[place], stays)
    kept = np.flatnonzero(stays)
    _, first = np.unique(sequence[kept], return_index=True)  # a kill may have left two copies of a row
    droppable = np.setdiff1d(np.arange(len(sequence)), kept[first])
    row_ids: Int64Array = log[tables.ROW_ID].to_numpy()[droppable]
    return row_ids[np.argsort(sequence[droppable], kind="stable")]


def encode_texts(texts: Iterable[str]) -> list[bytes]:
    """Encode any text reversibly, even file names that are not UTF-8 (in Python, lone surrogates)."""
    return [_encode(text) for text in texts]


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def decode_texts(column: pa.ChunkedArray) -> list[str]:
    """Undo `encode_texts`."""
    return [text.decode("utf-8", "surrogatepass") for text in column.to_pylist()]


def rows_of_records(records: Sequence[PhotoRecord], *, first_sequence: int) -> pa.Table:
    """Return log rows that insert or replace `records`.

    Raises:
        InputError: A number does not fit its column.
    """
    sequence = np.arange(first_sequence, first_sequence + len(records))
    columns = [
        sequence,
        sequence,
        np.zeros(len(records), bool),
        encode_texts(r.id for r in records),
        [r.content_sha256 for r in records],
        [r.size_bytes for r in records],
        [r.mtime_ns for r in records],
        [r.width_px for r in records],
        [r.height_px for r in records],
        encode_texts(r.error for r in records),
        encode_texts(r.file for r in records),
        [r.ctime_ns for r in records],
    ]
    schema = PHOTOS_SCHEMA.remove(PHOTOS_SCHEMA.get_field_index(DIGEST.name))
    try:
        arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
        return with_digests(pa.Table.from_arrays(arrays, schema=schema))
    except (pa.ArrowException, OverflowError, UnicodeEncodeError) as error:
        raise InputError(f"photo records: a value does not fit its column ({error})") from error


def rows_of_removals(ids: Sequence[str], *, first_sequence: int) -> pa.Table:
    """Return log rows that remove `ids`."""
    gone = [PhotoRecord(i, "", 0, 0, 0, 0) for i in ids]
    table = rows_of_records(gone, first_sequence=first_sequence)
    marked = pa.array(np.ones(len(ids), bool))
    return with_digests(table.set_column(2, PHOTOS_SCHEMA.field("removed"), marked))


def records_of_rows(table: pa.Table) -> tuple[PhotoRecord, ...]:
    """Return the records held in log rows."""
    pieces = (table.slice(first, _AT_ONCE) for first in range(0, len(table), _AT_ONCE))
    return tuple(record for piece in pieces for record in _records_of_some(piece))


def _records_of_some(table: pa.Table) -> Iterator[PhotoRecord]:
    names = ("content_sha256", "size_bytes", "mtime_ns", "width_px", "height_px")
    plain = [table[name].to_pylist() for name in names]
    ids, errors, files = (decode_texts(table[name]) for name in ("id", "error", "file"))
    # one text where both are the same, as of nearly every photo
    files = [photo_id if file == photo_id else file for photo_id, file in zip(ids, files, strict=True)]
    ctimes = pc.fill_null(table["ctime_ns"], 0).to_pylist()
    return map(PhotoRecord, ids, *plain, errors, files, ctimes)


def resolve_log(log: pa.Table) -> tuple[Int64Array, Int64Array]:
    """Find the rows of a log that are still valid: the newest row of each id that has not been removed.

    Args:
        log: Rows in any order.

    Returns:
        rows: (M,) int64 rows of `log`, in order of each id's first insertion since its last removal.
        positions: (M,) int64, the sequence number of that insertion.
    """
    by_time = np.argsort(log["sequence"].to_numpy(), kind="stable")
    if len(by_time) == 0:
        return by_time, by_time
    codes = _codes(log["id"])[by_time]
    removed = log["removed"].to_numpy()[by_time]
    position = log["position"].to_numpy()[by_time]
    times, num_ids = np.arange(len(codes)), int(codes.max()) + 1
    newest = np.zeros(num_ids, np.int64)
    newest[codes] = times  # the last assignment to a repeated index, the newest row, stays
    removal = np.full(num_ids, -1)
    removal[codes[removed]] = times[removed]
    counts = times > removal[codes]
    first = np.full(num_ids, np.iinfo(np.int64).max)
    np.minimum.at(first, codes[counts], position[counts])
    alive = np.flatnonzero(~removed[newest])
    alive = alive[np.argsort(first[alive], kind="stable")]
    return by_time[newest[alive]], first[alive]


def photo_keys(ids: Sequence[str], content_sha256s: Sequence[str]) -> UInt64Array:
    """Return (N,) uint64 keys, read-only: two are equal only if both id and content are the same.

    A key is the first 8 bytes, little-endian, of BLAKE2b of id + NUL + content hash; two different pairs
    collide with probability 2^-64.
    """
    pairs = (f"{i}\0{content}" for i, content in zip(ids, content_sha256s, strict=True))
    digests = b"".join(hashlib.blake2b(_encode(pair)).digest()[:8] for pair in pairs)
    return read_only(np.frombuffer(digests, "<u8"), np.uint64)


def _codes(column: pa.ChunkedArray) -> Int64Array:
    """Number the distinct values of a column: (n,) codes from 0 to k - 1."""
    encoded = pc.dictionary_encode(column).combine_chunks()
    indices = encoded.indices if isinstance(encoded, pa.DictionaryArray) else encoded.chunk(0).indices
    codes: Int64Array = indices.to_numpy(zero_copy_only=False).astype(np.int64)
    return codes
