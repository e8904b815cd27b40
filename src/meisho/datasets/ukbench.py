"""UKBench [Nistér and Stewénius 2006]: objects photographed four times each.

Photos are named `ukbenchNNNNN.jpg`, from 00000 on, four consecutive numbers per object, in `ROOT/full` as
published or in `ROOT` itself; the objects may be your own. Every photo is a query and a database photo, and
is itself one of its four right answers, as published: a perfect ranking has an N-S score of 4.
"""

import re
from collections import defaultdict
from pathlib import Path

from meisho.datasets.base import Dataset
from meisho.datasets.photo_files import photos_below
from meisho.errors import DatasetError
from meisho.ground_truth import GroundTruth, database_rows

PHOTOS_PER_OBJECT = 4
_NAME = re.compile(r"ukbench([0-9]{5})\.jpg", re.IGNORECASE)


def load_ukbench(root: Path) -> Dataset:
    """Load UKBench or some objects of it.

    Raises:
        DatasetError: There are no such photos, or an object has not exactly its four.
    """
    folder = root / "full" if (root / "full").is_dir() else root
    photos = [photo for photo in photos_below(folder) if _NAME.fullmatch(photo.path.name)]
    if not photos:
        raise DatasetError(
            f"{folder}: no photo named like ukbench00000.jpg below it; put the photos of UKBench there"
        )
    objects = [_number(photo.path) // PHOTOS_PER_OBJECT for photo in photos]
    rows_of: defaultdict[int, list[int]] = defaultdict(list)
    for row, number in enumerate(objects):
        rows_of[number].append(row)
    _check_objects(folder, rows_of)
    ground_truth = GroundTruth(
        database_rows(rows_of[number] for number in objects), database_rows([] for _ in objects)
    )
    return Dataset("ukbench", root, tuple(photos), tuple(photos), ground_truth, protocol="ukbench")


def _number(path: Path) -> int:
    return int(path.name[len("ukbench") : len("ukbench") + 5])


def _check_objects(folder: Path, rows_of: dict[int, list[int]]) -> None:
    broken = {number: len(rows) for number, rows in rows_of.items() if len(rows) != PHOTOS_PER_OBJECT}
    for number, count in broken.items():
        first = number * PHOTOS_PER_OBJECT
        raise DatasetError(
            f"{folder}: {len(broken)} of {len(rows_of)} objects have not four photos; the first has "
            f"{count} of ukbench{first:05}.jpg to ukbench{first + 3:05}.jpg; add or remove photos"
        )
