"""The UKBench protocol [Nistér and Stewénius 2006]: the N-S score, 0 to 4."""

import numpy as np

from meisho.arrays import Float64Array
from meisho.errors import DatasetError, InputError
from meisho.evaluate.average_precision import check_fit, positions_of
from meisho.evaluate.scores import MetricScores, SetupScores, count_positives, mean_score
from meisho.ground_truth import GradedGroundTruth, GroundTruth
from meisho.ranking import Ranking

PHOTOS_PER_OBJECT = 4
_NO_JUNK = np.empty(0, np.int64)


def ukbench_ns(ranking: Ranking, ground_truth: GroundTruth) -> float:
    """Mean number of the object's 4 photos, the query's own among them, within the first 4 places: 0 to 4.

    Every query must have exactly 4 positives: one without cannot be scored and is an error. There is no junk:
    it would take up its place.

    Raises:
        InputError: Ranking and ground truth hold different numbers of queries.
        DatasetError: A query has not 4 positives, or the ground truth names a row outside the database.

    Source: Nistér and Stewénius, "Scalable recognition with a vocabulary tree", CVPR 2006.
    """
    return mean_score(_photos_found(ranking, ground_truth))


def score_ukbench(ranking: Ranking, ground_truth: GroundTruth | GradedGroundTruth) -> tuple[SetupScores, ...]:
    """Score the one setup "all" with `ukbench_ns`.

    Raises:
        InputError: The ground truth is graded (easy / hard).
    """
    if isinstance(ground_truth, GradedGroundTruth):
        raise InputError("protocol ukbench needs positives, got easy / hard / junk: use revisitop")
    found = _photos_found(ranking, ground_truth)
    num_database = len(ranking.database_ids)
    expected = (
        PHOTOS_PER_OBJECT * min(PHOTOS_PER_OBJECT, num_database) / num_database if num_database else 0.0
    )
    return (
        SetupScores(
            setup="all",
            query_rows=np.arange(len(found)),
            num_positives=count_positives(ground_truth.positives),
            metrics=(MetricScores("ukbench_ns", found),),
            chance=np.full(len(found), expected),
        ),
    )


def _photos_found(ranking: Ranking, ground_truth: GroundTruth) -> Float64Array:
    check_fit(ranking, ground_truth)
    for query_id, rows in zip(ranking.query_ids, ground_truth.positives, strict=True):
        if len(rows) != PHOTOS_PER_OBJECT:
            raise DatasetError(
                f"ukbench: query {query_id!r} has {len(rows)} positives; the N-S score needs the object's "
                f"{PHOTOS_PER_OBJECT} photos, the query's own among them"
            )
    top = ranking.ranks[:, :PHOTOS_PER_OBJECT]
    return np.array(
        [len(positions_of(row, p, _NO_JUNK)) for row, p in zip(top, ground_truth.positives, strict=True)],
        np.float64,
    )
