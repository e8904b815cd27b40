import numpy as np
import pytest

import meisho.index.exact
from meisho.index.exact import ExactIndex
from meisho.index.scoring import score_all, score_pairs


def rank_slowly(queries, vectors, alive, top):
    scores = score_all(queries, vectors)
    ranks = [sorted(np.flatnonzero(alive), key=lambda row: (-s[row], row))[:top] for s in scores]
    ranks = np.array(ranks, np.int64).reshape(len(queries), -1)
    return ranks, np.take_along_axis(scores, ranks, axis=1)


def random_case(generator):
    """Return vectors and queries of small whole numbers, so that ties are everywhere, or of any numbers."""
    num_rows = generator.integers(1, generator.choice([400, 5000], p=[0.9, 0.1]))
    dim, num_queries = generator.integers(1, 40), generator.integers(1, 9)
    if generator.random() < 0.5:
        vectors = generator.integers(-1, 2, (num_rows, dim))
        queries = generator.integers(-1, 2, (num_queries, dim))
    else:
        vectors = generator.standard_normal((num_rows, dim)) * 10 ** generator.uniform(-3, 3, (num_rows, 1))
        vectors[generator.integers(num_rows, size=num_rows // 2)] = vectors[0]
        queries = generator.standard_normal((num_queries, dim))
    return queries.astype(np.float32), vectors.astype(np.float32)


def test_agrees_with_slow_sorting_on_random_cases():
    generator = np.random.default_rng(0)
    for _ in range(300):
        queries, vectors = random_case(generator)
        alive = generator.random(len(vectors)) < generator.choice([0.3, 1.0])
        rows = np.where(alive, np.arange(len(vectors)), -1)
        top = int(generator.choice([1, 2, 5, 17, len(vectors), len(vectors) + 3]))
        found = ExactIndex(vectors, rows).search(queries, top)
        expected = rank_slowly(queries, vectors, alive, min(top, int(alive.sum())))
        np.testing.assert_array_equal(found[0], expected[0])
        np.testing.assert_array_equal(found[1], expected[1])


def test_the_order_of_near_ties_does_not_depend_on_the_batch():
    generator = np.random.default_rng(1)
    vectors = np.repeat(generator.standard_normal((1, 512)), 3000, axis=0)
    vectors = (vectors * (1 + 1e-7 * generator.standard_normal((3000, 512)))).astype(np.float32)
    queries = (vectors[:12] + 1e-6).astype(np.float32)
    index = ExactIndex.build(vectors)
    together = index.search(queries, 20)
    alone = [index.search(query[None], 20) for query in queries]
    whole = index.search(queries, 3000)
    assert np.ptp(together[1]) < 1  # of 512: a BLAS product could not tell these apart reliably
    np.testing.assert_array_equal(together[0], np.concatenate([rows for rows, _ in alone]))
    np.testing.assert_array_equal(together[0], whole[0][:, :20])
    np.testing.assert_array_equal(together[1], whole[1][:, :20])


@pytest.mark.parametrize("dim", [1, 2, 3, 7, 128, 1280, 3000, 9000, 20000])
def test_the_score_of_a_pair_is_always_the_same_to_the_bit(dim):
    generator = np.random.default_rng(2)
    vectors = generator.standard_normal((50, dim)).astype(np.float32)
    queries = generator.standard_normal((6, dim)).astype(np.float32)
    whole = score_all(queries, vectors)
    rows = generator.integers(50, size=(6, 70))
    np.testing.assert_array_equal(
        score_pairs(queries, vectors, rows), np.take_along_axis(whole, rows, axis=1)
    )
    for query_row, row in zip(generator.integers(6, size=40), generator.integers(50, size=40), strict=True):
        one = score_pairs(queries[[query_row]], vectors, np.array([[row]]))
        assert one[0, 0] == whole[query_row, row]
        np.testing.assert_array_equal(
            score_all(queries[[query_row]], vectors[row : row + 1])[0, 0], one[0, 0]
        )


def test_blocks_of_queries_give_the_same_answer(monkeypatch):
    generator = np.random.default_rng(3)
    queries, vectors = (generator.standard_normal((n, 16)).astype(np.float32) for n in (23, 500))
    whole = ExactIndex.build(vectors).search(queries, 7)
    monkeypatch.setattr(meisho.index.exact, "_PRODUCT_BYTES", 4 * 500 * 5)
    blocks = ExactIndex.build(vectors).search(queries, 7)
    np.testing.assert_array_equal(whole[0], blocks[0])
    np.testing.assert_array_equal(whole[1], blocks[1])


def test_the_vectors_are_not_copied():
    vectors = np.ones((4, 3), np.float32)
    assert np.shares_memory(ExactIndex.build(vectors)._vectors, vectors)
