import numpy as np
import pytest

from meisho.errors import InputError
from meisho.ranking import NO_ROW, Ranking
from meisho.rerank.chain import build_chain, parse_chain
from meisho.rerank.evidence import Evidence
from meisho.rerank.superglobal import SuperGlobalReranker, augment_among


def unit_rows(generator, count, dim):
    vectors = generator.standard_normal((count, dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def rank(queries, database):
    ids = [tuple(map(str, range(len(vectors)))) for vectors in (queries, database)]
    return Ranking.from_scores(*ids, queries @ database.T)


def slow_scores(query, photos, k, beta):
    """Scores of (M, D) photos, photo by photo, as the paper has them."""
    refined = []
    for row, photo in enumerate(photos):
        similarity = photos @ photo
        others = sorted(set(range(len(photos))) - {row}, key=lambda other: (-similarity[other], other))[:k]
        weights = [1.0, *(beta * max(float(similarity[other]), 0) for other in others)]
        total = sum(w * v for w, v in zip(weights, [photo, *photos[others]], strict=True))
        refined.append(total / sum(weights))
    by_query = sorted(range(len(photos)), key=lambda row: (-(refined[row] @ query), row))
    expansion = np.max([refined[row] for row in by_query[: k + 1]], axis=0)
    return np.array([(row @ query + row @ expansion) / 2 for row in refined])


def test_the_golden_rankings():
    """X 12x4, then Q 2x4, of default_rng(0); M=8, K=3, beta=.15, by the official code."""
    generator = np.random.default_rng(0)
    database, queries = unit_rows(generator, 12, 4), unit_rows(generator, 2, 4)
    ranking = rank(queries, database)
    assert ranking.ranks.tolist() == [
        [6, 5, 0, 8, 10, 7, 1, 11, 3, 9, 4, 2],
        [5, 7, 6, 3, 8, 2, 10, 4, 9, 11, 1, 0],
    ]
    reranked = SuperGlobalReranker(first=8, k=3, beta=0.15).rerank(ranking, Evidence(queries, database))
    assert reranked.ranks.tolist() == [
        [8, 0, 10, 1, 11, 5, 6, 7, 3, 9, 4, 2],
        [5, 7, 6, 8, 10, 3, 4, 2, 9, 11, 1, 0],
    ]


@pytest.mark.parametrize(("first", "k", "beta"), [(20, 5, 0.15), (60, 9, 1.0), (7, 40, 0.5), (1, 3, 2.0)])
def test_it_agrees_with_the_slow_version(first, k, beta):
    generator = np.random.default_rng(first)
    database, queries = unit_rows(generator, 50, 8), unit_rows(generator, 4, 8)
    ranking = rank(queries, database)
    reranker = SuperGlobalReranker(first=first, k=k, beta=beta)
    reranked = reranker.rerank(ranking, Evidence(queries, database))
    for query_row, query in enumerate(queries):
        rows = np.sort(ranking.ranks[query_row, :first])
        slow = slow_scores(query, database[rows], k, beta)
        order = np.argsort(-slow, kind="stable")
        np.testing.assert_array_equal(reranked.ranks[query_row, : len(rows)], rows[order])
        np.testing.assert_allclose(reranked.scores[query_row, : len(rows)], slow[order], rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(reranked.ranks[query_row, first:], ranking.ranks[query_row, first:])


def test_neighbours_are_found_block_by_block(monkeypatch):
    photos = unit_rows(np.random.default_rng(1), 30, 6)
    whole = augment_among(photos, 4, 0.3)
    monkeypatch.setattr("meisho.rerank.superglobal._ROWS_AT_ONCE", 7)
    np.testing.assert_allclose(augment_among(photos, 4, 0.3), whole, rtol=1e-5, atol=1e-6)


def test_more_photos_of_the_place_come_first():
    generator = np.random.default_rng(0)
    places = unit_rows(generator, 20, 64)
    views = np.repeat(places, 12, axis=0) + 0.15 * generator.standard_normal((240, 64))
    asked = places + 0.15 * generator.standard_normal((20, 64))
    evidence = Evidence(asked, views)
    plain = rank(evidence.queries, evidence.database)
    reranked = SuperGlobalReranker().rerank(plain, evidence)
    missed = [(r.ranks[:, :12] // 12 != np.arange(20)[:, None]).sum() for r in (plain, reranked)]
    assert missed[1] < missed[0] / 2


def test_without_neighbours_the_query_is_expanded_by_the_best_photo_alone():
    """One query along x; photos at cosine .8 and .6: scores (.8 + 1) / 2 and (.6 + .96) / 2."""
    database = np.array([[0.6, 0.8], [0.8, 0.6]], np.float32)
    ranking = rank(np.array([[1, 0]], np.float32), database)
    reranked = SuperGlobalReranker(k=0).rerank(ranking, Evidence(np.eye(2, dtype=np.float32)[:1], database))
    assert reranked.ranks.tolist() == [[1, 0]]
    np.testing.assert_allclose(reranked.scores, [[0.9, 0.78]], rtol=1e-6)


def test_opposite_photos_are_no_neighbours():
    photos = np.array([[1, 0], [-1, 0], [0, 1]], np.float32)
    np.testing.assert_array_equal(augment_among(photos, 2, 1.0), photos)


def test_what_is_not_reranked_keeps_its_place_and_is_scored_below():
    generator = np.random.default_rng(2)
    database, queries = unit_rows(generator, 30, 5), unit_rows(generator, 1, 5)
    ranks = np.arange(30)[None].copy()
    ranks[0, 20:] = NO_ROW
    scores = np.where(ranks == NO_ROW, -np.inf, 5.0 - np.arange(30) / 10)
    ranking = Ranking(("q",), tuple(map(str, range(30))), ranks, scores)
    reranked = SuperGlobalReranker(first=6).rerank(ranking, Evidence(queries, database))
    assert sorted(reranked.ranks[0, :6]) == [*range(6)]
    assert reranked.ranks[0, 6:].tolist() == ranks[0, 6:].tolist()
    assert (np.diff(reranked.scores[0, :20]) <= 0).all()


@pytest.mark.parametrize("options", [{"first": 0}, {"k": -1}, {"beta": -0.1}, {"beta": float("nan")}])
def test_an_option_outside_its_range_is_refused(options):
    with pytest.raises(InputError, match=r"superglobal: first"):
        SuperGlobalReranker(**options)


def test_it_is_built_by_name():
    chain = build_chain(parse_chain("superglobal:first=50:beta=0.5"))
    assert chain.text == "superglobal:first=50:beta=0.5"
    assert (chain.depth, chain.permutes, chain.uses_skip) == (50, True, False)
