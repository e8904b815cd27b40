"""Fusion: several rankings over the same photos -> one."""

from collections.abc import Callable, Sequence
from typing import Literal, get_args

import numpy as np

from meisho.arrays import BoolArray, Float64Array, Int64Array
from meisho.errors import InputError
from meisho.ranking import NO_ROW, Ranking

Method = Literal["rrf", "borda", "combsum", "combmnz", "zscore"]

RRF_K = 60
"""The constant of reciprocal rank fusion: 60 in Cormack et al. 2009, who found that little depends on it."""


def fuse_rankings(
    rankings: Sequence[Ranking], *, method: Method = "rrf", weights: Sequence[float] | None = None
) -> Ranking:
    """Fuse rankings of the same queries over the same database.

    Each ranking gives points to the photos of its lists; a photo's score is the weighted sum of its points,
    ties by database row. With n a photo's place, counted from 1, and s its score:

    - "rrf", reciprocal rank fusion [Cormack, Clarke and Büttcher, SIGIR 2009]: 1 / (60 + n); 0 where it is
      not listed. The default: it takes rankings whose scores mean different things.
    - "borda" [Aslam and Montague, SIGIR 2001]: N - n for N database photos; those that are not listed share
      the points that are left, alike.
    - "combsum" [Fox and Shaw, TREC-2, 1994; scaled as in Lee, SIGIR 1997]: s scaled to [0, 1] over the list;
      0 where it is not listed. A list whose scores are all alike gives 1 to each.
    - "combmnz" [the same]: the sum of "combsum" times the number of lists that have the photo.
    - "zscore" [Montague and Aslam, CIKM 2001]: s less the list's mean, over its standard deviation; where it
      is not listed, as much as the last of the list.

    It takes O(R Q K log(R K)) time for R rankings (Q, K), and O(R K) memory beside the result.

    Args:
        rankings: One or more; their lists may differ in length.
        method: How points are given.
        weights: One for each ranking, 0 or more and not all 0; all alike when not given. Only their ratios
            matter.

    Returns:
        A ranking as deep as the deepest.

    Raises:
        InputError: There are none, they are of other queries or photos, or the method or weights cannot be.
    """
    if method not in get_args(Method):
        raise InputError(f"no way to fuse is called {method!r}; choose one of {', '.join(get_args(Method))}")
    shares = _check(rankings, weights)
    first = rankings[0]
    depth = max(ranking.depth for ranking in rankings)
    ranks = np.full((len(first.query_ids), depth), NO_ROW, np.int64)
    scores = np.full(ranks.shape, -np.inf, np.float32)
    for query_row in range(len(ranks)):
        rows, points, listed = _points(rankings, query_row, method)
        total = shares @ points
        if method == "combmnz":
            total *= listed.sum(axis=0)
        best = np.argsort(-total, kind="stable")[:depth]
        ranks[query_row, : len(best)], scores[query_row, : len(best)] = rows[best], total[best]
    return Ranking(first.query_ids, first.database_ids, ranks, scores)


def _check(rankings: Sequence[Ranking], weights: Sequence[float] | None) -> Float64Array:
    """Return the weights (R,), their sum 1."""
    if not rankings:
        raise InputError("fusion needs at least one ranking")
    for number, ranking in enumerate(rankings):
        if (ranking.query_ids, ranking.database_ids) != (rankings[0].query_ids, rankings[0].database_ids):
            raise InputError(
                f"fusion: ranking {number} is of other queries or photos than ranking 0; search the same "
                "database with the same queries, in the same order"
            )
    given: Float64Array = np.asarray([1.0] * len(rankings) if weights is None else weights, np.float64)
    if given.shape != (len(rankings),) or not np.isfinite(given).all() or given.min() < 0 or not given.any():
        raise InputError(
            f"fusion: weights {given.tolist()} for {len(rankings)} rankings; give one each, 0 or more, "
            "not all 0"
        )
    shares: Float64Array = given / given.sum()
    return shares


def _points(
    rankings: Sequence[Ranking], query_row: int, method: Method
) -> tuple[Int64Array, Float64Array, BoolArray]:
    """Return the photos of a query's lists (C,), by row, their points (R, C), and which list has them."""
    lists = [ranking.ranks[query_row] for ranking in rankings]
    rows = np.unique(np.concatenate(lists))
    rows = rows[rows != NO_ROW]
    points = np.empty((len(rankings), len(rows)))
    listed = np.zeros(points.shape, np.bool_)
    num_database = len(rankings[0].database_ids)
    for ranking, ranks, row_points, row_listed in zip(rankings, lists, points, listed, strict=True):
        found = ranks[ranks != NO_ROW]
        places = np.searchsorted(rows, found)
        scores = ranking.scores[query_row, : len(found)].astype(np.float64)
        given, otherwise = _GIVE[method](scores, num_database)
        row_points[:] = otherwise
        row_points[places] = given
        row_listed[places] = True
    return rows, points, listed


def _give_reciprocal(scores: Float64Array, num_database: int) -> tuple[Float64Array, float]:
    places = np.arange(1, len(scores) + 1, dtype=np.float64)
    return 1 / (RRF_K + places), 0.0


def _give_borda(scores: Float64Array, num_database: int) -> tuple[Float64Array, float]:
    places = np.arange(1, len(scores) + 1, dtype=np.float64)
    return num_database - places, max(num_database - len(scores) - 1, 0) / 2  # mean of what is left


def _give_scaled(scores: Float64Array, num_database: int) -> tuple[Float64Array, float]:
    span = np.ptp(scores) if len(scores) else 0.0
    return (scores - scores.min()) / span if span > 0 else np.ones(len(scores)), 0.0


def _give_standardized(scores: Float64Array, num_database: int) -> tuple[Float64Array, float]:
    deviation = scores.std() if len(scores) else 0.0
    given = (scores - scores.mean()) / deviation if deviation > 0 else np.zeros(len(scores))
    return given, float(given.min(initial=0.0))


_GIVE: dict[Method, Callable[[Float64Array, int], tuple[Float64Array, float]]] = {
    "rrf": _give_reciprocal,
    "borda": _give_borda,
    "combsum": _give_scaled,
    "combmnz": _give_scaled,
    "zscore": _give_standardized,
}
"""Method -> points of a list's photos, from their scores (K,), and of one that is not listed."""
