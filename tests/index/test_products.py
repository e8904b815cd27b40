import subprocess
import sys

import numpy as np
import pytest

from meisho.index import products
from meisho.index.exact import ExactIndex
from meisho.index.products import multiply, write_network
from meisho.index.scoring import score_all


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def always(monkeypatch):
    """Small products go to ONNX Runtime too, and are cut into parts of a few rows."""
    monkeypatch.setattr(products, "_SMALL", 0)
    monkeypatch.setattr(products, "_PART_BYTES", 4 * 64 * 7)


def draw(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize(
    ("num_queries", "num_vectors", "dim"),
    [(1, 1, 1), (3, 7, 64), (32, 8, 64), (33, 50, 64), (70, 13, 5), (2, 0, 64), (0, 5, 64), (5, 40, 3000)],
)
def test_the_product_is_that_of_the_matrices(rng, always, num_queries, num_vectors, dim):
    queries, vectors = draw(rng, num_queries, dim), draw(rng, num_vectors, dim)
    found = multiply(queries, vectors)
    assert (found.dtype, found.shape) == (np.float32, (num_queries, num_vectors))
    lengths = np.outer(np.linalg.norm(queries, axis=1), np.linalg.norm(vectors, axis=1))
    exact = queries.astype(np.float64) @ vectors.T.astype(np.float64)
    assert (abs(found - exact) <= dim * 2.0**-24 * lengths).all()  # what `ExactIndex` counts on


def test_exact_search_finds_the_same_through_it(rng, always):
    vectors = np.repeat(draw(rng, 90, 24), 3, axis=0)  # with ties
    queries = draw(rng, 40, 24)
    rows, scores = ExactIndex.build(vectors).search(queries, 20)
    all_scores = score_all(queries, vectors)
    expected = np.argsort(-all_scores, axis=1, kind="stable")[:, :20]
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_array_equal(scores, np.take_along_axis(all_scores, expected, axis=1))


def test_the_file_is_a_network_that_onnx_accepts():
    onnx = pytest.importorskip("onnx")
    model = onnx.load_from_string(write_network())
    onnx.checker.check_model(model, full_check=True)
    assert [node.op_type for node in model.graph.node] == ["MatMul"]


def test_a_small_product_does_without_onnx_runtime():
    code = """
import sys
import numpy as np
from meisho.index.products import multiply
multiply(np.ones((8, 64), np.float32), np.ones((100, 64), np.float32))
assert "onnxruntime" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
