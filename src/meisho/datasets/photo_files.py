"""The photos below a folder, all of them or an error: a figure over some of them is not the data set's."""

from pathlib import Path

from meisho.errors import DatasetError, InputError
from meisho.images import Photo, find_photos


def photos_below(folder: Path) -> tuple[Photo, ...]:
    """Find every photo below a folder, sorted by id: the path below it with "/".

    Raises:
        DatasetError: The folder is missing, or something named like a photo cannot be one.
    """
    try:
        photos, problems = find_photos(folder)
    except InputError as error:
        raise DatasetError(str(error)) from error
    if problems:
        raise DatasetError(
            f"{folder}: {len(problems)} entries below it cannot be read, such as {problems[0]}; "
            "mend or remove them"
        )
    return photos
