"""Search among some rows: as if there were no others, by whatever index, however few they are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meisho.errors import InputError
from meisho.index import among
from meisho.index.among import AmongIndex, check_among
from meisho.index.exact import ExactIndex
from meisho.index.faiss_index import HNSWIndex
from meisho.index.live import LiveIndex


class Forgetful:
    """An index that finds the first rows alone, and fills the end of each list with none."""

    def __init__(self, vectors, known):
        self._exact, self._known = ExactIndex.build(vectors[:known]), known

    def search(self, queries, top):
        rows, scores = self._exact.search(queries, top)
        missing = ((0, 0), (0, top - rows.shape[1]))
        return np.pad(rows, missing, constant_values=-1), np.pad(scores, missing, constant_values=-np.inf)


def expected(vectors, rows, queries, top):
    found, scores = ExactIndex.build(vectors[rows]).search(queries, top)
    return rows[found], scores


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10_000),
    number=st.integers(1, 300),
    share=st.floats(0, 1),
    top=st.integers(0, 320),
    few=st.sampled_from([1, 16, 1000]),
    index=st.sampled_from(["exact", "forgetful"]),
)
def test_it_answers_as_a_database_without_the_others_would(seed, number, share, top, few, index):
    rng = np.random.default_rng(seed)
    vectors = rng.integers(-2, 3, (number, 4)).astype(np.float32)  # with ties
    rows = np.flatnonzero(rng.random(number) < share)
    queries = rng.standard_normal((3, 4)).astype(np.float32)
    whole = ExactIndex.build(vectors) if index == "exact" else Forgetful(vectors, max(1, number // 3))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(among, "FEW_ROWS", few)
        found, scores = AmongIndex(whole, vectors.__getitem__, rows, number).search(queries, top)
    if index == "exact":
        right, right_scores = expected(vectors, rows, queries, top)
        np.testing.assert_array_equal(found, right)
        np.testing.assert_array_equal(scores, right_scores)
    assert found.shape == (3, min(top, len(rows)))  # never short, whatever the index forgot
    assert np.isin(found, rows).all()
    assert all(len({*row}) == len(row) for row in found.tolist())


@pytest.mark.parametrize("share", [0.5, 0.1, 0.02])
def test_an_approximate_index_finds_nearly_all_of_them(monkeypatch, share):
    rng = np.random.default_rng(3)
    vectors = rng.standard_normal((3000, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    live = LiveIndex.build("hnsw", vectors, np.arange(3000, dtype=np.uint64), 1)
    assert isinstance(live.structure, HNSWIndex)
    index = live.follow(vectors, np.arange(3000, dtype=np.uint64), 1)
    rows = np.flatnonzero(rng.random(3000) < share)
    queries = vectors[rng.integers(0, 3000, 20)]
    monkeypatch.setattr(among, "FEW_ROWS", 16)
    found, _ = AmongIndex(index, vectors.__getitem__, rows, 3000).search(queries, 10)
    right, _ = expected(vectors, rows, queries, 10)
    shared = [len(np.intersect1d(one, other)) for one, other in zip(found, right, strict=True)]
    assert np.isin(found, rows).all() and np.mean(shared) >= 9.5


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        ([3, 1, 1], [1, 3]),
        ([], []),
        (np.array([True, False, True, False]), [0, 2]),
        (np.array([2], np.uint64), [2]),
    ],
)
def test_rows_are_given_as_numbers_or_as_a_mask(rows, found):
    assert check_among(rows, 4).tolist() == found


@pytest.mark.parametrize("rows", [[4], [-1], [0.5], [[0, 1]], np.array([True]), ["a"]])
def test_rows_that_are_none_are_refused(rows):
    with pytest.raises(InputError, match="among"):
        check_among(rows, 4)
