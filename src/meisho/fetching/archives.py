"""Archives (tar, tgz, zip) from strangers: nothing lands outside, and nothing grows without end.

An archive of photos holds files and folders. Anything else in it (links, devices, absolute paths, "..", a
member that comes twice) is refused as a whole, and so is one that grows past the limits of its manifest: it
is not the archive that its publisher described.
"""

import fnmatch
import gzip
import hashlib
import lzma
import re
import stat
import tarfile
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Protocol

from meisho.errors import FetchError
from meisho.fetching.download import StoppedError
from meisho.fetching.manifest import OWN_FOLDER, Unpacking
from meisho.progress import Progress, silent

_CHUNK_BYTES = 1 << 20
_LARGEST_READ_BYTES = _CHUNK_BYTES  # more at once is a header that lies
_HEADER_ALLOWANCE_BYTES = 4096  # per member: its headers and padding
_DEEPEST = 32
_DRIVE = re.compile("[A-Za-z]:")


class UnsafeArchiveError(FetchError):
    """An archive is damaged, or holds what an archive of photos does not."""


@dataclass(frozen=True)
class Member:
    """A file that was unpacked.

    Attributes:
        path: Its path below the folder that was unpacked into, with "/".
        size_bytes: Its size.
        sha256: Its SHA-256 in hex digits.
    """

    path: str
    size_bytes: int
    sha256: str


class _Stream(Protocol):
    def read(self, size: int, /) -> bytes: ...

    def seek(self, offset: int, whence: int, /) -> int: ...

    def tell(self) -> int: ...


@dataclass(frozen=True)
class _Entry:
    name: str
    size_bytes: int
    open: Callable[[], IO[bytes]]


def unpack(
    archive: Path,
    to: Path,
    rules: Unpacking,
    *,
    wanted: Set[str] | None = None,
    progress: Progress = silent,
    stop: threading.Event | None = None,
) -> tuple[Member, ...]:
    """Unpack the wanted members of an archive into an empty folder.

    Args:
        archive: A .tar, .tar.gz or .zip; its content decides, not its name.
        to: The folder; it must be there. What lies in it after an error is to be thrown away.
        rules: Which members are wanted, and how large all may be.
        wanted: Names less folder and ending (photo ids) that alone are unpacked; None for all.
        progress: Told, as "unpack", how many bytes of the archive were read.
        stop: Set to end early.

    Raises:
        UnsafeArchiveError: It is damaged or unsafe.
        StoppedError: `stop` was set.
        OSError: A file cannot be written.
    """
    members: list[Member] = []
    seen: set[str] = set()
    budget = rules.max_bytes
    with _open_entries(archive, rules, progress) as entries:
        for entry in entries:
            if stop and stop.is_set():
                raise StoppedError
            path = _path_of(archive, entry.name, rules)
            if not _is_wanted(entry.name, rules, wanted):
                continue
            if path.lower() in seen:
                raise UnsafeArchiveError(f"{archive}: {entry.name!r:.200} comes twice in it")
            seen.add(path.lower())
            if entry.size_bytes < 0:
                raise _damaged(archive, ValueError(f"{entry.name!r:.200} has a negative size"))
            if entry.size_bytes > budget:
                raise _too_large(archive, rules)
            member = _write(archive, entry, to / path, path)
            budget -= member.size_bytes
            members.append(member)
    if not members and wanted is None:
        raise UnsafeArchiveError(f"{archive}: holds no member like {', '.join(rules.only)}")
    return tuple(members)


def _write(archive: Path, entry: _Entry, file: Path, path: str) -> Member:
    digest, size = hashlib.sha256(), 0
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("xb") as out:
        for chunk in _chunks(archive, entry):
            size += len(chunk)
            if size > entry.size_bytes:
                raise UnsafeArchiveError(f"{archive}: {entry.name!r:.200} is larger than its header says")
            digest.update(chunk)
            out.write(chunk)
    if size < entry.size_bytes:
        raise UnsafeArchiveError(f"{archive}: ends within {entry.name!r:.200}; it is cut off")
    return Member(path, size, digest.hexdigest())


def _chunks(archive: Path, entry: _Entry) -> Iterator[bytes]:
    left = entry.size_bytes + 1  # one byte more, to notice what is larger than its header says
    try:
        with entry.open() as stream:
            while left and (chunk := stream.read(min(_CHUNK_BYTES, left))):
                left -= len(chunk)
                yield chunk
    except OSError as error:  # a seek to where nothing can be; errors of writing are raised elsewhere
        raise _damaged(archive, error) from error


def _is_wanted(name: str, rules: Unpacking, wanted: Set[str] | None) -> bool:
    path = PurePosixPath(name)
    if path.name.startswith("._") or "__MACOSX" in path.parts:  # shadows that macOS leaves
        return False
    relative = name.removeprefix("./")
    if not any(fnmatch.fnmatchcase(relative, pattern) for pattern in rules.only):
        return False
    return wanted is None or path.stem in wanted


def _path_of(archive: Path, name: str, rules: Unpacking) -> str:
    """Return where a member goes, below the folder; its name comes from a stranger."""
    parts = PurePosixPath(name).parts
    is_odd = any(ord(sign) < 32 or sign in "\\\x7f" for sign in name) or _DRIVE.match(name)
    is_outside = not parts or name.startswith("/") or ".." in parts or OWN_FOLDER in parts
    if is_odd or is_outside or len(parts) > _DEEPEST:
        raise UnsafeArchiveError(f"{archive}: the member {name!r:.200} would land outside; not unpacked")
    try:
        too_long = any(len(part.encode()) > 255 for part in parts)
    except UnicodeEncodeError:
        too_long = True
    if too_long:
        raise UnsafeArchiveError(f"{archive}: the member {name!r:.200} has a name that no file can have")
    return parts[-1] if rules.flatten else "/".join(parts)


