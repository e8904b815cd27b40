import numpy as np
import pytest
from sklearn.svm import LinearSVC

from meisho.errors import InputError
from meisho.index.exact import ExactIndex
from meisho.index.graph import NeighborGraph
from meisho.ranking import NO_ROW, Ranking
from meisho.rerank.augmentation import augment_database
from meisho.rerank.evidence import Evidence
from meisho.rerank.expansion import (
    AlphaQueryExpansion,
    AverageQueryExpansion,
    DatabaseAugmentation,
    DiscriminativeQueryExpansion,
    choose_neighbors,
    fit_linear_svm,
)
from meisho.rerank.geometric import GeometricReranker
from meisho.rerank.neighbors import find_nearest, find_others

from .places import make_evidence, make_pair, make_ranking

# unit vectors at 0°, acos .9, 90°, and (-.6, .8)
FOUR = np.array([[1, 0], [0.9, 0.19**0.5], [0, 1], [-0.6, 0.8]], np.float32)
# Each plus its two nearest others (k = 3 with itself), weighted by similarity³. The first row:
# (1, 0) + .9³ (.9, .435890) + 0³ (0, 1) = (1.6561, .317764), of length 1.686311. The last, whose second
# neighbour has similarity -.191288 and counts as 0: (-.6, .8) + .8³ (0, 1) = (-.6, 1.312), length 1.442686
EXPANDED = [
    [0.98208522, 0.18843733],
    [0.95285971, 0.30341122],
    [-0.15888992, 0.98729631],
    [-0.41589080, 0.90941456],
]
# α = 0, the first row: (1, 0) + (.9, .435890) + (0, 1) = (1.9, 1.435890), of length 2.381550
FIRST_WITHOUT_WEIGHTS = [0.7977998, 0.6029225]


def random_units(*shape, seed=0):
    vectors = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def clustered_units(num_places, views, dim=24, seed=0):
    generator = np.random.default_rng(seed)
    centres = np.repeat(generator.standard_normal((num_places, dim)), views, axis=0)
    vectors = centres + 0.7 * generator.standard_normal(centres.shape)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def rank(queries, database, depth=None):
    ids = [tuple(f"{kind}{row}" for row in range(len(v))) for kind, v in (("q", queries), ("d", database))]
    ranking = Ranking.from_scores(*ids, queries @ database.T)
    return ranking if depth is None else ranking.top(depth)


def rank_without_itself(vectors):
    """A ranking of vectors as their own queries, each without its own row."""
    return rank_lists([np.delete(np.argsort(-vectors @ v, kind="stable"), 0) for v in vectors], vectors)


def rank_lists(lists, database):
    ids = [tuple(f"{kind}{row}" for row in range(n)) for kind, n in (("q", len(lists)), ("d", len(database)))]
    return Ranking(*ids, np.array(lists), np.zeros(np.shape(lists)))


def expand_slowly(query, neighbors, alpha):
    """One expanded query, neighbour by neighbour, in double precision."""
    total = query.astype(float)
    for neighbor in neighbors.astype(float):
        total = total + max(float(neighbor @ query), 0.0) ** alpha * neighbor
    return total / np.linalg.norm(total)


def test_alpha_expansion_of_four_vectors_worked_by_hand():
    ranking, evidence = rank_without_itself(FOUR), Evidence(FOUR, FOUR)
    refined = AlphaQueryExpansion(k=2, alpha=3).refine(ranking, evidence)
    np.testing.assert_allclose(refined.queries, EXPANDED, atol=1e-6)


def test_augmentation_of_four_vectors_worked_by_hand():
    refined = DatabaseAugmentation(k=2, alpha=3).refine(rank(FOUR, FOUR), Evidence(FOUR, FOUR))
    np.testing.assert_allclose(refined.database, EXPANDED, atol=1e-6)
    np.testing.assert_array_equal(refined.queries, FOUR)


@pytest.mark.parametrize("expansion", [AlphaQueryExpansion(k=2, alpha=0), AverageQueryExpansion(k=2)])
def test_without_alpha_all_weigh_alike(expansion):
    refined = expansion.refine(rank_without_itself(FOUR), Evidence(FOUR, FOUR))
    np.testing.assert_allclose(refined.queries[0], FIRST_WITHOUT_WEIGHTS, atol=1e-6)


def test_an_unlike_neighbour_counts_as_nothing():
    query, database = FOUR[:1], FOUR[3:]  # similarity -.6
    refined = AlphaQueryExpansion(k=1, alpha=2).refine(rank(query, database), Evidence(query, database))
    np.testing.assert_array_equal(refined.queries, query)


