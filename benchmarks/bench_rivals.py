"""Approximate search as people do it elsewhere, on the same vectors: ms, recall, bytes, time to build.

    pip install hnswlib usearch
    python benchmarks/bench_rivals.py [--rows 100000] [--dim 1280] [--only ivfpq --only "usearch f16"]

Data and queries as in `bench_million.py`. Each library as its own documentation shows it, and one step up
where its recall is low; one query at a time, one thread. Building may use all threads. Bytes are those of
the structure alone: where it does not hold the vectors, those are beside it in a file (2 bytes per number).
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import faiss
import numpy as np

from bench_million import NUM_QUERIES, Photos
from meisho.arrays import Float32Array, Int64Array
from meisho.index.exact import ExactIndex
from meisho.index.faiss_index import HNSWIndex, IVFPQIndex

Search = Callable[[Float32Array, int], Int64Array]
Build = Callable[[Float32Array, Path], tuple[dict[str, Search], int]]
"""Vectors, a folder to save to -> how to search, by what is set for it; bytes."""

TOPS = (10, 100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=1280)
    parser.add_argument("--only", action="append", help="names from the table; all when not given")
    options = parser.parse_args()
    photos = Photos(options.rows, options.dim)
    blocks = [np.arange(a, min(a + 16_384, options.rows)) for a in range(0, options.rows, 16_384)]
    vectors = np.concatenate([photos.make(block) for block in blocks])
    queries = photos.make(np.random.default_rng(7).integers(0, options.rows, NUM_QUERIES), seed=2)
    best = ExactIndex.build(vectors).search(queries, max(TOPS))[0]
    print("| | built, s | bytes per photo | " + " | ".join(f"top {k}: ms | recall" for k in TOPS) + " |")
    print("|---|---:|---:|" + "---:|---:|" * len(TOPS))
    for name, build in RIVALS.items():
        if options.only and name not in options.only:
            continue
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            searches, size = build(vectors, Path(folder))
            built = time.perf_counter() - start
            for setting, search in searches.items():
                cells = [measure(search, queries, best, top) for top in TOPS]
                cells = [f"{built:.0f}", f"{size / len(vectors):,.0f}", *cells]
                print(f"| {name}{setting} | {' | '.join(cells)} |", flush=True)


def measure(search: Search, queries: Float32Array, best: Int64Array, top: int) -> str:
    seconds, recalls = [], []
    for query, ranks in zip(queries, best, strict=True):
        start = time.perf_counter()
        found = search(query[None], top)
        seconds.append(time.perf_counter() - start)
        recalls.append(len(np.intersect1d(found, ranks[:top])) / top)
    return f"{1000 * np.median(seconds):.2f} | {np.mean(recalls):.4f}"


def ours(kind: type[IVFPQIndex] | type[HNSWIndex]) -> Build:
    def build(vectors: Float32Array, folder: Path) -> tuple[dict[str, Search], int]:
        index = kind.build(vectors)
        index.save(folder / "index")
        faiss.omp_set_num_threads(1)
        return {"": lambda query, top: index.search(query, top)[0][0]}, (folder / "index").stat().st_size

    return build


def faiss_plainly(description: str, setting: str, values: Sequence[int]) -> Build:
    """Build what a factory string says, and search with each of the values of a setting."""

    def build(vectors: Float32Array, folder: Path) -> tuple[dict[str, Search], int]:
        faiss.omp_set_num_threads(os.cpu_count() or 1)
        index = faiss.index_factory(vectors.shape[1], description, faiss.METRIC_INNER_PRODUCT)
        index.train(vectors)
        index.add(vectors)
        faiss.omp_set_num_threads(1)

        def search(query: Float32Array, top: int, value: int) -> Int64Array:
            faiss.ParameterSpace().set_index_parameter(index, setting, value)
            found: Int64Array = index.search(query, top)[1][0]
            return found

        searches: dict[str, Search] = {f", {setting} {v}": partial(search, value=v) for v in values}
        return searches, len(faiss.serialize_index(index))

    return build


def hnswlib_plainly(vectors: Float32Array, folder: Path) -> tuple[dict[str, Search], int]:
    import hnswlib

    index = hnswlib.Index("ip", vectors.shape[1])
    index.init_index(len(vectors), ef_construction=200, M=16)
    index.add_items(vectors)
    index.save_index(str(folder / "index"))
    index.set_num_threads(1)

    def search(query: Float32Array, top: int, ef: int) -> Int64Array:
        index.set_ef(ef)
        found: Int64Array = index.knn_query(query, top)[0][0]
        return found

    size = (folder / "index").stat().st_size
    return {f", ef {ef}": partial(search, ef=ef) for ef in (100, 400, 1600)}, size


def usearch_with(dtype: str) -> Build:
    def build(vectors: Float32Array, folder: Path) -> tuple[dict[str, Search], int]:
        from usearch.index import Index

        index = Index(ndim=vectors.shape[1], metric="ip", dtype=dtype)
        index.add(np.arange(len(vectors)), vectors)
        index.save(folder / "index")
        size = (folder / "index").stat().st_size

        def search(query: Float32Array, top: int, ef: int) -> Int64Array:
            index.expansion_search = ef
            return index.search(query[0], top, threads=1).keys.astype(np.int64)

        return {f", ef {ef}": partial(search, ef=ef) for ef in (64, 256, 1024)}, size

    return build


def lancedb_plainly(vectors: Float32Array, folder: Path) -> tuple[dict[str, Search], int]:
    import lancedb
    import pyarrow as pa

    numbers = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
    rows = pa.table({"row": np.arange(len(vectors)), "vector": numbers})
    table = lancedb.connect(folder).create_table("vectors", rows)
    before = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    table.create_index(metric="dot", vector_column_name="vector")
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) - before

    def search(query: Float32Array, top: int, nprobes: int) -> Int64Array:
        asked = table.search(query[0]).distance_type("dot").nprobes(nprobes).refine_factor(5).limit(top)
        found: Int64Array = asked.select(["row"]).to_arrow()["row"].to_numpy()
        return found

    return {f", {n} lists": partial(search, nprobes=n) for n in (40, 160)}, size


RIVALS: dict[str, Build] = {
    "meisho ivfpq": ours(IVFPQIndex),
    "meisho hnsw": ours(HNSWIndex),
    "FAISS IVF1024,PQ64": faiss_plainly("IVF1024,PQ64", "nprobe", (64, 512)),
    "FAISS IVF1024,PQ128": faiss_plainly("IVF1024,PQ128", "nprobe", (64, 512)),
    "FAISS HNSW32": faiss_plainly("HNSW32", "efSearch", (64, 256, 1024)),
    "hnswlib": hnswlib_plainly,
    "usearch f16": usearch_with("f16"),
    "usearch i8": usearch_with("i8"),
    "LanceDB IVF-PQ, refined": lancedb_plainly,
}

if __name__ == "__main__":
    main()
