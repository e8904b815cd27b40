"""The Google Landmarks v2 protocols [Weyand et al. 2020, arXiv:2004.01804]: mAP@100, recognition GAP.

There is no junk here: every photo in a list takes up its place. The test set has 1,129 queries, 379 public
and 750 private, and the ground truth has versions: name the one that was used.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from meisho.arrays import Float64Array, Int64Array
from meisho.errors import InputError
from meisho.evaluate.average_precision import check_fit, positions_of, rectangular_average_precision
from meisho.evaluate.chance import expected_rectangular
from meisho.evaluate.scores import MetricScores, SetupScores, count_positives, mean_score, score_queries
from meisho.ground_truth import GradedGroundTruth, GroundTruth
from meisho.ranking import Ranking

CUT = 100
"""Places that are scored [Weyand et al. 2020, section 4.2]."""
PRECISION_DEPTHS = (1, 10, 100)
_NO_JUNK = np.empty(0, np.int64)


@dataclass(frozen=True)
class Recognition:
    """A guess of which landmark a photo shows.

    Attributes:
        query_id: The photo.
        landmark: The landmark's number.
        score: Confidence, higher is better.
    """

    query_id: str
    landmark: int
    score: float


def gldv2_map(
    ranking: Ranking, ground_truth: GroundTruth, *, cut: int = CUT, group: str | None = None
) -> float:
    """Mean rectangular average precision within the first `cut` places, 0 to 1.

    A query's sum is divided by min(its positives, cut). A repeated photo is skipped but keeps its place. A
    query that was not answered (its list is empty) counts as 0; one without positives is left out, as the
    official solution marks it "Ignored".

    Args:
        ranking: Q ranked lists, one per query of the solution.
        ground_truth: Positives; junk is not known here and counts as wrong.
        cut: Places that are scored; 100 in the contest.
        group: Only the queries of this group, "public" or "private"; None for all.

    Raises:
        InputError: Ranking and ground truth hold different numbers of queries, or there is no such group.
        DatasetError: The ground truth names a row outside the database.

    Source: the DELF code's `metrics.py`, `MeanAveragePrecision`; checked against it.
    """
    values = _average_precisions(ranking, ground_truth, cut=cut)
    return mean_score(values[_rows_of(ground_truth, group)])


def gldv2_map_at_100(ranking: Ranking, ground_truth: GroundTruth, *, group: str | None = None) -> float:
    """`gldv2_map` at the contest's cut of 100; a query without positives is left out of the mean."""
    return gldv2_map(ranking, ground_truth, cut=CUT, group=group)


def gldv2_mean_precisions(ranking: Ranking, ground_truth: GroundTruth, *, cut: int = CUT) -> Float64Array:
    """Return (cut,) float64: the mean precision at 1, 2, ..., `cut`.

    Precision at k divides by k even where the list is shorter. A query without positives is left out.

    Source: the DELF code's `MeanPrecisions`; checked against it.
    """
    positions = _positions(ranking, ground_truth)
    counted = [p for p, rows in zip(positions, ground_truth.positives, strict=True) if len(rows)]
    places = np.arange(1, cut + 1)
    if not counted:
        return np.full(cut, np.nan)
    hits = sum((np.searchsorted(p, places) for p in counted), np.zeros(cut, np.int64))
    return np.asarray(hits / places / len(counted), np.float64)


def gldv2_mean_median_position(
    ranking: Ranking, ground_truth: GroundTruth, *, cut: int = CUT
) -> tuple[float, float]:
    """Mean and median 1-based place of the first right photo; `cut` + 1 where none is in the first `cut`.

    A query without positives is left out.

    Source: the DELF code's `MeanMedianPosition`; checked against it.
    """
    positions = _positions(ranking, ground_truth)
    first = [
        int(p[0]) + 1 if len(p) and p[0] < cut else cut + 1
        for p, rows in zip(positions, ground_truth.positives, strict=True)
        if len(rows)
    ]
    return (float(np.mean(first)), float(np.median(first))) if first else (float("nan"), float("nan"))


