"""k-reciprocal encoding: photos are alike where their neighbours, which count them as neighbours too, are."""

from dataclasses import dataclass

import numpy as np

from meisho.arrays import BoolArray, Float32Array, Float64Array, Int64Array
from meisho.errors import InputError, needs_extra
from meisho.ground_truth import Rows
from meisho.index.scoring import score_pairs
from meisho.ranking import NO_ROW, Ranking
from meisho.rerank.base import Reranker
from meisho.rerank.evidence import Evidence
from meisho.rerank.geometric import choose_first
from meisho.rerank.neighbor_lists import NeighborLists, lowest_products
from meisho.rerank.neighbors import find_nearest

with needs_extra("graph", "the reranker k-reciprocal"):
    from scipy.sparse import csr_array

QUERY = -1
"""Stands for the query among database rows."""

_PAIRS_AT_ONCE = 8_192


@dataclass(frozen=True)
class KReciprocalReranker(Reranker):
    """Orders the first of each list by Jaccard and first distance (Zhong et al. 2017, arXiv:1701.08398).

    Each query is treated as if it alone had been added to the database: the answer to a query does not depend
    on the others. The authors' code puts all queries in at once; with one query the two agree
    (re_ranking_ranklist.py of zhunzhong07/person-re-ranking: scores of random sets differed by at most
    2.4e-7). Distances are squared Euclidean ones, divided by the largest from the same photo, as there.

    The rows of whose neighbours something must be known are those within a few steps of the first:
    B <= `first` · k2 · (k1 + 1) · (k1 / 2 + 1), and never more than N; with real photos far fewer. Time
    O(B · N · D) to find their neighbours, once for all queries and kept in the evidence; then for each query
    O(B · k1²). Memory O(N · k1) for the lists and O(B · (k1² + D)) for one query.

    Args:
        first: How many of each list are put in order; the others stay behind them.
        k1: Neighbours that may be reciprocal; 20 in the paper.
        k2: Neighbours, itself included, over whose encodings the encoding of a photo is averaged; 6 in
            the paper; 1: it is not averaged.
        lambda_value: Share of the first distance in the sum, 0 to 1; 0.3 in the paper.

    Raises:
        InputError: An option is outside its range.
    """

    first: int = 400
    k1: int = 20
    k2: int = 6
    lambda_value: float = 0.3

    def __post_init__(self) -> None:
        if self.first < 1 or self.k1 < 1 or self.k2 < 1 or not 0 <= self.lambda_value <= 1:
            raise InputError(
                f"k-reciprocal: first {self.first}, k1 {self.k1} and k2 {self.k2} must be 1 or more, "
                f"lambda_value {self.lambda_value} between 0 and 1"
            )

    @property
    def depth(self) -> int:
        """How many answers are looked at."""
        return self.first

    def rerank(self, ranking: Ranking, evidence: Evidence, *, skip: Rows | None = None) -> Ranking:
        """Put the first of each list in order; the rest keep theirs, behind.

        Scores are 1 - distance, from 1 (best) down to 0. Photos behind the first have the highest Jaccard
        distance, and never a higher score than the one before.

        Args:
            ranking: (Q, K).
            evidence: Descriptors of the queries and of the database.
            skip: Not looked at.

        Raises:
            InputError: There are no descriptors, or they do not fit the ranking.
        """
        queries, _ = evidence.vectors_for("k-reciprocal", ranking)
        k = max(self.k1, self.k2 - 1)
        lists, (nearest, _) = NeighborLists.of(evidence, k), find_nearest(evidence, queries, k)
        lowest = lowest_products(evidence, queries)
        shortlists = choose_first(ranking, self.first)
        if evidence.graph is None:
            self._find_lists(lists, nearest, shortlists)
        ranks, scores = ranking.ranks.copy(), ranking.scores.copy()
        for row, shortlist in enumerate(shortlists):
            around = _Surroundings(queries[row], nearest[row], lowest[row], lists)
            near = self._similarities(around, shortlist)
            best = np.lexsort((shortlist, -near))
            ranks[row, : len(best)] = shortlist[best]
            rest = ranks[row, len(best) :]
            far = 1 - self._mix(np.ones(len(rest)), around.distances(rest))
            scores[row] = np.minimum.accumulate(np.concatenate([near[best], far]))
            scores[row, ranks[row] == NO_ROW] = -np.inf
        return Ranking(ranking.query_ids, ranking.database_ids, ranks, scores)

    def _find_lists(self, lists: NeighborLists, nearest: Int64Array, shortlists: list[Int64Array]) -> None:
        """Search for every neighbour list that a query will ask for, in few large batches."""
        rows = np.unique(np.concatenate([nearest.ravel(), *shortlists]))
        for width in (self.k2 - 1, self.k1, self._half):
            rows = np.union1d(rows, lists.find(rows)[0][:, :width])
        lists.find(rows)

    @property
    def _half(self) -> int:
        return int(np.around(self.k1 / 2))  # to even, as in the authors' code

    def _similarities(self, around: "_Surroundings", shortlist: Int64Array) -> Float64Array:
        """Return 1 - the final distance (S,), eq. 12, between the query and its shortlist (S,)."""
        if not len(shortlist):
            return np.empty(0)
        averaged = around.lists(np.concatenate([[QUERY], shortlist]))[:, : self.k2]
        photos = around.unite(averaged)
        places = around.places_in(photos, averaged)
        known, sets = self._reciprocal_sets(around, photos)
        of_query = sets[places[0]].sum(axis=0) > 0
        meeting = sets @ of_query.astype(np.int64) > 0  # the others add nothing to any overlap
        encodings = around.encode(photos, known, _keep_rows(sets, meeting))
        overlap = _overlap_with_first(_average_rows(encodings, places))
        return 1 - self._mix(1 - overlap / (2 - overlap), around.distances(shortlist))

    def _mix(self, jaccard: Float64Array, first: Float64Array) -> Float64Array:
        mixed: Float64Array = (1 - self.lambda_value) * jaccard + self.lambda_value * first
        return mixed

    def _reciprocal_sets(self, around: "_Surroundings", photos: Int64Array) -> tuple[Int64Array, csr_array]:
        """Return the (B,) photos around (P,) others, and which are in the set R* of which, (P, B), eq. 5."""
        within = around.unite(around.lists(photos)[:, : self.k1 + 1])
        known = around.unite(around.lists(within)[:, : self._half + 1])
        columns = around.places_in(known, around.lists(known)[:, : self.k1 + 1])
        mutual = _mutual(columns)[around.places_in(known, photos)]
        half = _mutual(columns[:, : self._half + 1])
        common = (mutual @ half.T).multiply(mutual).tocsr()
        common.data = (3 * common.data > 2 * half.sum(axis=1)[common.indices]).astype(np.int64)
        return known, (mutual + common @ half).tocsr()


