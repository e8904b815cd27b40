import sys

import numpy as np
import pytest

from meisho.descriptors import normalize_rows
from meisho.errors import CollectionError, MissingDependencyError
from meisho.index.exact import ExactIndex
from meisho.index.faiss_index import HNSWIndex, IVFPQIndex

CLASSES = [IVFPQIndex, HNSWIndex]


def make_vectors(num_rows, dim, seed=0):
    generator = np.random.default_rng(seed)
    centres = np.repeat(generator.standard_normal((num_rows // 10, dim)), 10, axis=0)
    return (centres + 0.5 * generator.standard_normal(centres.shape)).astype(np.float32)


VECTORS = make_vectors(2000, 32)


@pytest.mark.parametrize("index_class", CLASSES)
def test_a_missing_faiss_is_named_with_the_command_that_installs_it(index_class, monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(MissingDependencyError, match="pip install faiss-cpu"):
        index_class.build(VECTORS)


@pytest.mark.parametrize("index_class", CLASSES)
def test_the_file_does_not_hold_the_vectors(index_class, tmp_path):
    vectors = make_vectors(2000, 256)
    index_class.build(vectors).save(tmp_path / "saved")
    assert (tmp_path / "saved").stat().st_size < vectors.nbytes / 1.8


@pytest.mark.parametrize("index_class", CLASSES)
def test_binding_to_what_it_was_not_built_from_is_refused(index_class):
    index = index_class.build(VECTORS)
    with pytest.raises(CollectionError, match="2000 vectors"):
        index.bind(VECTORS[:1999], np.arange(1999))
    with pytest.raises(CollectionError, match="99"):
        index.bind(np.zeros((2000, 99), np.float32), np.arange(2000))


@pytest.mark.parametrize("index_class", CLASSES)
def test_a_whole_neighbourhood_that_went_leaves_no_gap(index_class):
    near = np.argsort(-(VECTORS @ VECTORS[0]))[:1000]  # all that the structure would have proposed
    rows = np.arange(2000)
    rows[near] = -1
    found, scores = index_class.build(VECTORS).bind(VECTORS, rows).search(VECTORS[:1], 10)
    assert found.shape == (1, 10) and found.min() >= 0
    assert not np.isin(found, near).any()
    _, exact_scores = ExactIndex(VECTORS, rows).search(VECTORS[:1], 40)
    assert scores[0, 0] >= exact_scores[0, 9] and scores[0, 9] >= exact_scores[0, 39]


@pytest.mark.parametrize("index_class", CLASSES)
def test_a_query_with_too_few_candidates_is_answered_exactly(index_class, monkeypatch):
    index = index_class.build(VECTORS)
    propose = index._propose
    monkeypatch.setattr(index, "_propose", lambda *asked: keep_three(*propose(*asked)))
    found = index.search(VECTORS[:4], 10)
    exact = ExactIndex.build(VECTORS).search(VECTORS[:4], 10)
    np.testing.assert_array_equal(found[0], exact[0])
    np.testing.assert_array_equal(found[1], exact[1])


def keep_three(candidates, level):
    return np.where(np.arange(candidates.shape[1]) < 3, candidates, -1), level


def test_building_leaves_the_number_of_threads_alone():
    import faiss

    before = faiss.omp_get_max_threads()
    HNSWIndex.build(VECTORS)
    assert faiss.omp_get_max_threads() == before


@pytest.mark.parametrize("size", [2, 20, 100, 300])
def test_a_row_finds_itself_among_near_equal_ones(size):
    generator = np.random.default_rng(size)
    centres = generator.standard_normal((6000 // size, 64), dtype=np.float32)
    vectors = np.repeat(normalize_rows(centres), size, axis=0)
    noise = generator.standard_normal(vectors.shape, dtype=np.float32)
    vectors = normalize_rows(vectors + noise * np.float32(0.002))
    asked = generator.choice(len(vectors), 200, replace=False)
    _, scores = IVFPQIndex.build(vectors).search(vectors[asked], 5)
    _, best_scores = ExactIndex.build(vectors).search(vectors[asked], 5)
    assert np.mean(scores[:, 0] >= best_scores[:, 0]) >= 0.99
    assert np.mean(scores >= best_scores[:, -1:]) >= 0.95
