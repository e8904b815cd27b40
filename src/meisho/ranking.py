"""Ranking: for each query, database rows, best first. The one value that leaves search."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from meisho.arrays import Float32Array, Float64Array, Int64Array, read_only
from meisho.errors import InputError

NO_ROW = -1
"""Fills the end of a row of `ranks` when fewer than K database photos were found."""


@dataclass(frozen=True, eq=False)
class Ranking:
    """Ranked answers to Q queries over a database of N photos.

    Attributes:
        query_ids: (Q,) ids of the queries.
        database_ids: (N,) ids of the database photos; `ranks` holds rows into it.
        ranks: (Q, K) int64, read-only; database rows, best first; -1 fills the end of a short row.
        scores: (Q, K) float32, read-only; higher is better; -inf where `ranks` is -1.

    Raises:
        InputError: The shapes do not fit, a row lies outside the database, or an empty place stands before
            the end of a list.
    """

    query_ids: tuple[str, ...]
    database_ids: tuple[str, ...]
    ranks: Int64Array
    scores: Float32Array

    def __post_init__(self) -> None:
        ranks, scores = read_only(self.ranks, np.int64), read_only(self.scores, np.float32)
        if ranks.ndim != 2 or ranks.shape != scores.shape or len(ranks) != len(self.query_ids):
            raise InputError(
                f"ranking: {len(self.query_ids)} queries need ranks and scores (Q, K), "
                f"got {ranks.shape} and {scores.shape}"
            )
        if ranks.size and (ranks.min() < NO_ROW or ranks.max() >= len(self.database_ids)):
            raise InputError(f"ranking: a rank lies outside the {len(self.database_ids)} database rows")
        for query_id, row in zip(self.query_ids, ranks, strict=True):  # row by row: bounds the memory
            if np.any((row[:-1] == NO_ROW) & (row[1:] != NO_ROW)):
                raise InputError(f"ranking: query {query_id!r} has an empty place before the end of its list")
        object.__setattr__(self, "ranks", ranks)
        object.__setattr__(self, "scores", scores)

    @classmethod
    def from_scores(
        cls, query_ids: tuple[str, ...], database_ids: tuple[str, ...], scores: Float32Array | Float64Array
    ) -> Self:
        """Rank the whole database by a (Q, N) score matrix, best first; ties go to the lower row."""
        ranks = np.argsort(-scores, axis=1, kind="stable")
        return cls(
            query_ids, database_ids, ranks, np.take_along_axis(scores, ranks, axis=1).astype(np.float32)
        )

    @property
    def depth(self) -> int:
        """K, the length of each ranked list."""
        return int(self.ranks.shape[1])

    def top(self, k: int) -> "Ranking":
        """Return the first `k` of every list."""
        return Ranking(self.query_ids, self.database_ids, self.ranks[:, :k], self.scores[:, :k])

    def ids_of(self, query_row: int) -> list[str]:
        """Return the ranked database ids of one query, without the fill."""
        return [self.database_ids[row] for row in self.ranks[query_row] if row != NO_ROW]
