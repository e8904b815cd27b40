"""Local features of ranked photos, read from a collection as a reranker asks for them."""

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from meisho.arrays import Int64Array, UInt64Array
from meisho.local_features import LocalFeatures
from meisho.recent import Recent

if TYPE_CHECKING:  # it imports LanceDB, which who only asks does without
    from meisho.store.collection import Collection


class StoredFeatures:
    """Local features of the photos of a collection, read as they are asked for, by any number of threads.

    The features of the photos that were asked for last are kept, for queries often share their answers.

    Args:
        collection: Holds local features of the database.
        database_ids: (N,) ids of the database photos, by the rows of the ranking.
        keys: (N,) uint64 keys of the photos, by which those that have changed since are told; they have no
            features here.
        max_bytes: Memory for the features that are kept: about 0.08 MB for 1,000 features of 128 dimensions.

    Raises:
        CollectionError: The collection holds no local features, or is damaged.
    """

    def __init__(
        self,
        collection: "Collection",
        database_ids: Sequence[str],
        *,
        keys: UInt64Array | None = None,
        max_bytes: int = 128 * 2**20,
    ) -> None:
        self._reader = collection.local_reader(database_ids, keys)
        self._reading = Lock()
        self._made_by = str(collection.local_provenance)
        self._recent = Recent[int, LocalFeatures](max_bytes, lambda features: features.num_bytes)
        dim = collection.local_dim or 0
        self._none = LocalFeatures(
            np.empty((0, 2), np.float32), np.empty((0, dim), np.float32), np.empty(0, np.float32), (0, 0)
        )

    @property
    def fingerprint(self) -> str:
        """Tells these photos and features of the database from others, for what is saved about them."""
        return f"{self._reader.fingerprint} {self._made_by}"

    def read(self, rows: Int64Array) -> list[LocalFeatures]:
        """Return those of (B,) database rows in that order; of a photo without some, 0 features.

        What is not kept is read in one batch.

        Raises:
            CollectionError: The collection is damaged.
        """
        return self._recent.get_many(rows.tolist(), self._read)

    def _read(self, rows: list[int]) -> list[LocalFeatures]:
        with self._reading:
            read = self._reader.read(np.array(rows, np.int64))
        return [self._none if features is None else features for features in read]


@dataclass(frozen=True, eq=False)
class CollectionFeatures:
    """A `meisho.rerank.evidence.LocalFeatureSource`: queries in memory, the database in a collection.

    Attributes:
        photos: The features of the database; several questions may share it.
        queries: The features of the queries, by their rows; made by the same extractor.
    """

    photos: StoredFeatures
    queries: Sequence[LocalFeatures]

    @property
    def fingerprint(self) -> str:
        """Tells these photos and features of the database from others, for what is saved about them."""
        return self.photos.fingerprint

    def query(self, query_row: int) -> LocalFeatures:
        """Return those of one query."""
        return self.queries[query_row]

    def database(self, rows: Int64Array) -> list[LocalFeatures]:
        """Return those of (B,) database rows; see `StoredFeatures.read`."""
        return self.photos.read(rows)
