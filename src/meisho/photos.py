"""Photos: what is to be described, by file or in memory; its id, its content."""

import hashlib
import io
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from meisho.arrays import UInt8Array
from meisho.buckets import SCHEME, BucketPath, as_place
from meisho.documents import parse_numbers
from meisho.errors import ConfigError, ImageError, explain_os_error

# fmt: off
PHOTO_SUFFIXES = frozenset({
    ".jpg", ".jpeg", ".jpe", ".jfif", ".jfi", ".mpo", ".png", ".apng", ".webp", ".bmp", ".dib", ".gif",
    ".tif", ".tiff", ".heic", ".heif", ".hif", ".heics", ".avif", ".avifs", ".jp2", ".j2k", ".jpf", ".jpx",
    ".jpc", ".ppm", ".pgm", ".pbm", ".pnm",
})
"""Lower-case file endings that are taken for photos when a folder is walked."""
RAW_SUFFIXES = frozenset({
    ".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".iiq", ".kdc", ".mef", ".mos", ".mrw",
    ".nef", ".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f",
})
# fmt: on
"""Lower-case file endings of what cameras call RAW; photos where the package rawpy is installed."""
_PART_BYTES = 2**18
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f\\\udc80-\udcff]")


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels of the upright photo; edges may be fractional [x0, x1) × [y0, y1).

    Attributes:
        x0: Left edge, px.
        y0: Top edge, px.
        x1: Right edge, px, greater than x0.
        y1: Bottom edge, px, greater than y0.

    Raises:
        ConfigError: The box is empty or not finite.
    """

    x0: float
    y0: float
    x1: float
    y1: float

    def __post_init__(self) -> None:
        if not (0 < self.x1 - self.x0 < float("inf") and 0 < self.y1 - self.y0 < float("inf")):
            raise ConfigError(f"box {self}: needs finite x0 < x1 and y0 < y1")

    @classmethod
    def parse(cls, text: str, *, source: str = "box") -> "Box":
        """Read "x0,y0,x1,y1".

        Args:
            text: Four numbers, px.
            source: What gave it, for messages.

        Raises:
            ConfigError: It is not that.
        """
        numbers = parse_numbers(text, source=source)
        if len(numbers) != 4:
            raise ConfigError(f"{source} {text:.200}: give four numbers, x0,y0,x1,y1")
        return cls(*numbers)


@dataclass(frozen=True)
class Photo:
    """One photo to be described.

    Attributes:
        id: Its unique name within its data set or collection; for a folder, the path below it with "/".
        path: The file, a `Path` or text; of one in a bucket "s3://BUCKET/KEY". For a photo in
            memory, what messages call it.
        box: The part of it to use, or None for the whole photo.
        content: The photo itself where it is not read from `path`: the bytes of an image file, or the upright
            pixels (H, W, 3) uint8 RGB.
    """

    id: str
    path: Path
    box: Box | None = None
    content: bytes | UInt8Array | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", as_place(self.path))


def content_sha256(path: Path, *, check: Callable[[], None] = lambda: None) -> str:
    """Return the SHA-256 of the file's bytes, 64 hexadecimal digits.

    Args:
        path: The file.
        check: Called between its parts; what it raises ends the reading.

    Raises:
        ImageError: The file cannot be read.
    """
    digest, part = hashlib.sha256(), memoryview(bytearray(_PART_BYTES))
    try:
        with open_photo_file(path) as file:
            while size := file.readinto(part):
                check()
                digest.update(part[:size])
    except OSError as error:
        raise ImageError(path, explain_os_error(error)) from error
    return digest.hexdigest()


def printable_id(path: Path) -> str:
    r"""Return a path as text that can be stored and printed; two different paths never give the same text.

    Bytes that are not UTF-8, control characters and the backslash itself become `\xNN`; all else stays.
    """
    return printable(path.as_posix())


def printable(path: str) -> str:
    """Do the same with text."""
    return _UNPRINTABLE.sub(lambda found: f"\\x{ord(found[0]) & 0xFF:02X}", path)


def place_below(path: Path, folder: Path) -> Path:
    """Return a file's path below an absolute folder, or its whole path where it lies elsewhere.

    ".." is resolved by the text alone, so that links stay links.
    """
    if not isinstance(path, BucketPath):
        path = Path(os.path.abspath(path))  # noqa: PTH100
    if isinstance(path, BucketPath) != isinstance(folder, BucketPath):
        return path
    return path.relative_to(folder) if path.is_relative_to(folder) else path


def place_at(folder: Path, file: str) -> Path:
    """Return the file that stands in a record: below the photo folder, or where it lies; see `place_below`.

    Raises:
        InputError: It begins as a place in a bucket does, and is none.
    """
    return BucketPath.parse(file) if file.startswith(SCHEME) else folder / file


def is_whole_place(file: str) -> bool:
    """Whether what stands in a record is the whole place of a file that lies outside the photo folder."""
    return os.path.isabs(file) or file.startswith(SCHEME)  # noqa: PTH117  # a Path takes ten times as long


@contextmanager
def open_photo_file(path: Path) -> Iterator[io.BufferedReader]:
    """Open a file for reading, and nothing else: a pipe or device could wait for ever.

    Raises:
        ImageError: It is no regular file, or empty.
        OSError: It cannot be read.
    """
    if reason := why_not_a_file(path):
        raise ImageError(path, reason)
    with path.open("rb") as file:
        yield file


def why_not_a_file(path: Path) -> str | None:
    """Say why a path cannot be opened as a file, or None."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return "a link to a file that does not exist" if path.is_symlink() else "no such file"
    except (OSError, ValueError) as error:
        return explain_os_error(error)
    return why_not_readable(status)


def why_not_readable(status: os.stat_result) -> str | None:
    """Say why something cannot be read as a file that it is by its status, or None."""
    if stat.S_ISDIR(status.st_mode):
        return "a folder, not a file"
    if not stat.S_ISREG(status.st_mode):
        return "not a regular file (a pipe, socket or device)"
    return None if status.st_size else "the file is empty (0 bytes)"
