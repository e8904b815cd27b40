import numpy as np
import pytest

from meisho.descriptors import Descriptors, Provenance
from meisho.errors import InputError
from meisho.index.exact import ExactIndex
from meisho.index.graph import NeighborGraph
from meisho.ranking import NO_ROW, Ranking
from meisho.rerank import evidence as evidence_module
from meisho.rerank.evidence import Evidence, LocalFeaturesInMemory, evidence_of_lists
from meisho.rerank.expansion import AlphaQueryExpansion


def units(*shape, seed=0):
    vectors = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


QUERIES, DATABASE = units(2, 8), units(6, 8, seed=1)


def test_vectors_of_unit_length_are_not_copied_and_cannot_be_written():
    evidence = Evidence(QUERIES, DATABASE)
    assert np.shares_memory(evidence.database, DATABASE)
    with pytest.raises(ValueError, match="read-only"):
        evidence.database[0] = 0


def test_others_are_scaled_and_zeros_stay():
    database = 3 * DATABASE
    database[2] = 0
    before = database.copy()
    evidence = Evidence(QUERIES.astype(float), database)
    np.testing.assert_allclose(np.linalg.norm(evidence.database, axis=1), [1, 1, 0, 1, 1, 1], atol=1e-6)
    np.testing.assert_array_equal(database, before)
    assert evidence.queries.dtype == np.float32


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e30])
def test_what_is_no_number_is_refused_with_its_row(bad):
    queries = QUERIES.copy()
    queries[1, 3] = bad
    with pytest.raises(InputError, match=r"1 of 2 descriptors of the queries hold NaN.*row 1"):
        Evidence(queries, DATABASE)


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        ((QUERIES, None), "both the queries and the database"),
        ((None, DATABASE), "both the queries and the database"),
        ((QUERIES[0], DATABASE), r"must be a matrix, got shape \(8,\)"),
        ((QUERIES[:, :5], DATABASE), "5 dimensions, the database 8"),
    ],
)
def test_vectors_that_do_not_fit_are_refused(vectors, message):
    with pytest.raises(InputError, match=message):
        Evidence(*vectors)


def test_other_vectors_keep_what_was_verified():
    evidence = Evidence(QUERIES, DATABASE)
    other = evidence.with_vectors(QUERIES[:, ::-1], DATABASE)
    assert other.verified is evidence.verified


def test_lists_of_a_vector_database_become_a_ranking():
    ranking, evidence = evidence_of_lists(
        QUERIES, [["b", "a"], ["c", "b", "d"]], [DATABASE[[1, 0]], DATABASE[[2, 1, 3]]]
    )
    assert (ranking.query_ids, ranking.database_ids) == (("0", "1"), ("b", "a", "c", "d"))
    np.testing.assert_array_equal(ranking.ranks, [[0, 1, NO_ROW], [2, 0, 3]])
    np.testing.assert_array_equal(evidence.database, DATABASE[[1, 0, 2, 3]])
    assert [ranking.ids_of(row) for row in (0, 1)] == [["b", "a"], ["c", "b", "d"]]
    assert (ranking.scores[:, 1:] <= ranking.scores[:, :-1]).all()


def test_lists_are_reranked_as_the_whole_database_is():
    whole = Ranking.from_scores(("x", "y"), tuple("abcdef"), QUERIES @ DATABASE.T)
    ids = [whole.ids_of(row) for row in range(2)]
    lists, evidence = evidence_of_lists(
        QUERIES, ids, [DATABASE[rows] for rows in whole.ranks], query_ids="xy"
    )
    reranker = AlphaQueryExpansion(k=2)
    from_lists, from_whole = (
        reranker.rerank(lists, evidence),
        reranker.rerank(whole, Evidence(QUERIES, DATABASE)),
    )
    assert from_lists.query_ids == ("x", "y")
    assert [from_lists.ids_of(row) for row in range(2)] == [from_whole.ids_of(row) for row in range(2)]
    np.testing.assert_allclose(from_lists.scores, from_whole.scores, atol=1e-6)


def test_plain_python_lists_will_do():
    ranking, evidence = evidence_of_lists([[1.0, 0.0]], [["a", "b"]], [[[1.0, 0.0], [0.0, 2.0]]])
    np.testing.assert_array_equal(evidence.database, np.eye(2))
    np.testing.assert_array_equal(ranking.scores, [[1, 0]])


