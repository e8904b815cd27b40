"""Diffusion: similarity flows from the first answers through the graph of database photos."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from meisho.arrays import Float32Array, Float64Array, Int64Array
from meisho.errors import InputError, needs_extra
from meisho.ground_truth import Rows
from meisho.index.scoring import score_pairs
from meisho.ranking import NO_ROW, Ranking
from meisho.rerank.base import Reranker
from meisho.rerank.evidence import Evidence
from meisho.rerank.geometric import choose_first
from meisho.rerank.neighbor_lists import NeighborLists
from meisho.rerank.neighbors import find_nearest

with needs_extra("graph", "diffusion"):
    from scipy.sparse import csr_array, eye_array
    from scipy.sparse.linalg import cg

_ROWS_AT_ONCE = 1024

_Sparse = tuple[NDArray[np.int32], Float32Array]
"""Rows (T,), ascending, and the value (T,) at each; 0 elsewhere."""


@dataclass(frozen=True)
class _Diffusion(Reranker):
    """The options of both ways to diffuse."""

    permutes: ClassVar[bool] = False

    k: int = 20
    k_query: int = 10
    gamma: float = 3.0
    alpha: float = 0.9
    first: int = 1000
    iterations: int = 20

    def __post_init__(self) -> None:
        counts = self.k, self.k_query, self.first, self.iterations
        if min(counts) < 1 or not 0 < self.gamma <= 1000 or not 0 <= self.alpha < 1:
            raise InputError(
                f"diffusion: k {self.k}, k_query {self.k_query}, first {self.first} and iterations "
                f"{self.iterations} must be 1 or more, gamma {self.gamma} above 0 (at most 1000), alpha "
                f"{self.alpha} from 0 to below 1"
            )

    @property
    def depth(self) -> int:
        """How many answers are looked at."""
        return self.k_query


@dataclass(frozen=True)
class DiffusionReranker(_Diffusion):
    """Ranks by diffusion within the photos nearest to each query (Iscen et al. 2017, arXiv:1611.05113).

    The graph links database photos that are among each other's `k` nearest, with the weight
    max(similarity, 0)^gamma, and is normalised to S = D^-1/2 A D^-1/2. A query is not in it: it enters by
    the first `k_query` of its list, y = max(similarity, 0)^gamma there and 0 elsewhere, and
    (I - alpha S) f = y is solved by conjugate gradient. Photos are ranked by f, then, where no
    similarity came, by their vectors.

    The graph of a query is cut to its `first` nearest photos and normalised there; ducha-aiki's
    manifold-diffusion normalises what it cut too, but cuts by steps in the graph (read, not run). With
    `first` >= N nothing is cut.

    T = min(`first`, N). The neighbours of at most min(Q·T, N) photos are searched for, once, and kept in the
    evidence: time O(Q·T·N·D) at most, memory 8·N·k bytes at most. Then for each query O(N·D) to find the T
    photos and O(T·k·`iterations`) to solve, and O(T·k) memory.

    Args:
        k: Neighbours in the graph. 50 in the code of Yang et al.; 20 was the better on photos of other
            landmarks than are reported on.
        k_query: Answers by which a query enters the graph; 10 in the code of Yang et al.
        gamma: Power of similarities; 3 in the code of Yang et al.
        alpha: Share of f that flows on, 0 to below 1. 0.99 in the code of Yang et al.; 0.9 was the better
            on those photos.
        first: Photos nearest to the query that make up its graph. 1000 in the code of Yang et al.
        iterations: Most steps of conjugate gradient; it ends sooner where the residual is below 1e-6 of y.
            20 in the code of Yang et al.

    Raises:
        InputError: An option is outside its range.
    """

    def rerank(self, ranking: Ranking, evidence: Evidence, *, skip: Rows | None = None) -> Ranking:
        """Rank the database anew, to the depth of the ranking.

        The score of a photo which similarity came to is f, above 0; the others' are 0 for the first of them
        and less for the next, by their differences of similarity.

        Args:
            ranking: (Q, K); the first of each list are taken as they stand, verified ones for example.
            evidence: Descriptors of the queries and of the database.
            skip: Not looked at.

        Raises:
            InputError: There are no descriptors, or they do not fit the ranking.
        """
        queries, database = evidence.vectors_for("diffusion", ranking)
        lists = NeighborLists.of(evidence, self.k)
        nearest, similarities = find_nearest(evidence, queries, max(self.first, ranking.depth))
        seeds = choose_first(ranking, self.k_query)
        graph_rows = [np.union1d(rows[: self.first], seed) for rows, seed in zip(nearest, seeds, strict=True)]
        lists.find(np.unique(np.concatenate([np.empty(0, np.int64), *graph_rows])))  # in large batches
        reached = []
        for query, seed, rows in zip(queries, seeds, graph_rows, strict=True):
            y = np.zeros(len(rows))
            y[np.searchsorted(rows, seed)] = _affinities(query, database, seed, self.gamma)
            if len(rows) == len(database):
                graph = _whole_graph(evidence, k=self.k, gamma=self.gamma)
            else:
                graph = normalize_graph(build_graph(lists, rows, self.gamma))
            reached.append((rows, solve(graph, y, alpha=self.alpha, iterations=self.iterations)))
        return _rank(ranking, reached, nearest, similarities)


@dataclass(frozen=True)
class OfflineDiffusionReranker(_Diffusion):
    """Ranks by diffusion that was solved per database photo before (Yang et al. 2019, arXiv:1811.10907).

    The solution of (I - alpha S) f = y is the sum of those for its single photos, y_i c_i. Each c_i is found
    once, within the `first` photos nearest to i of the graph over the whole database, and kept in the
    evidence; queries then cost one sparse sum. `y` and the graph are those of `DiffusionReranker`, S is
    normalised over the whole database. The authors' code (fyang93/diffusion, read, not run) does the
    same; it counts a photo among its own `k`, and keeps negative similarities of a query.

    T = min(`first`, N). The graph takes O(N²·D) time and at most 20·N·k bytes, once. The solutions of the
    photos which a query enters by are found when first asked for, or all by `prepare`: each takes
    O(N·D + T·k·`iterations`) time and at most 8·T bytes. Then for each query O(`k_query`·T).

    Args:
        k: Neighbours in the graph; 50 in the authors' code, for the default see `DiffusionReranker`.
        k_query: Answers by which a query enters the graph; 10 in the authors' code.
        gamma: Power of similarities; 3 in the authors' code.
        alpha: Share of f that flows on, 0 to below 1; 0.99 in the authors' code, as for `k`.
        first: Photos nearest to a database photo that its solution is cut to; 1000 in the authors' code.
        iterations: Most steps of conjugate gradient; it ends sooner where the residual is below 1e-6 of y.
            20 in the authors' code.

    Raises:
        InputError: An option is outside its range.
    """

    def prepare(self, evidence: Evidence) -> None:
        """Solve for every photo of the database now, and keep it in the evidence."""
        if evidence.database is not None:
            self._solutions(evidence).find(evidence, np.arange(len(evidence.database)))

    def rerank(self, ranking: Ranking, evidence: Evidence, *, skip: Rows | None = None) -> Ranking:
        """Rank the database anew, to the depth of the ranking; see `DiffusionReranker.rerank`."""
        queries, database = evidence.vectors_for("offline-diffusion", ranking)
        nearest, similarities = find_nearest(evidence, queries, ranking.depth)
        seeds = choose_first(ranking, self.k_query)
        solutions = self._solutions(evidence)
        solutions.find(evidence, np.unique(np.concatenate([np.empty(0, np.int64), *seeds])))
        reached = []
        for query, seed in zip(queries, seeds, strict=True):
            weights = _affinities(query, database, seed, self.gamma)
            reached.append(_add_up(solutions.find(evidence, seed), weights))
        return _rank(ranking, reached, nearest, similarities)

    def _solutions(self, evidence: Evidence) -> "_Solutions":
        graph = _whole_graph(evidence, k=self.k, gamma=self.gamma)
        return evidence.keep(self, lambda: _Solutions(self, graph))


class _Solutions:
    """Solutions for single photos of a database, found when first asked for, and kept."""

    def __init__(self, options: OfflineDiffusionReranker, graph: csr_array) -> None:
        self._options = options
        self._graph = graph
        self._known: dict[int, _Sparse] = {}

    def find(self, evidence: Evidence, rows: Int64Array) -> list[_Sparse]:
        """Return for each of (B,) rows the rows that similarity comes to from there, and how much."""
        new = np.array([row for row in rows.tolist() if row not in self._known], np.int64)
        for first in range(0, len(new), _ROWS_AT_ONCE):
            block = new[first : first + _ROWS_AT_ONCE]
            nearest, _ = find_nearest(evidence, evidence.read(block), self._options.first)
            for row, within in zip(block.tolist(), nearest, strict=True):
                self._known[row] = self._solve(row, np.union1d(within, row))
        return [self._known[row] for row in rows.tolist()]

    def _solve(self, row: int, within: Int64Array) -> _Sparse:
        graph = self._graph[within][:, within]
        y = (within == row).astype(np.float64)
        f = solve(graph, y, alpha=self._options.alpha, iterations=self._options.iterations)
        reached = f != 0
        return within[reached].astype(np.int32), f[reached].astype(np.float32)


def build_graph(lists: NeighborLists, rows: Int64Array, gamma: float) -> csr_array:
    """Link those of (T,) ascending rows that are in each other's lists: sparse (T, T) of similarity^gamma."""
    found, scores = lists.find(rows)
    columns = np.minimum(np.searchsorted(rows, found), len(rows) - 1)
    owners, places = np.nonzero(rows[columns] == found) if len(rows) else np.nonzero(found >= 0)
    weights = raise_similarities(scores[owners, places], gamma)
    forward = csr_array((weights, (owners, columns[owners, places])), (len(rows), len(rows)))
    return forward.minimum(forward.T).tocsr()


