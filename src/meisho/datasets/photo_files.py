"""The photos below a folder, all of them or an error: a figure over some of them is not the data set's."""

from pathlib import Path

from meisho.errors import DatasetError, InputError
from meisho.images import Photo, find_photos


def photos_below(folder: Path, *, leave_out: frozenset[str] = frozenset()) -> tuple[Photo, ...]:
    """Find every photo below a folder, sorted by id: the path below it with "/".

    Args:
        folder: The folder.
        leave_out: File names, less their ending, that are passed over whatever they hold.

    Raises:
        DatasetError: The folder is missing, or something named like a photo cannot be one.
    """
    try:
        photos, problems = find_photos(folder)
    except InputError as error:
        raise DatasetError(str(error)) from error
    broken = [problem for problem in problems if problem.path.stem not in leave_out]
    if broken:
        raise DatasetError(
            f"{folder}: {len(broken)} entries below it cannot be read, such as {broken[0]}; "
            "mend or remove them"
        )
    return tuple(photo for photo in photos if photo.path.stem not in leave_out)
