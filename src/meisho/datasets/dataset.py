"""Data set: what every one of them gives."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from meisho.errors import DatasetError
from meisho.ground_truth import GradedGroundTruth, GroundTruth
from meisho.photos import Photo
from meisho.tables import find_repeated
from meisho.texts import count

Protocol = Literal["revisitop", "oxford5k", "gldv2", "ukbench", "retrieval"]
"""How a data set is scored; "retrieval" is the one for your own data."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Queries, the database that they are asked of, and the right answers.

    Attributes:
        name: Its name in reports.
        root: The folder (or CSV file) that it was read from.
        database: N photos with unique ids; their order is the order of database rows.
        queries: Q photos with unique ids, with a box where the benchmark crops its queries.
        ground_truth: Right answers per query, as rows below N.
        protocol: The protocol that scores it.

    Raises:
        DatasetError: There are no queries or no database photos, an id stands twice, or the ground truth does
            not fit.
    """

    name: str
    root: Path
    database: tuple[Photo, ...]
    queries: tuple[Photo, ...]
    ground_truth: GroundTruth | GradedGroundTruth
    protocol: Protocol

    def __post_init__(self) -> None:
        if not self.queries or not self.database:
            raise DatasetError(
                f"{self.root}: has {count(len(self.queries), 'query')} and "
                f"{count(len(self.database), 'database photo')}; "
                "there must be some of each"
            )
        for role, photos in (("database", self.database), ("query", self.queries)):
            twice = find_repeated(photo.id for photo in photos)
            if twice is not None:
                raise DatasetError(f"{self.root}: the {role} id {twice!r} appears more than once")
        if len(self.ground_truth) != len(self.queries):
            raise DatasetError(
                f"{self.root}: {count(len(self.queries), 'query')} but ground truth for "
                f"{len(self.ground_truth)}"
            )
        try:
            self.ground_truth.check_rows([photo.id for photo in self.queries], len(self.database))
        except DatasetError as error:
            raise DatasetError(f"{self.root}: {error}") from error

    def __repr__(self) -> str:
        queries, photos = count(len(self.queries), "query"), count(len(self.database), "database photo")
        where = f"protocol {self.protocol!r}, root {str(self.root)!r}"
        return f"Dataset({self.name!r}, {queries}, {photos}, {where})"

    @property
    def queries_cropped(self) -> bool:
        """Whether queries are cropped to a box."""
        return any(photo.box is not None for photo in self.queries)
