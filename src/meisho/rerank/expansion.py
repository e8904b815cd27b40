"""Query expansion and database augmentation: a photo is described by itself and its neighbours.

Each of these makes better descriptors and searches the whole database with them (see `Refiner`). The
neighbours of a query are the first of the ranking that comes in: after `geometric`, those that were verified
and came first, as in Chum et al., "Total Recall", ICCV 2007.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from meisho.arrays import Float32Array, Float64Array, Int64Array
from meisho.errors import InputError
from meisho.ground_truth import Rows
from meisho.index.scoring import score_pairs
from meisho.ranking import NO_ROW, Ranking
from meisho.rerank.augmentation import AugmentedDatabase, add_neighbors, weigh_neighbors
from meisho.rerank.base import Reranker
from meisho.rerank.evidence import Evidence
from meisho.rerank.neighbors import find_farthest, rank_by_vectors

_MOST_COST = 1e9


class _Search(Reranker):
    """What every refiner does to rerank: search with its better descriptors."""

    permutes: ClassVar[bool] = False

    def refine(self, ranking: Ranking, evidence: Evidence) -> Evidence:
        raise NotImplementedError

    def rerank(self, ranking: Ranking, evidence: Evidence, *, skip: Rows | None = None) -> Ranking:
        """Rank the whole database by the refined descriptors, as deep as the ranking is; see `Reranker`."""
        return rank_by_vectors(ranking, self.refine(ranking, evidence))


@dataclass(frozen=True)
class AlphaQueryExpansion(_Search):
    """α-query expansion: the query plus its first `k` neighbours, each weighted by its similarity to the α.

    q' ∝ q + Σ max(q·d, 0)^α d, which is Radenović et al., "Fine-tuning CNN Image Retrieval with No Human
    Annotation", 2018, arXiv:1711.02512, section 5.5; there α = 3 and 50 neighbours. α = 0 weighs all alike.

    Time: Q · k · D to expand and Q · N · D to search; memory: the new queries, Q · D, and a block of at most
    16 MiB beside what the search takes.

    Args:
        k: Neighbours beside the query, which is not one of them and weighs 1. A database photo that is the
            query itself is a neighbour like any other. The default was chosen on `validation`, see
            docs/LOG.md.
        alpha: α; the paper's 3.
        verified_only: Where above 0, only neighbours that an earlier step of the chain verified by at least
            so many inliers count; a query without any stays as it is.

    Raises:
        InputError: An option is outside its range.
    """

    k: int = 7
    alpha: float = 3.0
    verified_only: int = 0

    def __post_init__(self) -> None:
        _check_neighbors("alpha-qe", self.k, self.verified_only)
        _check_alpha("alpha-qe", self.alpha)

    @property
    def depth(self) -> int:
        """How many answers are looked at."""
        return self.k

    def refine(self, ranking: Ranking, evidence: Evidence) -> Evidence:
        """Return the evidence with expanded queries.

        Raises:
            InputError: There are no descriptors, or `verified_only` is set and nothing was verified.
        """
        queries, database = evidence.vectors_for("alpha-qe", ranking)
        rows = choose_neighbors(ranking, evidence, self.k, self.verified_only)
        weights = weigh_neighbors(score_pairs(queries, database, rows), self.alpha)
        return evidence.with_vectors(add_neighbors(queries, database, rows, weights), database)


@dataclass(frozen=True)
class AverageQueryExpansion(_Search):
    """Average query expansion: the mean of the query and its first `k` neighbours, all weighing alike.

    Chum et al., "Total Recall: Automatic Query Expansion with a Generative Feature Model for Object
    Retrieval", ICCV 2007, on global descriptors. Time and memory as of `AlphaQueryExpansion`.

    Args:
        k: Neighbours beside the query, which is not one of them. The default was chosen on `validation`, see
            docs/LOG.md.
        verified_only: As for `AlphaQueryExpansion`; the paper expands with verified photos only.

    Raises:
        InputError: An option is outside its range.
    """

    k: int = 7
    verified_only: int = 0

    def __post_init__(self) -> None:
        _check_neighbors("average-qe", self.k, self.verified_only)

    @property
    def depth(self) -> int:
        """How many answers are looked at."""
        return self.k

    def refine(self, ranking: Ranking, evidence: Evidence) -> Evidence:
        """Return the evidence with expanded queries; errors as of `AlphaQueryExpansion`."""
        queries, database = evidence.vectors_for("average-qe", ranking)
        rows = choose_neighbors(ranking, evidence, self.k, self.verified_only)
        weights = (rows != NO_ROW).astype(np.float32)
        return evidence.with_vectors(add_neighbors(queries, database, rows, weights), database)


@dataclass(frozen=True)
class DatabaseAugmentation(_Search):
    """Database-side augmentation: α-query expansion of every database photo, its own row left out.

    Turcot and Lowe, "Better matching with fewer features", ICCV workshops 2009, weighted by similarity as in
    Gordo et al., "End-to-end Learning of Deep Visual Representations", 2017, arXiv:1610.07940 (there by
    rank). No query takes part, so that an answer does not depend on the other queries; queries stay as they
    are.

    Time: N² · D, once per database, or N · k · D where there is a graph; memory: the new database, N · D, and
    at most about 80 MiB. With an index, only the first 400 of the plain search are augmented and ranked: see
    `AugmentedDatabase`.

    Args:
        k: Neighbours beside the photo itself, which weighs 1; the chapter's k = 3 counted it. The default was
            chosen on `validation`, see docs/LOG.md.
        alpha: Neighbours weigh max(similarity, 0)^α; 3 in the chapter.

    Raises:
        InputError: An option is outside its range.
    """

    k: int = 10
    alpha: float = 3.0

    def __post_init__(self) -> None:
        _check_neighbors("dba", self.k, 0)
        _check_alpha("dba", self.alpha)

    def refine(self, ranking: Ranking, evidence: Evidence) -> Evidence:
        """Return the evidence with an augmented database.

        Raises:
            InputError: There are no descriptors.
        """
        evidence.vectors_for("dba", ranking)
        key = self, evidence.index is None
        kept = evidence.keep(key, lambda: AugmentedDatabase.of(evidence, k=self.k, alpha=self.alpha))
        return kept.give(evidence, ranking)


@dataclass(frozen=True)
class DiscriminativeQueryExpansion(_Search):
    """Discriminative query expansion: a linear SVM per query tells its neighbours from far photos.

    Arandjelović and Zisserman, "Three things everyone should know to improve object retrieval", CVPR 2012:
    positives are the query and its first `k` neighbours, negatives the photos least like the query (there
    200). The database is ranked by the signed distance from the plane. The plane's normal becomes the query;
    the offset is the same for all photos of one query and left out of the scores.

    Time: Q · n² · (D + n), n = 1 + k + negatives, and two searches, Q · N · D each; memory: the new queries,
    Q · D, and n · (D + n) beside what the search takes.

    Args:
        k: Neighbours beside the query. The default was chosen on `validation`, see docs/LOG.md.
        negatives: Photos least like the query; those among the neighbours are left out.
        cost: C of the SVM, the weight of the squared hinge losses against the squared length of the normal;
            chosen as `k` was. At most 1e9, beyond which float64 cannot tell it from infinity.
        verified_only: As for `AlphaQueryExpansion`.

    Raises:
        InputError: An option is outside its range.
    """

    k: int = 10
    negatives: int = 200
    cost: float = 1.0
    verified_only: int = 0

    def __post_init__(self) -> None:
        _check_neighbors("discriminative-qe", self.k, self.verified_only)
        if self.negatives < 1 or not 0 < self.cost <= _MOST_COST:
            raise InputError(
                f"discriminative-qe: negatives {self.negatives} must be 1 or more, cost {self.cost} above 0 "
                f"and at most {_MOST_COST:g}"
            )

    @property
    def depth(self) -> int:
        """How many answers are looked at."""
        return self.k

    def refine(self, ranking: Ranking, evidence: Evidence) -> Evidence:
        """Return the evidence with a plane's unit normal for each query; errors as of `AlphaQueryExpansion`.

        A query that no plane tells from its negatives, such as one of a database of copies, stays as it is.
        """
        queries, database = evidence.vectors_for("discriminative-qe", ranking)
        near = choose_neighbors(ranking, evidence, self.k, self.verified_only)
        far = find_farthest(evidence, queries, self.negatives + self.k)[0]
        normals = queries.copy()
        for normal, query, positives, rows in zip(normals, queries, near, far, strict=True):
            positives = positives[positives != NO_ROW]
            rows = rows[~np.isin(rows, positives)][: self.negatives]
            samples = np.concatenate([query[None], database[positives], database[rows]])
            signs = np.repeat([1.0, -1.0], [1 + len(positives), len(rows)])
            if len(rows):
                normal[:] = _unit_or(query, fit_linear_svm(samples, signs, cost=self.cost)[0])
        return evidence.with_vectors(normals, database)


def choose_neighbors(ranking: Ranking, evidence: Evidence, k: int, verified_only: int = 0) -> Int64Array:
    """Choose the first `k` of each list (Q, min(k, K)), -1 at the end.

    Args:
        ranking: (Q, K), best first.
        evidence: What was verified so far.
        k: How many at the most.
        verified_only: Least number of inliers of those that count, by whatever way of verifying; 0 for all.

    Raises:
        InputError: `verified_only` is set and nothing was verified.
    """
    if not verified_only:
        return ranking.ranks[:, :k]
    if not len(evidence.verified) and (ranking.ranks != NO_ROW).any():
        raise InputError(
            f"query expansion: verified_only is {verified_only}, but nothing was; put geometric before"
        )
    good = evidence.verified.find_verified(verified_only)
    chosen = np.full((len(ranking.ranks), min(k, ranking.depth)), NO_ROW, np.int64)
    for query_row, ranks in enumerate(ranking.ranks.tolist()):
        rows = [row for row in ranks if (query_row, row) in good][:k]
        chosen[query_row, : len(rows)] = rows
    return chosen


def fit_linear_svm(
    samples: Float32Array, signs: Float64Array, *, cost: float, max_steps: int = 100
) -> tuple[Float64Array, float]:
    """Fit a linear SVM with squared hinge loss, exactly.

    Minimises ½ |w|² + ½ b² + C Σ max(0, 1 - y (w·x + b))²: the offset is one more dimension, as in LIBLINEAR.
    Newton's method in the primal, by the samples' dot products: Chapelle, "Training a Support Vector Machine
    in the Primal", 2007, algorithm 1. There are a few hundred samples of many dimensions, and the loss is a
    quadratic between kinks: a handful of solutions of linear equations reach the minimum itself, where
    coordinate descent would take thousands of steps to come near.

    Args:
        samples: (n, D) float32.
        signs: (n,) +1 or -1.
        cost: C.
        max_steps: Where it stops at the latest.

    Returns:
        The normal w (D,) and the offset b.
    """
    kernel = samples.astype(np.float64) @ samples.T.astype(np.float64) + 1
    shares = np.zeros(len(samples))  # w is their sum of samples
    for _ in range(max_steps):
        losses = signs * (kernel @ shares) < 1
        target = np.zeros(len(samples))
        active = np.ix_(losses, losses)
        target[losses] = np.linalg.solve(kernel[active] + np.eye(losses.sum()) / (2 * cost), signs[losses])
        step = _shorten(shares, target - shares, kernel, signs, cost)
        shares = shares + step
        if np.abs(step).max(initial=0) <= 1e-12 * np.abs(shares).max(initial=0):
            break
    return shares @ samples, float(shares.sum())


def _shorten(
    shares: Float64Array, step: Float64Array, kernel: Float64Array, signs: Float64Array, cost: float
) -> Float64Array:
    """Halve a step until the SVM's objective does not rise by it."""

    def objective(shares: Float64Array) -> float:
        outputs = kernel @ shares
        return float(0.5 * shares @ outputs + cost * np.sum(np.maximum(0, 1 - signs * outputs) ** 2))

    before = objective(shares)
    for _ in range(40):
        if objective(shares + step) <= before:
            return step
        step = step / 2
    return np.zeros_like(step)


def _unit_or(query: Float32Array, normal: Float64Array) -> Float32Array:
    """Return the normal at unit length, or the query where there is hardly one."""
    length = np.linalg.norm(normal)
    return query if length < 1e-9 else (normal / length).astype(np.float32)


def _check_neighbors(name: str, k: int, verified_only: int) -> None:
    if k < 0 or verified_only < 0:
        raise InputError(f"{name}: k {k} and verified_only {verified_only} must be 0 or more")


_MOST_ALPHA = 100.0  # the weight of a similarity of 0.99 is then 0.37, of 0.5 already nothing


def _check_alpha(name: str, alpha: float) -> None:
    if not 0 <= alpha <= _MOST_ALPHA:
        raise InputError(f"{name}: alpha {alpha} must be from 0 to {_MOST_ALPHA:g}")
