"""Distractors: photos added to a database that are right for no query, such as the million of R1M.

Source: Radenović et al. 2018 (arXiv:1803.11285), whose figures "+ R1M" are of the same queries and answers.
"""

from dataclasses import replace
from pathlib import Path

from meisho.datasets.dataset import Dataset
from meisho.datasets.photo_files import photos_below
from meisho.errors import DatasetError
from meisho.photos import Photo


def add_distractors(dataset: Dataset, folder: Path) -> Dataset:
    """Add every photo below a folder to the end of a data set's database.

    The rows of the ground truth stay as they are; ids are "added/" and the path below the folder. The
    name says how many there are, so that nothing is compared with the data set without them.

    Args:
        dataset: The data set.
        folder: The folder of photos.

    Raises:
        DatasetError: The folder is missing, holds no photo, or holds photos of the data set itself.
    """
    found = photos_below(folder.expanduser())
    if not found:
        raise DatasetError(f"{folder}: no photo below it to add to {dataset.name}; put the distractors there")
    own = {photo.path.resolve() for photo in (*dataset.database, *dataset.queries)}
    if twice := next((photo for photo in found if photo.path.resolve() in own), None):
        raise DatasetError(
            f"{folder}: the photo {twice.id!r} is one of {dataset.name} itself, and may be right for a "
            "query; name a folder of distractors alone"
        )
    added = tuple(Photo(f"added/{photo.id}", photo.path) for photo in found)
    return replace(dataset, name=f"{dataset.name}+{len(added)}", database=(*dataset.database, *added))
