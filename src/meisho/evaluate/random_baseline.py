"""The random baseline: scores drawn without looking at a photo, for the figure that every method must beat.

The classic baseline draws both revisited benchmarks from one stream, `np.random.seed(1)`, ROxford5k first.
Here each data set alone gives the same values: RParis6k skips the draws that ROxford5k would have taken.
Other data sets have no such history, and are drawn query by query.
"""

import numpy as np

from meisho.arrays import Float64Array
from meisho.ranking import Ranking

SEED = 1
SKIPPED_DRAWS = {"roxford5k": 0, "rparis6k": 4_993 * 70}
"""Draws to skip in the classic baseline: the (database, query) scores of ROxford5k come before RParis6k's."""


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


def random_ranking(
    query_ids: tuple[str, ...], database_ids: tuple[str, ...], dataset_name: str, *, top: int | None = None
) -> Ranking:
    """Rank the database at random for each query, the same on every machine.

    Args:
        query_ids: Q ids.
        database_ids: N ids.
        dataset_name: For "roxford5k" and "rparis6k" the scores are those of the classic baseline, (Q, N) at
            once; for any other they are drawn query by query, which takes the memory of one list of N besides
            the answer.
        top: K, how many of the best are kept; None keeps all N.
    """
    if dataset_name in SKIPPED_DRAWS:
        skip = SKIPPED_DRAWS[dataset_name]
        scores = random_scores(len(database_ids), len(query_ids), skip=skip)
        ranking = Ranking.from_scores(query_ids, database_ids, scores)
        return ranking if top is None else ranking.top(top)
    depth = len(database_ids) if top is None else min(top, len(database_ids))
    ranks = np.empty((len(query_ids), depth), np.int64)
    best = np.empty((len(query_ids), depth), np.float32)
    rng = np.random.default_rng(SEED)
    for ranks_row, best_row in zip(ranks, best, strict=True):
        drawn = rng.random(len(database_ids))
        ranks_row[:] = np.argsort(-drawn, kind="stable")[:depth]
        best_row[:] = drawn[ranks_row]
    return Ranking(query_ids, database_ids, ranks, best)
