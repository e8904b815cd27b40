"""Products: of few queries with many vectors, where most of the time goes into reading the vectors.

ONNX Runtime reads them once and where they are. OpenBLAS, which NumPy asks, copies them before it multiplies:
exact search of 16 queries among 20,000 vectors of 1,280 dimensions takes less than half of its product
(`benchmarks/bench_index.py --rows 20000 --dim 1280 --batch 16`).
"""

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from meisho.arrays import Float32Array, cut_rows
from meisho.cores import count_multiplying

if TYPE_CHECKING:  # it takes 0.1 s, which small products do without
    from onnxruntime import InferenceSession

_SMALL = 2**26  # multiplications, which take NumPy 3 to 7 ms
_TOGETHER = 32  # queries
_PART_BYTES = 8 * 2**20  # of vectors: what stays in the cache from one group of queries to the next


def multiply(queries: Float32Array, vectors: Float32Array) -> Float32Array:
    """Return the matrix product (Q, N) float32 of (Q, D) and C-contiguous (N, D) float32."""
    if queries.size * len(vectors) < _SMALL:
        return queries @ vectors.T
    session = _load()
    products = np.empty((len(queries), len(vectors)), np.float32)
    columns = [(some, np.ascontiguousarray(queries[some].T)) for some in cut_rows(len(queries), _TOGETHER)]
    for rows in cut_rows(len(vectors), max(1, _PART_BYTES // (4 * vectors.shape[1]))):
        for some, column in columns:
            (product,) = session.run(None, {"vectors": vectors[rows], "queries": column})
            products[some, rows] = product.T
    return products


@cache
def _load() -> "InferenceSession":
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads, settings.inter_op_num_threads = count_multiplying(), 1
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    settings.enable_cpu_mem_arena = False  # it would keep the largest product
    return onnxruntime.InferenceSession(write_network(), settings, providers=["CPUExecutionProvider"])


def write_network() -> bytes:
    """Return an ONNX file that multiplies "vectors" (N, D) by "queries" (D, Q); 13 is its version of ONNX.

    A protocol buffer: onnx.proto3 of https://github.com/onnx/onnx numbers the fields.
    """
    node = _field(1, b"vectors") + _field(1, b"queries") + _field(2, b"products") + _field(4, b"MatMul")
    graph = _field(1, node) + _field(2, b"product")
    for number, name in ((11, b"vectors"), (11, b"queries"), (12, b"products")):
        matrix = _field(1, _field(1, 1) + _field(2, 2 * _field(1, b"")))  # float32, of any two sides
        graph += _field(number, _field(1, name) + _field(2, matrix))
    return _field(1, 7) + _field(7, graph) + _field(8, _field(2, 13))


def _field(number: int, value: bytes | int) -> bytes:
    """Write a field of a protocol buffer: a number, or bytes, below 128 of them."""
    if isinstance(value, int):
        return bytes((number << 3, value))
    return bytes((number << 3 | 2, len(value))) + value
