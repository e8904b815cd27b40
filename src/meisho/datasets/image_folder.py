"""Your own photos in one folder per label, without any table.

The folder that holds a photo is its label, with its path: `ROOT/oxford/all_souls/1.jpg` has the label
`oxford/all_souls`. Two layouts are known:

**Everything in one**: each photo is asked for among all the others, and is junk in its own ranking. A photo
that is alone in its folder has no right answer: it is searched, but not asked for::

    ROOT/LABEL/*.jpg

**Split**, where ROOT has the folders `queries` and `database`. Labels are paths below those. Photos below
`junk` count neither way for the queries of their label, those below `distractors` are wrong for everyone::

    ROOT/queries/LABEL/*.jpg
    ROOT/database/LABEL/*.jpg
    ROOT/junk/LABEL/*.jpg
    ROOT/distractors/**/*.jpg

There are no boxes here; a table has them (`meisho.datasets.csv_table`).
"""

from collections import Counter
from pathlib import Path

from meisho.datasets.base import Dataset
from meisho.datasets.labelled import LabelledPhoto, Role, dataset_of_labels
from meisho.datasets.photo_files import photos_below
from meisho.errors import DatasetError
from meisho.photos import Photo

_SPLIT: dict[str, Role] = {
    "queries": "query",
    "database": "database",
    "junk": "junk",
    "distractors": "distractor",
}


def load_image_folder(root: Path) -> Dataset:
    """Load a folder of labelled photos; ids are paths below it.

    Raises:
        DatasetError: The folder cannot be read, a photo lies where it has no label, or none can be asked for.
    """
    photos = label_photos(root)
    if not any(photo.role in ("query", "both") for photo in photos):
        raise DatasetError(
            f"{root}: no photo to ask for; put two or more photos of a thing into one folder, ROOT/LABEL/, "
            "or queries into ROOT/queries/LABEL/ and what is searched into ROOT/database/LABEL/"
        )
    return dataset_of_labels(root.resolve().name, root, photos)


def label_photos(root: Path) -> list[LabelledPhoto]:
    """Find the photos of a labelled folder, each with its label and role, in order of role and path.

    Raises:
        DatasetError: The folder cannot be read, or a photo lies where it has no label.
    """
    is_split = (root / "queries").is_dir() and (root / "database").is_dir()
    return _split_photos(root) if is_split else _pooled_photos(root)


def _pooled_photos(root: Path) -> list[LabelledPhoto]:
    photos = [(photo, _label(photo, root)) for photo in photos_below(root)]
    _check_labels(root, photos)
    sizes = Counter(label for _, label in photos)
    return [
        LabelledPhoto(photo, label, "both" if sizes[label] > 1 else "database") for photo, label in photos
    ]


def _split_photos(root: Path) -> list[LabelledPhoto]:
    labelled = []
    for folder, role in _SPLIT.items():
        if not (root / folder).is_dir():
            continue
        below = photos_below(root / folder)
        photos = [(Photo(f"{folder}/{p.id}", p.path), _label(p, root / folder)) for p in below]
        if role != "distractor":
            _check_labels(root / folder, photos)
        labelled += [LabelledPhoto(photo, label, role) for photo, label in photos]
    return labelled


def _label(photo: Photo, folder: Path) -> str:
    return photo.path.parent.relative_to(folder).as_posix()


def _check_labels(folder: Path, photos: list[tuple[Photo, str]]) -> None:
    loose = [photo for photo, label in photos if label == "."]
    if loose:
        raise DatasetError(
            f"{folder}: {len(loose)} photos, such as {loose[0].id}, lie straight in it and have no label; "
            "move them into a folder per label"
        )
