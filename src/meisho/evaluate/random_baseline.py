"""The random baseline: scores drawn without looking at a photo, for the figure that every method must beat.

The classic baseline draws both revisited benchmarks from one stream, `np.random.seed(1)`, ROxford5k first.
Here each data set alone gives the same values: RParis6k skips the draws that ROxford5k would have taken.
"""

import numpy as np

from meisho.arrays import Float64Array
from meisho.ranking import Ranking

SEED = 1
SKIPPED_DRAWS = {"rparis6k": 4_993 * 70}
"""Draws to skip: the (database, query) scores of ROxford5k come before those of RParis6k."""


def random_scores(num_database: int, num_queries: int, *, skip: int = 0) -> Float64Array:
    """Return (Q, N) float64 scores in [0, 1), the same on every machine.

    Args:
        num_database: N.
        num_queries: Q.
        skip: Draws of the stream to leave out first.
    """
    # The legacy generator: a Generator gives other numbers, and the known values are from np.random.seed(1).
    stream = np.random.RandomState(SEED)
    stream.random_sample(skip)
    scores: Float64Array = stream.random_sample((num_database, num_queries)).T
    return scores


def random_ranking(query_ids: tuple[str, ...], database_ids: tuple[str, ...], dataset_name: str) -> Ranking:
    """Rank the whole database at random for each query, the same on every machine.

    Args:
        query_ids: Q ids.
        database_ids: N ids.
        dataset_name: "rparis6k" skips the draws of ROxford5k; every other name starts the stream afresh.
    """
    skip = SKIPPED_DRAWS.get(dataset_name, 0)
    scores = random_scores(len(database_ids), len(query_ids), skip=skip)
    return Ranking.from_scores(query_ids, database_ids, scores)
