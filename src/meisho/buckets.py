"""Buckets: places in an object store that speaks S3, used as a `Path` is, as far as meisho needs it.

`s3://BUCKET/KEY` is found by the usual variables: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
AWS_SESSION_TOKEN, AWS_REGION, and AWS_ENDPOINT_URL for a store that is not Amazon's. Without keys, those of
the machine's role are used. A store is spoken to in plain HTTP where its endpoint begins with http://.

What is asked of a store are objects that are written whole, listings that show what was written, and
conditions (`If-None-Match`, `If-Match`) that hold: `put_new` and `put_over` are how two writers are told from
each other.
"""

import fnmatch
import hashlib
import io
import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self, cast

from meisho.endpoints import client_of, explain_failure, read_access
from meisho.errors import InputError, StoreError, is_panic, needs_extra
from meisho.texts import is_unicode, printable

if TYPE_CHECKING:
    from obstore import ObjectMeta, PutMode
    from obstore.store import S3Store

    _Path = Path  # what it is to whoever uses it; pathlib's own methods would look on the disk
else:
    _Path = object

SCHEME = "s3://"
_BEGINNING = re.compile(r"\As3:(/|\Z)", re.IGNORECASE)  # a `Path` keeps one "/" of it, or none
_BUCKET = re.compile(r"\w[\w.-]*", re.ASCII)  # others stand in no address
AT_ONCE = 16  # requests that are under way


@dataclass(frozen=True)
class Listed:
    """What a store says of an object.

    Attributes:
        size: Bytes.
        modified: When it was written, by the store's clock.
        etag: What differs for other content.
    """

    size: int
    modified: datetime
    etag: str

    def status(self) -> os.stat_result:
        """Return it as the status of a file; the time of its inode stands for its content."""
        seconds, nanoseconds = self.modified.timestamp(), int(self.modified.timestamp()) * 10**9
        times = {f"st_{kind}": seconds for kind in ("atime", "mtime", "ctime")}
        exact = {"st_atime_ns": nanoseconds, "st_mtime_ns": nanoseconds, "st_ctime_ns": self.number}
        whole = int(seconds)
        return os.stat_result(
            (stat.S_IFREG | 0o644, 0, 0, 1, 0, 0, self.size, whole, whole, whole), times | exact
        )

    @property
    def number(self) -> int:
        """The content as a number greater than 0."""
        return 1 + int.from_bytes(hashlib.blake2b(self.etag.encode(), digest_size=7).digest(), "big")


