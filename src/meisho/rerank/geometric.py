"""Geometric reranking: photos whose local features agree with the query's on one geometry come first."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np

from meisho.arrays import Float32Array, Float64Array, Int64Array
from meisho.errors import InputError
from meisho.geometry.base import LocalMatcher
from meisho.geometry.matching import MutualMatcher
from meisho.geometry.ransac import RansacOptions, Verification, verify, verify_many
from meisho.ground_truth import Rows
from meisho.local_features import LocalFeatures
from meisho.matches import Matches
from meisho.ranking import NO_ROW, Ranking
from meisho.rerank.base import Reranker
from meisho.rerank.evidence import Evidence, LocalFeatureSource
from meisho.rerank.verified import VerifiedPair, VerifiedPairs

Order = Literal["combined", "inliers"]
_MOST = 1e6
"""Of an option that is a number; 1 / _MOST is the least where 0 cannot be."""

RETRIEVAL_RANSAC = RansacOptions(model="affine", threshold_share=0.02)
"""How pairs are verified when nothing is said.

Three matches determine an affine map and four a homography: where one match of ten is right, as between
photos of retrieval, the map is found sooner. Measured against the other models in docs/LOG.md.
"""


@dataclass(frozen=True)
class GeometricReranker(Reranker):
    """Verifies the first of each ranking with local features, and puts them in order; see `rerank`.

    Args:
        first: How many of each list are verified; the others stay behind them.
        order: "inliers": by number of inliers, ties by first score, then database row.
            "combined": by first score + `weight` · (1 - exp(-n / `scale`)) with
            n = max(number of inliers - `chance`, 0): no evidence leaves the score as it is, and much evidence
            is worth `weight`. Ties as above. The constants were chosen with SIFT on photos of other landmarks
            than are reported on (`train` in docs/LOG.md), from a wide plateau.
        weight: Weight of the evidence, in the unit of the first scores, which are cosine similarities.
        chance: Number of inliers that photos of different places reach by chance.
        scale: Number of further inliers that are worth 63 % of `weight`.
        matcher: What matches local features.
        ransac: How matches are verified.

    Raises:
        InputError: An option is outside its range.
    """

    needs_local: ClassVar[bool] = True
    uses_skip: ClassVar[bool] = True

    first: int = 100
    order: Order = "combined"
    weight: float = 0.2
    chance: float = 5.0
    scale: float = 20.0
    matcher: LocalMatcher = field(default_factory=MutualMatcher)
    ransac: RansacOptions = RETRIEVAL_RANSAC

    def __post_init__(self) -> None:
        if self.order not in ("combined", "inliers"):
            raise InputError(f"no order is called {self.order!r}; choose combined or inliers")
        if self.first < 1 or not (
            0 <= self.weight <= _MOST and 0 <= self.chance <= _MOST and 1 / _MOST <= self.scale <= _MOST
        ):
            raise InputError(
                f"geometric reranking: first {self.first} must be 1 or more, weight {self.weight} and chance "
                f"{self.chance} from 0 to {_MOST:g}, scale {self.scale} from {1 / _MOST:g} to {_MOST:g}"
            )

    @property
    def depth(self) -> int:
        """How many answers are looked at."""
        return self.first

    def rerank(self, ranking: Ranking, evidence: Evidence, *, skip: Rows | None = None) -> Ranking:
        """Verify the first of each list and put them in order; the rest keep theirs, behind.

        The new scores never rise along a list. With "combined" that of a verified photo is the sum which
        orders it; that of another, skipped ones included, is its first score, or the last verified photo's
        where that is less. With "inliers" that of a verified photo is its number of inliers, plus less than 1
        for the order of equal numbers; that of another is its first score less the highest first score of
        these others, so 0 or less.

        Args:
            ranking: (Q, K), scores never rising along a list.
            evidence: Local features of the queries and of the database, by their rows in `ranking`. Pairs in
                `verified` are not verified again, and new ones are added.
            skip: Q arrays of database rows, such as a protocol's junk, that are neither verified nor counted
                among the first.

        Raises:
            InputError: `skip` has another number of queries, or there are no local features.
        """
        shortlist = choose_first(ranking, self.first, skip)
        ranks, scores = ranking.ranks.copy(), ranking.scores.copy()
        for query_row, rows in enumerate(shortlist):
            places = _places_of(ranks[query_row], rows)
            self._reorder(
                ranks[query_row], scores[query_row], places, self.count_inliers(query_row, rows, evidence)
            )
        return Ranking(ranking.query_ids, ranking.database_ids, ranks, scores)

    def count_inliers(self, query_row: int, rows: Int64Array, evidence: Evidence) -> Int64Array:
        """Return the inliers of a query with each of (B,) database rows, from `verified` where known."""
        counts: dict[int, int | None] = {
            row: evidence.verified.num_inliers((self.matcher, self.ransac), query_row, row)
            for row in rows.tolist()
        }
        new = [row for row, count in counts.items() if count is None]
        if new:
            source = evidence.local_for("geometric")
            pairs = verify_rows(
                query_row, new, source, evidence.verified, matcher=self.matcher, ransac=self.ransac
            )
            counts |= {row: pair.num_inliers for row, pair in zip(new, pairs, strict=True)}
        return np.array([counts[row] for row in rows.tolist()], np.int64)

    def _reorder(
        self, ranks: Int64Array, scores: Float32Array, places: Int64Array, num_inliers: Int64Array
    ) -> None:
        """Put one list (K,) in order, in place: its `places` (S,) were verified with `num_inliers` (S,)."""
        rest = np.setdiff1d(np.flatnonzero(ranks != NO_ROW), places)
        key = self._key(scores[places], num_inliers)
        best = np.lexsort((ranks[places], -scores[places], -key))
        new_scores = self._scores(key[best], scores[rest])
        order = np.concatenate([places[best], rest])
        ranks[: len(order)], scores[: len(order)] = ranks[order], new_scores

    def _key(self, scores: Float32Array, num_inliers: Int64Array) -> Float64Array:
        if self.order == "inliers":
            return num_inliers.astype(np.float64)
        beyond_chance = np.maximum(num_inliers - self.chance, 0)
        key: Float64Array = scores + self.weight * (1 - np.exp(-beyond_chance / self.scale))
        return key

    def _scores(self, key: Float64Array, rest: Float32Array) -> Float64Array:
        """Scores of one list: of the verified, whose `key` (S,) descends, and of the `rest` (R,)."""
        if self.order == "combined":
            return np.concatenate([key, np.minimum(rest, key[-1]) if len(key) else rest])
        size = len(key)
        fractions = np.arange(size, 0, -1) / (size + 1)
        return np.concatenate([key + fractions, rest - rest.max(initial=-np.inf)])


def verify_rows(
    query_row: int,
    rows: Sequence[int],
    source: LocalFeatureSource,
    verified: VerifiedPairs,
    *,
    matcher: LocalMatcher,
    ransac: RansacOptions,
) -> list[VerifiedPair]:
    """Match and verify a query with each of B database rows; what `verified` holds is not verified again.

    Args:
        query_row: The query's row in `source`.
        rows: B database rows.
        source: Local features of both.
        verified: What was verified before; new pairs are added.
        matcher: What matches local features.
        ransac: How matches are verified.
    """
    how = (matcher, ransac)
    known = {row: pair for row in rows if (pair := verified.get(how, query_row, row)) is not None}
    new = [row for row in dict.fromkeys(rows) if row not in known]
    if new:
        query, database = source.query(query_row), source.database(np.array(new, np.int64))
        known |= zip(new, verify_photos(query, database, matcher=matcher, ransac=ransac), strict=True)
        for row, features in zip(new, database, strict=True):
            lasting = len(features) > 0  # a photo without any may get them later
            verified.put(how, query_row, row, known[row], lasting=lasting)
    return [known[row] for row in rows]


def verify_photos(
    query: LocalFeatures,
    database: Sequence[LocalFeatures],
    *,
    matcher: LocalMatcher | None = None,
    ransac: RansacOptions = RETRIEVAL_RANSAC,
) -> list[VerifiedPair]:
    """Match and verify a query with each of B database photos.

    Args:
        query: Local features of the query.
        database: Those of B photos, made by the same extractor.
        matcher: Mutual nearest neighbours when none is given.
        ransac: How matches are verified.
    """
    all_matches = (MutualMatcher() if matcher is None else matcher).match(query, database)
    points = [
        (query.keypoints[matches.rows[:, 0]], features.keypoints[matches.rows[:, 1]])
        for features, matches in zip(database, all_matches, strict=True)
    ]
    sizes = [features.size_px for features in database]
    verified = verify_many(points, ransac, database_sizes_px=sizes)
    return [VerifiedPair(*each) for each in zip(all_matches, verified, strict=True)]


def verify_matches(
    query: LocalFeatures, database: LocalFeatures, matches: Matches, ransac: RansacOptions | None = None
) -> Verification:
    """Verify the matches between the local features of two photos; see `meisho.geometry.ransac.verify`."""
    return verify(
        query.keypoints[matches.rows[:, 0]],
        database.keypoints[matches.rows[:, 1]],
        ransac,
        database_size_px=database.size_px,
    )


def choose_first(ranking: Ranking, first: int, skip: Rows | None = None) -> list[Int64Array]:
    """Return for each query the first database rows of its list, at most `first`, without those to `skip`.

    Raises:
        InputError: `skip` has another number of queries.
    """
    if skip is None:
        skip = tuple(np.empty(0, np.int64) for _ in ranking.query_ids)
    if len(skip) != len(ranking.query_ids):
        raise InputError(f"reranking: {len(skip)} lists of rows to skip for {len(ranking.query_ids)} queries")
    return [
        ranks[(ranks != NO_ROW) & ~np.isin(ranks, unwanted)][:first]
        for ranks, unwanted in zip(ranking.ranks, skip, strict=True)
    ]


def _places_of(ranks: Int64Array, shortlist: Int64Array) -> Int64Array:
    """Places in one list of a part of its rows."""
    return np.flatnonzero(np.isin(ranks, shortlist))
