"""One suite for every reranker, and for the template in the docstring of base.py."""

import textwrap
from dataclasses import FrozenInstanceError, fields, replace
from pathlib import Path

import numpy as np
import pytest

import meisho.rerank.base
from meisho.errors import InputError
from meisho.index.exact import ExactIndex
from meisho.index.graph import NeighborGraph
from meisho.ranking import NO_ROW, Ranking
from meisho.rerank.augmentation import weigh_neighbors
from meisho.rerank.base import RERANKERS, Refiner
from meisho.rerank.chain import build_chain, load_reranker_class
from meisho.rerank.diffusion import raise_similarities
from meisho.rerank.evidence import Evidence, LocalFeaturesInMemory
from meisho.rerank.neighbors import rank_by_vectors
from rerank.places import make_evidence, make_ranking

LOCAL_FEATURES = make_evidence(num_places=5, views=4)

ANSWERED_TOGETHER: dict[str, str] = {}
"""Rerankers whose answer to one query depends on the other queries, and why."""

BLIND = {
    "template": "it orders by the number of features",
    "superglobal": "it expands a query by its best 10 photos, of which 4 show the place",
}
"""Rerankers that need not find the photos of a place, and why."""


def make_vectors(seed=0, dim=16, views=4):
    """Unit vectors of 5 queries and of some views of each of 5 places."""
    generator = np.random.default_rng(seed)
    places = generator.standard_normal((5, dim))
    noise = generator.standard_normal((5 + 5 * views, dim))
    vectors = np.concatenate([places, np.repeat(places, views, axis=0)]) + 0.5 * noise
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return vectors[:5], vectors[5:]


QUERIES, DATABASE = make_vectors()


def with_zeros():
    queries, database = QUERIES.copy(), DATABASE.copy()
    queries[0], database[[0, 7]] = 0, 0
    return queries, database


WORLDS = {
    "no photo": (QUERIES, DATABASE[:0]),
    "one photo": (QUERIES, DATABASE[:1]),
    "two photos": (QUERIES, DATABASE[:2]),
    "no query": (QUERIES[:0], DATABASE),
    "each photo three times": (QUERIES, np.tile(DATABASE, (3, 1))),
    "queries in the database": (DATABASE[[0, 4, 8, 12, 16]], DATABASE),
    "one photo, thirty times": (QUERIES, np.repeat(DATABASE[:1], 30, axis=0)),
    "all alike": (np.repeat(DATABASE[:1], 5, axis=0), np.repeat(DATABASE[:1], 20, axis=0)),
    "zero vectors": with_zeros(),
    "opposites": (QUERIES, np.concatenate([DATABASE, -DATABASE])),
    "one dimension": (np.ones((5, 1), np.float32), np.where(np.arange(20) % 3, 1, -1)[:, None]),
    "not unit length": (3 * QUERIES, 7 * DATABASE),
}
"""Descriptors of queries and database that a reranker must survive."""


def evidence_of(queries, database):
    """The evidence of those descriptors; local features of the same photos, again and again."""
    local = LocalFeaturesInMemory(
        [LOCAL_FEATURES.of_queries[row % 5] for row in range(len(queries))],
        [LOCAL_FEATURES.of_database[row % 20] for row in range(len(database))],
    )
    return Evidence(queries, database, local)


def ranking_by_vectors(queries, database):
    """The whole database, ranked for each query by its descriptors."""
    ids = [
        tuple(f"{kind}{row}" for row in range(n)) for kind, n in (("q", len(queries)), ("d", len(database)))
    ]
    return Ranking.from_scores(*ids, queries @ database.T)


def make_template():
    names = {"__name__": "template"}
    exec(textwrap.dedent(meisho.rerank.base.__doc__.split("::\n")[1].partition("\nand one line")[0]), names)
    return names["ByNumberOfFeatures"]()


@pytest.fixture(params=[*RERANKERS, "template"])
def name(request):
    return request.param


@pytest.fixture
def reranker(name):
    return make_template() if name == "template" else load_reranker_class(name)()