def raise_similarities(similarities: Float32Array, gamma: float) -> Float64Array:
    """Return max(similarity, 0)^gamma of unit vectors; one of 1.0000001 has powers that know no bound."""
    with np.errstate(over="ignore"):
        affinities: Float64Array = np.minimum(np.maximum(similarities, 0).astype(np.float64) ** gamma, 2)
    return affinities


def normalize_graph(graph: csr_array) -> csr_array:
    """Return D^-1/2 A D^-1/2 of a sparse symmetric A; a photo without links stays without."""
    degrees = graph.sum(axis=1)
    scales = np.divide(1, np.sqrt(degrees), out=np.zeros(len(degrees)), where=degrees > 0)
    return graph.multiply(scales[:, None]).multiply(scales[None]).tocsr()


def solve(graph: csr_array, y: Float64Array, *, alpha: float, iterations: int) -> Float64Array:
    """Solve (I - alpha S) f = y for a sparse symmetric S (T, T) by conjugate gradient: (T,)."""
    if not y.any():
        return np.zeros(len(y))
    f: Float64Array
    f, _ = cg(eye_array(len(y), format="csr") - alpha * graph, y, rtol=1e-6, maxiter=iterations)
    return f


def _whole_graph(evidence: Evidence, *, k: int, gamma: float) -> csr_array:
    """Return the normalised graph (N, N) of the database, which the evidence keeps."""
    lists = NeighborLists.of(evidence, k)
    rows = np.arange(len(lists.database))
    return evidence.keep(("graph", k, gamma), lambda: normalize_graph(build_graph(lists, rows, gamma)))


