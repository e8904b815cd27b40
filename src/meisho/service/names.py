"""Names of files from outside, made safe: below one folder, not hidden, and as people wrote them."""

import os
import re
import unicodedata
from pathlib import Path

from meisho.buckets import BucketPath
from meisho.errors import InputError
from meisho.photos import PHOTO_SUFFIXES, RAW_SUFFIXES
from meisho.texts import printable

_UNSAFE = re.compile(r'[<>:"|?*]')
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
_MOST_PARTS = 16
_MOST_BYTES = 150  # of a part: file systems take 255, and a temporary name needs some of them
_LONGEST_SUFFIX = 10

_SUFFIX_OF = {
    "JPEG": ".jpg",
    "MPO": ".jpg",
    "PNG": ".png",
    "WEBP": ".webp",
    "GIF": ".gif",
    "BMP": ".bmp",
    "DIB": ".bmp",
    "TIFF": ".tif",
    "PPM": ".ppm",
    "JPEG2000": ".jp2",
    "AVIF": ".avif",
    "HEIF": ".heic",
}
"""Pillow's name of a format -> the ending of a file that has none of a photo."""


def safe_name(name: str, format: str | None = None) -> str:
    """Return a path below a folder, with "/", that can be a file anywhere and keeps what people can read.

    Parts that lead elsewhere are dropped, a hidden file is not hidden any more, what cannot be seen or is not
    allowed on a file system people use becomes "_", letters of any script stay, long parts are cut. The same
    name always becomes the same; a name that is safe stays.

    Args:
        name: Any text.
        format: Pillow's name of the photo's format, whose ending is added where there is none of a photo.
    """
    parts = [_safe_part(part) for part in re.split(r"[/\\]", unicodedata.normalize("NFC", name))]
    kept = [part for part in parts if part][-_MOST_PARTS:] or ["photo"]
    if format is not None and Path(kept[-1]).suffix.lower() not in PHOTO_SUFFIXES | RAW_SUFFIXES:
        kept[-1] += _SUFFIX_OF.get(format, ".jpg")
    return "/".join(kept)


def place_inside(folder: Path, name: str) -> Path:
    """Return the file of a safe name below a folder.

    Raises:
        InputError: A link on the way leads out of the folder, or a file stands where a folder must be.
    """
    if isinstance(folder, BucketPath):
        return _place_in_bucket(folder, name)
    path, root = folder / name, Path(os.path.realpath(folder))
    there = next(parent for parent in path.parents if os.path.lexists(parent) or parent == folder)
    real = Path(os.path.realpath(there))
    if there.exists() and not real.is_dir():
        raise InputError(
            f"{printable(there)}: is a file, so that no photo can lie below it; choose another name"
        )
    if not real.is_relative_to(root) or (path.is_symlink() and not path.resolve().is_relative_to(root)):
        raise InputError(f"{printable(path)}: a link leads out of {folder}; choose another name")
    return path


def _place_in_bucket(folder: BucketPath, name: str) -> Path:
    """Do the same in a bucket: some stores keep their objects as files, with folders above them."""
    parts = name.split("/")
    for depth in range(1, len(parts)):
        if (above := folder.below("/".join(parts[:depth]))).is_file():
            raise InputError(
                f"{printable(above)}: is a file, so that no photo can lie below it; choose another name"
            )
    return folder.below(name)


def _safe_part(part: str) -> str:
    visible = "".join("_" if _is_unseen(letter) else letter for letter in part)
    plain = _UNSAFE.sub("_", visible).strip(" ").lstrip(". ").rstrip(". ")
    if _RESERVED.fullmatch(plain):
        plain = f"_{plain}"
    return _cut(plain)


def _is_unseen(letter: str) -> bool:
    return unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp") and letter != "\u200d"


def _cut(part: str) -> str:
    """Return a part with so few bytes that a file system takes it; its ending stays."""
    if len(part.encode()) <= _MOST_BYTES:
        return part
    stem, dot, suffix = part.rpartition(".")
    if not stem or len(suffix.encode()) > _LONGEST_SUFFIX:
        stem, dot, suffix = part, "", ""
    room = _MOST_BYTES - len((dot + suffix).encode())
    return stem.encode()[:room].decode("utf-8", "ignore").rstrip(". ") + dot + suffix
