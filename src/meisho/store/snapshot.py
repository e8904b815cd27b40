"""Snapshot: the descriptors of a collection at one moment; kept in files that are read without LanceDB.

The collection's tables are the truth. A saved snapshot is derived from them, so that asking needs neither
LanceDB nor pyarrow: it names the commit it was taken from, and whoever finds another commit in the tables
reads the tables instead. Layout, in the folder `index/` of the collection::

    snapshot.json          the record: commit, version, digests; written last
    photos-<digest>.json   ids, files and keys of the rows
    vectors-<digest>.npy   (N, D) float32, mapped into memory when it is read
"""

import hashlib
import json
import logging
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from meisho.arrays import Float32Array, read_only
from meisho.descriptors import Descriptors, Provenance
from meisho.errors import CollectionError
from meisho.files import replacing, write_bytes

UInt64Array = NDArray[np.uint64]

_RECORD = "snapshot.json"
_FORMAT = 1
_PIECE_BYTES = 2**24
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A collection at one moment.

    Attributes:
        descriptors: One row per photo that could be described, in order of insertion; photos of the same
            content have the same vector.
        keys: (N,) uint64, read-only, one per row: equal exactly when id and content are.
        version: `Collection.version` at that moment.
        files: (N,) the photos' files: paths below the photo folder, or whole paths.
    """

    descriptors: Descriptors
    keys: UInt64Array
    version: int
    files: tuple[str, ...]


@dataclass(frozen=True)
class _Record:
    """What stands in snapshot.json.

    Attributes:
        commit: What `read_commit` said when the snapshot was taken.
        version: `Collection.version` at that moment.
        photos: Name of the file of photos, and
        photos_sha256: its digest.
        vectors: Name of the file of vectors, and
        vectors_sha256: its digest.
        format: Version of these files.
    """

    commit: str
    version: int
    photos: str
    photos_sha256: str
    vectors: str
    vectors_sha256: str
    format: int = _FORMAT


def read_commit(collection: Path) -> str:
    """Name the newest commit of a collection's photos, without opening their table; "" where none is found.

    LanceDB writes one manifest per version of a table, so the name of the newest tells one state from every
    other.
    """
    folder = collection / "photos.lance" / "_versions"
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
    """Write a snapshot into `folder`, in place of the one that was saved there.

    The record is written last and names the parts, so that a kill leaves the old snapshot or the new one.

    Args:
        snapshot: What to write.
        folder: Made where it is missing.
        commit: What `read_commit` says of the state that it was taken from.
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
    if not (folder / record.vectors).exists():
        with replacing(folder / record.vectors) as part, part.open("wb") as file:
            np.save(file, snapshot.descriptors.vectors)
    write_bytes(folder / _RECORD, json.dumps(asdict(record), indent=2).encode())
    for path in {*folder.glob("photos-*.json"), *folder.glob("vectors-*.npy")}:
        if path.name not in (record.photos, record.vectors):
            path.unlink(missing_ok=True)  # whoever has mapped it keeps it


def load_snapshot(folder: Path, commit: str, provenance: Provenance, dim: int) -> Snapshot | None:
    """Read what `save_snapshot` wrote; None where it is missing, of another commit or damaged (logged).

    Args:
        folder: Where it was saved.
        commit: What `read_commit` says now.
        provenance: Where the collection's descriptors come from.
        dim: D, their number of dimensions.
    """
    try:
        record = _Record(**json.loads((folder / _RECORD).read_bytes()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        _logger.warning("%s: cannot be read (%s); the tables are read instead", folder / _RECORD, error)
        return None
    if record.format != _FORMAT or record.commit != commit or not commit:
        return None
    try:
        photos = (folder / record.photos).read_bytes()
        vectors: Float32Array = np.load(folder / record.vectors, mmap_mode="r")
        if vectors.dtype != np.float32 or vectors.ndim != 2 or vectors.shape[1] != dim:
            raise ValueError(f"vectors {vectors.dtype} {vectors.shape}, not float32 of {dim} dimensions")
        if hashlib.sha256(photos).hexdigest() != record.photos_sha256:
            raise ValueError(f"{record.photos} is not as it was written")
        if _digest_rows(vectors) != record.vectors_sha256:
            raise ValueError(f"{record.vectors} is not as it was written")
        return _unpack_photos(photos, vectors, record.version, provenance)
    except (OSError, ValueError, KeyError, TypeError, CollectionError) as error:
        _logger.warning("%s: the saved snapshot is damaged (%s); the tables are read instead", folder, error)
        return None


def _pack_photos(snapshot: Snapshot) -> bytes:
    value = {
        "ids": snapshot.descriptors.ids,
        "files": snapshot.files,
        "keys": [f"{key:x}" for key in snapshot.keys.tolist()],
    }
    return json.dumps(value).encode()  # ASCII: file names that are not UTF-8 stay what they are


def _unpack_photos(photos: bytes, vectors: Float32Array, version: int, provenance: Provenance) -> Snapshot:
    value = json.loads(photos)
    keys = np.array([int(key, 16) for key in value["keys"]], np.uint64)
    descriptors = Descriptors(tuple(value["ids"]), vectors, provenance)
    if not len(keys) == len(value["files"]) == len(descriptors):
        raise ValueError(f"{len(keys)} keys and {len(value['files'])} files of {len(descriptors)} photos")
    return Snapshot(descriptors, read_only(keys, np.uint64), version, tuple(value["files"]))


def _digest_rows(vectors: Float32Array) -> str:
    """Return the SHA-256 of (N, D) vectors, piece by piece: mapped ones need not stay in memory."""
    digest = hashlib.sha256(repr(vectors.shape).encode())
    rows = max(1, _PIECE_BYTES // max(1, vectors.shape[1] * vectors.itemsize))
    for first in range(0, len(vectors), rows):
        digest.update(np.ascontiguousarray(vectors[first : first + rows]).data)
    return digest.hexdigest()
