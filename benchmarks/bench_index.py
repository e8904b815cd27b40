"""Exact and approximate search against the plain matrix product, in one run, as ratios.

Data: 10,000 places of 20 photos, 512 dimensions, unit length. The spread of the places falls with the
square root of the dimension's number, as that of real descriptors does; two photos of a place have a cosine
near 0.6. The queries are other photos of the same places. Recall@10 is the share of the ten best rows of
exact search that are found.

Example: python benchmarks/bench_index.py --index ivfpq --index hnsw
"""

import argparse
import functools
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import faiss
import numpy as np

from meisho.arrays import Float32Array, Int64Array
from meisho.descriptors import normalize_rows
from meisho.index.choice import choose_index
from meisho.index.exact import ExactIndex
from meisho.index.following import FollowingIndex
from meisho.index.live import KeyArray, LiveIndex

PHOTOS_PER_PLACE = 20
NUM_QUERIES = 280
BATCH = 70
TOP = 10


def main() -> None:
    options = parse_arguments()
    database, queries = make_clusters(options.rows, options.dim, np.random.default_rng(0))
    print(f"{platform.processor() or platform.machine()}, numpy {np.__version__}, faiss {faiss.__version__}")
    print(f"{len(database):,} x {database.shape[1]} vectors; auto chooses {choose_index(database)}\n")
    searches: dict[str, Callable[[Float32Array], object]] = {"plain product": lambda q: q @ database.T}
    exact = ExactIndex.build(database)
    searches["exact"] = lambda q: exact.search(q, TOP)
    flat = faiss.IndexFlatIP(database.shape[1])
    flat.add(database)
    searches["FAISS flat"] = lambda q: flat.search(q, TOP)
    best = exact.search(queries, TOP)[0]
    for kind in options.index or ["ivfpq"]:
        index = build(kind, database)
        print(f"recall@{TOP} {measure_recall(index.search(queries, TOP)[0], best):.4f}")
        searches[kind] = lambda q, index=index: index.search(q, TOP)
    for size in (1, BATCH):
        print_table(size, measure(searches, queries, size, options.rounds))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--index", action="append", help="approximate kinds; ivfpq when none is given")
    parser.add_argument("--rounds", type=int, default=20)
    return parser.parse_args()


def make_clusters(
    num_rows: int, dim: int, generator: np.random.Generator
) -> tuple[Float32Array, Float32Array]:
    """Return (num_rows, dim) database vectors and (NUM_QUERIES, dim) queries."""
    num_places = num_rows // PHOTOS_PER_PLACE
    spread = (1 + np.arange(dim, dtype=np.float32)) ** -0.5
    centres = normalize_rows(generator.standard_normal((num_places, dim), dtype=np.float32) * spread)
    places = generator.permutation(np.repeat(np.arange(num_places), PHOTOS_PER_PLACE))
    asked = generator.choice(num_places, NUM_QUERIES, replace=False)
    vectors = centres[np.concatenate([places, asked])]
    noise = generator.standard_normal(vectors.shape, dtype=np.float32)
    vectors = normalize_rows(vectors + noise * np.float32(0.8 / np.sqrt(dim)))
    return vectors[: len(places)], vectors[len(places) :]


def build(kind: str, database: Float32Array) -> FollowingIndex:
    keys = np.arange(len(database), dtype=np.uint64)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        building = timed(lambda: LiveIndex.build(kind, database, keys, 1).save(folder))
        size_mb = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
        loading = timed(lambda: load(folder, database, keys))
        print(f"{kind}: built and saved in {building:.1f} s, {size_mb:.1f} MB, loaded in {loading:.2f} s")
        return load(folder, database, keys)


def load(folder: Path, database: Float32Array, keys: KeyArray) -> FollowingIndex:
    live = LiveIndex.load(folder)
    if live is None:
        raise SystemExit(f"{folder}: the index just saved cannot be loaded")
    return live.follow(database, keys, 1)


def measure(
    searches: dict[str, Callable[[Float32Array], object]], queries: Float32Array, size: int, rounds: int
) -> dict[str, float]:
    """Return the least seconds of each search for `size` queries; they take turns under the same load."""
    seconds: dict[str, list[float]] = {name: [] for name in searches}
    for turn in range(rounds):
        first = (turn * size) % (len(queries) - size)
        batch = queries[first : first + size]
        for name, search in searches.items():
            search(
                queries[-1:]
            )  # another query, after which the caches hold this search's data, not the last's
            seconds[name].append(timed(functools.partial(search, batch)))
    return {name: min(times) for name, times in seconds.items()}


def timed(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def measure_recall(found: Int64Array, best: Int64Array) -> float:
    return float(np.mean([len(np.intersect1d(f, b)) / len(b) for f, b in zip(found, best, strict=True)]))


def print_table(size: int, seconds: dict[str, float]) -> None:
    print(f"\n| {size} queries | ms | / plain product | exact / this |\n|---|---|---|---|")
    for name, value in seconds.items():
        ratios = f"{value / seconds['plain product']:.2f} | {seconds['exact'] / value:.1f}"
        print(f"| {name} | {1000 * value:.2f} | {ratios} |")


if __name__ == "__main__":
    main()