def _affinities(query: Float32Array, database: Float32Array, rows: Int64Array, gamma: float) -> Float64Array:
    return raise_similarities(score_pairs(query[None], database, rows[None])[0], gamma)


def _add_up(solutions: list[_Sparse], weights: Float64Array) -> tuple[Int64Array, Float64Array]:
    """Add up solutions by weight: ascending rows (T,), and f (T,)."""
    rows = np.concatenate([np.empty(0, np.int64), *(rows for rows, _ in solutions)])
    parts = np.concatenate([np.empty(0), *(w * f for (_, f), w in zip(solutions, weights, strict=True))])
    different, places = np.unique(rows, return_inverse=True)
    return different.astype(np.int64), np.bincount(places, parts, minlength=len(different)).astype(np.float64)


def _rank(
    ranking: Ranking,
    reached: list[tuple[Int64Array, Float64Array]],
    nearest: Int64Array,
    similarities: Float32Array,
) -> Ranking:
    """Rank by f where it is above 0, then by similarity: `nearest` holds enough rows for that, best first."""
    ranks = np.full(ranking.ranks.shape, NO_ROW, np.int64)
    scores = np.full(ranking.scores.shape, -np.inf, np.float32)
    for row, (rows, f) in enumerate(reached):
        flown = f.astype(np.float32) > 0
        rows, f = rows[flown], f[flown].astype(np.float32)
        best = np.lexsort((rows, -f))
        behind = ~np.isin(nearest[row], rows)
        rest, rest_scores = nearest[row, behind], similarities[row, behind]
        ordered = np.concatenate([rows[best], rest])[: ranking.depth]
        ranks[row, : len(ordered)] = ordered
        rest_scores = rest_scores - rest_scores.max(initial=-np.inf)
        scores[row, : len(ordered)] = np.concatenate([f[best], rest_scores])[: ranking.depth]
    return Ranking(ranking.query_ids, ranking.database_ids, ranks, scores)
