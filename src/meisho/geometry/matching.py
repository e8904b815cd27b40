"""Matching local features by mutual nearest neighbours."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from meisho.arrays import BoolArray, Float32Array, Int64Array
from meisho.descriptors import normalize_rows
from meisho.errors import InputError
from meisho.local_features import LocalFeatures
from meisho.matches import Matches, check_match_options


@dataclass(frozen=True)
class MutualMatcher:
    """Matches local features by `match_many`.

    Args:
        ratio: See `match_many`. Of 0.85, 0.9, 0.95 and None, 0.9 best separates same landmarks from different
            ones, with SIFT on real photos (docs/LOG.md).
        min_similarity: See `match_many`.

    Raises:
        InputError: An option is outside its range.
    """

    ratio: float | None = 0.9
    min_similarity: float | None = None

    def __post_init__(self) -> None:
        check_match_options(self.ratio, self.min_similarity)

    def match(self, query: LocalFeatures, database: Sequence[LocalFeatures]) -> list[Matches]:
        """Match a query with each of B database photos; return B values."""
        return match_many(
            query.descriptors,
            [features.descriptors for features in database],
            ratio=self.ratio,
            min_similarity=self.min_similarity,
        )


def make_matcher_without_ratio() -> MutualMatcher:
    """Return a matcher that keeps every mutual pair; better for ALIKED than the ratio test (docs/LOG.md)."""
    return MutualMatcher(ratio=None)


def match_many(
    query: Float32Array,
    databases: Sequence[Float32Array],
    *,
    ratio: float | None = None,
    min_similarity: float | None = None,
) -> list[Matches]:
    """Match the local features of a query with those of each of B database photos.

    Two features match if each is the other's nearest neighbour, by cosine similarity, in the other photo. Of
    equally near features, the lower row is the nearest. Which feature is nearest is not defined where
    similarities differ by less than the rounding of a float32 product.

    Args:
        query: (Kq, D) float32 descriptors; rows may have any length, as they are normalised here.
        databases: B arrays of (Kd, D) float32; Kd may differ between photos.
        ratio: Keep a match only if the distance to the query feature's nearest neighbour is below `ratio`
            times the distance to its second nearest [Lowe 2004]; 0 to 1. Without a second one it is kept.
        min_similarity: Keep a match only if its cosine similarity is at least this; -1 to 1. A maximum
            distance d between unit vectors is a minimum similarity of 1 - d² / 2: 0.68 for d = 0.8.

    Returns:
        B values, one for each photo, with matches in the order of the query's rows. A photo's matches do not
        depend on the other photos. At most one (Kd, Kq) matrix is in memory at a time.

    Raises:
        InputError: The dimensions differ, a number is not finite, or an option is outside its range.
    """
    check_match_options(ratio, min_similarity)
    query = _unit_rows(query, "query", None)
    least = -np.inf if min_similarity is None else min_similarity
    found = []
    for photo, database in enumerate(databases):
        unit = _unit_rows(database, f"database photo {photo}", query.shape[1])
        found.append(_match_pair(unit @ query.T, ratio, np.float32(least)))
    return found


def _match_pair(similarities: Float32Array, ratio: float | None, least: np.float32) -> Matches:
    """Match by a (Kd, Kq) matrix, which is overwritten."""
    num_database, num_query = similarities.shape
    if not num_database or not num_query:
        return Matches(np.empty((0, 2), np.int64), np.empty(0, np.float32))
    nearest = similarities.argmax(axis=1)  # query rows; the lower one if tied
    best = similarities.max(axis=0)  # of each query row; numpy's max is much faster than argmax
    database_rows = np.flatnonzero(similarities[np.arange(num_database), nearest] == best[nearest])
    query_rows = nearest[database_rows]
    keep = _lowest_of_equals(similarities, best, database_rows, query_rows) & (best[query_rows] >= least)
    database_rows, query_rows = database_rows[keep], query_rows[keep]
    if ratio is not None:
        keep = _pass_ratio(similarities, database_rows, query_rows, ratio)
        database_rows, query_rows = database_rows[keep], query_rows[keep]
    order = np.argsort(query_rows)
    rows = np.stack([query_rows[order], database_rows[order]], axis=1)
    return Matches(rows, best[query_rows[order]])


def _lowest_of_equals(
    similarities: Float32Array, best: Float32Array, database_rows: Int64Array, query_rows: Int64Array
) -> BoolArray:
    """Return which pairs hold the lowest of the database rows that are equally near to the query row."""
    equals = similarities == best
    if np.count_nonzero(equals) == len(best):  # no query row has two nearest
        return np.ones(len(database_rows), np.bool_)
    lowest: BoolArray = equals.argmax(axis=0)[query_rows] == database_rows
    return lowest


def _pass_ratio(
    similarities: Float32Array, database_rows: Int64Array, query_rows: Int64Array, ratio: float
) -> BoolArray:
    """Return which pairs pass Lowe's ratio test; overwrites their similarities."""
    nearest = similarities[database_rows, query_rows]
    similarities[database_rows, query_rows] = -np.inf
    second = similarities.max(axis=0)[query_rows]  # -inf, infinitely far, if there is no second
    passed: BoolArray = 1 - nearest < ratio**2 * (1 - second)  # squared distances are 2 - 2 cosines
    return passed


def _unit_rows(descriptors: Float32Array, what: str, dim: int | None) -> Float32Array:
    if descriptors.ndim != 2 or dim not in (None, descriptors.shape[1]):
        raise InputError(
            f"matching: descriptors of the {what} must be (K, {dim or 'D'}), got shape {descriptors.shape}; "
            "use the same extractor for both photos"
        )
    if not np.isfinite(descriptors).all():
        raise InputError(f"matching: descriptors of the {what} hold NaN or infinity; check the extractor")
    return normalize_rows(descriptors)