class BucketPath(_Path):
    """A place in a bucket: an object, or what is below a prefix, as a file or a folder.

    Attributes:
        bucket: Its bucket.
        key: Its key, without "/" at the ends; "" for the bucket itself.
        listed: What a listing said of it; None where it was not listed.
    """

    __slots__ = ("bucket", "key", "listed")

    def __init__(self, bucket: str, key: str, listed: Listed | None = None) -> None:
        self.bucket, self.key, self.listed = bucket, key, listed

    @classmethod
    def parse(cls, text: str | Path) -> Self:
        """Read "s3://BUCKET/KEY"; as a `Path` it may have lost a "/".

        Raises:
            InputError: It is not that.
        """
        below = _BEGINNING.sub("", str(text)).strip("/")
        words = below.split("/")
        wrong = any(word in ("", ".", "..") or "\\" in word for word in words)
        if wrong or not _BUCKET.fullmatch(words[0]) or not is_unicode(str(text)):
            raise InputError(
                f"{SCHEME}{printable(below)}: is no place in a bucket; write {SCHEME}BUCKET/NAME"
            )
        return cls(words[0], "/".join(words[1:]))

    def __reduce__(self) -> tuple[type[Self], tuple[str, str]]:
        return type(self), (self.bucket, self.key)

    def __str__(self) -> str:
        return SCHEME + "/".join(filter(None, (self.bucket, self.key)))

    __repr__ = __str__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BucketPath) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def __lt__(self, other: object) -> bool:
        return str(self) < str(other)

    def __truediv__(self, name: str | os.PathLike[str]) -> Path:  # type: ignore[override]
        return Path(name) if str(name).startswith("/") else self.below(str(name))

    def below(self, name: str) -> "BucketPath":
        """Return the place of this name below this one."""
        return BucketPath(self.bucket, "/".join(filter(None, (self.key, name.strip("/")))))

    @property
    def name(self) -> str:
        """The last part of its key; of a bucket, its name."""
        return self.key.rpartition("/")[2] or self.bucket

    @property
    def stem(self) -> str:
        """The name without its ending."""
        return Path(self.name).stem

    @property
    def suffix(self) -> str:
        """The ending of the name, with its dot."""
        return Path(self.name).suffix

    @property
    def parent(self) -> "BucketPath":
        """What it lies right below."""
        return BucketPath(self.bucket, self.key.rpartition("/")[0])

    def as_posix(self) -> str:
        """Return it as text."""
        return str(self)

    def absolute(self) -> Self:
        """Return itself."""
        return self

    def relative_to(self, *other: str | os.PathLike[str]) -> Path:  # type: ignore[override]
        """Return what of it stands below another place."""
        start = f"{other[0]}/"
        if not str(self).startswith(start):
            raise ValueError(f"{self} is not below {other[0]}")
        return Path(str(self)[len(start) :])

    def is_relative_to(self, other: object, /, *_: object) -> bool:
        """Whether it lies below another place."""
        return str(self).startswith(f"{other}/")

    def is_symlink(self) -> bool:
        """Return False: a bucket has no links."""
        return False

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """Return what is known of the object, as of a file.

        Raises:
            FileNotFoundError: There is none of this name.
            StoreError: The store does not answer, or refuses.
        """
        return self.look().status()

    def look(self) -> Listed:
        """Return what a listing said of the object, or ask the store; raises what `stat` does."""
        if self.listed is not None:
            return self.listed
        import obstore

        with self._asked() as store:
            return _listed(obstore.head(store, self.key))

    def exists(self, **_: object) -> bool:
        """Whether there is an object of this name, or one below it."""
        return self.is_file() or self.is_dir()

    def is_file(self, **_: object) -> bool:
        """Whether there is an object of this name."""
        try:
            self.stat()
        except FileNotFoundError:
            return False
        return True

    def is_dir(self, **_: object) -> bool:
        """Whether there is an object below it."""
        return self.listed is None and next(self.walk(), None) is not None

    def walk(self) -> Iterator["BucketPath"]:
        """Yield every object below it, by key."""
        import obstore

        with self._asked() as store:
            for listing in obstore.list(store, self.key or None):
                for each in listing:
                    yield BucketPath(self.bucket, each["path"], _listed(each))

    def iterdir(self) -> Iterator["BucketPath"]:  # type: ignore[override]
        """Yield the objects and folders right below it."""
        import obstore

        with self._asked() as store:
            found = obstore.list_with_delimiter(store, self.key or None)
        yield from (BucketPath(self.bucket, key) for key in found["common_prefixes"])
        for each in found["objects"]:
            yield BucketPath(self.bucket, each["path"], _listed(each))

    def glob(self, pattern: str) -> Iterator["BucketPath"]:  # type: ignore[override]
        """Yield what of it, right below or at a fixed depth, matches a pattern."""
        if "/" not in pattern:
            yield from (each for each in self.iterdir() if fnmatch.fnmatchcase(each.name, pattern))
            return
        depth = pattern.count("/")
        for each in self.walk():
            below = str(each.relative_to(self))
            if below.count("/") == depth and fnmatch.fnmatchcase(below, pattern):
                yield each

    def rglob(self, pattern: str) -> Iterator["BucketPath"]:  # type: ignore[override]
        """Yield the objects below it, at any depth, whose name matches a pattern."""
        yield from (each for each in self.walk() if fnmatch.fnmatchcase(each.name, pattern))

    def read_bytes(self) -> bytes:
        """Return the object; raises what `stat` does."""
        return self.read_as_it_was()[0]

    def read_ends(self, size: int) -> bytes:
        """Return its first and last bytes, or all of a small object; raises what `stat` does."""
        import obstore

        whole = self.stat().st_size
        if whole <= 2 * size:
            return self.read_bytes()
        with self._asked() as store:
            parts = obstore.get_ranges(store, self.key, starts=[0, whole - size], lengths=[size, size])
            return b"".join(map(bytes, parts))

    def read_as_it_was(self) -> tuple[bytes, Listed]:
        """Return the object, and what the store says of just that content; raises what `stat` does."""
        import obstore

        with self._asked() as store:
            found = obstore.get(store, self.key)
            return bytes(found.bytes()), _listed(found.meta)

    def open(self, mode: str = "r", *_: object, **__: object) -> IO[Any]:  # type: ignore[override]
        """Read the whole object, and give it as an open file; raises what `stat` does."""
        if mode != "rb":
            raise ValueError(f"{self}: is opened as {mode!r}, but an object is only read, as 'rb'")
        return io.BufferedReader(cast(io.RawIOBase, io.BytesIO(self.read_bytes())))

    def write_bytes(self, data: bytes) -> int:  # type: ignore[override]
        """Write the object, whole or not at all.

        Raises:
            StoreError: The store does not answer, or refuses.
        """
        self._put(data, "overwrite")
        return len(data)

    def put_new(self, data: bytes) -> str | None:
        """Write the object if there is none; returns its etag, None where there is one."""
        return self._put(data, "create")

    def put_over(self, data: bytes, etag: str) -> str | None:
        """Write the object if it is the one with this etag; returns the new etag, None where it is not."""
        return self._put(data, {"e_tag": etag})

    def _put(self, data: bytes, mode: "PutMode") -> str | None:
        import obstore
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        with self._asked() as store:
            try:
                return str(obstore.put(store, self.key, data, mode=mode, use_multipart=False)["e_tag"])
            except (AlreadyExistsError, PreconditionError, FileNotFoundError):
                if mode == "overwrite":
                    raise
                return None

    def unlink(self, missing_ok: bool = False) -> None:
        """Delete the object; a store does not say whether there was one."""
        import obstore

        with self._asked() as store:
            obstore.delete(store, self.key)

    @contextmanager
    def _asked(self) -> Iterator["S3Store"]:
        """Give the store to ask, and say in plain words what it refuses."""
        with needs_extra("s3", f"{self}"):
            from obstore.exceptions import BaseError
        try:
            yield client_of(self.bucket, read_access(), os.getpid())
        except FileNotFoundError as error:
            if "NoSuchBucket" in str(error):
                raise self.failure(str(error)) from error
            raise FileNotFoundError(2, "no such object", str(self)) from error
        except (BaseError, PermissionError) as error:
            raise self.failure(str(error)) from error
        except BaseException as error:
            if is_panic(error):
                raise self.failure(str(error)) from error
            raise

    def failure(self, reason: str) -> StoreError:
        """Return the error for what a store, or a library that asks it, said."""
        return StoreError(f"{self}: {explain_failure(reason, self.bucket)}")


