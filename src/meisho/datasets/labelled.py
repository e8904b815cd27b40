"""Photos that carry a label and a role -> Dataset: what shares a label belongs together."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from meisho.datasets.base import Dataset
from meisho.ground_truth import GroundTruth, database_rows
from meisho.photos import Photo

Role = Literal["query", "database", "junk", "distractor", "both"]
"""What a photo is there for: asked with, searched, searched and not counted for its label, searched and wrong
for everyone, or query and database at once."""


@dataclass(frozen=True)
class LabelledPhoto:
    """A photo, what it shows, and its role.

    Attributes:
        photo: The photo; the box of a photo that is `both` crops the query alone.
        label: What it shows; not looked at for a distractor.
        role: What it is there for.
    """

    photo: Photo
    label: str
    role: Role


def dataset_of_labels(name: str, root: Path, photos: Sequence[LabelledPhoto], *, sha256: str = "") -> Dataset:
    """Make a data set, scored by "retrieval", of labelled photos.

    A query's positives are the `database` and `both` photos of its label, its junk the `junk` photos of its
    label. Database rows of the query's own file are junk for it, whatever their role.

    Args:
        name: The name in reports.
        root: The folder or file that they come from.
        photos: The photos; queries and database keep their order.
        sha256: Digest of the file that the labels come from.

    Raises:
        DatasetError: An id stands twice among the queries or in the database.
    """
    queries = [p for p in photos if p.role in ("query", "both")]
    database = [p for p in photos if p.role != "query"]
    right: defaultdict[str, set[int]] = defaultdict(set)
    junk: defaultdict[str, set[int]] = defaultdict(set)
    own: defaultdict[Path, set[int]] = defaultdict(set)
    for row, entry in enumerate(database):
        own[entry.photo.path].add(row)
        if entry.role in ("database", "both"):
            right[entry.label].add(row)
        elif entry.role == "junk":
            junk[entry.label].add(row)
    ground_truth = GroundTruth(
        database_rows(right[q.label] - own[q.photo.path] for q in queries),
        database_rows(junk[q.label] | own[q.photo.path] for q in queries),
        sha256,
    )
    return Dataset(
        name,
        root,
        tuple(Photo(p.photo.id, p.photo.path) if p.role == "both" else p.photo for p in database),
        tuple(q.photo for q in queries),
        ground_truth,
        protocol="retrieval",
    )
