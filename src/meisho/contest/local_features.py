"""Local features of ranked photos, found when a reranker asks for them.

A contest has hundreds of thousands of database photos, of which a reranker looks at some hundred per query:
to find local features of those alone takes a fraction of the time, and no disk.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from meisho.arrays import Int64Array
from meisho.errors import ImageError
from meisho.extractors.local_base import LocalExtractor
from meisho.images import Photo
from meisho.local_extraction import extract_local, stream_local_features
from meisho.local_features import LocalFeatures
from meisho.progress import Progress, silent
from meisho.recent import Recent


class LocalFeaturesOnDemand:
    """A `meisho.rerank.evidence.LocalFeatureSource` of photos; those asked for last are kept.

    A photo that cannot be read has 0 features.

    Args:
        queries: Q photos, by their rows in the ranking.
        database: N photos, by their rows in the ranking.
        extractor: What finds local features.
        num_workers: Processes that decode; None chooses.
        progress: Told, as "rerank", how many queries were asked for.
        max_bytes: Memory for the features that are kept: about 0.3 MB for 1,000 features of 64 dimensions.
    """

    def __init__(
        self,
        queries: Sequence[Photo],
        database: Sequence[Photo],
        extractor: LocalExtractor,
        *,
        num_workers: int | None = None,
        progress: Progress = silent,
        max_bytes: int = 2**30,
    ) -> None:
        self._queries, self._database = tuple(queries), tuple(database)
        self._extractor = extractor
        self._num_workers = num_workers
        self._progress = progress
        self._recent = Recent[int, LocalFeatures](max_bytes, lambda features: features.num_bytes)

    def query(self, query_row: int) -> LocalFeatures:
        """Find those of one query."""
        self._progress("rerank", query_row, len(self._queries))
        try:
            return extract_local(self._queries[query_row], self._extractor)
        except ImageError:
            return self._none()

    def database(self, rows: Int64Array) -> list[LocalFeatures]:
        """Find those of (B,) database rows, in that order."""
        return self._recent.get_many(rows.tolist(), self._extract)

    def _extract(self, rows: list[int]) -> Iterator[LocalFeatures]:
        photos = [self._database[row] for row in rows]
        for _, features in stream_local_features(photos, self._extractor, num_workers=self._num_workers):
            yield self._none() if isinstance(features, ImageError) else features

    def _none(self) -> LocalFeatures:
        nothing = np.empty(0, np.float32)
        return LocalFeatures(
            np.empty((0, 2), np.float32), np.empty((0, self._extractor.dim), np.float32), nothing, (0, 0)
        )
