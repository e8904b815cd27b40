"""Photo files, all of them or an error: a figure over some of a data set's photos is not the data set's."""

import os
from collections.abc import Sequence
from pathlib import Path

from meisho.datasets.base import Dataset
from meisho.errors import DatasetError, ImageError, InputError
from meisho.photo_folder import find_photos
from meisho.photos import Photo
from meisho.texts import printable

_SHOWN = 20


def photo_name(value: object) -> str:
    """Return the name of a photo as it stands in a ground truth: it becomes part of a path.

    Raises:
        ValueError: It is not text, is empty or very long, or holds "/", a backslash or NUL.
    """
    if not isinstance(value, str) or not 0 < len(value) <= 200 or any(sign in value for sign in "/\\\0"):
        raise ValueError(f"{value!r:.80} is not the name of a photo")
    return value


def photos_below(folder: Path, *, leave_out: frozenset[str] = frozenset()) -> tuple[Photo, ...]:
    """Find every photo below a folder, sorted by id: the path below it with "/".

    Args:
        folder: The folder.
        leave_out: File names, less their ending, that are passed over whatever they hold.

    Raises:
        DatasetError: The folder is missing, or something named like a photo cannot be one.
    """
    try:
        found = find_photos(folder)
    except InputError as error:
        raise DatasetError(str(error)) from error
    broken = [problem for problem in found.problems if problem.path.stem not in leave_out]
    if broken:
        raise DatasetError(
            f"{folder}: {len(broken)} entries below it cannot be read; mend or remove them"
            f"{list_errors(broken)}"
        )
    return tuple(photo for photo in found.photos if photo.path.stem not in leave_out)


def list_errors(errors: Sequence[ImageError]) -> str:
    """Name photos that cannot be read, each on a line of its own, the first few of many."""
    lines = [str(error) for error in errors[:_SHOWN]]
    if len(errors) > _SHOWN:
        lines.append(f"... and {len(errors) - _SHOWN:,} more")
    return "".join(f"\n  {line}" for line in lines)


def missing_photos(dataset: Dataset) -> tuple[Photo, ...]:
    """Return the photos, queries first, whose files are not there, each file once."""
    photos = {photo.path: photo for photo in (*dataset.database, *dataset.queries)}
    queries = {photo.path: photo for photo in dataset.queries}
    return tuple(photo for path, photo in (queries | photos).items() if not path.is_file())


def check_photos(dataset: Dataset) -> None:
    """Check that every photo of the data set is there, before the first one is read.

    Raises:
        DatasetError: Photos are missing; the message counts them, names the first and says where to put them.
    """
    missing = missing_photos(dataset)
    if not missing:
        return
    total = len({photo.path for photo in (*dataset.database, *dataset.queries)})
    folder = os.path.commonpath([photo.path.parent for photo in missing])
    lines = [f"{dataset.name}: {len(missing)} of {total} photos are missing; put them under {folder}:"]
    lines += [printable(photo.path) for photo in missing[:5]]
    if len(missing) > 5:
        lines.append(f"... and {len(missing) - 5} more")
    raise DatasetError("\n  ".join(lines))
