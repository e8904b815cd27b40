"""Photo folder: the photos below a folder, found in one walk; and what was left out of it."""

import os
import re
import stat
import unicodedata
from collections import Counter, defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import translate
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

from meisho.buckets import BucketPath, as_place
from meisho.errors import ImageError, InputError, explain_os_error
from meisho.photos import (
    PHOTO_SUFFIXES,
    RAW_SUFFIXES,
    Photo,
    place_below,
    printable,
    printable_id,
    why_not_readable,
)

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
_HEAD = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|GIF8|II[*+]\0|MM\0[*+]|\0\0\0\x0cjP  |\xff\x4f\xff\x51|P[1-6]\s"
    rb"|BM.{4}\0{4}|RIFF.{4}WEBP|.{4}ftyp(?:avi[fs]|hei[cxms]|hev[cxms]|mi[fa]1|msf1)",
    re.DOTALL,
)
"""How the files that `images` reads begin: JPEG, PNG, GIF, TIFF, JPEG 2000, PNM, BMP, WebP, AVIF and HEIF."""


@dataclass(frozen=True)
class LeftOut:
    """Files or folders below a photo folder that are not taken for photos.

    Attributes:
        reason: Why.
        count: How many.
        example: One of them, as ids are.
        num_folders: How many of them are folders, which nobody looked into.
    """

    reason: str
    count: int
    example: str
    num_folders: int = 0


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
        if not isinstance(self.root, BucketPath):
            object.__setattr__(self, "root", Path(os.path.abspath(self.root)))  # noqa: PTH100  # keeps links

    def __repr__(self) -> str:
        return f"PhotoFolder({str(self.root)!r}, {len(self.photos)} photos, {len(self.problems)} problems)"

    def name_below(self, path: Path) -> str:
        """Return a path below the folder as text, as ids have it."""
        if isinstance(path, BucketPath):
            return printable_id(place_below(path, self.root))
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
        folder: The folder; in a bucket "s3://BUCKET/NAME".
        excludes: Patterns of what is left out, with "*", "?" and "[...]" as in a shell; upper and lower case
            are one. One without "/" is compared with the name of every file and folder, one with "/" within
            with the end of its path. ".nomedia" leaves out folders that hold a file of that name.

    Raises:
        InputError: `folder` is not a folder.
    """
    folder = as_place(folder)
    if not folder.is_dir():
        raise InputError(f"{printable_id(folder)}: no such folder; give the folder that holds the photos")
    walk = _BucketWalk(folder, excludes) if isinstance(folder, BucketPath) else _Walk(folder, excludes)
    walk.run()
    return PhotoFolder(
        folder,
        tuple(sorted(walk.photos, key=lambda photo: photo.id)),
        tuple(walk.problems),
        tuple(walk.unseen),
        tuple(
            LeftOut(reason, len(ids), ids[0], walk.folders_left_out[reason])
            for reason, ids in sorted(walk.left_out.items())
        ),
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


class _Walk:
    """One walk below a folder, without recursion: folders may be nested deeper than Python can call."""

    def __init__(self, folder: Path, excludes: Sequence[str]) -> None:
        self._top, self._excludes = str(folder), Excludes(excludes)
        self._start = len(os.path.join(self._top, ""))  # noqa: PTH118  # of what is below it
        self.photos: list[Photo] = []
        self.problems: list[ImageError] = []
        self.unseen: list[str] = []
        self.left_out: dict[str, list[str]] = defaultdict(list)
        self.folders_left_out: Counter[str] = Counter()
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
                self._leave_out("there already by another path", place, is_folder=True)
                continue
            self._walked.add((status.st_dev, status.st_ino))
            if reason := self._why_none_inside({entry.name for entry in entries}):
                self._leave_out(reason, place, is_folder=True)
                continue
            below = [entry.path for entry in entries if self._take(entry)]
            waiting += reversed(below)

    def _why_none_inside(self, names: set[str]) -> str | None:
        if ".nomedia" in names and ".nomedia" in self._excludes.patterns:
            return "excluded by .nomedia"
        return "collection of meisho" if names >= {"collection.json", "photos.lance"} else None

    def _take(self, entry: "os.DirEntry[str]") -> bool:
        """Take an entry for a photo, or for nothing; returns whether it is a folder to walk."""
        if entry.name.startswith("."):
            self._leave_out("hidden", entry.path, is_folder=_is_folder(entry))
        elif pattern := self._excludes.find(self._id(entry.path)):
            self._leave_out(f"excluded by {pattern}", entry.path, is_folder=_is_folder(entry))
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
        elif reason := why_not_readable(status):
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

    def _leave_out(self, reason: str, path: str, *, is_folder: bool = False) -> None:
        self.left_out[reason].append(self._id(path))
        self.folders_left_out[reason] += is_folder

    def _id(self, path: str) -> str:
        return printable(path[self._start :].replace(os.sep, "/")) or "."


class _BucketWalk(_Walk):
    """One walk of a bucket: its listing names every object, and folders are what stands before "/"."""

    def __init__(self, folder: BucketPath, excludes: Sequence[str]) -> None:
        super().__init__(folder, excludes)
        self._folder = folder
        self._shut: dict[str, str] = {}

    def run(self) -> None:
        """Take every object, but what lies in folders that are left out, which are told once each."""
        objects = [*self._folder.walk()]
        self._leave_folders_out({str(each.parent): each.name for each in objects if each.name == ".nomedia"})
        self._leave_folders_out(
            {str(each.parent): each.name for each in objects if each.name == "collection.json"}
        )
        for each in objects:
            if not any(folder in self._shut for folder in self._folders_above(each)):
                self._take_object(each)

    def _leave_folders_out(self, marks: dict[str, str]) -> None:
        for folder, name in marks.items():
            if reason := self._why_none_inside({name, "photos.lance"}):
                self._shut[folder] = reason
                self._leave_out(reason, folder, is_folder=True)

    def _folders_above(self, each: BucketPath) -> list[str]:
        """Return the folders that an object lies in, the outermost first; what is left out is noted."""
        parts = str(each)[self._start :].split("/")[:-1]
        above = [self._top.rstrip("/")]
        for part in parts:
            above.append(f"{above[-1]}/{part}")
            hidden = part.startswith(".")
            pattern = None if hidden else self._excludes.find(self._id(above[-1]))
            if (hidden or pattern) and above[-1] not in self._shut:
                self._shut[above[-1]] = reason = "hidden" if hidden else f"excluded by {pattern}"
                self._leave_out(reason, above[-1], is_folder=True)
            if above[-1] in self._shut:
                break
        return above

    def _take_object(self, each: BucketPath) -> None:
        path, suffix = str(each), each.suffix.lower()
        if each.name.startswith("."):
            self._leave_out("hidden", path)
        elif pattern := self._excludes.find(self._id(path)):
            self._leave_out(f"excluded by {pattern}", path)
        elif reason := self._why_no_photo(path, suffix, each.stat()):
            self._leave_out(reason, path)
        elif reason := why_not_readable(each.stat()):
            self.problems.append(ImageError(each, reason))
        else:
            self.photos.append(Photo(self._id(path), each))


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
    with as_place(path).open("rb") as file:
        return _HEAD.match(file.read(16)) is not None
