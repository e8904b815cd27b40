"""Files that are written whole or not at all: under a temporary name beside their place, then renamed."""

import errno
import hashlib
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from meisho.buckets import BucketPath

_LEFTOVER = re.compile(r"\..*\.[0-9]+\.part(\.[^.]*)?", re.DOTALL)
_LONG_STEM = 50  # letters: a longer one might leave no room for what is added to it
_END_BYTES = 4096
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@contextmanager
def replacing(path: Path, *, sync: bool = False) -> Iterator[Path]:
    """Give a place to write to: at the end it replaces `path`; if the block raises, `path` stays as it was.

    The name is hidden, so that no listing of photos meets it; it has the process id in it, so that two
    processes never share it, and the ending of `path`, by which libraries choose a format.

    Args:
        path: The file; its folder is made if missing.
        sync: Wait until the content is on the disk, so that a power cut cannot leave an empty file either.

    Raises:
        OSError: It cannot be written; one of a full disk names `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    stem = path.stem if len(path.stem) < _LONG_STEM else hashlib.sha256(os.fsencode(path.stem)).hexdigest()
    part = path.with_name(f".{stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield part
        if sync:
            with part.open("rb+") as file:
                os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        if (
            error.filename is None and error.errno in _NO_ROOM
        ):  # where it was met, a file had no name any more
            error.filename = str(path)
        raise
    finally:
        part.unlink(missing_ok=True)


def write_text(path: Path, text: str, *, errors: str = "strict", sync: bool = False) -> None:
    """Write a text as UTF-8, whole or not at all; `errors` as for `open`, `sync` as for `replacing`."""
    if isinstance(path, BucketPath):
        path.write_bytes(text.encode(errors=errors))
        return
    with replacing(path, sync=sync) as part:
        part.write_text(text, encoding="utf-8", errors=errors, newline="")


def write_bytes(path: Path, *pieces: bytes) -> None:
    """Write pieces, one after the other, whole or not at all."""
    with replacing(path) as part, part.open("wb") as file:
        file.writelines(pieces)


def remove_leftovers(folder: Path) -> None:
    """Remove what killed processes were writing in a folder or below; nobody may be writing there now."""
    for part in folder.rglob(".*.part*"):
        if is_leftover(part):
            part.unlink(missing_ok=True)


def is_leftover(path: Path) -> bool:
    """Whether a name is one that `replacing` writes under."""
    return _LEFTOVER.fullmatch(path.name) is not None


def read_ends(path: Path) -> bytes:
    """Return the first and the last 4 KB of a file, or all of a small one; nothing of what cannot be read.

    A pipe or device is not opened: it could wait for ever.
    """
    try:
        if isinstance(path, BucketPath):
            return path.read_ends(_END_BYTES)
        if not stat.S_ISREG(path.stat().st_mode):
            return b""
        with path.open("rb") as file:
            head = file.read(_END_BYTES)
            file.seek(max(len(head), file.seek(0, os.SEEK_END) - _END_BYTES))
            return head + file.read(_END_BYTES)
    except (OSError, ValueError):
        return b""
