"""k-reciprocal encoding against the authors' formula, written out densely."""

import numpy as np
import pytest

from meisho.errors import InputError
from meisho.ranking import Ranking
from meisho.rerank.evidence import Evidence
from meisho.rerank.k_reciprocal import KReciprocalReranker
from meisho.rerank.neighbors import rank_by_vectors


def dense_distances(photos, *, k1, k2, lambda_value):
    """Distances from photo 0 to each other one: zhunzhong07/person-re-ranking, one query at a time."""
    count = len(photos)
    original = ((photos[:, None] - photos[None]) ** 2).sum(axis=2).astype(np.float64)
    original /= original.max(axis=1, keepdims=True)
    rank = np.argsort(original - 2 * np.eye(count), axis=1, kind="stable")  # itself first, then ties by row

    def reciprocal(i, k):
        return {j for j in rank[i, : k + 1] if i in rank[j, : k + 1]}

    encodings = np.zeros((count, count))
    for i in range(count):
        of_i = reciprocal(i, k1)
        expanded = set(of_i)
        for candidate in of_i:
            of_candidate = reciprocal(candidate, int(np.around(k1 / 2)))
            if len(of_i & of_candidate) > 2 / 3 * len(of_candidate):
                expanded |= of_candidate
        members = sorted(expanded)
        weights = np.exp(-original[i, members])
        encodings[i, members] = weights / weights.sum()
    averaged = np.stack([encodings[rank[i, :k2]].mean(axis=0) for i in range(count)])
    overlap = np.minimum(averaged[0], averaged[1:]).sum(axis=1)
    return (1 - lambda_value) * (1 - overlap / (2 - overlap)) + lambda_value * original[0, 1:]


def make_places(*, num_places, views, dim, noise, seed):
    """Unit vectors: one query per place, and `views` database photos of each, in mixed order."""
    generator = np.random.default_rng(seed)
    places = generator.standard_normal((num_places, dim))
    database = np.repeat(places, views, axis=0)
    database = generator.permutation(database + noise * generator.standard_normal(database.shape))
    queries = places + noise * generator.standard_normal(places.shape)
    return tuple(
        (v / np.linalg.norm(v, axis=1, keepdims=True)).astype(np.float32) for v in (queries, database)
    )


def rank_all(queries, database, depth=None):
    evidence = Evidence(queries, database)
    ids = tuple(map(str, range(len(queries)))), tuple(map(str, range(len(database))))
    shape = len(queries), depth or len(database)
    empty = Ranking(*ids, np.zeros(shape, int), np.zeros(shape))
    return rank_by_vectors(empty, evidence), evidence


@pytest.mark.parametrize("noise", [0.5, 1.5])
@pytest.mark.parametrize(
    ("k1", "k2", "lambda_value"),
    [(20, 6, 0.3), (7, 1, 0.0), (5, 3, 0.6), (1, 2, 0.1), (300, 6, 0.3), (9, 400, 0.3)],
)
def test_equals_the_formula_written_out(k1, k2, lambda_value, noise):
    queries, database = make_places(num_places=6, views=12, dim=12, noise=noise, seed=k1)
    ranking, evidence = rank_all(queries, database)
    reranker = KReciprocalReranker(first=len(database), k1=k1, k2=k2, lambda_value=lambda_value)
    reranked = reranker.rerank(ranking, evidence)
    for query, ranks, scores in zip(queries, reranked.ranks, reranked.scores, strict=True):
        photos = np.concatenate([query[None], database])
        expected = 1 - dense_distances(photos, k1=k1, k2=k2, lambda_value=lambda_value)
        np.testing.assert_allclose(scores, expected[ranks], atol=1e-5)
        np.testing.assert_allclose(scores, np.sort(expected)[::-1], atol=1e-5)


def test_photos_behind_the_first_keep_their_order():
    queries, database = make_places(num_places=6, views=12, dim=12, noise=1.0, seed=0)
    ranking, evidence = rank_all(queries, database)
    reranked = KReciprocalReranker(first=20).rerank(ranking, evidence)
    np.testing.assert_array_equal(reranked.ranks[:, 20:], ranking.ranks[:, 20:])
    assert (reranked.ranks[:, :20] != ranking.ranks[:, :20]).any()


@pytest.mark.parametrize("options", [{"first": 0}, {"k1": 0}, {"k2": 0}, {"lambda_value": 1.1}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(InputError, match=next(iter(options))):
        KReciprocalReranker(**options)
