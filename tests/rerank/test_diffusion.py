"""Diffusion against a dense solution of the same equations."""

import numpy as np
import pytest

from meisho.errors import InputError
from meisho.rerank.diffusion import DiffusionReranker, OfflineDiffusionReranker
from meisho.rerank.evidence import Evidence
from rerank.test_k_reciprocal import make_places, rank_all

BOTH = pytest.mark.parametrize("kind", [DiffusionReranker, OfflineDiffusionReranker])


def dense_graph(photos, *, k, gamma):
    """Affinities of a mutual graph: each of two is among the k nearest others of the other."""
    similarities = (photos @ photos.T).astype(np.float64)
    ranks = np.argsort(np.argsort(-(similarities - 9 * np.eye(len(photos))), axis=1), axis=1)
    near = (ranks < k) & ~np.eye(len(photos), dtype=bool)
    return np.where(near & near.T, np.maximum(similarities, 0) ** gamma, 0)


def normalize_dense(graph):
    degrees = graph.sum(axis=1)
    scales = np.zeros(len(graph))
    scales[degrees > 0] = degrees[degrees > 0] ** -0.5
    return scales[:, None] * graph * scales


def enter(query, photos, *, k_query, gamma):
    similarities = photos @ query
    seeds = np.argsort(-similarities, kind="stable")[:k_query]
    y = np.zeros(len(photos))
    y[seeds] = np.maximum(similarities[seeds], 0) ** gamma
    return y


def nearest(vector, photos, count):
    return np.sort(np.argsort(-(photos @ vector), kind="stable")[:count])


def dense_online(query, photos, *, k, k_query, gamma, alpha, first):
    y = enter(query, photos, k_query=k_query, gamma=gamma)
    within = nearest(query, photos, max(first, k_query))
    S = normalize_dense(dense_graph(photos, k=k, gamma=gamma)[np.ix_(within, within)])
    f = np.zeros(len(photos))
    f[within] = np.linalg.solve(np.eye(len(within)) - alpha * S, y[within])
    return f


def dense_offline(query, photos, *, k, k_query, gamma, alpha, first):
    S = normalize_dense(dense_graph(photos, k=k, gamma=gamma))
    columns = np.zeros((len(photos), len(photos)))
    for row, photo in enumerate(photos):
        within = nearest(photo, photos, first)
        system = np.eye(len(within)) - alpha * S[np.ix_(within, within)]
        columns[row, within] = np.linalg.solve(system, (within == row).astype(float))
    return enter(query, photos, k_query=k_query, gamma=gamma) @ columns


DENSE = {DiffusionReranker: dense_online, OfflineDiffusionReranker: dense_offline}


@BOTH
@pytest.mark.parametrize("noise", [0.6, 1.5])
@pytest.mark.parametrize(
    ("k", "k_query", "gamma", "alpha", "first"),
    [(8, 5, 3.0, 0.9, 10**6), (15, 10, 3.0, 0.99, 40), (5, 3, 1.0, 0.5, 20), (500, 500, 2.0, 0.9, 30)],
)
def test_equals_a_dense_solution(kind, k, k_query, gamma, alpha, first, noise):
    options = {"k": k, "k_query": k_query, "gamma": gamma, "alpha": alpha, "first": first}
    queries, database = make_places(num_places=5, views=12, dim=16, noise=noise, seed=k)
    ranking, evidence = rank_all(queries, database)
    reranked = kind(**options, iterations=1000).rerank(ranking, evidence)
    for query, ranks, scores in zip(queries, reranked.ranks, reranked.scores, strict=True):
        expected = DENSE[kind](query, database, **options)
        reached = scores > 0
        np.testing.assert_allclose(scores[reached], expected[ranks[reached]], atol=1e-5, rtol=1e-4)
        np.testing.assert_allclose(
            scores[reached], np.sort(expected)[::-1][: reached.sum()], rtol=1e-4, atol=1e-5
        )
        assert (expected[ranks[~reached]] < 1e-5).all()
        behind = database[ranks[~reached]] @ query
        assert (np.diff(behind) < 1e-6).all()


def test_two_photos_by_hand():
    """Photos at angles with similarity .8; alpha .5: f of y = (1, 0) is (1, .5) / (1 - .25) = (4/3, 2/3)."""
    database = np.array([[1, 0], [0.8, 0.6]], np.float32)
    ranking, evidence = rank_all(np.array([[1, 0]], np.float32), database)
    for kind in DENSE:
        reranked = kind(k=1, k_query=1, alpha=0.5).rerank(ranking, evidence)
        np.testing.assert_allclose(reranked.scores, [[4 / 3, 2 / 3]], rtol=1e-6)


@BOTH
def test_similarity_reaches_what_the_vectors_do_not(kind):
    """Photos along an arc, 15 degrees apart, and one 70 degrees away on the other side, linked to none."""
    angles = np.deg2rad([*range(0, 106, 15), -70])
    database = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    ranking, evidence = rank_all(np.array([[1, 0]], np.float32), database)
    reranked = kind(k=2, k_query=1, alpha=0.9).rerank(ranking, evidence)
    assert ranking.ranks[0].tolist().index(8) < 7
    assert reranked.ranks[0, -1] == 8


@BOTH
def test_what_depends_on_the_database_is_kept_for_further_queries(kind, monkeypatch):
    queries, database = make_places(num_places=5, views=12, dim=16, noise=0.6, seed=0)
    ranking, evidence = rank_all(queries, database)
    reranker = kind(k=8, first=30)
    first = reranker.rerank(ranking, evidence)
    again = Evidence(queries, evidence.database, of_database=evidence.of_database)
    monkeypatch.setattr("meisho.rerank.neighbor_lists.search_others", None)  # nothing is searched for again
    np.testing.assert_array_equal(reranker.rerank(ranking, again).ranks, first.ranks)


@BOTH
def test_what_was_kept_of_other_vectors_is_not_used(kind):
    queries, database = make_places(num_places=5, views=12, dim=16, noise=0.6, seed=0)
    ranking, evidence = rank_all(queries, database)
    reranker = kind(k=8, first=30)
    reranker.rerank(ranking, evidence)
    moved = Evidence(queries, database[::-1], of_database=dict(evidence.of_database))
    ranks = reranker.rerank(ranking, moved).ranks
    np.testing.assert_array_equal(ranks, reranker.rerank(ranking, Evidence(queries, database[::-1])).ranks)


def test_prepared_solutions_give_the_same():
    queries, database = make_places(num_places=5, views=12, dim=16, noise=0.6, seed=0)
    ranking, evidence = rank_all(queries, database)
    reranker = OfflineDiffusionReranker(k=8, first=30)
    expected = reranker.rerank(ranking, Evidence(queries, database))
    reranker.prepare(evidence)
    np.testing.assert_array_equal(reranker.rerank(ranking, evidence).scores, expected.scores)


@BOTH
@pytest.mark.parametrize(
    "options", [{"k": 0}, {"alpha": 1.0}, {"gamma": 0.0}, {"first": 0}, {"gamma": np.nan}]
)
def test_options_out_of_range_are_refused(kind, options):
    with pytest.raises(InputError, match=next(iter(options))):
        kind(**options)
