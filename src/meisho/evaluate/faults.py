"""Faults of a ranking and of its figures, said in words: what makes a score mean less than it seems to."""

import numpy as np

from meisho.arrays import BoolArray, Float32Array, Int64Array
from meisho.evaluate.scores import SetupScores, mean_score
from meisho.ground_truth import GradedGroundTruth, GroundTruth
from meisho.ranking import NO_ROW, Ranking
from meisho.texts import count

RELATIVE_MARGIN = 0.2
ABSOLUTE_MARGIN = 0.01
_WITHOUT_JUNK = {"gldv2": 100, "ukbench": 4}
"""Protocols that know no junk, with the places that they score."""


def describe_ranking_faults(ranking: Ranking) -> list[str]:
    """Say in words what is wrong with a ranking: all scores tied, a row twice; empty when sound.

    The memory is O(N) for one query at a time.
    """
    num_queries, num_tied, num_repeats = len(ranking.query_ids), 0, 0
    for ranks, scores in zip(ranking.ranks, ranking.scores, strict=True):
        num_tied += _all_tied(scores[ranks != NO_ROW])
        num_repeats += _has_repeats(ranks, len(ranking.database_ids))
    counts = {
        "the same score for every photo: the order is that of the database, not of likeness": num_tied,
        "a database photo more than once in the list: it counts once, at its first place": num_repeats,
    }
    return [f"{number} of {num_queries} queries: {text}" for text, number in counts.items() if number]


def describe_protocol_faults(
    ranking: Ranking, ground_truth: GroundTruth | GradedGroundTruth, protocol: str
) -> list[str]:
    """Say in words where ranking or ground truth do not suit the protocol; empty when they do."""
    faults = []
    num_database = len(ranking.database_ids)
    if protocol in _WITHOUT_JUNK and any(len(junk) for junk in ground_truth.junk):
        faults.append(
            f"the ground truth names junk but protocol {protocol} has none: junk photos count as wrong"
        )
    needed = min(_WITHOUT_JUNK.get(protocol, num_database), num_database)
    if ranking.depth < needed:
        faults.append(
            f"lists hold {count(ranking.depth, 'photo')} where protocol {protocol} scores {needed}: "
            "positives beyond count as not found"
        )
    return faults


def describe_score_faults(setups: tuple[SetupScores, ...], low_ends: tuple[float, ...]) -> list[str]:
    """Say in words which setups have nothing to score, or a main figure at chance level; empty when sound.

    A figure is at chance level when the low end of its interval is no more than a fifth, and no more than a
    hundredth of the way to 1, above the score that a random ranking is expected to get.

    Args:
        setups: Scores of each setup.
        low_ends: Low end of the interval of each setup's main figure.
    """
    return [
        fault for s, low in zip(setups, low_ends, strict=True) if (fault := _describe_score_fault(s, low))
    ]


def _describe_score_fault(scores: SetupScores, low: float) -> str | None:
    name, values = scores.main.name, scores.main.values
    chance = mean_score(scores.chance)
    if np.isnan(values).all():
        return f"{name} {scores.setup}: no query has positives, so there is nothing to score"
    if low > chance + min(RELATIVE_MARGIN * chance, ABSOLUTE_MARGIN * (1 - chance)):
        return None
    value = mean_score(values)
    return (
        f"{name} {scores.setup} {value:.4f} is at chance level: a random ranking of this ground truth is "
        f"expected to score {chance:.4f} (the interval of this one begins at {low:.4f})"
    )


def _all_tied(scores: Float32Array) -> bool:
    return len(scores) > 1 and bool(scores.min() == scores.max())


def _has_repeats(ranks: Int64Array, num_database: int) -> bool:
    seen: BoolArray = np.zeros(num_database + 1, dtype=np.bool_)
    seen[ranks] = True  # an empty place (-1) marks the extra slot
    return int(np.count_nonzero(seen[:-1])) < int(np.count_nonzero(ranks != NO_ROW))