@pytest.mark.parametrize("k", [0, 1, 4, 60])
@pytest.mark.parametrize("alpha", [0.0, 1.0, 3.0])
def test_alpha_expansion_is_as_one_by_one(k, alpha):
    queries, database = random_units(7, 12), random_units(50, 12, seed=1)
    ranking = rank(queries, database)
    refined = AlphaQueryExpansion(k=k, alpha=alpha).refine(ranking, Evidence(queries, database))
    for query, rows, expanded in zip(queries, ranking.ranks, refined.queries, strict=True):
        np.testing.assert_allclose(expanded, expand_slowly(query, database[rows[:k]], alpha), atol=1e-5)
    np.testing.assert_array_equal(refined.database, database)


@pytest.mark.parametrize("k", [0, 1, 5, 39, 40, 100])
def test_augmentation_is_as_one_by_one(k):
    database = random_units(40, 12)
    for row, augmented in enumerate(augment_database(Evidence(database[:1], database), k=k, alpha=3)):
        order = np.argsort(-database @ database[row], kind="stable")
        nearest = order[order != row][:k]
        np.testing.assert_allclose(augmented, expand_slowly(database[row], database[nearest], 3), atol=1e-5)


def test_augmentation_sees_no_query():
    database = random_units(40, 12)
    answers = [
        DatabaseAugmentation().refine(rank(queries, database), Evidence(queries, database)).database
        for queries in (random_units(3, 12, seed=1), random_units(9, 12, seed=2))
    ]
    np.testing.assert_array_equal(*answers)


def test_neighbours_are_those_of_the_ranking_that_comes_in():
    queries, database = random_units(1, 8), random_units(20, 8, seed=1)
    ranking = rank_lists([[13, 4, 9]], database)
    refined = AlphaQueryExpansion(k=2, alpha=1).refine(ranking, Evidence(queries, database))
    np.testing.assert_allclose(refined.queries[0], expand_slowly(queries[0], database[[13, 4]], 1), atol=1e-6)


@pytest.mark.parametrize(
    "make",
    [AverageQueryExpansion, AlphaQueryExpansion, DiscriminativeQueryExpansion],
    ids=lambda c: c.__name__,
)
def test_only_verified_neighbours_expand(make):
    local = make_evidence(num_places=3, views=4)
    queries, database = random_units(3, 8), random_units(12, 8, seed=1)
    ranking = make_ranking(local)
    evidence = Evidence(queries, database, local)
    verified = GeometricReranker().rerank(ranking, evidence)
    chosen = choose_neighbors(verified, evidence, 10, 15)
    np.testing.assert_array_equal(np.sort(chosen, axis=1)[:, -4:], np.arange(12).reshape(3, 4))
    assert (chosen[:, 4:] == NO_ROW).all()
    expansion = make(k=10, verified_only=15).refine(verified, evidence)
    by_hand = rank_lists(chosen[:, :4], database)
    np.testing.assert_array_equal(expansion.queries, make(k=4).refine(by_hand, evidence).queries)


def test_a_query_without_a_verified_neighbour_stays_as_it_is():
    queries, database = random_units(2, 8), random_units(6, 8, seed=1)
    evidence = Evidence(queries, database)
    for query_row, num_inliers in ((0, 20), (1, 4)):
        evidence.verified.put("how", query_row, 3, make_pair(20, num_inliers))
    refined = AverageQueryExpansion(k=2, verified_only=5).refine(rank(queries, database), evidence)
    np.testing.assert_array_equal(refined.queries[1], queries[1])
    assert not np.array_equal(refined.queries[0], queries[0])


def test_only_verified_without_any_verification_says_what_to_do():
    with pytest.raises(InputError, match="put geometric before"):
        AlphaQueryExpansion(verified_only=5).rerank(rank(FOUR, FOUR), Evidence(FOUR, FOUR))


def test_the_largest_cost_is_solved_among_copies():
    queries, copies = FOUR[:1], np.tile(FOUR, (10, 1))
    reranker = DiscriminativeQueryExpansion(k=5, negatives=9, cost=1e9)
    assert np.isfinite(reranker.rerank(rank(queries, copies), Evidence(queries, copies)).scores).all()


@pytest.mark.parametrize("cost", [0.1, 1.0, 10.0])
@pytest.mark.parametrize("num_positives", [1, 6, 40])
def test_the_svm_is_that_of_liblinear(cost, num_positives):
    samples = random_units(num_positives + 80, 30, seed=num_positives)
    samples[:num_positives] += 0.3
    signs = np.repeat([1.0, -1.0], [num_positives, 80])
    normal, offset = fit_linear_svm(samples, signs, cost=cost)
    theirs = LinearSVC(C=cost, tol=1e-8, max_iter=100_000, random_state=0).fit(samples, signs)
    np.testing.assert_allclose(normal, theirs.coef_[0], atol=1e-5)
    np.testing.assert_allclose(offset, theirs.intercept_[0], atol=1e-5)


