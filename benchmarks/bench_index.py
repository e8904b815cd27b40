"""Exact and approximate search against the plain matrix product, in one run, as ratios.

Data: 10,000 places of 20 photos, 512 dimensions, unit length. The spread of the places falls with the
square root of the dimension's number, as that of real descriptors does; two photos of a place have a cosine
near 0.6. The queries are other photos of the same places. Recall@10 is the share of the ten best rows of
exact search that are found.

Ends with 1 where, for one query or 70 at once, exact search takes more than 1.3 times the plain product, or
where ivfpq is less than 20 times faster than exact search, or has a recall below 0.98.

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
MOST_OF_PLAIN, LEAST_OF_EXACT, LEAST_RECALL = 1.3, 20.0, 0.98


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
    recalls = {}
    for kind in options.index or ["ivfpq"]:
        index = build(kind, database)
        recalls[kind] = measure_recall(index.search(queries, TOP)[0], best)
        print(f"recall@{TOP} {recalls[kind]:.4f}")
        searches[kind] = lambda q, index=index: index.search(q, TOP)
    missed = [
        f"{kind}: recall {r:.4f}, target {LEAST_RECALL}" for kind, r in recalls.items() if r < LEAST_RECALL
    ]
    for size in (1, options.batch):
        seconds = measure(searches, queries, size, options.rounds)
        print_table(size, seconds)
        missed += missed_speeds(size, seconds)
    print("\n" + ("\n".join(missed) or "every target is met"))
    if missed:
        raise SystemExit(1)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--index", action="append", help="approximate kinds; ivfpq when none is given")
    parser.add_argument("--batch", type=int, default=BATCH, help="queries at once")
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


def missed_speeds(size: int, seconds: dict[str, float]) -> list[str]:
    """Say which targets the times of `size` queries do not reach."""
    missed = []
    if (ratio := seconds["exact"] / seconds["plain product"]) > MOST_OF_PLAIN:
        missed.append(f"{size} queries: exact takes {ratio:.2f} of the plain product, target {MOST_OF_PLAIN}")
    if "ivfpq" in seconds and (ratio := seconds["exact"] / seconds["ivfpq"]) < LEAST_OF_EXACT:
        missed.append(f"{size} queries: ivfpq is {ratio:.1f} times as fast as exact, target {LEAST_OF_EXACT}")
    return missed


def print_table(size: int, seconds: dict[str, float]) -> None:
    print(f"\n| {size} queries | ms | / plain product | exact / this |\n|---|---|---|---|")
    for name, value in seconds.items():
        ratios = f"{value / seconds['plain product']:.2f} | {seconds['exact'] / value:.1f}"
        print(f"| {name} | {1000 * value:.2f} | {ratios} |")


if __name__ == "__main__":
    main()
