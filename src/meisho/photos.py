"""Photos: what is to be described, by file or in memory; and the photos of a folder."""

import hashlib
import io
import os
import re
import stat
import unicodedata
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import translate
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

from meisho.arrays import UInt8Array
from meisho.documents import parse_numbers
from meisho.errors import ConfigError, ImageError, InputError, explain_os_error

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
DEFAULT_EXCLUDES = (
    "@eaDir",  # thumbnails of Synology
    "@Recycle",
    "@Recently-Snapshot",  # QNAP
    "#recycle",
    "#snapshot",
    "$RECYCLE.BIN",
    "RECYCLER",
    "System Volume Information",
    "Network Trash Folder",
    "lost+found",
    "*.photoslibrary/resources",  # what Apple's Photos derives from its originals
    "*.photoslibrary/private",
    "*.photolibrary/Thumbnails",
    "*.photolibrary/Previews",
    "*.photolibrary/Data",
    "*.photolibrary/Data.noindex",
    "*.photolibrary/resources",
    "*.aplibrary/Thumbnails",
    "*.aplibrary/Previews",
    "*.lrdata",  # previews of Lightroom
    "*.cocatalog/Cache",  # Capture One; its Originals are photos
    "CaptureOne/Cache",
    "appdata_*/preview",  # Nextcloud
    "__MACOSX",
    "__pycache__",
    ".nomedia",  # a file by which a folder says that it holds no photos
)
"""What is left out when a folder is walked, see `find_photos`."""
_PART_BYTES = 2**18
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f\\\udc80-\udcff]")
_HEAD = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|GIF8|II[*+]\0|MM\0[*+]|\0\0\0\x0cjP  |\xff\x4f\xff\x51|P[1-6]\s"
    rb"|BM.{4}\0{4}|RIFF.{4}WEBP|.{4}ftyp(?:avi[fs]|hei[cxms]|hev[cxms]|mi[fa]1|msf1)",
    re.DOTALL,
)
"""How the files that `images` reads begin: JPEG, PNG, GIF, TIFF, JPEG 2000, PNM, BMP, WebP, AVIF and HEIF."""


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
class LeftOut:
    """Files or folders below a photo folder that are not taken for photos.

    Attributes:
        reason: Why.
        count: How many.
        example: One of them, as ids are.
    """

    reason: str
    count: int
    example: str


@dataclass(frozen=True)
class PhotoFolder:
    """The photos of one folder.

    Attributes:
        root: The folder, absolute.
        photos: Its photos, sorted by id; they need not be all.
        problems: Places below it that could not be looked into, and photos that are none.
        unseen: Ids of places that could not be looked into: what was there may be there still.
        left_out: What was passed over, by reason.
        excludes: The patterns by which files and folders were left out.
    """

    root: Path
    photos: tuple[Photo, ...]
    problems: tuple[ImageError, ...] = ()
    unseen: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    excludes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", Path(os.path.abspath(self.root)))  # noqa: PTH100  # keeps links

    def __repr__(self) -> str:
        return f"PhotoFolder({str(self.root)!r}, {len(self.photos)} photos, {len(self.problems)} problems)"

    def name_below(self, path: Path) -> str:
        """Return a path below the folder as text, as ids have it."""
        return printable_id(Path(os.path.relpath(path, self.root)))

    def is_unseen(self, photo_id: str) -> bool:
        """Whether a photo lies where nobody could look."""
        parts = photo_id.split("/")
        return any("/".join(parts[:depth]) in self._unseen for depth in range(1, len(parts) + 1))

    @cached_property
    def _unseen(self) -> frozenset[str]:
        return frozenset(self.unseen)


