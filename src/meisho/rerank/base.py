"""Rerankers: the interface, their evidence, and the table of those that are known by name.

A new reranker is one file in this folder and one line in `RERANKERS`. This one runs::

    class ByNumberOfFeatures:
        def rerank(self, ranking, evidence, *, skip=None):
            ranks = ranking.ranks.copy()
            scores = np.full(ranks.shape, -np.inf)
            for row, score in zip(ranks, scores):  # rows of the two, written in place
                found = row[row != NO_ROW]
                counts = np.array([len(features) for features in evidence.database(found)], int)
                best = np.lexsort((found, -counts))
                row[: len(found)], score[: len(found)] = found[best], counts[best]
            return Ranking(ranking.query_ids, ranking.database_ids, ranks, scores)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from meisho.arrays import Int64Array
from meisho.ground_truth import Rows
from meisho.local_features import LocalFeatures
from meisho.ranking import Ranking

RERANKERS: dict[str, str] = {
    "geometric": "meisho.rerank.geometric:GeometricReranker",
}
"""Name -> "module:Class", imported on use; the class's arguments are its options."""

Evidence_contra = TypeVar("Evidence_contra", contravariant=True)


class Reranker(Protocol[Evidence_contra]):
    """What puts ranked answers into a better order."""

    def rerank(self, ranking: Ranking, evidence: Evidence_contra, *, skip: Rows | None = None) -> Ranking:
        """Reorder each list of a ranking; every list keeps the rows that it had, -1 at the end.

        Args:
            ranking: What was found (Q, K), best first.
            evidence: What is known about the photos beside the ranking.
            skip: Q arrays of database rows that must not take a place among those looked at: the junk of the
                protocol that the result will be scored by. They stay in the list. None: no rows.

        Returns:
            A ranking (Q, K) whose scores (higher is better) never rise along a list.
        """
        ...


class LocalFeatureSource(Protocol):
    """Local features of queries and database photos: in memory, or read from a collection."""

    def query(self, query_row: int) -> LocalFeatures:
        """Return those of one query, of its box alone where it has one."""
        ...

    def database(self, rows: Int64Array) -> Sequence[LocalFeatures]:
        """Return those of (B,) database rows in that order, read in one batch."""
        ...


@dataclass(frozen=True, eq=False)
class LocalFeaturesInMemory:
    """A `LocalFeatureSource` of two sequences: features of Q queries, and of N database photos."""

    of_queries: Sequence[LocalFeatures]
    of_database: Sequence[LocalFeatures]

    def query(self, query_row: int) -> LocalFeatures:
        """Return those of one query."""
        return self.of_queries[query_row]

    def database(self, rows: Int64Array) -> list[LocalFeatures]:
        """Return those of (B,) database rows."""
        return [self.of_database[row] for row in rows]
