"""Data sets: what every one of them gives, and the table of those that are known by name.

A new data set is one file in this folder and one line in `DATASETS`::

    def load_my_set(root: Path) -> Dataset:
        database = tuple(Photo(p.stem, p) for p in sorted((root / "jpg").glob("*.jpg")))
        queries = database[:2]
        positives, junk = database_rows([[2, 3], [4]]), database_rows([[0], [1]])  # per query
        ground_truth = GroundTruth(positives, junk)
        return Dataset("my_set", root, database, queries, ground_truth, protocol="retrieval")
"""

import os
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Literal

from meisho.errors import DatasetError, InputError
from meisho.ground_truth import GradedGroundTruth, GroundTruth
from meisho.images import Photo

Protocol = Literal["revisitop", "oxford5k", "gldv2", "ukbench", "retrieval"]
"""How a data set is scored; "retrieval" is the one for your own data."""

DATASETS: dict[str, str] = {
    "toycity": "meisho.datasets.toycity:load_toycity",
    "roxford5k": "meisho.datasets.revisitop:load_roxford5k",
    "rparis6k": "meisho.datasets.revisitop:load_rparis6k",
    "oxford5k": "meisho.datasets.oxford5k:load_oxford5k",
    "paris6k": "meisho.datasets.oxford5k:load_paris6k",
    "gldv2": "meisho.datasets.gldv2:load_gldv2",
    "ukbench": "meisho.datasets.ukbench:load_ukbench",
    "folder": "meisho.datasets.image_folder:load_image_folder",
    "csv": "meisho.datasets.csv_table:load_csv_table",
}


@dataclass(frozen=True, eq=False)
class Dataset:
    """Queries, the database that they are asked of, and the right answers.

    Attributes:
        name: Its name in reports.
        root: The folder (or CSV file) that it was read from.
        database: N photos with unique ids; their order is the order of database rows.
        queries: Q photos with unique ids, with a box where the benchmark crops its queries.
        ground_truth: Right answers per query as database rows.
        protocol: The protocol that scores it.

    Raises:
        DatasetError: An id stands twice, or the ground truth does not fit queries and database.
    """

    name: str
    root: Path
    database: tuple[Photo, ...]
    queries: tuple[Photo, ...]
    ground_truth: GroundTruth | GradedGroundTruth
    protocol: Protocol

    def __post_init__(self) -> None:
        for role, photos in (("database", self.database), ("query", self.queries)):
            seen: set[str] = set()
            for photo in photos:
                if photo.id in seen:
                    raise DatasetError(f"{self.root}: the {role} id {photo.id!r} stands more than once")
                seen.add(photo.id)
        if len(self.ground_truth) != len(self.queries):
            raise DatasetError(
                f"{self.root}: {len(self.queries)} queries but ground truth for {len(self.ground_truth)}"
            )

    @property
    def queries_cropped(self) -> bool:
        """Whether queries are cropped to a box."""
        return any(photo.box is not None for photo in self.queries)


def load_dataset(name: str, root: Path) -> Dataset:
    """Load the data set called `name` from the folder (or file) `root`.

    Raises:
        InputError: No data set has that name.
        DatasetError: Its files are not as they must be.
    """
    if name not in DATASETS:
        raise InputError(f"no data set is called {name!r}; choose one of {', '.join(DATASETS)}")
    module, function = DATASETS[name].split(":")
    dataset: Dataset = getattr(import_module(module), function)(Path(root))
    return dataset


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
    lines += [str(photo.path) for photo in missing[:5]]
    if len(missing) > 5:
        lines.append(f"... and {len(missing) - 5} more")
    raise DatasetError("\n  ".join(lines))
