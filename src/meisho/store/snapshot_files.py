"""The files of a saved snapshot: read without LanceDB, grown by what was added, with what went left out.

In the folder `index/` of the collection::

    snapshot.json          the record: commit, version, digests, which of the files below; written last
    rows-<build>.bin       (R,) `_ROW`: keys and digests
    names-<build>.bin      R ids and files, UTF-8, one after the other
    vectors-<build>.bin    (R, D) float32, little-endian; float16 where that would be over `LARGE_BYTES`
    order-<digest>.bin     (N,) int64: the rows that are there, in order; only where it is not all R in order

Rows are only ever appended, so that a process which has mapped the files keeps what it saw. A kill leaves the
record before, and rows behind those that it counts, which the next save writes over. Where more rows are gone
than there, all files are written anew under another name. Vectors of a collection of more than `LARGE_BYTES`
stay in their file (`StoredVectors`), and so do its names.
"""

import logging
import mmap
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import xxhash

from meisho.arrays import (
    AnyArray,
    Float32Array,
    Int64Array,
    UInt64Array,
    cut_rows,
    find_rows,
    read_only,
    row_lengths,
)
from meisho.descriptors import Descriptors, Provenance
from meisho.errors import DamagedError, InputError
from meisho.files import write_bytes
from meisho.sealed import read_sealed
from meisho.store.names import Names
from meisho.store.snapshot import PhotoRows, Snapshot, name_contents
from meisho.store.snapshot_record import KINDS, RECORD_FILE, SnapshotRecord
from meisho.stored_vectors import StoredVectors, digest_vectors

LARGE_BYTES = 2**30
"""Vectors up to this size, as float32, are read and compared with their digests as a whole."""

ReadVectors = Callable[[Int64Array], Iterator[tuple[Int64Array, Float32Array]]]
"""(A,) sequence numbers, which may repeat -> batches: places (B,) among them, and their vectors (B, D)."""

STEP_ROWS = 2**17
"""Rows that are appended before the record is written, so that a save which is interrupted goes on."""