def recognition_gap(
    predictions: Iterable[Recognition],
    query_ids: Sequence[str],
    landmarks: Sequence[Sequence[int]],
    *,
    ignore_queries_without_landmarks: bool = False,
) -> float:
    """Global average precision (µAP) of recognition over all queries together, 0 to 1.

    Predictions are sorted by score, best first, then by query id, then by landmark; the sum of the precisions
    at the right ones is divided by the number of queries that show a landmark. Queries without one count as
    wrong when they are answered, and queries that are not answered add nothing. The official reader takes one
    prediction per query; where there are more, a query is right once, and its later ones keep their places.

    Args:
        predictions: In any order.
        query_ids: (Q,) the queries of the solution.
        landmarks: (Q,) the landmarks that each of them shows; empty for one that shows no known landmark.
        ignore_queries_without_landmarks: Drop predictions for queries that show no landmark; the contest does
            not.

    Returns:
        0 to 1; NaN where no query shows a landmark.

    Raises:
        InputError: A prediction's query is not in the solution, a score is NaN, a query of it stands
            twice, or the solution's lists differ in length.

    Source: Weyand et al. 2020, section 4.1; the DELF code's `GlobalAveragePrecision`, checked against it.
    """
    landmarks_of = _landmarks_by_query(query_ids, landmarks)
    ordered = sorted(predictions, key=lambda p: (-p.score, p.query_id, p.landmark))
    _check_predictions(ordered, landmarks_of)
    if ignore_queries_without_landmarks:
        ordered = [p for p in ordered if landmarks_of[p.query_id]]
    total, done = 0.0, set[str]()
    for place, prediction in enumerate(ordered, start=1):
        right = prediction.landmark in landmarks_of[prediction.query_id]
        if right and prediction.query_id not in done:
            done.add(prediction.query_id)
            total += len(done) / place
    num_expected = sum(1 for shown in landmarks_of.values() if shown)
    return total / num_expected if num_expected else float("nan")


def score_gldv2(ranking: Ranking, ground_truth: GroundTruth | GradedGroundTruth) -> tuple[SetupScores, ...]:
    """Score `gldv2_map_at_100` and the precision at 1, 10, 100 over the one setup "all".

    Raises:
        InputError: The ground truth is graded (easy / hard).
    """
    if isinstance(ground_truth, GradedGroundTruth):
        raise InputError("protocol gldv2 needs positives, got easy / hard / junk: use revisitop")
    positions, positives = _positions(ranking, ground_truth), ground_truth.positives
    main = MetricScores("gldv2_map_at_100", _average_precisions(ranking, ground_truth, cut=CUT))
    precisions = [
        MetricScores(f"gldv2_precision_at_{k}", score_queries(partial(_precision, k=k), positions, positives))
        for k in PRECISION_DEPTHS
    ]
    num_database = len(ranking.database_ids)
    chance = np.array([expected_rectangular(len(rows), num_database, cut=CUT) for rows in positives])
    rows = np.arange(len(positives))
    return (SetupScores("all", rows, count_positives(positives), (main, *precisions), chance),)


def _positions(ranking: Ranking, ground_truth: GroundTruth) -> tuple[Int64Array, ...]:
    check_fit(ranking, ground_truth)
    return tuple(
        positions_of(row, positives, _NO_JUNK)
        for row, positives in zip(ranking.ranks, ground_truth.positives, strict=True)
    )


def _average_precisions(ranking: Ranking, ground_truth: GroundTruth, *, cut: int) -> Float64Array:
    score = partial(rectangular_average_precision, cut=cut)
    return score_queries(score, _positions(ranking, ground_truth), ground_truth.positives)


def _precision(positions: Int64Array, num_positives: int, *, k: int) -> float:
    return float(np.count_nonzero(positions < k) / k) if num_positives else float("nan")


def _rows_of(ground_truth: GroundTruth, group: str | None) -> Int64Array:
    if group is None:
        return np.arange(len(ground_truth))
    if group not in ground_truth.groups:
        known = ", ".join(sorted(set(ground_truth.groups))) or "none"
        raise InputError(f"the ground truth has no queries in group {group!r}; it has: {known}")
    return np.flatnonzero(np.array(ground_truth.groups) == group)


def _landmarks_by_query(
    query_ids: Sequence[str], landmarks: Sequence[Sequence[int]]
) -> dict[str, frozenset[int]]:
    if len(query_ids) != len(landmarks):
        raise InputError(
            f"recognition solution: {len(landmarks)} lists of landmarks for {len(query_ids)} queries"
        )
    if len(set(query_ids)) != len(query_ids):
        raise InputError("recognition solution: a query id appears more than once")
    return {query_id: frozenset(shown) for query_id, shown in zip(query_ids, landmarks, strict=True)}


def _check_predictions(predictions: Sequence[Recognition], known: dict[str, frozenset[int]]) -> None:
    for prediction in predictions:
        if prediction.query_id not in known:
            raise InputError(f"recognition: query {prediction.query_id!r} is not in the solution")
        if np.isnan(prediction.score):
            raise InputError(f"recognition: the score of query {prediction.query_id!r} is NaN")
