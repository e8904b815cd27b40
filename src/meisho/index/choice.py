"""The choice between exact and approximate search: by a measurement on this machine."""

import time
from importlib.util import find_spec

from meisho.arrays import Float32Array
from meisho.index.exact import ExactIndex
from meisho.stored_vectors import Vectors

_SAMPLE_ROWS = 50_000
_REPEATS = 5


def choose_index(vectors: Vectors, *, limit_seconds: float = 0.05) -> str:
    """Choose "exact" while it answers one query over (N, D) vectors within `limit_seconds`, else "ivfpq".

    Exact is also chosen where FAISS is not installed.
    """
    if find_spec("faiss") is None or measure_exact_search(vectors) < limit_seconds:
        return "exact"
    return "ivfpq"


def measure_exact_search(vectors: Vectors) -> float:
    """Measure the seconds that one exact query for 10 rows takes over (N, D) vectors.

    The least of five, so that what else the machine does just now does not count; over the first 50,000 rows,
    scaled to all of them.
    """
    sample = vectors[:_SAMPLE_ROWS]
    if len(sample) == 0:
        return 0.0
    index = ExactIndex.build(sample)
    seconds = min(_time_search(index, sample[:1]) for _ in range(_REPEATS))
    return seconds * len(vectors) / len(sample)


def _time_search(index: ExactIndex, query: Float32Array) -> float:
    start = time.perf_counter()
    index.search(query, 10)
    return time.perf_counter() - start
