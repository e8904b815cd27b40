"""MilvusEngine: a collection that Milvus searches, in a file, on a server or on a cluster.

Milvus holds each vector under its key and proposes keys; rows, scores and their order come from the
collection. What it holds is written down beside the collection, after Milvus has it: rows that came since are
searched exactly, rows that went are masked, and a Milvus that holds less than is written down is refused.

A table has one owner, the folder that it was made for. Who was copied from there searches the table of the
original until it is indexed itself, which fills one of its own: nothing but its owner writes into a table or
removes it.

Source: Wang et al. 2021, "Milvus: A Purpose-Built Vector Data Management System".
"""

import hashlib
import logging
import os
import secrets
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from meisho.arrays import find_rows
from meisho.config import build
from meisho.documents import Fields
from meisho.engines.base import ENGINE_FILE, UNFINISHED, PhotoVectors, Report
from meisho.engines.milvus_index import MilvusIndex
from meisho.engines.milvus_place import MilvusPlace
from meisho.engines.milvus_table import MilvusTable
from meisho.errors import CollectionError, EngineError, InputError, MissingDependencyError
from meisho.files import remove_leftovers
from meisho.index.files import load_keys, save_keys
from meisho.index.following import FollowingIndex, follow_keys
from meisho.index.keys import KeyArray, check_keys, digest_keys
from meisho.index.live import GROWN_FROM_TIMES, STALE_FROM_SHARE
from meisho.sealed import is_digest, read_sealed, write_sealed
from meisho.stored_vectors import Vectors

STEP_ROWS = 2**16
"""Vectors that Milvus takes before what it holds is written down."""

FLUSHED_FROM_ROWS = 2**12
"""More new rows than these are built into its index at once; fewer when Milvus finds time."""

_FOLDER, _RECORD = ENGINE_FILE.split("/")
_FORMAT = 1
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class MilvusRecord:
    """What is written down of a Milvus that was filled.

    Attributes:
        place: `MilvusPlace.text` of where it is.
        table: Its collection there; every build has another name.
        before: The table that it took the place of, which whoever reads may still search; "" for none.
        version: Version of the collection that it was brought in step with.
        num_rows: Number of vectors that it holds.
        num_first: For how many its index was made.
        dim: Their dimension.
        keys_sha256: SHA-256 of their keys, in order.
        owner: The folder that it was made for, see `_owner_of`; whoever is another only searches.
        format: Version of this file.
    """

    place: str
    table: str
    before: str
    version: int
    num_rows: int
    num_first: int
    dim: int
    keys_sha256: str
    owner: str = ""
    format: int = _FORMAT


@dataclass(frozen=True, eq=False)
class LiveMilvus:
    """A table of Milvus with the keys that it holds; see `Live`.

    Attributes:
        record: What is written down of it.
        built_keys: (B,) uint64, the keys that it holds.
        table: The table.
    """

    record: MilvusRecord
    built_keys: KeyArray
    table: MilvusTable

    @property
    def kind(self) -> str:
        """Its kind of index, for people."""
        return f"milvus {self.table.place.index}"

    @property
    def version(self) -> int:
        """Version of the collection that it was brought in step with."""
        return self.record.version

    def is_stale(self, keys: KeyArray) -> bool:
        """Say whether it should be filled anew for the present keys (N,), as `LiveIndex.is_stale` does."""
        gone = int((find_rows(self.built_keys, keys) < 0).sum())
        grown = (
            self.table.place.index.startswith("IVF") and len(keys) > GROWN_FROM_TIMES * self.record.num_first
        )
        return gone > STALE_FROM_SHARE * len(self.built_keys) or grown

    def extend(self, vectors: Vectors, keys: KeyArray, version: int, rows: slice) -> "LiveMilvus":
        """Let it take in those of the present vectors (N, D) with keys (N,) that it lacks, at most `rows`."""
        new = np.flatnonzero(find_rows(keys, self.built_keys) < 0)[rows]
        self.table.put(vectors, keys, new)
        built = np.concatenate([self.built_keys, keys[new]])
        record = replace(self.record, version=version, num_rows=len(built), keys_sha256=digest_keys(built))
        return LiveMilvus(record, built, self.table)

    def follow(self, vectors: Vectors, keys: KeyArray, version: int) -> FollowingIndex:
        """Return an index over the present vectors (N, D) with keys (N,), the collection's `version`.

        Milvus is not reached; the first search makes sure that it holds what it should.
        """
        keys = check_keys(keys, len(vectors))
        if len(vectors) and vectors.shape[1] != self.record.dim:
            raise CollectionError(
                f"milvus: holds vectors of {self.record.dim} dimensions, but they have {vectors.shape[1]} "
                "now; run 'meisho index' again"
            )
        rows = find_rows(self.built_keys, keys)
        structure = MilvusIndex(self.table, vectors, self.built_keys, rows)
        return follow_keys(structure, rows, vectors, version)

    def save(self, folder: Path) -> None:
        """Write down what it holds; the record comes last, so that a kill leaves the old one or the new."""
        folder.mkdir(parents=True, exist_ok=True)
        file = _keys_file(folder, self.record)
        save_keys(self.built_keys, file)
        write_sealed(folder / _RECORD, asdict(self.record))
        remove_leftovers(folder)
        for path in {*folder.glob("*.keys")} - {file}:
            path.unlink(missing_ok=True)


