"""Small rankings and ground truths for tests."""

import numpy as np

from meisho.ground_truth import GroundTruth
from meisho.ranking import Ranking


def names(prefix, count):
    return tuple(f"{prefix}{number}" for number in range(count))


def ranking_of(rows, num_database=None):
    """A ranking from lists of database rows; shorter ones are filled with -1."""
    depth = max((len(row) for row in rows), default=0)
    num_database = num_database or max((r for row in rows for r in row), default=0) + 1
    ranks = np.full((len(rows), depth), -1)
    for row, ranked in zip(ranks, rows, strict=True):
        row[: len(ranked)] = ranked
    scores = np.where(ranks >= 0, -np.arange(depth, dtype=float), -np.inf)
    return Ranking(names("q", len(rows)), names("d", num_database), ranks, scores)


def random_case(seed):
    """(ranking, ground truth) of 3 queries: ties, short lists, repeats, no positives, all junk, in turn."""
    rng = np.random.default_rng(seed)
    num_database, num_queries = int(rng.integers(1, 40)), 3
    if seed % 2:  # few distinct scores: many ties
        scores = rng.integers(0, 4, size=(num_queries, num_database)).astype(float)
        ranks = Ranking.from_scores(names("q", num_queries), names("d", num_database), scores).ranks.copy()
    else:
        ranks = rng.permuted(np.tile(np.arange(num_database), (num_queries, 1)), axis=1)
    ranks = ranks[:, : int(rng.integers(1, num_database + 1))]
    if seed % 3 == 0:  # repeats
        ranks = rng.choice(num_database, size=ranks.shape)
    for row in ranks:
        row[int(rng.integers(0, ranks.shape[1] + 1)) :] = -1
    share = rng.choice([0.0, 0.1, 0.5, 1.0], size=2) / (1 if seed % 5 else 2)
    draws = rng.random((num_queries, num_database))
    is_positive = draws < share[0]
    is_junk = ~is_positive & (draws < share[0] + share[1])
    if seed % 7 == 0:
        is_positive[0], is_junk[0] = False, True  # nothing but junk
    if seed % 11 == 0:
        is_positive[1] = False
    truth = GroundTruth([np.flatnonzero(r) for r in is_positive], [np.flatnonzero(r) for r in is_junk])
    ranking = Ranking(names("q", num_queries), names("d", num_database), ranks, np.zeros(ranks.shape))
    return ranking, truth


def lists_of(ranking, truth):
    """Each query as plain Python: (ranked list, set of positives, set of junk)."""
    for row, positives, junk in zip(ranking.ranks, truth.positives, truth.junk, strict=True):
        yield row.tolist(), set(positives.tolist()), set(junk.tolist())
