"""One suite for every index structure, and for the template in the docstring of base.py."""

import textwrap
from importlib import import_module

import numpy as np
import pytest

import meisho.index.base
from meisho.errors import CollectionError, InputError
from meisho.index.base import INDEXES
from meisho.index.scoring import check_queries, check_vectors, score_pairs, sort_pairs

NUM_ROWS, DIM = 1500, 24  # enough rows for FAISS structures to be built


def load_class(name):
    module, _, attribute = INDEXES[name].partition(":")
    return getattr(import_module(module), attribute)


def run_template():
    code = meisho.index.base.__doc__.partition("::\n")[2]
    names = {
        "np": np,
        "check_queries": check_queries,
        "check_vectors": check_vectors,
        "score_pairs": score_pairs,
        "sort_pairs": sort_pairs,
    }
    exec(textwrap.dedent(code), names)
    return names["MyIndex"]


@pytest.fixture(scope="module", params=[*INDEXES, "template"])
def index_class(request):
    return run_template() if request.param == "template" else load_class(request.param)


def make_vectors(seed=0, num_rows=NUM_ROWS, dim=DIM):
    generator = np.random.default_rng(seed)
    centres = np.repeat(generator.standard_normal((-(-num_rows // 10), dim)), 10, axis=0)[:num_rows]
    vectors = centres + 0.3 * generator.standard_normal((num_rows, dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


VECTORS = make_vectors()
QUERIES = VECTORS[::100] + np.float32(0.01)


@pytest.fixture(scope="module")
def index(index_class):
    return index_class.build(VECTORS)


def rank_slowly(queries, vectors, alive=None):
    """Score one pair at a time and sort tuples."""
    ranks = []
    for query in queries:
        scores = [score_pairs(query[None], vectors, np.array([[row]]))[0, 0] for row in range(len(vectors))]
        order = sorted(range(len(vectors)), key=lambda row: (-scores[row], row))
        ranks.append([row for row in order if alive is None or alive[row]])
    return np.array(ranks)


def recall(found, expected):
    return np.mean([len(set(f) & set(e)) / len(e) for f, e in zip(found, expected, strict=True)])


def assert_ordered(rows, scores):
    falls = scores[:, :-1] > scores[:, 1:]
    ties = (scores[:, :-1] == scores[:, 1:]) & (rows[:, :-1] < rows[:, 1:])
    assert (falls | ties).all()


def test_finds_nearly_all_of_the_true_best_in_order(index):
    rows, scores = index.search(QUERIES, 10)
    assert rows.shape == scores.shape == (len(QUERIES), 10)
    assert rows.dtype == np.int64 and scores.dtype == np.float32
    assert recall(rows, rank_slowly(QUERIES, VECTORS)[:, :10]) >= 0.95
    assert_ordered(rows, scores)


def test_scores_are_the_dot_products(index):
    rows, scores = index.search(QUERIES, 5)
    np.testing.assert_allclose(scores, np.einsum("qd,qkd->qk", QUERIES, VECTORS[rows]), rtol=1e-6)


def test_one_query_gives_the_same_as_in_a_batch(index):
    rows, scores = index.search(QUERIES, 10)
    for query, some_rows, some_scores in zip(QUERIES, rows, scores, strict=True):
        alone = index.search(query[None], 10)
        np.testing.assert_array_equal(alone[0][0], some_rows)
        np.testing.assert_array_equal(alone[1][0], some_scores)


def test_the_whole_database_is_ranked_exactly(index):
    rows, scores = index.search(QUERIES, NUM_ROWS)
    np.testing.assert_array_equal(rows, rank_slowly(QUERIES, VECTORS))
    assert_ordered(rows, scores)


def test_more_than_there_are_gives_all_that_there_are(index):
    rows, _ = index.search(QUERIES[:2], NUM_ROWS + 7)
    assert rows.shape == (2, NUM_ROWS)


def test_equal_vectors_come_in_the_order_of_their_rows(index_class):
    vectors = np.tile(VECTORS[:500], (3, 1))
    rows, scores = index_class.build(vectors).search(VECTORS[:20], 3)
    np.testing.assert_array_equal(rows, np.arange(20)[:, None] + [0, 500, 1000])
    assert (scores == scores[:, :1]).all()


def test_unequal_lengths_are_ranked_by_dot_product(index_class):
    lengths = np.random.default_rng(1).uniform(0.1, 5, (NUM_ROWS, 1)).astype(np.float32)
    vectors = VECTORS * lengths
    rows, _ = index_class.build(vectors).search(QUERIES, 10)
    assert recall(rows, rank_slowly(QUERIES, vectors)[:, :10]) >= 0.9


@pytest.mark.parametrize("num_rows", [0, 1, 2, 63, 64, 65])
def test_small_databases_are_answered_exactly(index_class, num_rows):
    rows, _ = index_class.build(VECTORS[:num_rows]).search(QUERIES[:3], 2)
    expected = rank_slowly(QUERIES[:3], VECTORS[:num_rows])
    np.testing.assert_array_equal(rows, expected[:, :2].reshape(3, min(num_rows, 2)))


def test_no_queries_and_no_answers_are_answers(index):
    assert index.search(QUERIES[:0], 10)[0].shape == (0, 10)
    assert index.search(QUERIES, 0)[0].shape == (len(QUERIES), 0)


@pytest.mark.parametrize("dim", [1, 3, 130])
def test_any_dimension_will_do(index_class, dim):
    vectors = np.random.default_rng(2).standard_normal((1200, dim)).astype(np.float32)
    rows, _ = index_class.build(vectors).search(vectors[:5], 4)
    assert recall(rows, rank_slowly(vectors[:5], vectors)[:, :4]) >= 0.7


def test_all_vectors_alike_is_one_long_tie(index_class):
    vectors = np.tile(VECTORS[:1], (1200, 1))
    rows, _ = index_class.build(vectors).search(QUERIES, 10)
    assert recall(rows, np.tile(np.arange(1200), (len(QUERIES), 1))) == pytest.approx(10 / 1200)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e30])
def test_what_is_not_finite_is_refused(index_class, index, bad):
    vectors = VECTORS.copy()
    vectors[7, 3] = bad
    with pytest.raises(InputError, match="row 7"):
        index_class.build(vectors)
    with pytest.raises(InputError, match="1 of 20 query descriptors"):
        index.search(vectors[:20], 10)


@pytest.mark.parametrize(
    ("queries", "top", "message"),
    [
        (np.zeros((2, DIM + 1), np.float32), 3, f"\\(Q, {DIM}\\)"),
        (np.zeros(DIM, np.float32), 3, "shape"),
        (np.zeros((2, DIM), np.float32), -1, "top"),
    ],
)
def test_queries_that_do_not_fit_are_refused(index, queries, top, message):
    with pytest.raises(InputError, match=message):
        index.search(queries, top)


def test_arguments_are_never_written_into(index_class):
    vectors, queries = VECTORS.copy(), QUERIES.copy()
    vectors.setflags(write=False)
    queries.setflags(write=False)
    index_class.build(vectors).search(queries, 10)
    np.testing.assert_array_equal(vectors, VECTORS)


def test_what_is_saved_and_loaded_answers_the_same(index, index_class, tmp_path):
    index.save(tmp_path / "saved")
    assert [path.name for path in tmp_path.iterdir()] == ["saved"]
    loaded = index_class.load(tmp_path / "saved")
    assert loaded.search(np.empty((3, 0), np.float32), 10)[0].shape == (3, 0)  # bound to nothing
    bound = loaded.bind(VECTORS, np.arange(NUM_ROWS))
    for mine, theirs in zip(bound.search(QUERIES, 10), index.search(QUERIES, 10), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_rows_that_went_are_not_found_and_the_others_at_their_new_places(index):
    generator = np.random.default_rng(3)
    place = generator.permutation(NUM_ROWS)[:1000]  # new row -> old row
    rows = np.full(NUM_ROWS, -1)
    rows[place] = np.arange(1000)
    vectors = VECTORS[place]
    bound = index.bind(vectors, rows)
    found, scores = bound.search(QUERIES, 10)
    assert recall(found, rank_slowly(QUERIES, vectors)[:, :10]) >= 0.95
    assert_ordered(found, scores)
    np.testing.assert_array_equal(bound.search(QUERIES, 2000)[0], rank_slowly(QUERIES, vectors))


def test_only_rows_of_the_build_are_found_after_binding(index):
    vectors = np.concatenate([QUERIES[:5], VECTORS])  # five more, best of all, that it was not built from
    found, _ = index.bind(vectors, np.arange(5, NUM_ROWS + 5)).search(QUERIES[:5], 10)
    assert found.min() >= 5


def test_building_twice_gives_the_same_file(index_class, index, tmp_path):
    index.save(tmp_path / "first")
    index_class.build(VECTORS.copy()).save(tmp_path / "second")
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


@pytest.mark.parametrize("name", INDEXES)
def test_a_broken_or_missing_file_is_refused_by_name(name, tmp_path):
    index_class = load_class(name)
    path = tmp_path / "saved"
    with pytest.raises(CollectionError, match="saved"):
        index_class.load(path)
    index_class.build(VECTORS).save(path)
    whole = path.read_bytes()
    for broken in (b"", whole[:-1], whole + b"x", b"x" + whole[1:], whole[:40] + b"?" + whole[41:]):
        path.write_bytes(broken)
        with pytest.raises(CollectionError, match="saved"):
            index_class.load(path)