class MilvusEngine:
    """A collection that Milvus searches; see `Engine`.

    Args:
        place: See `MilvusPlace.parse`.
    """

    def __init__(self, place: str) -> None:
        self.place = MilvusPlace.parse(place)
        self.text = f"milvus:{self.place.text}"

    def check(self) -> None:
        """Make sure that Milvus answers; see `Engine.check`."""
        MilvusTable(self.place, "").connect()

    def load(self, folder: Path) -> LiveMilvus | None:
        """Read what is written down, without reaching Milvus; see `Engine.load`."""
        live = _load(folder / _FOLDER)
        if live is None or not live.table.place.is_built_like(self.place):
            return None
        return replace(live, table=MilvusTable(self.place, live.record.table))

    def refresh(
        self, folder: Path, photos: PhotoVectors, kind: str | None = None, report: Report = lambda *_: None
    ) -> LiveMilvus:
        """Let Milvus take in what it lacks; it is filled anew where it is stale or has lost something."""
        keys, owner = check_keys(photos.keys, len(photos.vectors)), _owner_of(folder)
        written = _load_own(folder / _FOLDER, owner)
        saved = self.load(folder) if written is not None else None
        live = saved if saved is not None and self._is_sound(saved, keys) else None
        if live is None:
            live = self._begin(folder / UNFINISHED / _FOLDER, owner, written, photos)
        to = folder / _FOLDER if live is saved else folder / UNFINISHED / _FOLDER
        before = live.record.num_rows
        while (find_rows(keys, live.built_keys) < 0).any():
            live = live.extend(photos.vectors, keys, photos.version, slice(0, STEP_ROWS))
            live.save(to)
            report(live.record.num_rows, len(keys))
        if live.record.num_rows - before > FLUSHED_FROM_ROWS:
            live.table.finish()
        live = replace(live, record=replace(live.record, version=photos.version))
        if saved is None or live.record != saved.record:
            live.save(folder / _FOLDER)
        _remove(folder / UNFINISHED / _FOLDER)
        if written is not None and written.record.table != live.record.table:
            elsewhere = not live.record.before  # nobody reads the old one any more
            names = (written.record.before, written.record.table if elsewhere else "")
            _drop(written.table.place, names)
        return live

    @staticmethod
    def forget(folder: Path) -> None:
        """Remove what is written down, and the tables, its own, as far as Milvus can be reached."""
        for place in (folder / _FOLDER, folder / UNFINISHED / _FOLDER):
            live = _load_own(place, _owner_of(folder)) if place.exists() else None
            _remove(place)
            if live is not None:
                _drop(live.table.place, (live.record.table, live.record.before))

    def _is_sound(self, live: LiveMilvus, keys: KeyArray) -> bool:
        """Say whether a table can be gone on with: it holds what it should, and most of that is wanted."""
        if live.is_stale(keys):
            return False
        try:
            return live.table.count() >= live.record.num_rows
        except EngineError as error:
            live.table.connect()  # who cannot be reached is no reason to begin anew
            _logger.info("%s", error)
            return False

    def _begin(
        self, unfinished: Path, owner: str, written: LiveMilvus | None, photos: PhotoVectors
    ) -> LiveMilvus:
        """Return the table to fill: one that was begun and not finished, or a new one."""
        begun = _load_own(unfinished, owner)
        if begun is not None and written is not None and begun.record.table == written.record.table:
            begun = None  # it was finished, and a kill left this behind
        if begun is not None and begun.table.place.is_built_like(self.place):
            begun = replace(begun, table=MilvusTable(self.place, begun.record.table))
            if self._is_sound(begun, photos.keys):
                return begun
        if begun is not None:
            _drop(begun.table.place, (begun.record.table,))
        number, dim = photos.vectors.shape
        same = written is not None and written.table.place.uri == self.place.uri
        before = written.record.table if written is not None and same else ""
        table = MilvusTable(self.place, f"meisho_{secrets.token_hex(8)}")
        table.create(dim, number)
        none = np.empty(0, np.uint64)
        record = MilvusRecord(
            self.place.text, table.name, before, photos.version, 0, number, dim, digest_keys(none), owner
        )
        live = LiveMilvus(record, none, table)
        live.save(unfinished)
        return live


