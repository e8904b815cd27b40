"""Ranking: for each query, database rows, best first. The one value that leaves search."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from meisho.arrays import Float32Array, Int64Array, read_only
from meisho.errors import InputError
from meisho.texts import count

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
        warnings: What is doubtful about the descriptors behind it, in words; for the report.

    Raises:
        InputError: The shapes do not fit, the ranks are not whole numbers, a row lies outside the database,
            an empty place stands before the end of a list, or a score is NaN.
    """

    query_ids: tuple[str, ...]
    database_ids: Sequence[str]
    ranks: Int64Array
    scores: Float32Array
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        ranks, scores = np.asarray(self.ranks), read_only(self.scores, np.float32)
        if ranks.ndim != 2 or ranks.shape != scores.shape or len(ranks) != len(self.query_ids):
            raise InputError(
                f"ranking: {count(len(self.query_ids), 'query id')} need ranks and scores (Q, K), "
                f"got {ranks.shape} and {scores.shape}"
            )
        _check_rows(ranks, len(self.database_ids))
        ranks = read_only(ranks, np.int64)
        for query_id, row, row_scores in zip(self.query_ids, ranks, scores, strict=True):  # bounds the memory
            if np.any((row[:-1] == NO_ROW) & (row[1:] != NO_ROW)):
                raise InputError(f"ranking: query {query_id!r} has an empty place before the end of its list")
            if np.isnan(row_scores).any():
                raise InputError(f"ranking: query {query_id!r} has a score that is NaN")
        object.__setattr__(self, "ranks", ranks)
        object.__setattr__(self, "scores", scores)

    @classmethod
    def from_ranks(
        cls,
        query_ids: Iterable[object],
        database_ids: Iterable[object],
        ranks: ArrayLike,
        scores: ArrayLike | None = None,
    ) -> Self:
        """Take ranks that something else found.

        Args:
            query_ids: Q ids, texts or numbers; `range(Q)` where the queries have no names.
            database_ids: N ids, texts or numbers.
            ranks: (Q, K) of any integer type: database rows, counted from 0, best first; -1 fills the end.
            scores: (Q, K), higher is better; 1, 1/2, 1/3, ... by place when not given.

        Raises:
            InputError: See `Ranking`.
        """
        rows = np.asarray(ranks)
        if scores is None:
            places = np.arange(1, rows.shape[-1] + 1) if rows.ndim else np.ones(())
            scores = np.where(rows == NO_ROW, -np.inf, np.broadcast_to(1 / places, rows.shape))
        return cls(
            _names(query_ids, "query_ids"),
            _names(database_ids, "database_ids"),
            rows,
            _numbers(scores, "scores").astype(np.float32),
        )

    @classmethod
    def from_scores(
        cls, query_ids: Iterable[object], database_ids: Iterable[object], scores: ArrayLike
    ) -> Self:
        """Rank the whole database by a (Q, N) matrix of scores, best first; ties go to the lower row.

        Args:
            query_ids: Q ids, texts or numbers.
            database_ids: N ids, texts or numbers.
            scores: (Q, N), higher is better; give distances with a minus sign.

        Raises:
            InputError: The shapes do not fit, or a score is NaN.
        """
        queries, database = _names(query_ids, "query_ids"), _names(database_ids, "database_ids")
        numbers = _numbers(scores, "scores")
        if numbers.shape != (len(queries), len(database)):
            raise InputError(
                f"ranking: {count(len(queries), 'query id')} and {count(len(database), 'database id')} need "
                f"scores ({len(queries)}, {len(database)}), got {numbers.shape}"
            )
        ranks = np.argsort(-numbers, axis=1, kind="stable")
        ordered = np.take_along_axis(numbers, ranks, axis=1)
        return cls(queries, database, ranks, ordered.astype(np.float32))

    def __repr__(self) -> str:
        queries, photos = count(len(self.query_ids), "query"), count(len(self.database_ids), "photo")
        return f"Ranking({queries} over {photos}, ranks {self.ranks.shape})"

    @property
    def depth(self) -> int:
        """K, the length of each ranked list."""
        return int(self.ranks.shape[1])

    def top(self, k: int) -> "Ranking":
        """Return the first `k` of every list."""
        return replace(self, ranks=self.ranks[:, :k], scores=self.scores[:, :k])

    def widen(self, k: int) -> "Ranking":
        """Return every list with at least `k` places, filled at the end."""
        missing = ((0, 0), (0, max(0, k - self.depth)))
        return replace(
            self,
            ranks=np.pad(self.ranks, missing, constant_values=NO_ROW),
            scores=np.pad(self.scores, missing, constant_values=-np.inf),
        )

    def among(self, rows: Int64Array) -> "Ranking":
        """Leave only the given rows in every list, in order; they keep their length, filled at the end."""
        kept = np.isin(self.ranks, rows)
        order = np.argsort(~kept, axis=1, kind="stable")
        ranks, scores = np.where(kept, self.ranks, NO_ROW), np.where(kept, self.scores, -np.inf)
        return replace(
            self,
            ranks=np.take_along_axis(ranks, order, axis=1),
            scores=np.take_along_axis(scores, order, axis=1),
        )

    def ids_of(self, query_row: int) -> list[str]:
        """Return the ranked database ids of one query, without the fill."""
        return [self.database_ids[row] for row in self.ranks[query_row] if row != NO_ROW]


def _names(ids: Iterable[object], what: str) -> tuple[str, ...]:
    if isinstance(ids, str | bytes) or not isinstance(ids, Iterable):
        raise InputError(f"ranking: {what} is {ids!r:.80}; give a list of ids, one per photo")
    return tuple(str(name) for name in ids)


def _numbers(scores: ArrayLike | None, what: str) -> NDArray[Any]:
    """Return scores as floating-point numbers: the negative of an unsigned one would be a large one."""
    numbers = np.asarray(scores)
    if numbers.dtype.kind not in "buif":
        raise InputError(f"ranking: {what} are of the type {numbers.dtype}; give an array of numbers")
    return numbers if numbers.dtype.kind == "f" else numbers.astype(np.float64)


def _check_rows(ranks: NDArray[Any], num_database: int) -> None:
    """Refuse ranks that are not rows of the database, before a cast could make them so."""
    if not ranks.size:
        return
    if ranks.dtype.kind not in "ui":
        raise InputError(
            f"ranking: ranks are of the type {ranks.dtype}; they must be whole numbers, rows of the database "
            "counted from 0 (for scores of the whole database there is Ranking.from_scores)"
        )
    low, high = int(ranks.min()), int(ranks.max())
    if low < NO_ROW or high >= num_database:
        raise InputError(
            f"ranking: a rank lies outside the {num_database} database rows (ranks {low} to {high}; rows are "
            "counted from 0)"
        )