def as_place(path: str | Path) -> Path:
    """Return "s3://…" as a place in a bucket, and anything else as a path.

    Raises:
        InputError: It begins as a place in a bucket does, and is none.
    """
    if isinstance(path, BucketPath):
        return path
    if is_in_bucket(path):
        return BucketPath.parse(path)
    return path if isinstance(path, Path) else Path(path)


def is_in_bucket(path: object) -> bool:
    """Whether a path or text means a place in a bucket."""
    return isinstance(path, BucketPath) or bool(_BEGINNING.match(str(path)))


def read_all(files: Sequence[Path]) -> list[bytes]:
    """Read files, those in a bucket many at a time, as each waits for an answer."""
    if not any(isinstance(file, BucketPath) for file in files):
        return [file.read_bytes() for file in files]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return [*pool.map(lambda file: file.read_bytes(), files)]


def remove_all(files: Iterable[Path]) -> None:
    """Delete files of a bucket, many at a time."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for _ in pool.map(lambda file: file.unlink(missing_ok=True), files):
            pass


def remove_tree(folder: Path) -> None:
    """Remove what is below a folder, in a bucket or on the disk; what cannot be removed stays."""
    if isinstance(folder, BucketPath):
        remove_all([*folder.walk()])
    else:
        import shutil

        shutil.rmtree(folder, ignore_errors=True)


def _listed(meta: "ObjectMeta") -> Listed:
    return Listed(meta["size"], meta["last_modified"], str(meta["e_tag"]))