def _load(folder: Path) -> LiveMilvus | None:
    """Read what `LiveMilvus.save` wrote; None where it is not there or, with a warning, is broken."""
    path = folder / _RECORD
    if not path.exists():
        return None
    try:
        record = _read_record(path)
        keys = load_keys(_keys_file(folder, record))
        if digest_keys(keys) != record.keys_sha256 or len(keys) != record.num_rows:
            raise CollectionError(f"{path}: Milvus was filled with other keys; run 'meisho index' again")
        return LiveMilvus(record, keys, MilvusTable(MilvusPlace.parse(record.place), record.table))
    except (CollectionError, InputError) as error:
        _logger.warning("%s", error)
        return None


def _load_own(folder: Path, owner: str) -> LiveMilvus | None:
    """Do the same where the table is this owner's; None, with a warning, where it is another's."""
    live = _load(folder)
    if live is None or live.record.owner == owner:
        return live
    theirs = live.record.owner.partition(" ")[2].partition(" ")[2]
    _logger.warning(
        "%s: was copied or moved here: the collection %s of Milvus is left to %s",
        folder,
        live.record.table,
        theirs or "whom it was made for",
    )
    return None


def _owner_of(folder: Path) -> str:
    """Name a folder so that no copy of it has the same name: its machine, its number there, and its path.

    A copy beside it has another path, one that is put in its place another number, and one on another machine
    another machine, as far as that is known. One that was moved is another too, as nobody can tell it from a
    copy whose original is away.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        machine = Path("/etc/machine-id").read_bytes()
    except OSError:
        machine = b""
    digest = hashlib.sha256(b"meisho " + machine).hexdigest()[:12]
    return f"{digest} {folder.stat().st_ino} {os.path.realpath(folder)}"


def _read_record(path: Path) -> MilvusRecord:
    try:
        record = build(Fields(read_sealed(path), path.name, InputError), MilvusRecord)
    except (OSError, InputError, ValueError) as error:
        raise CollectionError(f"{path}: cannot be read ({error}); run 'meisho index' again") from error
    if record.format != _FORMAT or not is_digest(record.keys_sha256):
        raise CollectionError(f"{path}: written by another version of meisho; run 'meisho index' again")
    return record


def _keys_file(folder: Path, record: MilvusRecord) -> Path:
    return folder / f"{record.keys_sha256[:16]}.keys"


def _remove(folder: Path) -> None:
    for file in (folder / _RECORD, *folder.glob("*.keys")):
        file.unlink(missing_ok=True)


def _drop(place: MilvusPlace, names: Iterable[str]) -> None:
    """Remove tables; one that cannot be removed is named, and nothing fails for it."""
    for name in filter(None, names):
        try:
            MilvusTable(place, name).drop()
        except (EngineError, MissingDependencyError) as error:
            _logger.warning("the collection %s is left behind: %s", name, error)
