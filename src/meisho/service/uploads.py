"""Uploads: photos that are put into a collection or taken out of it one by one, while it answers.

A photo is written under a temporary name, renamed, described and committed; only then it is acknowledged, so
that a kill loses nothing that was. Where it cannot be described, no file stays. Several that come at once
are committed together. Those of a collection in a bucket are objects there, beside its tables: whoever opens
it, on any machine, finds them.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from meisho.buckets import BucketPath
from meisho.documents import is_there
from meisho.errors import ImageError, InputError, MeishoError
from meisho.files import remove_leftovers, replacing
from meisho.images import ImageOptions, load_sized_image, read_header
from meisho.local_describing import LocalDescriber
from meisho.photo_folder import DEFAULT_EXCLUDES, Excludes
from meisho.photos import (
    PHOTO_SUFFIXES,
    RAW_SUFFIXES,
    Photo,
    content_sha256,
    place_at,
    place_below,
    printable_id,
)
from meisho.run.finding import Finder
from meisho.run.summary import IndexSummary
from meisho.service.gate import Gate, Together
from meisho.service.names import place_inside, safe_name
from meisho.service.problems import RefusedError
from meisho.store.metadata import UPLOADS_FOLDER, read_metadata


@dataclass(frozen=True)
class Put:
    """What became of a photo that was put into a collection.

    Attributes:
        id: Its id in the collection, which may differ from the name that was asked for.
        done: "added"; "unchanged" where the same content was there; "replaced" where another was.
        version: Version of the collection that holds it.
    """

    id: str
    done: Literal["added", "unchanged", "replaced"]
    version: int


@dataclass(frozen=True)
class Removed:
    """What became of a photo that was taken out of a collection.

    Attributes:
        id: Its id.
        removed: Whether it was there.
        file_deleted: Whether its file was deleted.
        file_stays: Whether its file is there still; the next indexing of the photo folder adds it again where
            it lies below that.
        version: Version of the collection without it.
    """

    id: str
    removed: bool
    file_deleted: bool
    file_stays: bool
    version: int


def decode_whole(photo: Photo) -> str:
    """Decode a photo as describing it will; returns the name of its format.

    Raises:
        ImageError: It cannot be read.
    """
    load_sized_image(photo, ImageOptions())
    return read_header(photo).format


class Uploads:
    """Puts photos into one collection and takes them out, for any number of threads.

    Args:
        finder: The collection; it is made to follow each change.
        gate: Lets one writer at a time through.
        writable: Whether photos are written into the photo folder, and deleted there; else into a folder of
            the collection's own.
        device: Where networks that find local features compute: "auto", "cpu" or "cuda".
        decode: Decodes a photo, in whatever process, and returns the name of its format; raises ImageError
            where it cannot.
    """

    def __init__(
        self,
        finder: Finder,
        gate: Gate,
        *,
        writable: bool = False,
        device: str = "auto",
        decode: Callable[[Photo], str] = decode_whole,
    ) -> None:
        self._finder, self._gate, self._decode = finder, gate, decode
        self._writable = writable and not isinstance(finder.photo_root, BucketPath)
        self._adding = Together(self._add)
        self._local: LocalDescriber | None = None
        self._device = device
        self._own = finder.path / UPLOADS_FOLDER
        if not isinstance(self._own, BucketPath) and self._own.is_dir():
            remove_leftovers(self._own)

    def put(self, name: str, content: bytes, *, replace: bool = False) -> Put:
        """Put a photo into the collection.

        Args:
            name: Its id, or the name that it shall have; made safe, see `safe_name`.
            content: Its file.
            replace: Put it in the place of another photo of that name.

        Raises:
            ImageError: It cannot be read; nothing stays of it.
            RefusedError: Another photo has that name ("conflict"), or its file lies where nothing is written
                ("not-allowed").
            LockedError: Another process is writing to the collection.
        """
        path = self._place(name, self._decode(Photo(name, Path("the photo"), content=content)))
        photo_id = self._id_of(path)
        with self._gate.of(path):  # one at a time has a name
            there = _sha256_of(path)
            same = there == hashlib.sha256(content).hexdigest()
            if there and not same:
                self._refuse_another(path, photo_id, replace=replace)
            if same and self._holds(photo_id):
                return Put(photo_id, "unchanged", self._finder.version)
            self._write(path, content)
        return Put(photo_id, "replaced" if there and not same else "added", self._finder.version)

    def remove(self, photo_id: str, *, delete_file: bool = False, confirm: str = "") -> Removed:
        """Take a photo out of the collection; one that is not there is no error.

        Args:
            photo_id: Its id, or the name by which it was put there.
            delete_file: Delete its file too.
            confirm: The id once more, where its file is to be deleted.

        Raises:
            RefusedError: The file is to be deleted, but that is not switched on ("not-allowed"), or `confirm`
                is not the id ("invalid").
            LockedError: Another process is writing to the collection.
        """
        path = self._file_of(photo_id)
        if not self._holds(photo_id) and self._holds(own := self._id_of(self._own / safe_name(photo_id))):
            path = self._file_of(own)
        if delete_file:
            self._allow_deletion(photo_id, path, confirm)
        photo_id = self._id_of(path)
        with self._gate.of(path), self._gate.writing():
            self._finder.follow()
            there = self._holds(photo_id)
            if there:
                from meisho.run.indexing import remove_photos  # it imports LanceDB

                remove_photos(self._finder.path, [photo_id])
                self._finder.follow()
            deleted = delete_file and _unlink(path)
        return Removed(photo_id, there, deleted, is_there(path), self._finder.version)

    def _place(self, name: str, format: str) -> Path:
        """Return the file that a photo of this name is or shall be."""
        if self._holds(name):
            return self._file_of(name)
        safe = safe_name(name, format)
        if not self._writable:
            return place_inside(self._own, safe)
        excludes = read_metadata(self._finder.path).excludes
        patterns = Excludes(DEFAULT_EXCLUDES if excludes is None else excludes)
        for part in _with_parents(safe):
            if pattern := patterns.find(part):
                raise InputError(f"{safe}: the collection leaves out {pattern}; choose another name")
        path = place_inside(self._finder.photo_root, safe)
        if not self._may_write(path):
            raise self._not_written_to(safe)
        return path

    def _refuse_another(self, path: Path, photo_id: str, *, replace: bool) -> None:
        if not replace:
            raise RefusedError(
                "conflict",
                f"{photo_id}: another photo has that name",
                remedy="choose another name, or ask for it to be replaced (replace=1)",
            )
        if not self._may_write(path):
            raise self._not_written_to(photo_id)

    def _allow_deletion(self, photo_id: str, path: Path, confirm: str) -> None:
        if confirm != photo_id:
            raise RefusedError(
                "invalid",
                f"{photo_id}: a file is deleted only where its id is given twice",
                remedy=f"give confirm={photo_id} too",
                where="confirm",
            )
        if not self._may_write(path):
            raise self._not_written_to(photo_id)
        if not self._holds(photo_id) and path.suffix.lower() not in PHOTO_SUFFIXES | RAW_SUFFIXES:
            raise RefusedError("not-allowed", f"{photo_id}: is no photo of the collection", where="id")

    def _not_written_to(self, photo_id: str) -> RefusedError:
        return RefusedError(
            "not-allowed",
            f"{photo_id}: its file lies in a folder that is not written to",
            remedy="start the service with --photos-writable, or choose another name",
        )

    def _may_write(self, path: Path) -> bool:
        """Whether files there may be replaced and deleted, links on the way included; in a bucket uploads."""
        if isinstance(path, BucketPath):
            return path.is_relative_to(self._own)
        real = Path(os.path.realpath(path.parent))

        def lies_in(folder: Path) -> bool:
            return not isinstance(folder, BucketPath) and real.is_relative_to(os.path.realpath(folder))

        below_root = self._writable and lies_in(self._finder.photo_root) and not lies_in(self._finder.path)
        return lies_in(self._own) or below_root

    def _write(self, path: Path, content: bytes) -> None:
        try:
            if isinstance(path, BucketPath):
                written = _stored(path, content, stays=lambda: self._is_committed(path))
            else:
                written = _written(path, content)
            with written:
                self._describe(path)
        except ImageError:
            if path.exists():  # what was to be replaced is there again
                self._describe(path)
            raise

    def _describe(self, path: Path) -> None:
        if reason := self._adding(path):
            raise ImageError(path, reason)

    def _add(self, paths: list[Path]) -> Iterable[str | None]:
        """Describe photos and commit them; says for each why it could not be, or None."""
        from meisho.run.indexing import add_photos, remove_photos  # it imports LanceDB

        with self._gate.writing():
            local = self._local_describer()
            summary = add_photos(self._finder.path, paths, self._finder.describer, local=local)
            broken = self._broken(summary, paths)
            if broken:
                remove_photos(self._finder.path, list(broken))
            self._finder.follow()
        ids = [self._id_of(path) for path in paths]
        return [broken.get(i) or (None if self._holds(i) else "a picture that meisho drew") for i in ids]

    def _local_describer(self) -> LocalDescriber | None:
        """Return what finds local features, loaded once; None where the collection holds none."""
        metadata = read_metadata(self._finder.path)
        if metadata.local_provenance is None:
            return None
        from meisho.run.reranking import local_describer

        if self._local is None or self._local.extractor.provenance != metadata.local_provenance:
            self._local = local_describer(self._finder.path, metadata, device=self._device)
        return self._local

    def _broken(self, summary: IndexSummary, paths: list[Path]) -> dict[str, str]:
        mine = {self._id_of(path) for path in paths}
        return {photo.id: photo.reason for photo in summary.skipped if photo.id in mine}

    def _is_committed(self, path: Path) -> bool:
        """Whether the collection holds a photo by now, which another machine may have put there; or may."""
        try:
            self._finder.follow()
        except MeishoError:
            return True
        return self._holds(self._id_of(path))

    def _holds(self, photo_id: str) -> bool:
        return photo_id in self._finder.row_of

    def _id_of(self, path: Path) -> str:
        return printable_id(place_below(path, self._finder.photo_root))

    def _file_of(self, photo_id: str) -> Path:
        """Return the file of a photo; of an id that the collection does not hold, where it would lie."""
        row, root = self._finder.row_of.get(photo_id), self._finder.photo_root
        if row is not None:
            return place_at(root, self._finder.snapshot.files[row])
        is_upload = isinstance(self._own, BucketPath) and photo_id.startswith(f"{self._own}/")
        return place_at(root, photo_id) if is_upload else root / photo_id  # no other store is asked


@contextmanager
def _written(path: Path, content: bytes) -> Iterator[None]:
    """Write a file, safe on the disk; where the block raises, what was there before is there again."""
    kept = path.with_name(f".{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:32]}.{os.getpid()}.part")
    new = [parent for parent in path.parents if not parent.exists()]
    if path.exists():
        os.link(path, kept)
    try:
        with replacing(path, sync=True) as part:
            part.write_bytes(content)
        yield
    except BaseException:
        if kept.exists():
            kept.replace(path)
        else:
            path.unlink(missing_ok=True)
            for folder in new:
                with suppress(OSError):  # another photo came into it
                    folder.rmdir()
        raise
    finally:
        kept.unlink(missing_ok=True)


@contextmanager
def _stored(path: BucketPath, content: bytes, *, stays: Callable[[], bool]) -> Iterator[None]:
    """Write an object; where the block raises, what was there before is there again.

    Another machine may be putting a photo of the same name: neither writes over the other's, and an object
    that is committed by then (`stays`) is not removed.
    """
    try:
        before = path.read_as_it_was()
    except FileNotFoundError:
        before = None
    if before is not None and before[0] == content:
        yield
        return
    etag = path.put_new(content) if before is None else path.put_over(content, before[1].etag)
    if etag is None:  # another was there, or our own, where the answer to it was lost on the way
        now, listed = path.read_as_it_was()
        etag = listed.etag if now == content else None
    if etag is None:
        raise RefusedError(
            "conflict",
            f"{path}: another photo of that name came at the same moment",
            remedy="choose another name, or ask for it to be replaced (replace=1)",
        )
    try:
        yield
    except BaseException:
        with suppress(MeishoError):  # what happened before is what to say
            if before is not None:
                path.put_over(before[0], etag)
            elif not stays():
                path.unlink()
        raise


def _sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, "" where there is none."""
    try:
        return content_sha256(path)
    except ImageError:
        return ""


def _unlink(path: Path) -> bool:
    if isinstance(path, BucketPath) and not path.is_file():  # a store deletes what is not there, too
        return False
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise InputError(f"{path}: cannot be deleted: {error.strerror}") from error
    return True


def _with_parents(name: str) -> Iterator[str]:
    parts = name.split("/")
    return ("/".join(parts[:depth]) for depth in range(1, len(parts) + 1))