_ROW = np.dtype(
    [
        ("key", "<u8"),
        ("identity", "<u8"),  # the XXH3 of all that decides whether a row still stands for its photo
        ("sequence", "<i8"),
        ("digest", "<u8"),  # the XXH3 of the bytes of its vector
        ("length", "<f4"),  # the L2 length of its vector before it was rounded
        ("id_end", "<i8"),  # where its id, and behind that its file, end among the names
        ("file_end", "<i8"),
    ]
)
_DAMAGE = (
    ArithmeticError,
    DamagedError,
    EOFError,
    InputError,
    LookupError,
    OSError,
    RecursionError,
    TypeError,
    ValueError,
)
"""What reading a damaged file may raise."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class _Files:
    """The opened files of a snapshot.

    Attributes:
        folder: Where they are.
        record: What is written of them.
        rows: (R,) `_ROW`.
        names: Ids and files.
        vectors: (R, D), mapped.
        order: (N,) rows; None where all are there in order.
    """

    folder: Path
    record: SnapshotRecord
    rows: AnyArray
    names: memoryview
    vectors: AnyArray
    order: Int64Array | None

    @classmethod
    def open(cls, folder: Path) -> "_Files | None":
        """Open them; None where there are none, or only those of another format.

        A file that is gone since a writer replaced it is that of an older record: the new one is read then.

        Raises:
            _DAMAGE: They are not what was written.
        """
        record: SnapshotRecord | None = None
        while True:
            before = record
            try:
                record = SnapshotRecord.read(folder)
            except FileNotFoundError:
                return None
            if record is None:
                return None
            try:
                return cls._map(folder, record)
            except FileNotFoundError:
                if record == before:
                    raise

    @classmethod
    def _map(cls, folder: Path, record: SnapshotRecord) -> "_Files":
        rows, names = _map_rows(folder, record)
        dtype = np.dtype(record.dtype).newbyteorder("<")
        size = record.num_rows * record.dim * dtype.itemsize
        vectors = np.frombuffer(_map(record.path(folder, "vectors"), size), dtype)
        if _digest(rows) != record.rows_digest or _digest(names) != record.names_digest:
            raise ValueError("its rows or names have changed since written")
        order = _read_order(folder, record)
        return cls(folder, record, rows, names, vectors.reshape(record.num_rows, record.dim), order)

    @property
    def is_large(self) -> bool:
        """Whether the vectors stay in their file."""
        return _is_large(*self.vectors.shape)

    @property
    def stored(self) -> StoredVectors:
        """The vectors (N, D) in their file."""
        file = self.record.path(self.folder, "vectors")
        return StoredVectors(self.vectors, self.rows["digest"], self.rows["length"], self.order, file)

    def read(self, provenance: Provenance) -> Snapshot:
        """Make a snapshot of them; vectors that are in memory then are not compared with their digests."""
        starts = np.concatenate([[0], self.rows["file_end"]])[:-1]
        rows, vectors = self.rows, self.vectors
        if self.order is not None:
            rows, starts = rows[self.order], starts[self.order]
        ids: Sequence[str] = Names(self.names, starts, rows["id_end"])
        files: Sequence[str] = Names(self.names, rows["id_end"], rows["file_end"])
        described: Any = self.stored
        if not self.is_large:
            ids, files = tuple(ids), tuple(files)
            described = vectors if self.order is None else vectors[self.order]
        keys, contents = read_only(rows["key"], np.uint64), name_contents(rows["sequence"])
        descriptors = Descriptors(ids, described, provenance)
        return Snapshot(descriptors, keys, self.record.version, files, read_only(contents, np.int64))


def load_snapshot(
    folder: Path, commit: str, provenance: Provenance, dim: int, *, every_vector: bool = False
) -> Snapshot | None:
    """Read a snapshot saved by `save_snapshot`; None if missing, of another commit, or damaged (logged).

    Args:
        folder: Folder of the saved snapshot.
        commit: Current result of `read_commit`.
        provenance: Model and options that made the collection's descriptors.
        dim: D, their number of dimensions.
        every_vector: Compare all vectors with their digests now, even of a large collection, of which each is
            compared when it is read.
    """
    try:
        files = _Files.open(folder)
        if files is None or files.record.commit != commit or not commit or files.record.dim != dim:
            return None
        if every_vector or not files.is_large:
            files.stored.compare_all()
        return files.read(provenance)
    except _DAMAGE as error:
        _logger.warning("%s: the saved snapshot is damaged (%s); the tables are read instead", folder, error)
        return None


def holds_snapshot(folder: Path, commit: str) -> bool:
    """Say whether `folder` holds a snapshot of this commit, sound or damaged."""
    try:
        return read_sealed(folder / RECORD_FILE).get("commit") == commit
    except OSError:
        return False
    except ValueError:
        return True


def read_saved_files(folder: Path) -> dict[str, str] | None:
    """Read id -> file of the photos of a saved snapshot of any commit; None where there is no sound one."""
    try:
        files = _Files.open(folder)
        if files is None:
            return None
        snapshot = files.read(Provenance(""))
        return dict(zip(snapshot.descriptors.ids, snapshot.files, strict=True))
    except _DAMAGE:
        return None


def forget_snapshot(folder: Path) -> None:
    """Let a saved snapshot be of no commit: one of a table that was made anew may have the same name."""
    (folder / RECORD_FILE).unlink(missing_ok=True)


def save_snapshot(
    folder: Path,
    commit: str,
    photos: PhotoRows,
    read_vectors: ReadVectors,
    *,
    provenance: Provenance,
    dim: int,
) -> Snapshot:
    """Save a snapshot to `folder`: what the one that is there has not is appended to it.

    Memory: about 150 bytes for each photo, and a batch of vectors.

    Args:
        folder: Folder to write to; created if missing.
        commit: Result of `read_commit` for the state that the photos were read from.
        photos: What the collection holds.
        read_vectors: Reads those vectors that are new.
        provenance: Model and options that made the descriptors.
        dim: D, their number of dimensions.

    Returns:
        What `load_snapshot` would read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    texts = _encode_names(photos)
    identities = _identify(photos, texts)
    saved, order = _open_to_append(folder, len(identities), dim), np.full(len(identities), -1)
    if saved is not None:
        order = find_rows(identities, saved.rows["identity"])
        if len(saved.rows) + int((order < 0).sum()) > 2 * len(order) + 1000:  # more would be gone than there
            saved, order = None, np.full(len(order), -1)
    new = np.flatnonzero(order < 0)
    record = _create(folder, len(order), dim) if saved is None else replace(saved.record, commit="", order="")
    for step in cut_rows(len(new), STEP_ROWS):
        some = new[step]
        record = _append(folder, record, _rows_of(photos, identities, texts, some), texts, some, read_vectors)
        record.write(folder)  # of no commit: the next save goes on from here
    order[new] = record.num_rows - len(new) + np.arange(len(new))
    record = replace(record, commit=commit, version=photos.version, order=_write_order(folder, record, order))
    record.write(folder)
    kept = {record.path(folder, kind) for kind in KINDS}
    for kind in (*KINDS, "photos"):  # earlier versions had a file of photos
        for path in {*folder.glob(f"{kind}-*.*")} - kept:
            path.unlink(missing_ok=True)  # a process that has mapped it keeps it
    written = _Files.open(folder)
    assert written is not None
    return written.read(provenance)


