"""One suite for every reranker, and for the template in the docstring of base.py."""

import textwrap
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

import meisho.rerank.base
from meisho.ranking import NO_ROW, Ranking
from meisho.rerank.base import RERANKERS
from meisho.rerank.evidence import Evidence
from rerank.places import make_evidence, make_ranking

LOCAL_FEATURES = make_evidence(num_places=5, views=4)


def make_vectors(seed=0, dim=16):
    """Unit vectors of 5 queries and of 4 views of each of 5 places."""
    generator = np.random.default_rng(seed)
    places = generator.standard_normal((5, dim))
    noise = generator.standard_normal((25, dim))
    vectors = np.concatenate([places, np.repeat(places, 4, axis=0)]) + 0.5 * noise
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return vectors[:5], vectors[5:]


def fresh_evidence():
    """What each reranker is given beside the ranking."""
    return Evidence(*make_vectors(), LOCAL_FEATURES)


def make_template():
    names = {"np": np, "Ranking": Ranking, "NO_ROW": NO_ROW, "dataclass": dataclass, "ClassVar": ClassVar}
    exec(textwrap.dedent(meisho.rerank.base.__doc__.partition("::\n")[2]), names)
    return names["ByNumberOfFeatures"]()


def make_named(name):
    module, _, attribute = RERANKERS[name].partition(":")
    return getattr(import_module(module), attribute)()


@pytest.fixture(params=[*RERANKERS, "template"])
def rerank(request):
    """Rerank with a reranker and the evidence that it takes."""
    reranker = make_template() if request.param == "template" else make_named(request.param)

    def rerank_with_evidence(ranking, **options):
        return reranker.rerank(ranking, fresh_evidence(), **options)

    return rerank_with_evidence


def short_lists():
    """Lists of 20, 7, 1, 0 and 20 rows."""
    ranking = make_ranking(LOCAL_FEATURES)
    ranks, scores = ranking.ranks.copy(), ranking.scores.copy()
    for query_row, length in enumerate((20, 7, 1, 0, 20)):
        ranks[query_row, length:], scores[query_row, length:] = NO_ROW, -np.inf
    return Ranking(ranking.query_ids, ranking.database_ids, ranks, scores)


RANKINGS = {
    "whole": make_ranking(LOCAL_FEATURES),
    "first 5": make_ranking(LOCAL_FEATURES, depth=5),
    "first 1": make_ranking(LOCAL_FEATURES, depth=1),
    "empty lists": make_ranking(LOCAL_FEATURES, depth=0),
    "short lists": short_lists(),
    "one long tie": make_ranking(LOCAL_FEATURES, scores=np.full((5, 20), 0.5)),
    "negative scores": make_ranking(LOCAL_FEATURES, scores=-np.random.default_rng(1).uniform(0, 9, (5, 20))),
}


@pytest.fixture(params=RANKINGS)
def ranking(request):
    return RANKINGS[request.param]


def test_each_list_keeps_its_rows_and_its_fill(rerank, ranking):
    reranked = rerank(ranking)
    assert (reranked.query_ids, reranked.database_ids) == (ranking.query_ids, ranking.database_ids)
    np.testing.assert_array_equal(np.sort(reranked.ranks, axis=1), np.sort(ranking.ranks, axis=1))
    np.testing.assert_array_equal(reranked.ranks == NO_ROW, ranking.ranks == NO_ROW)


def test_scores_never_rise_and_the_fill_has_none(rerank, ranking):
    reranked = rerank(ranking)
    filled = reranked.ranks == NO_ROW
    assert (reranked.scores[filled] == -np.inf).all() and np.isfinite(reranked.scores[~filled]).all()
    assert (reranked.scores[:, 1:] <= reranked.scores[:, :-1]).all()


def test_the_same_again_is_the_same(rerank, ranking):
    first, again = rerank(ranking), rerank(ranking)
    np.testing.assert_array_equal(first.ranks, again.ranks)
    np.testing.assert_array_equal(first.scores, again.scores)


def test_skipped_rows_stay_in_the_list(rerank, ranking):
    skip = tuple(np.arange(query_row, 20, 3) for query_row in range(5))
    reranked = rerank(ranking, skip=skip)
    np.testing.assert_array_equal(np.sort(reranked.ranks, axis=1), np.sort(ranking.ranks, axis=1))


def test_one_query_is_answered_as_among_others(rerank):
    whole = rerank(RANKINGS["whole"])
    first = RANKINGS["whole"]
    alone = rerank(Ranking(first.query_ids[:1], first.database_ids, first.ranks[:1], first.scores[:1]))
    np.testing.assert_array_equal(alone.ranks[0], whole.ranks[0])
    np.testing.assert_array_equal(alone.scores[0], whole.scores[0])


def test_the_template_fits_into_few_lines():
    assert len(Path(meisho.rerank.base.__file__).read_text().splitlines()) < 80