def find_photos(folder: str | Path, *, excludes: Sequence[str] = DEFAULT_EXCLUDES) -> PhotoFolder:
    """Find every photo below a folder, and say what could not be looked at and what was left out.

    Files count as photos by their ending (`PHOTO_SUFFIXES`, in any case), those without an ending by their
    first bytes. Hidden files and folders (".name") are left out. Each folder is walked once, however many
    links lead to it; those that lie below are walked before those that links lead to. An id is the path below
    the folder with "/"; see `printable_id` for names that are not text.

    Args:
        folder: The folder.
        excludes: Patterns of what is left out, with "*", "?" and "[...]" as in a shell; upper and lower case
            are one. One without "/" is compared with the name of every file and folder, one with "/" within
            with the end of its path. ".nomedia" leaves out folders that hold a file of that name.

    Raises:
        InputError: `folder` is not a folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{printable_id(folder)}: no such folder; give the folder that holds the photos")
    walk = _Walk(folder, Excludes(excludes))
    walk.run()
    return PhotoFolder(
        folder,
        tuple(sorted(walk.photos, key=lambda photo: photo.id)),
        tuple(walk.problems),
        tuple(walk.unseen),
        tuple(LeftOut(reason, len(ids), ids[0]) for reason, ids in sorted(walk.left_out.items())),
        tuple(excludes),
    )


class Excludes:
    """Patterns of what is left out, see `find_photos`, ready to be compared with many names."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self.patterns = tuple(patterns)
        ends = [_in_one_form(re.sub(r"^(?:\./|\*\*/|/)+|/+$", "", pattern)) for pattern in self.patterns]
        self._by_name = _any_of({n: end for n, end in enumerate(ends) if "/" not in end})
        self._by_path = _any_of({n: f"*/{end}" for n, end in enumerate(ends) if "/" in end})

    def find(self, photo_id: str) -> str | None:
        """Return the pattern by which a file or folder itself, not what is above it, is left out; or None."""
        path = f"/{_in_one_form(photo_id)}"
        found = self._by_name.match(path, path.rindex("/") + 1) or self._by_path.match(path)
        return self.patterns[int(str(found.lastgroup)[1:])] if found else None


def _any_of(patterns: dict[int, str]) -> re.Pattern[str]:
    """Return what matches any of these patterns, in a group that is named by the pattern's number."""
    alternatives = [f"(?P<p{number}>{translate(pattern)})" for number, pattern in patterns.items()]
    return re.compile("|".join(alternatives) or r"(?!)", re.IGNORECASE)


