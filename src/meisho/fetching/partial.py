"""Partial file: what has come of a download, and its digests, such that a later run goes on from there."""

import hashlib
import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

from meisho.config import build
from meisho.documents import read_json
from meisho.errors import FetchError
from meisho.files import write_text

_READ_BYTES = 1 << 20


@dataclass(frozen=True)
class Origin:
    """Which version of which source a partial file is from.

    Attributes:
        source: The address or path.
        validator: What the source calls this version; None when it gives no name.
        total_bytes: The size of the whole file; None when the source does not say.
    """

    source: str
    validator: str | None = None
    total_bytes: int | None = None


@dataclass(frozen=True)
class Digests:
    """Size and digests of a file, in hex digits; MD5 only where it was asked for: it takes twice as long."""

    size_bytes: int
    sha256: str
    md5: str | None = None


class PartialFile:
    """The file `PLACE.part` beside the place of the whole one, and `PLACE.part.json` with its origin.

    Bytes are written through, so a killed process loses none that it had taken from the system.
    """

    def __init__(self, place: Path, *, md5: bool = False) -> None:
        self.place = place
        self._wants_md5 = md5
        self._path = place.with_name(place.name + ".part")
        self._note = place.with_name(place.name + ".part.json")
        place.parent.mkdir(parents=True, exist_ok=True)
        self.origin = self._read_origin()
        self._file = self._path.open("ab", buffering=0)
        self._hash_again()

    def __enter__(self) -> "PartialFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    @property
    def offset(self) -> int:
        """How many bytes are there."""
        return self._hasher.size_bytes

    @property
    def digests(self) -> Digests:
        """Digests of the bytes that are there."""
        return self._hasher.digests

    def append(self, chunk: bytes) -> None:
        """Add bytes at the end."""
        view = memoryview(chunk)
        while view:  # a raw file may take a part only
            written = self._file.write(view)
            self._hasher.update(view[:written])
            view = view[written:]

    def restart(self) -> None:
        """Throw away what is there."""
        self._file.truncate(0)
        self._note.unlink(missing_ok=True)
        self.origin = None
        self._hash_again()

    def remember(self, origin: Origin) -> None:
        """Note where the bytes come from."""
        if origin != self.origin:
            write_text(self._note, json.dumps(asdict(origin)))
            self.origin = origin

    def finish(self) -> None:
        """Give the file its name."""
        os.fsync(self._file.fileno())
        self._file.close()
        self._path.replace(self.place)
        self._note.unlink(missing_ok=True)

    def discard(self) -> None:
        """Remove what is there."""
        self._file.close()
        self._path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    def _hash_again(self) -> None:
        self._hasher = _hash_file(self._path, md5=self._wants_md5)

    def _read_origin(self) -> Origin | None:
        with suppress(FetchError):
            return build(read_json(self._note, error=FetchError, most_bytes=100_000), Origin)
        return None


def partial_bytes(place: Path) -> int:
    """Return how many bytes of a file have come; 0 when none."""
    with suppress(OSError):
        return place.with_name(place.name + ".part").stat().st_size
    return 0


def digest_file(path: Path, *, md5: bool = False) -> Digests:
    """Return size and digests of a file."""
    return _hash_file(path, md5=md5).digests


class _Hasher:
    def __init__(self, *, md5: bool) -> None:
        self.size_bytes = 0
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False) if md5 else None

    def update(self, chunk: bytes | memoryview) -> None:
        self.size_bytes += len(chunk)
        self._sha256.update(chunk)
        if self._md5:
            self._md5.update(chunk)

    @property
    def digests(self) -> Digests:
        md5 = self._md5.hexdigest() if self._md5 else None
        return Digests(self.size_bytes, self._sha256.hexdigest(), md5)


def _hash_file(path: Path, *, md5: bool) -> _Hasher:
    hasher = _Hasher(md5=md5)
    with path.open("rb") as file:
        while chunk := file.read(_READ_BYTES):
            hasher.update(chunk)
    return hasher
