"""Photo pair: two photos -> local features -> matches -> the geometry on which they agree."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from meisho.arrays import Int64Array
from meisho.extractors.local_base import LocalExtractor
from meisho.geometry.base import LocalMatcher
from meisho.geometry.ransac import Model, RansacOptions, Verification
from meisho.local_describing import LocalDescriber
from meisho.local_features import LocalFeatures
from meisho.matches import Matches
from meisho.photos import Photo
from meisho.rerank.evidence import LocalFeatureSource
from meisho.rerank.geometric import verify_matches, verify_rows
from meisho.rerank.verified import VerifiedPairs

LEAST_INLIERS: dict[Model, int] = {"homography": 15, "affine": 15, "fundamental": 45}
"""Model -> inliers from which two photos are said to show the same place.

At most one of 1,000 pairs of photos of two landmarks has as many: pairs of the split `train`, see
`benchmarks/evaluate_walks.py --choose`, with the default options and the extractor for which that number is
the largest, rounded up to a multiple of 5. Without a ratio test mutual neighbours agree by chance several
times as often.
"""


@dataclass(frozen=True, eq=False)
class PhotoPair:
    """Two photos that were compared.

    Attributes:
        query: The one; with a box, only its features in the box count.
        database: The other.
        query_features: Local features of the query.
        database_features: Local features of the other.
        matches: M matches between them.
        verification: The model that the most matches agree on, and which those are.
        extraction_seconds: Wall time of decoding and extracting both; 0 where that was done before.
        matching_seconds: Wall time of matching and verifying; of several photos at once, each one's share.
    """

    query: Photo
    database: Photo
    query_features: LocalFeatures
    database_features: LocalFeatures
    matches: Matches
    verification: Verification
    extraction_seconds: float = 0.0
    matching_seconds: float = 0.0

    @property
    def same_place(self) -> bool:
        """Whether enough matches agree to say that both show the same place, by `LEAST_INLIERS`."""
        return self.verification.num_inliers >= LEAST_INLIERS[self.verification.model]


def compare_photos(
    query: Photo,
    database: Photo,
    extractor: LocalExtractor,
    matcher: LocalMatcher,
    ransac: RansacOptions | None = None,
) -> PhotoPair:
    """Find the local features of two photos, match them, and verify the matches.

    Raises:
        ImageError: A photo cannot be read.
    """
    start = time.perf_counter()
    ours, theirs = LocalDescriber(extractor).describe(query), LocalDescriber(extractor).describe(database)
    extracted = time.perf_counter()
    matches = matcher.match(ours, [theirs])[0]
    verification = verify_matches(ours, theirs, matches, ransac)
    matched = time.perf_counter()
    return PhotoPair(
        query, database, ours, theirs, matches, verification, extracted - start, matched - extracted
    )


@dataclass(frozen=True, eq=False)
class StoredPairs:
    """Compares queries with database photos by local features that were found before.

    Attributes:
        queries: Q photos.
        features: Local features of the queries and of the database, by their rows.
        matcher: What matches them.
        ransac: How matches are verified.
        verified: Pairs that were verified before, by a reranker for example; they are not verified again.
    """

    queries: Sequence[Photo]
    features: LocalFeatureSource
    matcher: LocalMatcher
    ransac: RansacOptions
    verified: VerifiedPairs = field(default_factory=VerifiedPairs, repr=False)

    def compare(self, query_row: int, rows: Int64Array, photos: Sequence[Photo]) -> list[PhotoPair]:
        """Compare a query with B database photos, given by their rows (B,) and as photos."""
        ours, theirs = self.features.query(query_row), self.features.database(rows)
        start = time.perf_counter()
        pairs = verify_rows(
            query_row, rows.tolist(), self.features, self.verified, matcher=self.matcher, ransac=self.ransac
        )
        seconds = (time.perf_counter() - start) / max(len(pairs), 1)
        query = self.queries[query_row]
        return [
            PhotoPair(query, photo, ours, features, pair.matches, pair.verification, matching_seconds=seconds)
            for photo, features, pair in zip(photos, theirs, pairs, strict=True)
        ]