def _map(path: Path, size: int) -> memoryview:
    """Map the first `size` bytes of a file, read-only."""
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size < size:
            raise ValueError(f"{path.name} is shorter than it was")
        return (
            memoryview(mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)) if size else memoryview(b"")
        )


def _digest(content: AnyArray | memoryview) -> str:
    return xxhash.xxh3_128_hexdigest(content.data if isinstance(content, np.ndarray) else content)


def _is_large(num_rows: int, dim: int) -> bool:
    return 4 * num_rows * dim > LARGE_BYTES


def _choose_dtype(num_rows: int, dim: int) -> str:
    return "float16" if _is_large(num_rows, dim) else "float32"


def _read_order(folder: Path, record: SnapshotRecord) -> Int64Array | None:
    if not record.order:
        return None
    content = record.path(folder, "order").read_bytes()
    order = np.frombuffer(content, "<i8").astype(np.int64, copy=False)
    if _digest(memoryview(content)) != record.order:
        raise ValueError("its order has changed since written")
    if len(order) and not (order.min() >= 0 and order.max() < record.num_rows):
        raise ValueError("its order names rows that are not there")
    return order


def _write_order(folder: Path, record: SnapshotRecord, order: Int64Array) -> str:
    if np.array_equal(order, np.arange(record.num_rows)):
        return ""
    content = order.astype("<i8").tobytes()
    digest = _digest(memoryview(content))
    write_bytes(replace(record, order=digest).path(folder, "order"), content)
    return digest


def _open_to_append(folder: Path, num_photos: int, dim: int) -> _Files | None:
    """Open what is saved, to append to it; None where the vectors of so many photos are of another type.

    None, too, where it is damaged, as far as is looked (`LARGE_BYTES`).
    """
    try:
        files = _Files.open(folder)
        if files is not None and not files.is_large:
            files.stored.compare_all()
    except _DAMAGE:
        return None
    kind = dim, _choose_dtype(num_photos, dim)
    return files if files is not None and (files.record.dim, files.record.dtype) == kind else None


def _encode_names(photos: PhotoRows) -> list[tuple[bytes, bytes]]:
    return [
        (i.encode("utf-8", "surrogatepass"), file.encode("utf-8", "surrogatepass"))
        for i, file in zip(photos.ids, photos.files, strict=True)
    ]


def _identify(photos: PhotoRows, texts: list[tuple[bytes, bytes]]) -> UInt64Array:
    numbers = np.stack([photos.keys.astype("<u8"), photos.sequences.astype("<u8")], axis=1).tobytes()
    digests = (
        xxhash.xxh3_64_intdigest(numbers[16 * row : 16 * row + 16] + photo_id + b"\0" + file)
        for row, (photo_id, file) in enumerate(texts)
    )
    return np.fromiter(digests, np.uint64, len(texts))


