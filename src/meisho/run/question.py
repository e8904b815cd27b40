"""Question: described queries, and how the database is ranked for them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from meisho.descriptors import Descriptors
from meisho.index.base import Searcher
from meisho.ranking import NO_ROW, Ranking
from meisho.run.folding import NEAR_DEPTH, Contents, fold_near, search_contents, shortest
from meisho.run.turning import merge_positions
from meisho.searching import search

if TYPE_CHECKING:
    from meisho.run.reranking import Rerank

HashOf = Callable[[int], int | None]
"""Row -> perceptual hash of its photo; None where the file cannot be read."""


class Listed(NamedTuple):
    """What a question found.

    Attributes:
        ranking: Rows (Q, K) of different contents.
        below: For each query, the rows that stand below each answer that has copies.
        positions: For each query the position in which each row was found, see `merge_positions`; None where
            the queries were not turned.
    """

    ranking: Ranking
    below: list[dict[int, tuple[int, ...]]]
    positions: list[dict[int, int]] | None


@dataclass(frozen=True, eq=False)
class Question:
    """Described queries, what they are asked of, and how the answers are put into order.

    Attributes:
        queries: Descriptors of Q queries, or of 4 Q that were turned.
        database: Descriptors of N photos.
        index: Finds rows of the database.
        contents: Which rows are copies; rerankers see each content once.
        rerank: Puts what was found into a better order; None leaves it.
        turned: Whether every four queries are one, in four positions.
    """

    queries: Descriptors
    database: Descriptors
    index: Searcher
    contents: Contents
    rerank: "Rerank | None" = None
    turned: bool = False

    def answer(self, top: int, hash_of: HashOf | None = None) -> Listed:
        """Find the `top` best contents for each query, or all that there are.

        Args:
            top: How many.
            hash_of: Tells near copies, which then stand below the first of them; None: they do not.
        """
        enough = min(top, self.contents.number)
        wanted = top if hash_of is None else min(max(top, NEAR_DEPTH), len(self.database))
        while True:
            listed = self._list(wanted, hash_of)
            if shortest(listed.ranking) >= enough or wanted >= len(self.database):
                return listed._replace(ranking=listed.ranking.top(top))
            wanted = min(
                2 * wanted, len(self.database)
            )  # near copies, or copies that a reranker brought back

    def _list(self, wanted: int, hash_of: HashOf | None) -> Listed:
        ranking, positions = self._rank(wanted), None
        if self.turned:
            ranking, positions = merge_positions(ranking)
        near: list[dict[int, list[int]]] = [{} for _ in ranking.ranks]
        if hash_of is not None:
            ranking, near = fold_near(ranking, self.database.vectors, hash_of)
        below = [
            {
                row: rows
                for row in ranks[ranks != NO_ROW].tolist()
                if (rows := self.contents.copies_below(row, more.get(row, ())))
            }
            for ranks, more in zip(ranking.ranks, near, strict=True)
        ]
        return Listed(ranking, below, positions)

    def _rank(self, wanted: int) -> Ranking:
        """Rank at least `wanted` contents, or all that there are, but where a reranker ranks copies anew."""
        depth = max(wanted, self.rerank.depth if self.rerank else 0)
        ranking = search_contents(self._search, self.contents, depth)
        if self.rerank is None:
            return ranking
        # what ranks anew does so to the depth of the list; rows that may not answer are then left out
        return self.contents.fold(self.rerank(ranking.widen(min(depth, len(self.database)))))

    def _search(self, depth: int) -> Ranking:
        return search(self.queries, self.database, index=self.index, top=depth)
