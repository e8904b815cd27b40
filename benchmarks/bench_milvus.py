"""A Milvus beside the search of this machine, in one run: milliseconds per query, and what is found.

Data: places of 20 photos, 1,280 dimensions, unit length, as in bench_index.py: two photos of a place have a
cosine near 0.6, and the queries are other photos of the same places. Recall@10 is the share of the ten best
rows of exact search that are found. A query is asked alone and in batches of 64; the median of the repeats
counts.

Without --uri it is a file of Milvus Lite. Start a server first, for example `milvus-server --data
/tmp/milvus` (pip install milvus==2.3.5), and wait until it answers; a name that ends in .db is a file of
Milvus Lite.

With --toycity it scores a drawn city instead, from whole rankings and from such as are cut at 100 and 50,
which show what an approximate index misses.

Examples:

    python benchmarks/bench_milvus.py --uri http://127.0.0.1:19530 --index FLAT --index HNSW
    python benchmarks/bench_milvus.py --uri http://127.0.0.1:19530 --toycity demo/toycity
"""

import argparse
import platform
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from meisho.arrays import Float32Array, Int64Array
from meisho.datasets.base import load_dataset
from meisho.describing import Describer
from meisho.descriptors import normalize_rows
from meisho.engines.base import Engine, PhotoVectors, open_engine
from meisho.evaluate import evaluate_ranking
from meisho.extractors.base import load_extractor
from meisho.index.base import Searcher
from meisho.index.exact import ExactIndex
from meisho.ranking import Ranking

PHOTOS_PER_PLACE = 20
BATCH, TOP = 64, 10


def main() -> None:
    options = parse_arguments()
    if options.toycity:
        score_toycity(options.toycity, options.uri, options.index)
        return
    print(f"{platform.processor() or platform.machine()}; {options.rows:,} x {options.dim}")
    vectors, queries = make_vectors(options.rows, options.dim, options.queries)
    keys = np.random.default_rng(1).permutation(np.arange(options.rows, dtype=np.uint64))
    photos = PhotoVectors(vectors, keys, 1)
    expected, _ = ExactIndex.build(vectors).search(queries, TOP)
    print(f"{'engine':24} {'fill s':>8} {'1 query ms':>11} {'of 64 ms':>9} {'recall@10':>10}")
    show("exact", ExactIndex.build(vectors), queries, expected, 0.0)
    for kind in options.local:
        measure(open_engine("local"), photos, queries, expected, kind)
    for kind in options.index:
        for consistency in options.consistency:
            place = f"milvus:{options.uri}?index={kind}&timeout=120&consistency={consistency}"
            measure(open_engine(place), photos, queries, expected, None, options.folder)


def measure(
    engine: Engine,
    photos: PhotoVectors,
    queries: Float32Array,
    expected: Int64Array,
    kind: str | None,
    folder: Path | None = None,
) -> None:
    """Fill an engine, ask it, and print a line; a folder is gone on with."""
    with tempfile.TemporaryDirectory() as temporary:
        place = folder or Path(temporary)
        start = time.perf_counter()
        live = engine.refresh(place, photos, kind)
        seconds = time.perf_counter() - start
        index = live.follow(photos.vectors, photos.keys, photos.version)
        level = getattr(live, "table", None) and live.table.place.consistency
        show(f"{live.kind} {level or 'local'}", index, queries, expected, seconds)
        if folder is None:
            engine.forget(place)


def show(name: str, index: Searcher, queries: Float32Array, expected: Int64Array, seconds: float) -> None:
    """Print what an index takes and finds."""
    index.search(queries[:1], TOP)  # the first makes sure that Milvus holds all
    one, many, found = [], [], []
    for query in queries[:BATCH]:
        start = time.perf_counter()
        index.search(query[None], TOP)
        one.append(time.perf_counter() - start)
    for first in range(0, len(queries), BATCH):
        start = time.perf_counter()
        rows, _ = index.search(queries[first : first + BATCH], TOP)
        many.append((time.perf_counter() - start) / len(rows))
        found += [len({*a} & {*b}) / TOP for a, b in zip(rows, expected[first : first + BATCH], strict=True)]
    print(
        f"{name:24.24} {seconds:8.1f} {1000 * statistics.median(one):11.1f} "
        f"{1000 * statistics.median(many):9.2f} {np.mean(found):10.3f}",
        flush=True,
    )


def make_vectors(num_rows: int, dim: int, num_queries: int) -> tuple[Float32Array, Float32Array]:
    """Return vectors (N, D) and queries (Q, D) of the same places."""
    rng = np.random.default_rng(0)
    places = -(-num_rows // PHOTOS_PER_PLACE)
    centres = rng.standard_normal((places, dim), np.float32)
    spread = np.float32(0.8)
    vectors = np.repeat(centres, PHOTOS_PER_PLACE, axis=0)[:num_rows]
    vectors += spread * rng.standard_normal(vectors.shape, np.float32)
    chosen = rng.choice(places, num_queries)
    queries = centres[chosen] + spread * rng.standard_normal((num_queries, dim), np.float32)
    return normalize_rows(vectors), normalize_rows(queries)


def score_toycity(root: Path, uri: str, kinds: list[str]) -> None:
    """Print revisitop mAP of exact search here, and of each kind of index there."""
    dataset, describer = load_dataset("toycity", root), Describer(load_extractor())
    queries, database = describer.describe(dataset.queries), describer.describe(dataset.database)
    photos = PhotoVectors(database.vectors, np.arange(len(database), dtype=np.uint64), 1)

    def show_figures(name: str, index: Searcher) -> None:
        for top in (len(database), 100, 50):
            ranking = Ranking(queries.ids, database.ids, *index.search(queries.vectors, top))
            report = evaluate_ranking(ranking, dataset.ground_truth, protocol="revisitop")
            scores = [100 * each.value for each in report.figures if each.metric == "revisitop_map"]
            print(f"{name:8} {top:4} " + " / ".join(f"{score:.2f}" for score in scores), flush=True)

    show_figures("exact", ExactIndex.build(database.vectors))
    for kind in kinds:
        engine = open_engine(f"milvus:{uri}?index={kind}&timeout=120")
        with tempfile.TemporaryDirectory() as folder:
            live = engine.refresh(Path(folder), photos)
            show_figures(kind, live.follow(photos.vectors, photos.keys, photos.version))
            engine.forget(Path(folder))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--uri", help="a server, or a file NAME.db; default: a file for a while")
    parser.add_argument("--rows", type=int, help="default: 100,000 on a server, 20,000 in a file")
    parser.add_argument("--dim", type=int, default=1280)
    parser.add_argument("--queries", type=int, default=256)
    parser.add_argument("--index", action="append", help="kinds of Milvus; default: FLAT, IVF_SQ8, HNSW")
    parser.add_argument("--local", action="append", help="kinds of this machine; default: ivfpq")
    parser.add_argument("--consistency", action="append", help="default: Strong, Bounded")
    parser.add_argument("--folder", type=Path, help="keeps what Milvus was filled with, for another run")
    parser.add_argument("--toycity", type=Path, help="the folder of a drawn city: score it instead")
    options = parser.parse_args()
    if options.uri is None:
        options.uri = f"{tempfile.mkdtemp()}/bench.db"
    options.rows = options.rows or (20_000 if options.uri.endswith(".db") else 100_000)
    options.index = options.index or ["FLAT", "IVF_SQ8", "HNSW"]
    options.local = ["ivfpq"] if options.local is None else options.local
    options.consistency = options.consistency or ["Strong", "Bounded"]
    return options


if __name__ == "__main__":
    main()
