"""SuperGlobal's reranking: the first answers lend each other, and the query, what they have in common."""

from dataclasses import dataclass

import numpy as np

from meisho.arrays import Float32Array, Int64Array
from meisho.errors import InputError
from meisho.ground_truth import Rows
from meisho.ranking import NO_ROW, Ranking
from meisho.rerank.base import Reranker
from meisho.rerank.evidence import Evidence

_ROWS_AT_ONCE = 1_024


@dataclass(frozen=True)
class SuperGlobalReranker(Reranker):
    """Reranks the first of each list by global descriptors alone [Shao et al. 2023, arXiv:2308.06954, §3.3].

    Each of the first M photos becomes the mean of itself and of its `k` nearest among those M, weighted by
    `beta` times the similarity. The query's expansion is the maximum, dimension by dimension, of the `k` + 1
    best of these. A photo's score is the mean of its products with the query and with that expansion.

    Checked against golden values of the official code (`MDescAug`, `RerankwMDA`), which differs in one thing:
    there a negative similarity is a negative weight, here it counts as 0, so that the weights never add up
    to 0.

    Per query it takes O(M² D) time and O(M D) memory, beside at most 1024 rows of M similarities; nothing is
    kept for the database, and the whole costs O(Q M² D).

    Args:
        first: M, how many of each list are reranked; the others stay behind them. 400 as in the paper (§4.1).
        k: Neighbours beside the photo itself. 9 as in the paper (§4.1).
        beta: Weight of the neighbours. 0.15 as in the paper (§4.1).

    Raises:
        InputError: An option is outside its range.
    """

    first: int = 400
    k: int = 9
    beta: float = 0.15

    def __post_init__(self) -> None:
        if self.first < 1 or self.k < 0 or not 0 <= self.beta < np.inf:
            raise InputError(
                f"superglobal: first {self.first} must be 1 or more, k {self.k} and beta {self.beta} "
                "0 or more"
            )

    @property
    def depth(self) -> int:
        """How many answers are looked at."""
        return self.first

    def rerank(self, ranking: Ranking, evidence: Evidence, *, skip: Rows | None = None) -> Ranking:
        """Put the first of each list in order, ties by database row; the rest keep theirs, behind.

        The score of the rest is their first score, or the last reranked photo's where that is less.

        Args:
            ranking: (Q, K).
            evidence: Global descriptors.
            skip: Not looked at: what is junk for a protocol is a photo like others here.

        Raises:
            InputError: There are no descriptors.
        """
        queries, database = evidence.vectors_for("superglobal", ranking)
        ranks, scores = ranking.ranks.copy(), ranking.scores.copy()
        for query, row_ranks, row_scores in zip(queries, ranks, scores, strict=True):
            found = row_ranks[row_ranks != NO_ROW]
            rows = np.sort(found[: self.first])  # by database row, so that every tie is broken by it
            if len(rows):
                new = self._scores(query, database[rows])
                best = np.lexsort((rows, -new))
                row_ranks[: len(rows)], row_scores[: len(rows)] = rows[best], new[best]
                rest = row_scores[len(rows) : len(found)]
                np.minimum(rest, new.min(), out=rest)
        return Ranking(ranking.query_ids, ranking.database_ids, ranks, scores)

    def _scores(self, query: Float32Array, photos: Float32Array) -> Float32Array:
        """Score (M, D) photos, their rows in the order that breaks ties -> (M,)."""
        refined = augment_among(photos, self.k, self.beta)
        similarities = refined @ query
        best = np.argsort(-similarities, kind="stable")[: self.k + 1]
        expansion = refined[best].max(axis=0)
        scores: Float32Array = (similarities + refined @ expansion) / 2
        return scores


def augment_among(photos: Float32Array, k: int, beta: float) -> Float32Array:
    """Return (M, D) photos, each the weighted mean of itself and its `k` nearest among the others.

    The weight of a neighbour is `beta` times its similarity, and 0 where that is negative. The rows are not
    scaled to unit length again, as in the official code.
    """
    neighbors, similarities = _nearest_others(photos, min(k, len(photos) - 1))
    weights = beta * np.maximum(similarities, 0)
    refined = photos.copy()
    for column in range(weights.shape[1]):  # one neighbour at a time: (M, k, D) would be k times the memory
        refined += weights[:, column, None] * photos[neighbors[:, column]]
    refined /= 1 + weights.sum(axis=1, keepdims=True)
    return refined


def _nearest_others(photos: Float32Array, k: int) -> tuple[Int64Array, Float32Array]:
    """Return rows (M, k) of the nearest others, best first, ties by row, and their similarities."""
    neighbors = np.empty((len(photos), k), np.int64)
    similarities = np.empty((len(photos), k), np.float32)
    for start in range(0, len(photos), _ROWS_AT_ONCE):
        some = slice(start, start + _ROWS_AT_ONCE)
        block = photos[some] @ photos.T
        block[np.arange(len(block)), np.arange(start, start + len(block))] = -np.inf
        neighbors[some] = np.argsort(-block, axis=1, kind="stable")[:, :k]
        similarities[some] = np.take_along_axis(block, neighbors[some], axis=1)
    return neighbors, similarities
