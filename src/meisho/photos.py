"""Photos: what is to be described, by file or in memory; and the photos of a folder."""

import hashlib
import io
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from meisho.arrays import UInt8Array
from meisho.errors import ConfigError, ImageError, InputError

PHOTO_SUFFIXES = frozenset(
    {
        ".jpg",
        ".jpeg",
        ".png",
        ".webp",
        ".bmp",
        ".gif",
        ".tif",
        ".tiff",
        ".heic",
        ".heif",
        ".avif",
        ".jp2",
        ".ppm",
    }
)
"""Lower-case file endings that are taken for photos when a folder is walked."""


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


@dataclass(frozen=True)
class Photo:
    """One photo to be described.

    Attributes:
        id: Its unique name within its data set or collection; for a folder, the path below it with "/".
        path: The file, a `Path` or text. For a photo in memory, what messages call it.
        box: The part of it to use, or None for the whole photo.
        content: The photo itself where it is not read from `path`: the bytes of an image file, or the upright
            pixels (H, W, 3) uint8 RGB.
    """

    id: str
    path: Path
    box: Box | None = None
    content: bytes | UInt8Array | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))


@dataclass(frozen=True)
class PhotoFolder:
    """The photos of one folder.

    Attributes:
        root: The folder, absolute.
        photos: Its photos, sorted by id; they need not be all.
        problems: Places below it that could not be looked into.
    """

    root: Path
    photos: tuple[Photo, ...]
    problems: tuple[ImageError, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", Path(os.path.abspath(self.root)))  # noqa: PTH100  # keeps links

    def __repr__(self) -> str:
        return f"PhotoFolder({str(self.root)!r}, {len(self.photos)} photos, {len(self.problems)} problems)"

    def name_below(self, path: Path) -> str:
        """Return a path below the folder as text, as ids have it."""
        return printable_id(Path(os.path.relpath(path, self.root)))


def find_photos(folder: str | Path) -> PhotoFolder:
    """Find every photo below a folder, and say what could not be looked at.

    Files count as photos by their ending (`PHOTO_SUFFIXES`, in any case). Hidden files and folders (".name")
    are left out, folders behind symbolic links are entered unless they lead back to a folder above. An id is
    the path below the folder with "/"; see `printable_id` for names that are not text.

    Raises:
        InputError: `folder` is not a folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{printable_id(folder)}: no such folder; give the folder that holds the photos")
    photos: list[Photo] = []
    problems: list[ImageError] = []
    for entry in _walk(folder, (), problems):
        if reason := _why_not_a_file(entry):
            problems.append(ImageError(entry, reason))
        else:
            photos.append(Photo(printable_id(entry.relative_to(folder)), entry))
    return PhotoFolder(folder, tuple(sorted(photos, key=lambda photo: photo.id)), tuple(problems))


def content_sha256(path: Path) -> str:
    """Return the SHA-256 of the file's bytes, 64 hexadecimal digits.

    Raises:
        ImageError: The file cannot be read.
    """
    try:
        with open_photo_file(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ImageError(path, explain_os_error(error)) from error


def printable_id(path: Path) -> str:
    r"""Return a path as text that can be stored and printed; two different paths never give the same text.

    Bytes that are not UTF-8, control characters and the backslash itself become `\xNN`; all else stays.
    """
    return re.sub(r"[\x00-\x1f\x7f\\\udc80-\udcff]", lambda m: f"\\x{ord(m[0]) & 0xFF:02X}", path.as_posix())


def place_below(path: Path, folder: Path) -> Path:
    """Return a file's path below an absolute folder, or its whole path where it lies elsewhere.

    ".." is resolved by the text alone, so that links stay links.
    """
    path = Path(os.path.abspath(path))  # noqa: PTH100
    return path.relative_to(folder) if path.is_relative_to(folder) else path


@contextmanager
def open_photo_file(path: Path) -> Iterator[io.BufferedReader]:
    """Open a file for reading, and nothing else: a pipe or device could wait for ever.

    Raises:
        ImageError: It is no regular file, or empty.
        OSError: It cannot be read.
    """
    if reason := _why_not_a_file(path):
        raise ImageError(path, reason)
    with path.open("rb") as file:
        yield file


def explain_os_error(error: OSError | ValueError) -> str:
    """Say in one line why a file or folder could not be read."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return " ".join(str(error).split())[:200] or type(error).__name__


def _walk(folder: Path, above: tuple[tuple[int, int], ...], problems: list[ImageError]) -> Iterator[Path]:
    """Yield what looks like a photo below `folder`, in sorted order; `above` are the folders on the way."""
    try:
        status = folder.stat()
        entries = sorted(folder.iterdir())
    except OSError as error:
        problems.append(ImageError(folder, f"the folder cannot be read: {explain_os_error(error)}"))
        return
    identity = (status.st_dev, status.st_ino)
    if identity in above:
        return  # a symbolic link back to a folder on the way
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if _is_folder(entry):
            yield from _walk(entry, (*above, identity), problems)
        elif entry.suffix.lower() in PHOTO_SUFFIXES:
            yield entry
        elif entry.is_symlink() and not entry.exists():
            problems.append(ImageError(entry, "a link to a folder or file that does not exist"))


def _is_folder(entry: Path) -> bool:
    try:
        return stat.S_ISDIR(entry.stat().st_mode)
    except OSError:  # a broken or endless link, or no permission: the photo's own reading says which
        return False


def _why_not_a_file(path: Path) -> str | None:
    """Say why a path cannot be opened as a file, or None."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return "a link to a file that does not exist" if path.is_symlink() else "no such file"
    except (OSError, ValueError) as error:
        return explain_os_error(error)
    if stat.S_ISDIR(status.st_mode):
        return "a folder, not a file"
    if not stat.S_ISREG(status.st_mode):
        return "not a regular file (a pipe, socket or device)"
    return None if status.st_size else "the file is empty (0 bytes)"
