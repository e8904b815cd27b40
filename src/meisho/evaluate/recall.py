"""recall@k of instance retrieval: is any right photo among the first k?

This is the recall@k of place recognition and metric learning: 1 for a query as soon as one positive stands in
the first k places, 0 otherwise. It is not the share of all positives found.
"""

from functools import partial

import numpy as np

from meisho.arrays import Int64Array
from meisho.evaluate.average_precision import positions_per_query
from meisho.evaluate.scores import mean_score, score_queries
from meisho.ground_truth import GroundTruth
from meisho.ranking import Ranking


def recall_at(ranking: Ranking, ground_truth: GroundTruth, *, k: int) -> float:
    """Share of queries with a positive in the first `k` places after junk is taken out, 0 to 1.

    A query without positives is left out of the mean; NaN where no query has any.

    Raises:
        InputError: Ranking and ground truth hold different numbers of queries.
        DatasetError: The ground truth names a row outside the database.

    Source: the recall@K of Jégou et al. 2011 (product quantization) and Arandjelović et al. 2016
    (arXiv:1511.07247, NetVLAD).
    """
    positions = positions_per_query(ranking, ground_truth)
    return mean_score(score_queries(partial(recall_within, k=k), positions, ground_truth.positives))


def recall_within(positions: Int64Array, num_positives: int, *, k: int) -> float:
    """1 if a position is below `k`, else 0; NaN for a query without positives, which a mean leaves out."""
    if num_positives == 0:
        return float("nan")
    return float(np.any(positions < k))
