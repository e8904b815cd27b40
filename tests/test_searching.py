import numpy as np
import pytest

from meisho.descriptors import Descriptors, Provenance
from meisho.errors import InputError, MismatchError
from meisho.evaluate.protocols import evaluate_ranking
from meisho.ground_truth import GroundTruth
from meisho.index.faiss_index import IVFPQIndex
from meisho.index.live import LiveIndex
from meisho.ranking import Ranking
from meisho.searching import search
from meisho.store.collection import Collection

MADE = Provenance.from_options("timm_gem", {"max_side_px": 384, "p": 3})


def describe(prefix, vectors, provenance=MADE):
    vectors = np.asarray(vectors, np.float32)
    return Descriptors(tuple(f"{prefix}{i}" for i in range(len(vectors))), vectors, provenance)


DATABASE = describe("d", [[1, 0], [0, 1], [0.6, 0.8], [0, 1]])


def test_ranks_the_whole_database_by_dot_product():
    ranking = search(describe("q", [[0, 1], [1, 0]]), DATABASE)
    # 0·q: [0, 1, .8, 1]; 1·q: [1, 0, .6, 0]; equal scores in the order of their rows
    np.testing.assert_array_equal(ranking.ranks, [[1, 3, 2, 0], [0, 2, 1, 3]])
    np.testing.assert_allclose(ranking.scores, [[1, 1, 0.8, 0], [1, 0.6, 0, 0]], rtol=1e-6)
    assert ranking.query_ids == ("q0", "q1")
    assert ranking.database_ids == DATABASE.ids


def test_agrees_with_ranking_a_score_matrix():
    generator = np.random.default_rng(0)
    queries = describe("q", generator.integers(-2, 3, (9, 5)))  # whole numbers: exact, with many ties
    database = describe("d", generator.integers(-2, 3, (200, 5)))
    expected = Ranking.from_scores(queries.ids, database.ids, queries.vectors @ database.vectors.T)
    ranking = search(queries, database)
    np.testing.assert_array_equal(ranking.ranks, expected.ranks)
    np.testing.assert_array_equal(ranking.scores, expected.scores)
    for top in (1, 7, 150):
        np.testing.assert_array_equal(search(queries, database, top=top).ranks, expected.top(top).ranks)


@pytest.mark.parametrize(("top", "depth"), [(0, 0), (3, 3), (4, 4), (100, 4)])
def test_top_cuts_the_lists(top, depth):
    assert search(describe("q", [[0, 1]]), DATABASE, top=top).depth == depth


def test_an_empty_side_is_an_empty_answer():
    nothing = describe("n", np.empty((0, 2)))
    assert search(nothing, DATABASE, top=3).ranks.shape == (0, 3)
    assert search(DATABASE, nothing, top=3).ranks.shape == (4, 0)
    assert search(nothing, nothing).ranks.shape == (0, 0)


@pytest.mark.parametrize("bind", ["built", "followed"])
def test_searches_through_a_given_index(bind):
    vectors = np.random.default_rng(1).standard_normal((1500, 8)).astype(np.float32)
    database, queries = describe("d", vectors), describe("q", vectors[:30])
    keys = np.arange(1500, dtype=np.uint64)
    index = (
        IVFPQIndex.build(database.vectors)
        if bind == "built"
        else LiveIndex.build("hnsw", vectors, keys, 1).follow(database.vectors, keys, 1)
    )
    found, exact = (search(queries, database, index=i, top=5) for i in (index, None))
    assert (found.ranks == exact.ranks).mean() > 0.9


def test_other_provenance_is_refused_with_the_differences_named():
    other = Provenance.from_options("timm_gem", {"max_side_px": 640, "p": 3})
    with pytest.raises(MismatchError, match="max_side_px: 640 / 384"):
        search(describe("q", [[0, 1]], other), DATABASE)


def test_other_dimensions_are_refused():
    with pytest.raises(InputError, match="3 dimensions and the database 2"):
        search(describe("q", [[0, 1, 0]]), DATABASE)


def test_nan_is_refused_on_both_sides():
    with pytest.raises(InputError, match="query descriptors"):
        search(describe("q", [[0, np.nan]]), DATABASE)
    with pytest.raises(InputError, match="database descriptors"):
        search(DATABASE, describe("d", [[0, 1], [np.inf, 1]]))


def test_descriptors_of_another_length_are_called_out_in_the_report():
    long = describe("d", 28 * np.eye(4, 2)), describe("q", [[28, 0]])
    ranking = search(long[1], long[0])
    assert [warning.partition(" (")[0] for warning in ranking.warnings] == [
        "descriptors are not L2-normalised",
        "queries: descriptors are not L2-normalised",
    ]
    report = evaluate_ranking(ranking, GroundTruth([[0]], [[]]), warnings=ranking.warnings[:1])
    assert report.warnings[:2] == ranking.warnings  # each is told once
    assert search(describe("q", [[0, 1], [1, 0]]), DATABASE).warnings == ()


def test_what_is_not_descriptors_is_refused_with_what_to_do(tmp_path):
    collection = Collection.create(tmp_path / "c", photo_root=tmp_path, provenance=MADE, dim=2)
    with pytest.raises(
        InputError, match=r"database is of the type Collection, .* meisho\.Finder\.open\(path\)"
    ):
        search(DATABASE, collection)
    with pytest.raises(InputError, match=r"database is of the type Snapshot, .* give snapshot\.descriptors"):
        search(DATABASE, collection.snapshot())
    with pytest.raises(InputError, match=r"queries is of the type ndarray, .* meisho\.Descriptors\(ids, vec"):
        search(DATABASE.vectors, DATABASE)
    with pytest.raises(InputError, match=r"queries is of the type list, .* meisho\.describe_photos"):
        search([], DATABASE)
