"""Augmented databases: every photo with its nearest others, all of them at once or when one is asked for."""

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Self

import numpy as np

from meisho.array_files import collect_rows
from meisho.arrays import BoolArray, Float32Array, Int64Array, cut_rows, read_only
from meisho.descriptors import normalize_rows
from meisho.index.base import Searcher
from meisho.index.scoring import score_pairs, sort_pairs
from meisho.ranking import NO_ROW, Ranking
from meisho.rerank.evidence import CHECKED, Evidence
from meisho.rerank.neighbor_lists import NeighborLists
from meisho.rerank.neighbors import answer_index, block_rows, find_others

LEAST_CANDIDATES, CANDIDATES_PER_ANSWER = 400, 4
"""Rows of the plain search that are ranked by their augmented vectors, where there is an index."""

_ROWS_AT_ONCE = 4096


@dataclass(frozen=True, eq=False)
class AugmentedDatabase:
    """The augmented vectors of a database, and what later steps keep of them.

    With an index, the vector of a photo is computed when a search finds it: a search of 1,000,000 photos then
    augments hundreds of them.

    Attributes:
        vectors: (N, D), read-only.
        k: Neighbours beside the photo itself.
        alpha: Neighbours weigh max(similarity, 0)^α.
        known: (N,) which of them are there.
        of_database: See `Evidence.of_database`.
    """

    vectors: Float32Array
    k: int
    alpha: float
    known: BoolArray
    of_database: dict[Hashable, object] = field(default_factory=dict)

    @classmethod
    def of(cls, evidence: Evidence, *, k: int, alpha: float) -> Self:
        """Augment the database of the evidence, each photo by its `k` nearest others."""
        source = evidence.database
        assert source is not None
        if evidence.index is None:
            vectors, known = augment_database(evidence, k=k, alpha=alpha), np.ones(len(source), np.bool_)
        else:  # memory is taken as rows are written
            vectors, known = np.zeros(source.shape, np.float32), np.zeros(len(source), np.bool_)
        vectors = read_only(vectors, np.float32)
        return cls(vectors, k, alpha, known, {CHECKED: (vectors, vectors)})

    def give(self, evidence: Evidence, ranking: Ranking) -> Evidence:
        """Return the evidence with these vectors; those of the rows of a ranking are there."""
        given = replace(evidence, database=self.vectors, of_database=self.of_database, index=None, graph=None)
        if evidence.index is None:
            return given
        fill = partial(self.fill, evidence)
        fill(ranking.ranks[ranking.ranks != NO_ROW])
        index = _AugmentedSearcher(evidence.index, self.vectors, fill)
        answers = None if evidence.among is None else replace(index, plain=answer_index(evidence))
        return replace(given, index=index, answers=answers, fill=fill)

    def fill(self, evidence: Evidence, rows: Int64Array) -> None:
        """Compute the vectors of (B,) rows that are not there yet, of the evidence they are made from."""
        new = np.unique(rows[~self.known[rows]])
        lists, written = NeighborLists.of(evidence, self.k), self.vectors.base
        assert written is not None
        for part in cut_rows(len(new), _ROWS_AT_ONCE):
            block = new[part]
            written[block] = _augment(evidence, block, *lists.find(block), self.alpha)
            self.known[block] = True


@dataclass(frozen=True, eq=False)
class _AugmentedSearcher:
    """Ranks the first of a search of the plain vectors by their augmented ones; see `Searcher`."""

    plain: Searcher
    vectors: Float32Array
    fill: Callable[[Int64Array], None]

    def search(self, queries: Float32Array, top: int) -> tuple[Int64Array, Float32Array]:
        """Find the `top` best of the first 400 rows, or 4 times `top`, for each of (Q, D) queries."""
        rows, _ = self.plain.search(queries, max(LEAST_CANDIDATES, CANDIDATES_PER_ANSWER * top))
        self.fill(rows.ravel())
        return sort_pairs(rows, score_pairs(queries, self.vectors, rows), top)


def augment_database(evidence: Evidence, *, k: int, alpha: float) -> Float32Array:
    """Return (N, D) unit vectors: each photo of the database with its `k` nearest others.

    From 1 GiB on they stand in a temporary file that is mapped into memory.
    """
    assert evidence.database is not None
    number, dim = evidence.database.shape

    def augment_blocks() -> Iterator[Float32Array]:
        for block in cut_rows(number, _ROWS_AT_ONCE):
            rows = np.arange(block.start, block.stop)
            yield _augment(evidence, rows, *find_others(evidence, rows, k), alpha)

    return collect_rows(augment_blocks(), (number, dim))


def _augment(
    evidence: Evidence, rows: Int64Array, neighbors: Int64Array, similarities: Float32Array, alpha: float
) -> Float32Array:
    assert evidence.database is not None
    weights = weigh_neighbors(similarities, alpha)
    return add_neighbors(evidence.read(rows), evidence.database, neighbors, weights)


def weigh_neighbors(similarities: Float32Array, alpha: float) -> Float32Array:
    """Return max(similarity, 0)^α of (Q, k) similarities; 0 where one is -inf: there is no neighbour."""
    with np.errstate(over="ignore"):  # unit vectors may have 1.0000001, whose powers know no bound
        weights: Float32Array = np.minimum(np.maximum(similarities, 0) ** np.float32(alpha), 2)
    weights[similarities == -np.inf] = 0  # 0^0 is 1
    return weights


def add_neighbors(
    vectors: Float32Array, database: Float32Array, rows: Int64Array, weights: Float32Array
) -> Float32Array:
    """Add weighted neighbours to (Q, D) vectors, and scale to unit length.

    Args:
        vectors: (Q, D).
        database: (N, D).
        rows: (Q, k) database rows; the weight of -1 must be 0.
        weights: (Q, k).

    Returns:
        (Q, D) float32. Beside it, a block of at most 16 MiB is held. Sums run over the neighbours in order,
        so that a row does not depend on the others.
    """
    added = np.empty_like(vectors)
    for block in block_rows(len(vectors), 12 * vectors.shape[1]):
        sums = vectors[block].copy()
        for neighbors, shares in zip(rows[block].T, weights[block].T, strict=True):
            if len(database):
                sums += shares[:, None] * database[neighbors]
        added[block] = normalize_rows(sums)
    return added
