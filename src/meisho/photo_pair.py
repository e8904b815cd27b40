"""Photo pair: two photos -> local features -> matches -> the geometry on which they agree."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from meisho.arrays import Int64Array
from meisho.certainty import Judgement, PairEvidence, judge
from meisho.extractors.local_base import LocalExtractor
from meisho.geometry.base import LocalMatcher
from meisho.geometry.overlap import Frame, measure_overlap
from meisho.geometry.ransac import RansacOptions, Verification
from meisho.local_describing import LocalDescriber
from meisho.local_features import LocalFeatures
from meisho.matches import Matches
from meisho.photos import Photo
from meisho.rerank.evidence import LocalFeatureSource
from meisho.rerank.geometric import verify_matches, verify_rows
from meisho.rerank.verified import VerifiedPairs


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
        judgement: What the pair is said to be where more than the local features was looked at; None: they
            alone say it.
    """

    query: Photo
    database: Photo
    query_features: LocalFeatures
    database_features: LocalFeatures
    matches: Matches
    verification: Verification
    extraction_seconds: float = 0.0
    matching_seconds: float = 0.0
    judgement: Judgement | None = None

    @property
    def evidence(self) -> PairEvidence:
        """What the local features say."""
        overlap = measure_overlap(
            self.verification,
            self.query_features.keypoints[self.matches.rows[:, 0]],
            frame_of(self.query, self.query_features),
            frame_of(self.database, self.database_features),
        )
        return PairEvidence(
            num_matches=len(self.matches),
            num_inliers=self.verification.num_inliers,
            model=self.verification.model,
            overlap_query=overlap and overlap.of_query,
            overlap_photo=overlap and overlap.of_photo,
            slant=overlap and overlap.slant,
        )

    @property
    def same_place(self) -> bool:
        """Whether both are said to show the same place."""
        return (self.judgement or judge(self.evidence)).verdict == "same"


def frame_of(photo: Photo, features: LocalFeatures) -> Frame:
    """Return what of a photo was looked at: its box, or all of it."""
    width, height = features.size_px
    if (box := photo.box) is None:
        return 0, 0, width, height
    return max(box.x0, 0), max(box.y0, 0), min(box.x1, width), min(box.y1, height)


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