def test_no_answers_and_no_queries_are_answers():
    ranking, evidence = evidence_of_lists(QUERIES, [[], []], [[], np.empty((0, 8))])
    assert (ranking.ranks.shape, evidence.database.shape) == ((2, 0), (0, 8))
    assert AlphaQueryExpansion().rerank(ranking, evidence).ranks.shape == (2, 0)
    ranking, evidence = evidence_of_lists(QUERIES[:0], [], [])
    assert (ranking.ranks.shape, evidence.database.shape) == ((0, 0), (0, 8))


@pytest.mark.parametrize(
    ("queries", "ids", "vectors", "message"),
    [
        (QUERIES, [["a"]], [DATABASE[:1]], "2 query vectors, 1 list of ids and 1 array"),
        (QUERIES[:1], [["a", "b"]], [DATABASE[:1]], "query 0 has 2 ids, 2 of them different, and 1 vector"),
        (QUERIES[:1], [["a", "a"]], [DATABASE[:2]], "1 of them different"),
        (QUERIES[:1], [["a"]], [DATABASE[:1, :5]], "8 dimensions, the database 5"),
        (QUERIES, [["a"], ["b"]], [DATABASE[:1], DATABASE[:1, :5]], r"vectors of \(5,\), \(8,\)"),
        (QUERIES[0, :1], [["a"]], [DATABASE[:1]], r"query vectors must be \(Q, D\)"),
        (QUERIES[:1] * np.nan, [["a"]], [DATABASE[:1]], "hold NaN"),
    ],
)
def test_lists_that_do_not_fit_are_refused(queries, ids, vectors, message):
    with pytest.raises(InputError, match=message):
        evidence_of_lists(queries, ids, vectors)


def test_what_is_no_matrix_is_refused_with_what_to_give():
    described = Descriptors(tuple("ab"), QUERIES[:2], Provenance("x"))
    with pytest.raises(
        InputError, match=r"queries is of the type Descriptors; give its vectors: queries\.vec"
    ):
        Evidence(described, DATABASE)
    with pytest.raises(InputError, match="database is of the type list; give an array"):
        Evidence(QUERIES, ["a", "b"])


def test_its_repr_is_one_short_line():
    evidence = Evidence(QUERIES, DATABASE, LocalFeaturesInMemory([], []), verified={("how", 0, 1): 5})
    assert repr(evidence) == (
        f"Evidence(queries {QUERIES.shape}, database {DATABASE.shape}, local features, 1 verified pair)"
    )
    assert repr(Evidence()) == "Evidence(nothing)"


def test_vectors_that_were_looked_at_are_not_again(monkeypatch):
    evidence, scaled = Evidence(QUERIES, DATABASE), Evidence(QUERIES, 3 * DATABASE)
    looked = []
    unit_rows = evidence_module._unit_rows
    monkeypatch.setattr(
        evidence_module, "_unit_rows", lambda rows, what: looked.append(what) or unit_rows(rows, what)
    )
    for known in (DATABASE, evidence.database):
        again = Evidence(QUERIES[:1], known, of_database=evidence.of_database)
        assert again.database is evidence.database
    assert scaled.with_vectors(QUERIES, scaled.database).database is scaled.database
    assert looked == ["queries"] * 3
    assert Evidence(QUERIES, DATABASE[:3], of_database=evidence.of_database).database.shape == (3, 8)
    assert looked == ["queries"] * 4 + ["database"]


def test_what_was_bound_to_vectors_of_another_length_is_not_used():
    graph = NeighborGraph.build(ExactIndex.build(DATABASE), DATABASE, np.arange(6, dtype=np.uint64))
    aids = {"graph": graph, "index": ExactIndex.build(DATABASE)}
    given, scaled = Evidence(QUERIES, DATABASE, **aids), Evidence(QUERIES, 3 * DATABASE, **aids)
    assert (given.graph, given.index) == (graph, aids["index"])
    assert (scaled.graph, scaled.index) == (None, None)
    other = given.with_vectors(QUERIES, DATABASE[::-1])
    assert (other.graph, other.index) == (None, None)
    assert given.with_vectors(QUERIES[::-1], given.database).graph is graph


def test_what_is_kept_is_computed_once_for_one_database():
    evidence, made = Evidence(QUERIES, DATABASE), []
    for _ in range(2):
        evidence.keep("sum", lambda: made.append(1) or 7)
    moved = Evidence(QUERIES, DATABASE[::-1], of_database=evidence.of_database)
    assert moved.keep("sum", lambda: made.append(2) or 8) == 8
    assert made == [1, 2]
