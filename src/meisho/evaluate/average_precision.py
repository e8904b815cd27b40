"""Average precision from the positions of the positives, in the two forms that the field uses.

"mAP" is not one number. The trapezoid of Oxford5k, Paris6k and their revisited forms and the rectangles of
Google Landmarks differ on the same ranking: hits at 1-based ranks 1, 3, 6 of 3 positives give .6778 and
.7222.
"""

import numpy as np

from meisho.arrays import BoolArray, Int64Array
from meisho.errors import InputError
from meisho.ground_truth import GroundTruth
from meisho.ranking import Ranking


def positions_of(ranks_row: Int64Array, positives: Int64Array, junk: Int64Array) -> Int64Array:
    """Return where the positives stand in one ranked list once the junk is taken out of it.

    A row that stands in the list twice counts once, at its first place; the repeat still takes up a place.
    The temporary memory is O(K + largest row).

    Args:
        ranks_row: (K,) database rows, best first; -1 marks an empty place.
        positives: (P,) database rows, in any order.
        junk: (J,) database rows, in any order.

    Returns:
        (F,) int64, ascending, 0-based; F ≤ P, as a positive that is not in the list has no position.
    """
    found = _first_places(ranks_row, positives)
    taken_out = np.flatnonzero(_is_among(ranks_row, junk))
    return found - np.searchsorted(taken_out, found)


def positions_per_query(ranking: Ranking, ground_truth: GroundTruth) -> tuple[Int64Array, ...]:
    """Return `positions_of` for each of the Q queries.

    Raises:
        InputError: Ranking and ground truth hold different numbers of queries.
        DatasetError: The ground truth names a row outside the ranking's database.
    """
    check_fit(ranking, ground_truth)
    return tuple(
        positions_of(row, positives, junk)
        for row, positives, junk in zip(ranking.ranks, ground_truth.positives, ground_truth.junk, strict=True)
    )


def check_fit(ranking: Ranking, ground_truth: GroundTruth) -> None:
    """Refuse a ground truth that was not made for the queries and the database of this ranking.

    Raises:
        InputError: Ranking and ground truth hold different numbers of queries.
        DatasetError: The ground truth names a row outside the ranking's database.
    """
    if len(ranking.query_ids) != len(ground_truth):
        raise InputError(
            f"ranking has {len(ranking.query_ids)} queries but the ground truth {len(ground_truth)}: "
            "rank the queries of the same data set, in its order"
        )
    ground_truth.check_rows(ranking.query_ids, len(ranking.database_ids))


def trapezoid_average_precision(positions: Int64Array, num_positives: int) -> float:
    """Area under precision over recall by the trapezoid rule, as in Oxford5k and the revisited benchmarks.

    With 0-based positions r_0 < r_1 < ... of the positives found, after junk is taken out:
    sum over j of ((j / r_j, or 1 when r_j = 0) + (j + 1) / (r_j + 1)) / (2 n).

    Args:
        positions: (F,) ascending, 0-based, of the positives found.
        num_positives: n, all positives of the query; those not found add 0.

    Returns:
        0 to 1; NaN for a query without positives, which a mean leaves out.

    Source: Radenović et al. 2018 (arXiv:1803.11285), revisitop `python/evaluate.py`; checked against it.
    """
    if num_positives == 0:
        return float("nan")
    hits = np.arange(len(positions))
    before = np.where(positions == 0, 1.0, hits / np.maximum(positions, 1))
    after = (hits + 1) / (positions + 1)
    return float((before + after).sum() / (2 * num_positives))


def rectangular_average_precision(
    positions: Int64Array, num_positives: int, *, cut: int | None = None
) -> float:
    """Mean of the precision at each positive, optionally within the first `cut` places.

    Args:
        positions: (F,) ascending, 0-based, of the positives found.
        num_positives: n, all positives of the query; those not found add 0.
        cut: Only the first `cut` places count, and the sum is divided by min(n, cut); None counts all.

    Returns:
        0 to 1; NaN for a query without positives, which a mean leaves out.

    Source: Weyand et al. 2020 (arXiv:2004.01804), section 4.2; the DELF code's `metrics.py`, checked against
    it.
    """
    if num_positives == 0:
        return float("nan")
    limit = num_positives if cut is None else min(num_positives, cut)
    kept = positions if cut is None else positions[positions < cut]
    precisions = np.arange(1, len(kept) + 1) / (kept + 1)
    return float(precisions.sum() / limit)


def _first_places(ranks_row: Int64Array, rows: Int64Array) -> Int64Array:
    places = np.flatnonzero(_is_among(ranks_row, rows))
    _, first = np.unique(ranks_row[places], return_index=True)
    return places[np.sort(first)]


def _is_among(ranks_row: Int64Array, rows: Int64Array) -> BoolArray:
    if len(rows) == 0 or len(ranks_row) == 0:
        return np.zeros(len(ranks_row), dtype=np.bool_)
    # one slot more than the largest row, so that an empty place (-1) reads the last, which no row ever sets
    marked = np.zeros(max(int(ranks_row.max()), int(rows.max())) + 2, dtype=np.bool_)
    marked[rows] = True
    return marked[ranks_row]