class _Surroundings:
    """The graph of one query and the database, as if the query were one more photo, called `QUERY`."""

    def __init__(
        self, query: Float32Array, nearest: Int64Array, lowest: np.float32, lists: NeighborLists
    ) -> None:
        self._query = query
        self._nearest = nearest
        self._lowest = lowest
        self._lists = lists
        self._similarities = np.full(len(lists.database) + 1, np.nan, np.float32)
        self._similarities[NO_ROW] = -np.inf
        self._places = np.full(len(lists.database) + 1, -1, np.int32)  # the last is that of the query

    def unite(self, photos: Int64Array) -> Int64Array:
        """Return the different ones of some photos (B,), ascending: a table is quicker than sorting them."""
        self._places[photos] = 0
        found = np.flatnonzero(self._places == 0)
        self._places[found] = -1
        if len(found) and found[-1] == len(self._places) - 1:
            return np.concatenate([[QUERY], found[:-1]])
        return found

    def places_in(self, known: Int64Array, photos: Int64Array) -> Int64Array:
        """Return the place of each photo in (B,) different ones, -1 where it is not among them."""
        self._places[known] = np.arange(len(known))
        places = self._places[photos].astype(np.int64)
        self._places[known] = -1
        return places

    def similarities(self, rows: Int64Array) -> Float32Array:
        """Return the dot products (B,) of the query with database rows, -inf for -1, each computed once."""
        new = rows[np.isnan(self._similarities[rows])]
        self._similarities[new] = score_pairs(self._query[None], self._lists.database, new[None])[0]
        return self._similarities[rows]

    def distances(self, rows: Int64Array) -> Float64Array:
        """Return the distances (B,) between the query and database rows, divided by its largest."""
        return _distances(self.similarities(rows), self._lowest)

    def lists(self, photos: Int64Array) -> Int64Array:
        """Return the photos (B,) themselves and then their nearest; of ties the query comes first."""
        rows = photos[photos != QUERY]
        found, scores = self._lists.find(rows)
        scores = np.column_stack([self.similarities(rows), scores])
        found = np.column_stack([np.full(len(rows), QUERY), found])
        order = np.argsort(-scores, axis=1, kind="stable")[:, : len(self._nearest)]
        nearest = np.empty((len(photos), len(self._nearest)), np.int64)
        nearest[photos == QUERY] = self._nearest
        nearest[photos != QUERY] = np.take_along_axis(found, order, axis=1)
        return np.column_stack([photos, nearest])

    def encode(self, photos: Int64Array, known: Int64Array, sets: csr_array) -> csr_array:
        """Weigh the members of the sets (P, B) by exp(-distance from the photo), to the sum 1, eq. 7."""
        owners, members = sets.nonzero()
        similarities = np.empty(len(owners), np.float32)
        for first in range(0, len(owners), _PAIRS_AT_ONCE):
            block = slice(first, first + _PAIRS_AT_ONCE)
            vectors = self._vectors(photos[owners[block]]), self._vectors(known[members[block]])
            similarities[block] = np.einsum("pd,pd->p", *vectors)
        weights = np.exp(-_distances(similarities, self._lowest_of(photos[owners])))
        weights /= np.bincount(owners, weights)[owners]
        return csr_array((weights, (owners, members)), sets.shape)

    def _vectors(self, photos: Int64Array) -> Float32Array:
        vectors = self._lists.database[photos]
        vectors[photos == QUERY] = self._query
        return vectors

    def _lowest_of(self, photos: Int64Array) -> Float32Array:
        """Return the lowest dot product (B,) of each photo with any other, the query among them."""
        different, places = np.unique(photos, return_inverse=True)
        lowest = np.full(len(different), self._lowest)
        rows = different[different != QUERY]
        lowest[different != QUERY] = np.minimum(self._lists.find_lowest(rows), self.similarities(rows))
        return lowest[places]


