"""Snapshot: the descriptors of a collection at one moment, saved in files that can be read without LanceDB.

The collection's tables are the truth. A saved snapshot is derived from them, so that searching needs neither
LanceDB nor pyarrow. It names the commit it was taken from; if the tables have another commit, the tables are
read instead. Layout, in the folder `index/` of the collection::

    snapshot.json          the record: commit, version, digests; written last
    photos-<digest>.json   ids, files and keys of the rows; which rows are copies, of which earlier row
    vectors-<digest>.npy   (N, D) float32, mapped into memory when it is read
"""

import hashlib
import json
import logging
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from meisho.arrays import Float32Array, Int64Array, read_only
from meisho.config import build
from meisho.descriptors import Descriptors, Provenance
from meisho.documents import Fields, one_line, parse_json
from meisho.errors import ConfigError, InputError
from meisho.files import replacing, write_bytes
from meisho.sealed import read_sealed, write_sealed

UInt64Array = NDArray[np.uint64]

_RECORD = "snapshot.json"
_FORMAT = 2
_PIECE_BYTES = 2**24
_NAME = re.compile(r"photos-[0-9a-f]{16}\.json|vectors-[0-9a-f]{16}\.npy")
_DAMAGE = (
    ArithmeticError,
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
class Snapshot:
    """The contents of a collection at one moment.

    Attributes:
        descriptors: One row per photo that could be described, in order of insertion; photos with the same
            content share a vector.
        keys: (N,) uint64, read-only; two rows have the same key only if both id and content are the same.
        version: `Collection.version` at that moment.
        files: N files of the photos: paths relative to the photo folder, or absolute if they lie elsewhere.
        contents: (N,) int64, read-only; the content of each photo, named by the first row that has it.
    """

    descriptors: Descriptors
    keys: UInt64Array
    version: int
    files: tuple[str, ...]
    contents: Int64Array


@dataclass(frozen=True)
class _Record:
    """The contents of snapshot.json.

    Attributes:
        commit: Result of `read_commit` when the snapshot was taken.
        version: `Collection.version` at that moment.
        photos: Name of the photo file.
        photos_sha256: Digest of the photo file.
        vectors: Name of the vector file.
        vectors_sha256: Digest of the vectors, see `_digest_rows`.
        format: Format version of these files.
    """

    commit: str
    version: int
    photos: str
    photos_sha256: str
    vectors: str
    vectors_sha256: str
    format: int = _FORMAT

    def __post_init__(self) -> None:
        if not all(_NAME.fullmatch(name) for name in (self.photos, self.vectors)):
            raise ConfigError("a file is named otherwise than those of a snapshot are")


def read_commit(collection: Path, table: str = "photos") -> str:
    """Name the newest commit of a table of a collection, without opening it; "" where none is found.

    LanceDB writes one manifest per version of a table, so the name of the newest tells one state from every
    other.
    """
    folder = collection / f"{table}.lance" / "_versions"
    try:
        names = [name for name in os.listdir(folder) if name.endswith(".manifest")]  # noqa: PTH208
    except OSError:
        return ""
    # named by 2^64 - 1 - version, with 20 digits; older tables by the version itself
    return min((name for name in names if len(name) == 29), default=max(names, key=_number, default=""))


def _number(name: str) -> int:
    stem = name.partition(".")[0]
    return int(stem) if stem.isdigit() else -1


def save_snapshot(snapshot: Snapshot, folder: Path, commit: str) -> None:
    """Save a snapshot to `folder`, replacing the one saved there.

    The record is written last and names the other files, so a kill leaves either the old or the new snapshot.

    Args:
        snapshot: The snapshot.
        folder: Folder to write to; created if missing.
        commit: Result of `read_commit` for the state that the snapshot was taken from.
    """
    folder.mkdir(parents=True, exist_ok=True)
    photos = _pack_photos(snapshot)
    photos_sha256 = hashlib.sha256(photos).hexdigest()
    vectors_sha256 = _digest_rows(snapshot.descriptors.vectors)
    record = _Record(
        commit,
        snapshot.version,
        f"photos-{photos_sha256[:16]}.json",
        photos_sha256,
        f"vectors-{vectors_sha256[:16]}.npy",
        vectors_sha256,
    )
    write_bytes(folder / record.photos, photos)
    if not _holds(folder / record.vectors, vectors_sha256):
        with replacing(folder / record.vectors) as part, part.open("wb") as file:
            np.save(file, snapshot.descriptors.vectors)
    write_sealed(folder / _RECORD, asdict(record))
    for path in {*folder.glob("photos-*.json"), *folder.glob("vectors-*.npy")}:
        if path.name not in (record.photos, record.vectors):
            path.unlink(missing_ok=True)  # a process that has mapped it keeps it


def _map_vectors(path: Path) -> Float32Array:
    """Map (N, D) vectors into memory.

    Raises:
        ValueError: It is no file of such vectors.
    """
    try:
        vectors: Float32Array = npy.open_memmap(path, mode="r")
    except Exception as fault:  # a damaged header ends in TokenError, SyntaxError, MemoryError, ...
        raise ValueError(f"{path.name} cannot be read: {one_line(fault, 80)}") from fault
    if vectors.dtype != np.float32 or vectors.ndim != 2:
        raise ValueError(f"{path.name} holds {vectors.dtype} {vectors.shape}, not float32 (N, D)")
    return vectors


def _holds(path: Path, vectors_sha256: str) -> bool:
    """Say whether a file holds these vectors, undamaged."""
    try:
        return _digest_rows(_map_vectors(path)) == vectors_sha256
    except _DAMAGE:
        return False


def holds_snapshot(folder: Path, commit: str) -> bool:
    """Say whether `folder` holds a snapshot of this commit, sound or damaged."""
    try:
        return read_sealed(folder / _RECORD).get("commit") == commit
    except OSError:
        return False
    except ValueError:
        return True


def load_snapshot(folder: Path, commit: str, provenance: Provenance, dim: int) -> Snapshot | None:
    """Read a snapshot saved by `save_snapshot`; None if missing, of another commit, or damaged (logged).

    Args:
        folder: Folder of the saved snapshot.
        commit: Current result of `read_commit`.
        provenance: Model and options that made the collection's descriptors.
        dim: D, their number of dimensions.
    """
    try:
        record = build(Fields(read_sealed(folder / _RECORD), _RECORD, InputError), _Record)
    except FileNotFoundError:
        return None
    except _DAMAGE as error:
        _logger.warning("%s: cannot be read (%s); the tables are read instead", folder / _RECORD, error)
        return None
    if record.format != _FORMAT or record.commit != commit or not commit:
        return None
    try:
        photos = (folder / record.photos).read_bytes()
        vectors = _map_vectors(folder / record.vectors)
        if vectors.shape[1] != dim:
            raise ValueError(f"vectors are {vectors.shape}, not (N, {dim})")
        if hashlib.sha256(photos).hexdigest() != record.photos_sha256:
            raise ValueError(f"{record.photos} has changed since it was written")
        if _digest_rows(vectors) != record.vectors_sha256:
            raise ValueError(f"{record.vectors} has changed since it was written")
        return _unpack_photos(photos, vectors, record.version, provenance)
    except _DAMAGE as error:
        _logger.warning("%s: the saved snapshot is damaged (%s); the tables are read instead", folder, error)
        return None


def read_saved_files(folder: Path) -> dict[str, str] | None:
    """Read id -> file of the photos of a saved snapshot of any commit; None where there is no sound one."""
    try:
        record = build(Fields(read_sealed(folder / _RECORD), _RECORD, InputError), _Record)
        photos = (folder / record.photos).read_bytes()
        if hashlib.sha256(photos).hexdigest() != record.photos_sha256:
            return None
        value = parse_json(photos, source=record.photos, error=InputError)
        return dict(zip(value.texts("ids"), value.texts("files"), strict=True))
    except _DAMAGE:
        return None


def forget_snapshot(folder: Path) -> None:
    """Let a saved snapshot be of no commit: one of a table that was made anew may have the same name."""
    (folder / _RECORD).unlink(missing_ok=True)


def _pack_photos(snapshot: Snapshot) -> bytes:
    copies = np.flatnonzero(snapshot.contents != np.arange(len(snapshot.contents)))
    value = {
        "ids": snapshot.descriptors.ids,
        "files": snapshot.files,
        "keys": [f"{key:x}" for key in snapshot.keys.tolist()],
        "copies": np.stack([copies, snapshot.contents[copies]], axis=1).tolist(),
    }
    return json.dumps(value).encode()  # ASCII keeps file names that are not UTF-8


def _unpack_photos(photos: bytes, vectors: Float32Array, version: int, provenance: Provenance) -> Snapshot:
    value = parse_json(photos, source="its photos", error=InputError)
    keys = np.array([int(key, 16) for key in value.texts("keys")], np.uint64)
    descriptors, files = Descriptors(tuple(value.texts("ids")), vectors, provenance), value.texts("files")
    if not len(keys) == len(files) == len(descriptors):
        raise ValueError(f"{len(keys)} keys and {len(files)} files for {len(descriptors)} photos")
    if len({*keys.tolist()}) < len(keys):
        raise ValueError("keys that are equal")
    contents = _unpack_copies(value.values["copies"], len(keys))
    return Snapshot(descriptors, read_only(keys, np.uint64), version, tuple(files), contents)


def _unpack_copies(copies: object, num_photos: int) -> Int64Array:
    """Return (N,) for each photo the first of the same content, from pairs of a copy and its first."""
    pairs = np.array(copies, np.int64).reshape(-1, 2)
    rows, firsts = pairs.T
    if len(pairs) and not (firsts.min() >= 0 and (firsts < rows).all() and rows.max() < num_photos):
        raise ValueError("a copy that is not of an earlier photo")
    contents = np.arange(num_photos)
    contents[rows] = firsts
    return read_only(contents, np.int64)


def _digest_rows(vectors: Float32Array) -> str:
    """Return the SHA-256 of (N, D) vectors, in pieces, so that mapped ones need not fit in memory."""
    digest = hashlib.sha256(repr(vectors.shape).encode())
    rows = max(1, _PIECE_BYTES // max(1, vectors.shape[1] * vectors.itemsize))
    for first in range(0, len(vectors), rows):
        digest.update(np.ascontiguousarray(vectors[first : first + rows]).data)
    return digest.hexdigest()