def test_discriminative_expansion_ranks_by_the_signed_distance():
    vectors = clustered_units(12, 8)
    queries, database = vectors[::8], vectors
    ranking = rank(queries, database)
    reranked = DiscriminativeQueryExpansion(k=3, negatives=20).rerank(ranking, Evidence(queries, database))
    for query, near, ranks in zip(queries, ranking.ranks, reranked.ranks, strict=True):
        far = np.argsort(database @ query, kind="stable")[:20]
        samples = np.concatenate([query[None], database[near[:3]], database[far]])
        signs = np.repeat([1, -1], [4, 20])
        cost = DiscriminativeQueryExpansion().cost
        svm = LinearSVC(C=cost, tol=1e-8, max_iter=100_000, random_state=0).fit(samples, signs)
        distances = svm.decision_function(database) / np.linalg.norm(svm.coef_)
        np.testing.assert_allclose(distances[ranks], np.sort(distances)[::-1], atol=1e-5)


def test_a_query_that_cannot_be_told_from_its_negatives_stays_as_it_is():
    queries, copies = FOUR[:1], np.repeat(FOUR[:1], 30, axis=0)
    refined = DiscriminativeQueryExpansion(k=14, negatives=15).refine(
        rank(queries, copies), Evidence(queries, copies)
    )
    np.testing.assert_array_equal(refined.queries, queries)


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (AlphaQueryExpansion, {"k": -1}),
        (AlphaQueryExpansion, {"alpha": -0.1}),
        (AlphaQueryExpansion, {"alpha": np.nan}),
        (AlphaQueryExpansion, {"verified_only": -1}),
        (AverageQueryExpansion, {"k": -1}),
        (DatabaseAugmentation, {"k": -1}),
        (DatabaseAugmentation, {"alpha": np.inf}),
        (DiscriminativeQueryExpansion, {"negatives": 0}),
        (DiscriminativeQueryExpansion, {"cost": 0}),
        (DiscriminativeQueryExpansion, {"cost": 1e16}),
    ],
)
def test_options_outside_their_range_are_refused(make, options):
    with pytest.raises(
        InputError, match=rf"{next(iter(options))} .* must be|{next(iter(options))} .* above 0"
    ):
        make(**options)


def test_neighbours_are_those_of_the_whole_product(monkeypatch):
    monkeypatch.setattr("meisho.rerank.neighbors._PRODUCT_BYTES", 4 * 300 * 7)  # blocks of 7
    queries, database = random_units(40, 16), random_units(300, 16, seed=1)
    rows, scores = find_nearest(Evidence(queries, database), queries, 5)
    products = queries @ database.T
    np.testing.assert_array_equal(rows, np.argsort(-products, axis=1, kind="stable")[:, :5])
    np.testing.assert_allclose(scores, np.take_along_axis(products, rows, axis=1), atol=1e-6)


@pytest.mark.parametrize("with_graph", [False, True])
@pytest.mark.parametrize("k", [0, 1, 3, 6, 30])
def test_others_leave_out_the_row_itself_and_nothing_else(k, with_graph):
    vectors = np.tile(random_units(3, 4), (4, 1))  # each has three copies of it
    graph = NeighborGraph.build(ExactIndex.build(vectors), vectors, np.arange(12, dtype=np.uint64), k=5)
    evidence = Evidence(vectors[:1], vectors, graph=graph if with_graph else None)
    rows, scores = find_others(evidence, np.arange(12), k)
    assert rows.shape == scores.shape == (12, min(k, 11))
    for row, others in enumerate(rows):
        order = [o for o in np.lexsort((np.arange(12), -np.round(vectors @ vectors[row], 5))) if o != row]
        np.testing.assert_array_equal(others, order[:k])


def test_an_augmented_database_is_the_same_in_memory_and_in_a_file(monkeypatch):
    database = random_units(120, 16)
    expected = augment_database(Evidence(database[:1], database), k=4, alpha=3.0)
    monkeypatch.setattr("meisho.array_files._SPILL_BYTES", 0)
    spilled = augment_database(Evidence(database[:1], database), k=4, alpha=3.0)
    np.testing.assert_array_equal(spilled, expected)
    assert not spilled.flags.writeable


def test_with_an_index_only_what_is_found_is_augmented():
    database = random_units(900, 16)
    evidence = Evidence(database[:2], database, index=ExactIndex.build(database))
    ids = ("a", "b"), tuple(map(str, range(900)))
    ranking = Ranking(*ids, np.arange(10).reshape(2, 5), np.zeros((2, 5)))
    refined = DatabaseAugmentation(k=4).refine(ranking, evidence)
    augmented = augment_database(evidence, k=4, alpha=3.0)
    rows, _ = refined.index.search(refined.queries, 20)
    known = np.flatnonzero(refined.database.any(axis=1))
    assert 400 <= len(known) <= 810 and np.isin(rows, known).all() and np.isin(np.arange(10), known).all()
    np.testing.assert_array_equal(refined.database[known], augmented[known])
    np.testing.assert_array_equal(refined.read(np.array([898])), augmented[[898]])
    whole, _ = ExactIndex.build(augmented).search(refined.queries, 20)
    np.testing.assert_array_equal(rows, whole)  # a photo of the first 20 is among the first 400