def _rows_of(
    photos: PhotoRows, identities: UInt64Array, texts: list[tuple[bytes, bytes]], new: Int64Array
) -> AnyArray:
    """Return the rows of the new photos, without digests; their names begin at 0."""
    rows = np.zeros(len(new), _ROW)
    rows["key"], rows["identity"], rows["sequence"] = (
        photos.keys[new],
        identities[new],
        photos.sequences[new],
    )
    lengths = np.array([[len(text) for text in texts[row]] for row in new.tolist()], np.int64).reshape(-1, 2)
    ends = np.cumsum(lengths).reshape(-1, 2)
    rows["id_end"], rows["file_end"] = ends[:, 0], ends[:, 1]
    return rows


def _create(folder: Path, num_photos: int, dim: int) -> SnapshotRecord:
    """Make the files of a snapshot that holds nothing yet."""
    nothing = _digest(memoryview(b""))
    record = SnapshotRecord(
        "", 0, os.urandom(8).hex(), dim, _choose_dtype(num_photos, dim), 0, nothing, nothing, ""
    )
    for kind in ("rows", "names", "vectors"):
        record.path(folder, kind).touch()
    return record


def _map_rows(folder: Path, record: SnapshotRecord) -> tuple[AnyArray, memoryview]:
    """Map the rows and the names of a record."""
    rows = np.frombuffer(_map(record.path(folder, "rows"), record.num_rows * _ROW.itemsize), _ROW)
    return rows, _map(record.path(folder, "names"), int(rows["file_end"][-1]) if len(rows) else 0)


def _append(
    folder: Path,
    record: SnapshotRecord,
    rows: AnyArray,
    texts: list[tuple[bytes, bytes]],
    new: Int64Array,
    read_vectors: ReadVectors,
) -> SnapshotRecord:
    """Write new rows behind those of a record, or into new files; return the record with them."""
    before, names_before = _map_rows(folder, record)
    start = len(names_before)
    rows["id_end"] += start
    rows["file_end"] += start
    names = b"".join(text for row in new.tolist() for text in texts[row])
    with record.path(folder, "vectors").open("r+b") as file:
        _write_vectors(file, rows, record, read_vectors)
    _write_behind(record.path(folder, "names"), start, names)
    _write_behind(record.path(folder, "rows"), before.nbytes, rows.tobytes())
    rows_digest = xxhash.xxh3_128(before.data)
    rows_digest.update(rows.tobytes())
    names_digest = xxhash.xxh3_128(names_before)
    names_digest.update(names)
    return replace(
        record,
        num_rows=len(before) + len(rows),
        rows_digest=rows_digest.hexdigest(),
        names_digest=names_digest.hexdigest(),
    )


def _write_vectors(file: BinaryIO, rows: AnyArray, record: SnapshotRecord, read_vectors: ReadVectors) -> None:
    """Write the vectors of new rows, and the digests of them into the rows."""
    dtype = np.dtype(record.dtype).newbyteorder("<")
    size = record.dim * dtype.itemsize
    written = np.zeros(len(rows), np.bool_)
    for places, vectors in read_vectors(rows["sequence"].astype(np.int64)) if len(rows) else ():
        by_place = np.argsort(places)
        places, stored = places[by_place], vectors[by_place].astype(dtype)
        rows["digest"][places] = digest_vectors(stored)
        rows["length"][places] = row_lengths(vectors[by_place])
        written[places] = True
        breaks = np.flatnonzero(np.diff(places) != 1) + 1
        for run, part in zip(np.split(places, breaks), np.split(stored, breaks), strict=True):
            os.pwrite(file.fileno(), part.tobytes(), (record.num_rows + int(run[0])) * size)
    assert written.all()  # `read_vectors` has said otherwise


def _write_behind(path: Path, start: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(start)
        file.write(content)
