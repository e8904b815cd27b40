"""Local features of ranked photos, extracted when a reranker asks for them.

A contest has hundreds of thousands of database photos, but a reranker looks at about a hundred per query.
Extracting local features only for those takes a fraction of the time, and no disk space.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from meisho.arrays import Int64Array
from meisho.errors import ImageError
from meisho.local_describing import LocalDescriber
from meisho.local_features import LocalFeatures
from meisho.photos import Photo
from meisho.progress import Progress, silent
from meisho.recent import Recent


class LocalFeaturesOnDemand:
    """A `meisho.rerank.evidence.LocalFeatureSource` for photos; it caches the most recently used features.

    A photo that cannot be read has 0 features.

    Args:
        queries: Q photos, by their rows in the ranking.
        database: N photos, by their rows in the ranking.
        describer: Finds the local features.
        progress: Told the number of queries done, as "rerank".
        max_bytes: Memory for cached features; 1,000 features of 64 dimensions take about 0.3 MB.
    """

    def __init__(
        self,
        queries: Sequence[Photo],
        database: Sequence[Photo],
        describer: LocalDescriber,
        *,
        progress: Progress = silent,
        max_bytes: int = 2**30,
    ) -> None:
        self._queries, self._database = tuple(queries), tuple(database)
        self._describer = describer
        self._progress = progress
        self._recent = Recent[int, LocalFeatures](max_bytes, lambda features: features.num_bytes)

    def query(self, query_row: int) -> LocalFeatures:
        """Find the local features of one query."""
        self._progress("rerank", query_row, len(self._queries))
        try:
            return self._describer.describe(self._queries[query_row])
        except ImageError:
            return self._none()

    def database(self, rows: Int64Array) -> list[LocalFeatures]:
        """Find the local features of (B,) database rows, in that order."""
        return self._recent.get_many(rows.tolist(), self._extract)

    def _extract(self, rows: list[int]) -> Iterator[LocalFeatures]:
        photos = [self._database[row] for row in rows]
        for _, features in self._describer.stream(photos):
            yield self._none() if isinstance(features, ImageError) else features

    def _none(self) -> LocalFeatures:
        keypoints, scores = np.empty((0, 2), np.float32), np.empty(0, np.float32)
        descriptors = np.empty((0, self._describer.extractor.dim), np.float32)
        return LocalFeatures(keypoints, descriptors, scores, (0, 0))