def _distances(similarities: Float32Array, lowest: Float32Array | np.float32) -> Float64Array:
    """Squared distances of unit vectors, divided by the largest; 0 where all are alike."""
    largest = np.maximum(2 - 2 * np.asarray(lowest, np.float64), 1e-9)
    distances: Float64Array = np.clip((2 - 2 * similarities.astype(np.float64)) / largest, 0, 1)
    return distances


def _mutual(columns: Int64Array) -> csr_array:
    """Link those of which each is in the other's list of columns (B, k), -1 for none: (B, B) of 0 and 1."""
    rows, places = np.nonzero(columns >= 0)
    ones = np.ones(len(rows), np.int64)
    forward = csr_array((ones, (rows, columns[rows, places])), (len(columns), len(columns)))
    return forward.multiply(forward.T).tocsr()


def _keep_rows(sets: csr_array, kept: BoolArray) -> csr_array:
    """Empty the rows of (P, B) that are not kept."""
    return sets.multiply(kept[:, None]).tocsr()


def _average_rows(matrix: csr_array, places: Int64Array) -> csr_array:
    """Average the rows of a sparse (P, B) at (S, k) places: (S, B)."""
    shares = np.full(places.size, 1 / places.shape[1])
    starts = np.arange(0, places.size + 1, places.shape[1])
    return csr_array((shares, places.ravel(), starts), (len(places), matrix.shape[0])) @ matrix


def _overlap_with_first(encodings: csr_array) -> Float64Array:
    """Return the sums of minima (S,) of the first row of a sparse (1 + S, B) with each other one."""
    columns = encodings[[0]].indices
    dense = encodings[:, columns].toarray()
    overlap: Float64Array = np.minimum(dense[0], dense[1:]).sum(axis=1)
    return overlap
