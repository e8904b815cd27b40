"""The photos below a folder."""

import os
from pathlib import Path

from meisho.errors import DatasetError
from meisho.images import PHOTO_SUFFIXES, Photo


def find_photos(folder: Path, *, below: Path | None = None) -> tuple[Photo, ...]:
    """Find every photo below a folder, however deep, ordered by id; hidden files and folders are left out.

    Args:
        folder: The folder to walk; links to folders are not followed.
        below: Ids are paths below this folder, with "/"; `folder` itself when None.

    Returns:
        The photos; empty where the folder has none.

    Raises:
        DatasetError: The folder is missing or may not be read.
    """
    found = []
    for path in _walk(folder):
        if path.suffix.lower() in PHOTO_SUFFIXES:
            found.append(Photo(photo_id(path, below or folder), path))
    return tuple(sorted(found, key=lambda photo: photo.id))


def photo_id(path: Path, folder: Path) -> str:
    """Return the path below the folder with "/"; bytes of the name that are not UTF-8 become escapes."""
    return os.fsencode(path.relative_to(folder).as_posix()).decode("utf-8", "backslashreplace")


def _walk(folder: Path) -> list[Path]:
    def stop(error: OSError) -> None:
        raise DatasetError(f"{error.filename}: cannot be read ({error.strerror}); check the path") from error

    files: list[Path] = []
    for parent, folders, names in os.walk(folder, onerror=stop):
        folders[:] = [name for name in folders if not name.startswith(".")]  # os.walk looks here again
        files.extend(Path(parent, name) for name in names if not name.startswith("."))
    return [path for path in files if path.is_file()]
