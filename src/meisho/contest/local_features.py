"""Local features of ranked photos, extracted when a reranker asks for them.

A contest has hundreds of thousands of database photos, but a reranker looks at about a hundred per query.
Extracting local features only for those takes a fraction of the time, and no disk space.
"""

from collections.abc import Callable, Sequence

import numpy as np

from meisho.arrays import Int64Array
from meisho.errors import ImageError
from meisho.local_describing import LocalDescriber
from meisho.local_features import LocalFeatures
from meisho.photos import Photo


class LocalFeaturesOnDemand:
    """A `meisho.rerank.evidence.LocalFeatureSource` for photos; it caches the most recently used features.

    A photo that cannot be read has 0 features.

    Args:
        queries: Q photos, by their rows in the ranking.
        database: N photos, by their rows in the ranking.
        describer: Finds the local features.
        progress: Called with the number of queries done and their total.
        max_kept: Maximum number of cached photos; 1,000 features of 64 dimensions take about 0.3 MB.
    """

    def __init__(
        self,
        queries: Sequence[Photo],
        database: Sequence[Photo],
        describer: LocalDescriber,
        *,
        progress: Callable[[int, int], None] = lambda done, total: None,
        max_kept: int = 4_096,
    ) -> None:
        self._queries, self._database = tuple(queries), tuple(database)
        self._describer = describer
        self._progress = progress
        self._max_kept = max_kept
        self._kept: dict[int, LocalFeatures] = {}  # least recently used first

    def query(self, query_row: int) -> LocalFeatures:
        """Find the local features of one query."""
        self._progress(query_row, len(self._queries))
        try:
            return self._describer.describe(self._queries[query_row])
        except ImageError:
            return self._none()

    def database(self, rows: Int64Array) -> list[LocalFeatures]:
        """Find the local features of (B,) database rows, in that order."""
        asked = dict.fromkeys(rows.tolist())
        new = [row for row in asked if row not in self._kept]
        stream = self._describer.stream([self._database[row] for row in new])
        found = {
            row: self._none() if isinstance(features, ImageError) else features
            for row, (_, features) in zip(new, stream, strict=True)
        }
        found |= {row: self._kept.pop(row) for row in asked if row in self._kept}
        self._kept |= found
        for row in list(self._kept)[: max(len(self._kept) - self._max_kept, 0)]:
            del self._kept[row]
        return [found[row] for row in rows.tolist()]

    def _none(self) -> LocalFeatures:
        keypoints, scores = np.empty((0, 2), np.float32), np.empty(0, np.float32)
        descriptors = np.empty((0, self._describer.extractor.dim), np.float32)
        return LocalFeatures(keypoints, descriptors, scores, (0, 0))