@contextmanager
def _open_entries(archive: Path, rules: Unpacking, progress: Progress) -> Iterator[Iterator[_Entry]]:
    total = archive.stat().st_size
    try:
        with archive.open("rb") as raw:
            start = raw.read(512)
            raw.seek(0)
            if start.startswith(b"PK"):
                yield _zip_entries(archive, raw, rules, lambda: progress("unpack", raw.tell(), total))
            elif start.startswith(b"\x1f\x8b"):
                with gzip.GzipFile(fileobj=raw, mode="rb") as plain:
                    yield _tar_entries(archive, plain, rules, lambda: progress("unpack", raw.tell(), total))
            elif start[257:262] == b"ustar":
                yield _tar_entries(archive, raw, rules, lambda: progress("unpack", raw.tell(), total))
            else:
                raise UnsafeArchiveError(f"{archive}: is no tar, tgz or zip; it begins with {start[:16]!r}")
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, gzip.BadGzipFile) as error:
        raise _damaged(archive, error) from error
    except (lzma.LZMAError, NotImplementedError, ValueError, OverflowError, RecursionError) as error:
        raise _damaged(archive, error) from error


def _damaged(archive: Path, error: BaseException) -> UnsafeArchiveError:
    reason = (str(error) or type(error).__name__).splitlines()[0][:200]
    return UnsafeArchiveError(f"{archive}: is damaged ({reason})")


def _tar_entries(
    archive: Path, stream: _Stream, rules: Unpacking, progress: Callable[[], None]
) -> Iterator[_Entry]:
    meter = _Meter(archive, stream, rules)
    with tarfile.open(fileobj=meter, mode="r:") as tar:  # type: ignore[call-overload]
        count = 0
        while (info := tar.next()) is not None:
            progress()
            count += 1
            if count > rules.max_members:
                raise _too_many(archive, rules)
            tar.members.clear()  # else each of a million members stays in memory
            if info.isdir():
                _path_of(archive, info.name, rules)
            elif not info.isreg() or info.issparse():
                raise UnsafeArchiveError(f"{archive}: {info.name!r:.200} is neither a file nor a folder")
            else:
                yield _Entry(info.name, info.size, partial(_open_member, tar, info))
    if any(meter.last) or not meter.last:
        raise UnsafeArchiveError(f"{archive}: has no proper end; it is damaged or cut off")
    while meter.read(_CHUNK_BYTES):  # to the end, where gzip compares its checksum
        pass


def _open_member(tar: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    file = tar.extractfile(info)
    assert file is not None  # it is a regular file
    return file


def _zip_entries(
    archive: Path, raw: IO[bytes], rules: Unpacking, progress: Callable[[], None]
) -> Iterator[_Entry]:
    with _open_zip(archive, raw) as file:
        infos = file.infolist()
        if len(infos) > rules.max_members:
            raise _too_many(archive, rules)
        for info in infos:
            progress()
            mode = info.external_attr >> 16
            if info.flag_bits & 1:
                raise UnsafeArchiveError(f"{archive}: {info.filename!r:.200} is encrypted")
            if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise UnsafeArchiveError(f"{archive}: {info.filename!r:.200} is neither a file nor a folder")
            if info.is_dir():
                _path_of(archive, info.filename, rules)
            else:
                yield _Entry(info.filename, info.file_size, partial(file.open, info))


def _open_zip(archive: Path, raw: IO[bytes]) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(raw)
    except OSError as error:
        raise _damaged(archive, error) from error


class _Meter:
    """A stream that counts: no header may ask for much at once, and all may not grow past the limit."""

    def __init__(self, archive: Path, stream: _Stream, rules: Unpacking) -> None:
        self._archive, self._stream, self._rules = archive, stream, rules
        self._limit = rules.max_bytes + rules.max_members * _HEADER_ALLOWANCE_BYTES
        self.last = b""

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _LARGEST_READ_BYTES:
            raise UnsafeArchiveError(f"{self._archive}: a header of {size:,} bytes; it is damaged or hostile")
        if self.tell() + max(size, 0) > self._limit + _LARGEST_READ_BYTES:
            raise _too_large(self._archive, self._rules)
        try:
            self.last = self._stream.read(size)
        except OSError as error:
            raise _damaged(self._archive, error) from error
        return self.last

    def seek(self, offset: int, whence: int = 0) -> int:
        if offset > self._limit:
            raise _too_large(self._archive, self._rules)
        try:
            return int(self._stream.seek(offset, whence))
        except OSError as error:
            raise _damaged(self._archive, error) from error

    def tell(self) -> int:
        return int(self._stream.tell())


def _too_large(archive: Path, rules: Unpacking) -> UnsafeArchiveError:
    return UnsafeArchiveError(
        f"{archive}: grows past {rules.max_bytes:,} bytes, the limit of its manifest; not unpacked"
    )


def _too_many(archive: Path, rules: Unpacking) -> UnsafeArchiveError:
    return UnsafeArchiveError(
        f"{archive}: holds more than {rules.max_members:,} members, the limit of its manifest; not unpacked"
    )