def _in_one_form(name: str) -> str:
    """Return a name with composed letters: a Mac takes them apart, a keyboard does not."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


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
    return _printable(path.as_posix())


def _printable(path: str) -> str:
    return _UNPRINTABLE.sub(lambda found: f"\\x{ord(found[0]) & 0xFF:02X}", path)


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
    if reason := why_not_a_file(path):
        raise ImageError(path, reason)
    with path.open("rb") as file:
        yield file


class _Walk:
    """One walk below a folder, without recursion: folders may be nested deeper than Python can call."""

    def __init__(self, folder: Path, excludes: Excludes) -> None:
        self._top, self._excludes = os.fspath(folder), excludes
        self._start = len(os.path.join(self._top, ""))  # noqa: PTH118  # of what is below it
        self.photos: list[Photo] = []
        self.problems: list[ImageError] = []
        self.unseen: list[str] = []
        self.left_out: dict[str, list[str]] = defaultdict(list)
        self._reads_raw = find_spec("rawpy") is not None
        self._links: deque[str] = deque()
        self._walked: set[tuple[int, int]] = set()

    def run(self) -> None:
        """Walk the folder and what is below, then what links lead to."""
        self._walk_from(self._top)
        while self._links:
            self._walk_from(self._links.popleft())

    def _walk_from(self, top: str) -> None:
        waiting = [top]
        while waiting:
            place = waiting.pop()
            try:
                status = os.stat(place)  # noqa: PTH116  # Path objects take most of the time of a walk
                with os.scandir(place) as listing:
                    entries = sorted(listing, key=lambda entry: entry.name)
            except OSError as error:
                self._note_unseen(place, f"the folder cannot be read: {explain_os_error(error)}")
                continue
            if (status.st_dev, status.st_ino) in self._walked:
                self._leave_out("a folder that is there already by another path", place)
                continue
            self._walked.add((status.st_dev, status.st_ino))
            if reason := self._why_none_inside({entry.name for entry in entries}):
                self._leave_out(reason, place)
                continue
            below = [entry.path for entry in entries if self._take(entry)]
            waiting += reversed(below)

    def _why_none_inside(self, names: set[str]) -> str | None:
        if ".nomedia" in names and ".nomedia" in self._excludes.patterns:
            return "excluded by .nomedia"
        return "a collection of meisho" if names >= {"collection.json", "photos.lance"} else None

    def _take(self, entry: "os.DirEntry[str]") -> bool:
        """Take an entry for a photo, or for nothing; returns whether it is a folder to walk."""
        if entry.name.startswith("."):
            self._leave_out("hidden", entry.path)
        elif pattern := self._excludes.find(self._id(entry.path)):
            self._leave_out(f"excluded by {pattern}", entry.path)
        elif _is_folder(entry):
            return True
        else:
            self._take_file_or_link(entry)
        return False

    def _take_file_or_link(self, entry: "os.DirEntry[str]") -> None:
        path, suffix = entry.path, os.path.splitext(entry.name)[1].lower()  # noqa: PTH122
        try:
            status = entry.stat()
            reason = None if stat.S_ISDIR(status.st_mode) else self._why_no_photo(path, suffix, status)
        except OSError as error:
            if suffix in PHOTO_SUFFIXES or not suffix or _is_link(path):
                self._note_unseen(path, _explain_missing(path, error))
            else:
                self._leave_out(f"not photos ({suffix})", path)
            return
        if stat.S_ISDIR(status.st_mode):
            self._links.append(path)
        elif reason:
            self._leave_out(reason, path)
        elif reason := _why_not_readable(status):
            self.problems.append(ImageError(Path(path), reason))
        else:
            self.photos.append(Photo(self._id(path), Path(path)))

    def _why_no_photo(self, path: str, suffix: str, status: os.stat_result) -> str | None:
        """Say why a file is not taken for a photo, or None.

        Raises:
            OSError: It has no ending, and its first bytes cannot be read.
        """
        if suffix in PHOTO_SUFFIXES or (suffix in RAW_SUFFIXES and self._reads_raw):
            return None
        if suffix in RAW_SUFFIXES:
            return f"RAW photos ({suffix}), which need meisho[raw]"
        if suffix:
            return f"not photos ({suffix})"
        is_photo = stat.S_ISREG(status.st_mode) and _starts_as_photo(path)
        return None if is_photo else "no ending, and not photos"

    def _note_unseen(self, place: str, reason: str) -> None:
        self.problems.append(ImageError(Path(place), reason))
        self.unseen.append(self._id(place))

    def _leave_out(self, reason: str, path: str) -> None:
        self.left_out[reason].append(self._id(path))

    def _id(self, path: str) -> str:
        return _printable(path[self._start :].replace(os.sep, "/")) or "."


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    """Whether an entry is a folder itself; what cannot be told is asked for again as a file."""
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:  # where the listing does not say it, and the entry may not be looked at
        return False


def _is_link(path: str) -> bool:
    return os.path.islink(path)  # noqa: PTH114  # False where nobody may look


def _explain_missing(path: str, error: OSError) -> str:
    if isinstance(error, FileNotFoundError) and Path(path).is_symlink():
        return "a link to a folder or file that does not exist"
    return explain_os_error(error)


def _starts_as_photo(path: str) -> bool:
    with Path(path).open("rb") as file:
        return _HEAD.match(file.read(16)) is not None


def why_not_a_file(path: Path) -> str | None:
    """Say why a path cannot be opened as a file, or None."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return "a link to a file that does not exist" if path.is_symlink() else "no such file"
    except (OSError, ValueError) as error:
        return explain_os_error(error)
    return _why_not_readable(status)


def _why_not_readable(status: os.stat_result) -> str | None:
    if stat.S_ISDIR(status.st_mode):
        return "a folder, not a file"
    if not stat.S_ISREG(status.st_mode):
        return "not a regular file (a pipe, socket or device)"
    return None if status.st_size else "the file is empty (0 bytes)"
