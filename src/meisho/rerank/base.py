"""Rerankers: the interface, and the table of those that are known by name.

A new reranker is one file in this folder, such as `by_number_of_features.py`::

    from dataclasses import dataclass
    from typing import ClassVar

    import numpy as np

    from meisho.ground_truth import Rows
    from meisho.ranking import NO_ROW, Ranking
    from meisho.rerank.base import Reranker
    from meisho.rerank.evidence import Evidence

    @dataclass(frozen=True)
    class ByNumberOfFeatures(Reranker):
        needs_local: ClassVar[bool] = True

        first: int = 100

        @property
        def depth(self) -> int:
            return self.first

        def rerank(self, ranking: Ranking, evidence: Evidence, *, skip: Rows | None = None) -> Ranking:
            source = evidence.local_for("by-number-of-features")
            ranks, scores = ranking.ranks.copy(), ranking.scores.copy()
            for row, score in zip(ranks, scores, strict=True):  # rows of the two, written in place
                found = row[row != NO_ROW][: self.first]
                counts = np.array([len(features) for features in source.database(found)], int)
                best = np.lexsort((found, -counts))
                row[: len(found)], score[: len(found)] = found[best], counts[best]
                score[len(found) :] -= np.max(score[len(found) :], initial=0)  # the rest stay behind
            return Ranking(ranking.query_ids, ranking.database_ids, ranks, scores)

and one line in `RERANKERS`::

    "by-number-of-features": "meisho.rerank.by_number_of_features:ByNumberOfFeatures",

Then `meisho search photos.meisho query.jpg --rerank by-number-of-features:first=20` uses it.
"""

from typing import Protocol, runtime_checkable

from meisho.ground_truth import Rows
from meisho.ranking import Ranking
from meisho.rerank.evidence import Evidence

RERANKERS: dict[str, str] = {
    "geometric": "meisho.rerank.geometric:GeometricReranker",
    "asmk": "meisho.rerank.asmk:AsmkReranker",
    "superglobal": "meisho.rerank.superglobal:SuperGlobalReranker",
    "k-reciprocal": "meisho.rerank.k_reciprocal:KReciprocalReranker",
    "diffusion": "meisho.rerank.diffusion:DiffusionReranker",
    "offline-diffusion": "meisho.rerank.diffusion:OfflineDiffusionReranker",
    "average-qe": "meisho.rerank.expansion:AverageQueryExpansion",
    "alpha-qe": "meisho.rerank.expansion:AlphaQueryExpansion",
    "dba": "meisho.rerank.expansion:DatabaseAugmentation",
    "discriminative-qe": "meisho.rerank.expansion:DiscriminativeQueryExpansion",
}
"""Name -> "module:Class", imported on use; a frozen dataclass whose fields are its options."""


class Reranker(Protocol):
    """What puts ranked answers into a better order; what is not said by a subclass is as here."""

    @property
    def permutes(self) -> bool:
        """Whether every list keeps the rows that it had.

        Otherwise the whole database is ranked anew, to the depth of the ranking, and rows may come that were
        not in the list.
        """
        return True

    @property
    def needs_local(self) -> bool:
        """Whether it looks at local features."""
        return False

    @property
    def uses_skip(self) -> bool:
        """Whether it verifies a shortlist, from which junk can be kept out."""
        return False

    @property
    def depth(self) -> int:
        """How many answers of the search it looks at; 0: as many as are asked for."""
        return 0

    def rerank(self, ranking: Ranking, evidence: Evidence, *, skip: Rows | None = None) -> Ranking:
        """Reorder each list of a ranking; -1 stays at the end.

        Args:
            ranking: What was found (Q, K), best first.
            evidence: What is known about the photos beside the ranking.
            skip: Q arrays of database rows that must not take a place among those verified: the junk of the
                protocol that the result will be scored by. They stay in the list. Only a reranker that
                verifies a shortlist looks at it (`uses_skip`); a search anew knows no ground truth.

        Returns:
            A ranking (Q, K) whose scores (higher is better) never rise along a list.

        Raises:
            InputError: `evidence` lacks what this reranker needs.
        """
        ...


@runtime_checkable
class Refiner(Protocol):
    """A reranker that makes better descriptors and searches with them: later steps of a chain see these."""

    def refine(self, ranking: Ranking, evidence: Evidence) -> Evidence:
        """Return the evidence with better descriptors of the queries, of the database, or of both."""
        ...