def short_lists():
    """Lists of 20, 7, 1, 0 and 20 rows."""
    ranking = make_ranking(LOCAL_FEATURES)
    ranks, scores = ranking.ranks.copy(), ranking.scores.copy()
    for query_row, length in enumerate((20, 7, 1, 0, 20)):
        ranks[query_row, length:], scores[query_row, length:] = NO_ROW, -np.inf
    return Ranking(ranking.query_ids, ranking.database_ids, ranks, scores)


RANKINGS = {
    "whole": make_ranking(LOCAL_FEATURES),
    "by vectors": ranking_by_vectors(QUERIES, DATABASE),
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


@pytest.fixture(params=WORLDS)
def world(request):
    return WORLDS[request.param]


def check(reranked, ranking, *, permutes):
    """Check what holds for every answer of every reranker."""
    assert (reranked.query_ids, reranked.database_ids) == (ranking.query_ids, ranking.database_ids)
    assert reranked.ranks.shape == ranking.ranks.shape
    filled = reranked.ranks == NO_ROW
    assert (reranked.scores[filled] == -np.inf).all() and np.isfinite(reranked.scores[~filled]).all()
    assert (reranked.scores[:, 1:] <= reranked.scores[:, :-1]).all()
    if permutes:
        np.testing.assert_array_equal(np.sort(reranked.ranks, axis=1), np.sort(ranking.ranks, axis=1))
    for rows in reranked.ranks:
        rows = rows[rows != NO_ROW]
        assert len(set(rows)) == len(rows)
        assert permutes or len(rows) == min(ranking.depth, len(ranking.database_ids))


def same(first, second):
    np.testing.assert_array_equal(first.ranks, second.ranks)
    np.testing.assert_array_equal(first.scores, second.scores)


def test_every_list_is_a_valid_answer(reranker, ranking):
    check(reranker.rerank(ranking, evidence_of(QUERIES, DATABASE)), ranking, permutes=reranker.permutes)


def test_every_list_is_a_valid_answer_whatever_the_descriptors(reranker, world):
    ranking = ranking_by_vectors(*world)
    check(reranker.rerank(ranking, evidence_of(*world)), ranking, permutes=reranker.permutes)


def test_the_same_again_is_the_same(reranker, ranking):
    first, again = (reranker.rerank(ranking, evidence_of(QUERIES, DATABASE)) for _ in range(2))
    same(first, again)


def test_skipped_rows_stay_in_the_list(reranker, ranking):
    skip = tuple(np.arange(query_row, 20, 3) for query_row in range(5))
    reranked = reranker.rerank(ranking, evidence_of(QUERIES, DATABASE), skip=skip)
    check(reranked, ranking, permutes=reranker.permutes)


def test_one_query_is_answered_as_among_others(name, reranker):
    if name in ANSWERED_TOGETHER:
        pytest.skip(ANSWERED_TOGETHER[name])
    ranking = RANKINGS["by vectors"]
    whole = reranker.rerank(ranking, evidence_of(QUERIES, DATABASE))
    first = Ranking(ranking.query_ids[:1], ranking.database_ids, ranking.ranks[:1], ranking.scores[:1])
    alone = reranker.rerank(first, evidence_of(QUERIES[:1], DATABASE))
    np.testing.assert_array_equal(alone.ranks[0], whole.ranks[0])
    np.testing.assert_allclose(alone.scores[0], whole.scores[0], rtol=1e-5, atol=1e-6)


def test_photos_of_the_place_come_first(name, reranker):
    if name in BLIND:
        pytest.skip(BLIND[name])
    queries, database = make_vectors(views=12)  # more than the neighbours that any looks at
    photos = [LOCAL_FEATURES.of_database[row // 12 * 4 + row % 4] for row in range(60)]
    evidence = Evidence(queries, database, LocalFeaturesInMemory(LOCAL_FEATURES.of_queries, photos))
    reranked = reranker.rerank(ranking_by_vectors(queries, database), evidence)
    np.testing.assert_array_equal(reranked.ranks[:, :4] // 12, np.repeat(np.arange(5)[:, None], 4, axis=1))


def test_nothing_is_written_into_the_arguments(reranker):
    queries, database = QUERIES.copy(), DATABASE.copy()
    ranks, scores = RANKINGS["short lists"].ranks.copy(), RANKINGS["short lists"].scores.copy()
    ids = RANKINGS["whole"].query_ids, RANKINGS["whole"].database_ids
    reranker.rerank(Ranking(*ids, ranks, scores), evidence_of(queries, database))
    np.testing.assert_array_equal(queries, QUERIES)
    np.testing.assert_array_equal(database, DATABASE)
    np.testing.assert_array_equal(ranks, RANKINGS["short lists"].ranks)
    np.testing.assert_array_equal(scores, RANKINGS["short lists"].scores)


def test_what_is_missing_is_named(reranker):
    with pytest.raises(InputError, match=r"needs (global descriptors|local features)"):
        reranker.rerank(RANKINGS["whole"], Evidence())


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_descriptors_that_are_no_numbers_are_refused_by_name(reranker, bad):
    database = DATABASE.copy()
    database[3, 2] = bad
    with pytest.raises(InputError, match=r"1 of 20 descriptors of the database hold NaN.*row 3"):
        reranker.rerank(RANKINGS["whole"], evidence_of(QUERIES, database))


def test_descriptors_of_other_photos_are_refused(name, reranker):
    evidence = Evidence(QUERIES, DATABASE[:-1])
    with pytest.raises(InputError, match=r"needs local features|5 queries and 19 photos"):
        reranker.rerank(RANKINGS["whole"], evidence)


def test_better_descriptors_rank_as_the_reranker_does(reranker, ranking):
    if not isinstance(reranker, Refiner):
        pytest.skip("it makes no descriptors")
    evidence = evidence_of(QUERIES, DATABASE)
    refined = reranker.refine(ranking, evidence)
    assert refined.verified is evidence.verified and refined.local is evidence.local
    same(rank_by_vectors(ranking, refined), reranker.rerank(ranking, evidence))


def build_graph(evidence, k=24):
    """The neighbours of the database, by exact search."""
    vectors = evidence.database
    return NeighborGraph.build(
        ExactIndex.build(vectors), vectors, np.arange(len(vectors), dtype=np.uint64), k=k
    )


AIDS = {
    "graph": lambda evidence: {"graph": build_graph(evidence)},
    "graph of few": lambda evidence: {"graph": build_graph(evidence, k=3)},
    "graph with gaps": lambda evidence: {"graph": gappy_graph(evidence)},
    "index": lambda evidence: {"index": ExactIndex.build(evidence.database)},
    "both": lambda evidence: {
        "graph": build_graph(evidence),
        "index": ExactIndex.build(evidence.database),
    },
}
"""What evidence may hold beside the vectors to be quick; what they find is exact here."""


def gappy_graph(evidence):
    """A graph from a time when there were other photos too, and the last three were not there."""
    others = make_vectors(seed=5)[1]
    vectors = np.concatenate([others, evidence.database[:-3]])
    keys = np.arange(20 + len(evidence.database), dtype=np.uint64)
    graph = NeighborGraph.build(ExactIndex.build(vectors), vectors, keys[: len(vectors)], k=9)
    assert len(others) == 20
    return graph.grow(ExactIndex.build(evidence.database), evidence.database, keys[20:])


@pytest.mark.parametrize("aid", AIDS)
@pytest.mark.parametrize("name_of_world", ["each photo three times", "queries in the database", "opposites"])
def test_what_makes_it_quick_changes_no_answer(reranker, aid, name_of_world):
    evidence = evidence_of(*WORLDS[name_of_world])
    ranking = ranking_by_vectors(*WORLDS[name_of_world])
    aided = replace(evidence, of_database={}, **AIDS[aid](evidence))
    same(reranker.rerank(ranking, aided), reranker.rerank(ranking, evidence))


AIDED_CHAINS = [
    "dba,alpha-qe",
    "alpha-qe,dba",
    "dba,dba:k=2,superglobal",
    "dba,discriminative-qe",
    "dba,k-reciprocal",
    "dba,diffusion",
    "dba,offline-diffusion",
    "k-reciprocal,dba",
    "geometric,alpha-qe,dba,average-qe",
]
"""Chains in which a step needs something of vectors that an earlier one made."""


@pytest.mark.parametrize("aid", AIDS)
@pytest.mark.parametrize("text", AIDED_CHAINS)
def test_what_makes_it_quick_changes_no_answer_of_a_chain(text, aid):
    queries, database = make_vectors(views=30)
    evidence, ranking = evidence_of(queries, database), ranking_by_vectors(queries, database).top(50)
    aided = replace(evidence, of_database={}, **AIDS[aid](evidence))
    chain = build_chain(text)
    first = chain.rerank(ranking, aided)
    same(first, chain.rerank(ranking, evidence))
    same(first, chain.rerank(ranking, aided))  # what was kept


def test_a_graph_of_other_photos_is_refused():
    evidence = evidence_of(QUERIES, DATABASE)
    with pytest.raises(InputError, match="a graph of 20 photos for 19 photos"):
        Evidence(QUERIES, DATABASE[:-1], graph=build_graph(evidence))


def test_options_are_fields_that_cannot_be_changed_later(reranker):
    for field in fields(reranker):
        with pytest.raises(FrozenInstanceError):
            setattr(reranker, field.name, None)


def test_the_interface_fits_into_few_lines_beside_its_docstring():
    lines = Path(meisho.rerank.base.__file__).read_text().splitlines()
    assert len(lines) - len(meisho.rerank.base.__doc__.splitlines()) < 80


EXTREMES = [
    "alpha-qe:alpha=0",
    "alpha-qe:alpha=100",
    "alpha-qe:alpha=100",
    "dba:alpha=0",
    "dba:alpha=100",
    "dba:alpha=100",
    "discriminative-qe:cost=1e9",
    "discriminative-qe:cost=1e-300",
    "diffusion:gamma=1e-300",
    "diffusion:gamma=100",
    "diffusion:gamma=1000",
    "diffusion:alpha=0",
    "diffusion:alpha=0.999999999",
    "offline-diffusion:gamma=1000",
    "offline-diffusion:alpha=0.999999999",
    "superglobal:beta=0",
    "superglobal:beta=1e6",
    "k-reciprocal:lambda_value=0",
    "k-reciprocal:lambda_value=1",
    "asmk:alpha=1e-300",
    "asmk:alpha=1e300",
    "asmk:threshold=-1",
    "asmk:threshold=0.999999",
    "asmk:weight=1e30",
]
"""Arguments at the edge of what is allowed: scores stay finite, and so does the order."""


@pytest.mark.parametrize("exponent", [0.0, 3.0, 100.0, 1e30, 1e300])
def test_powers_of_similarities_just_above_1_are_finite_and_keep_their_order(exponent):
    similarities = np.array([-1, 0, 1e-30, 0.5, 1, 1.0000001, 1.000001], np.float32)
    for powers in (
        weigh_neighbors(similarities, min(exponent, 1e30)),
        raise_similarities(similarities, exponent),
    ):
        assert np.isfinite(powers).all() and powers.max() <= 2
        assert (np.diff(powers) >= 0).all() and powers[4] == 1


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("text", EXTREMES)
@pytest.mark.parametrize("world", ["queries in the database", "all alike", "zero vectors", "not unit length"])
def test_extreme_arguments_give_finite_scores(text, world):
    queries, database = WORLDS[world]
    evidence = evidence_of(np.float32(queries), np.float32(database))
    ranking = ranking_by_vectors(np.float32(queries), np.float32(database))
    reranker = build_chain(text).steps[0].reranker
    reranked = reranker.rerank(ranking, evidence)
    assert np.isfinite(reranked.scores[reranked.ranks != NO_ROW]).all()
