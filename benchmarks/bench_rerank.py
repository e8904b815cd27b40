"""Reranking a large database: time in ratios of one run, and peak memory.

Data: places of 20 photos, unit length, as in `bench_index.py`. The chapter's loop goes row by row: the dot
products of one photo with all, a full sort, a weighted sum of the first k; it is measured on a sample of
rows, half of them before and half after, and scaled to all of them. Peak memory is that of a process of its
own, Python and numpy included, from which only the making of the vectors is kept out: they are read from a
file.

Ends with 1 where database augmentation is less than 10 times faster than that loop, or its process takes 3
times the vectors or more. Others: `ENTRIES` names what is measured for 70 queries, each in a process of its
own, with the most memory that it may take.

Example: python benchmarks/bench_rerank.py --rows 20000
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from meisho.arrays import Float32Array
from meisho.descriptors import normalize_rows
from meisho.ranking import NO_ROW, Ranking
from meisho.rerank.chain import build_chain, parse_chain
from meisho.rerank.evidence import Evidence
from meisho.rerank.neighbors import rank_by_vectors
from peak_memory import read_peak_bytes

K, ALPHA = 10, 3.0
LEAST_SPEED, MOST_VECTORS = 10.0, 3.0
NUM_QUERIES, DEPTH = 70, 100
ENTRIES: dict[str, float] = {
    "alpha-qe": 4e9,
    "discriminative-qe": 4e9,
    "k-reciprocal": 4e9,
    "diffusion": 4e9,
}
"""Chain -> the most bytes that a process may take to rerank `NUM_QUERIES` queries by it."""


def main() -> None:
    options = parse_arguments()
    if options.measure:
        measure_here(options.measure, options.folder)
        return
    from bench_index import make_clusters  # brings FAISS, which the measured processes are to be without

    database, queries = make_clusters(options.rows, options.dim, np.random.default_rng(0))
    with tempfile.TemporaryDirectory() as name:
        np.save(f"{name}/database.npy", database)
        np.save(f"{name}/queries.npy", queries[:NUM_QUERIES])
        del queries
        print(f"{len(database):,} x {database.shape[1]} vectors, {database.nbytes / 1e6:.0f} MB")
        missed = compare_augmentation(database, name, options.sample)
        del database
        print(f"\n| {NUM_QUERIES} queries | ms per query | peak MB |\n|---|---|---|")
        for chain, most_bytes in ENTRIES.items():
            seconds, peak = measure_apart(chain, name)
            print(f"| {chain} | {1000 * seconds / NUM_QUERIES:.1f} | {peak / 1e6:.0f} |", flush=True)
            if peak > most_bytes:
                missed.append(f"{chain}: {peak / 1e6:.0f} MB, target {most_bytes / 1e6:.0f}")
    print("\n" + ("\n".join(missed) or "every target is met"))
    if missed:
        raise SystemExit(1)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument(
        "--sample", type=int, default=60, help="rows of the chapter's loop, half before, half after"
    )
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    return parser.parse_args()


def compare_augmentation(database: Float32Array, folder: str, sample: int) -> list[str]:
    """Print the times of the chapter's loop and of `dba`; return which targets are missed."""
    rows = np.linspace(0, len(database) - 1, sample, dtype=int)
    first = augment_row_by_row(database, rows[::2])
    seconds, peak = measure_apart(f"dba:k={K}:alpha={ALPHA}", folder)
    slow = (first + augment_row_by_row(database, rows[1::2])) / sample * len(database)
    print(f"the chapter's loop: {slow:.0f} s, from {sample} rows")
    print(f"dba, k = {K}: {seconds:.0f} s, {slow / seconds:.1f} times faster")
    print(
        f"peak of its process {peak / 1e6:.0f} MB, {peak / database.nbytes:.2f} times the vectors", flush=True
    )
    missed = []
    if slow / seconds < LEAST_SPEED:
        missed.append(f"dba is {slow / seconds:.1f} times faster than the loop, target {LEAST_SPEED}")
    if peak >= MOST_VECTORS * database.nbytes:
        missed.append(f"dba takes {peak / database.nbytes:.2f} times the vectors, target {MOST_VECTORS}")
    return missed


def augment_row_by_row(database: Float32Array, rows: np.ndarray) -> float:
    """Return the seconds that the chapter's way takes for some rows."""
    start = time.perf_counter()
    for row in rows:
        similarities = database @ database[row]
        best = np.argsort(-similarities)[: K + 1]
        normalize_rows((similarities[best, None] ** ALPHA * database[best]).sum(axis=0, keepdims=True))
    return time.perf_counter() - start


def measure_apart(chain: str, folder: str) -> tuple[float, float]:
    """Rerank in a process of its own; return its seconds and its peak bytes."""
    command = [sys.executable, __file__, "--measure", chain, "--folder", folder]
    seconds, peak = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return float(seconds), float(peak)


def measure_here(chain: str, folder: str) -> None:
    """Print the seconds and the peak bytes; an augmentation is asked for by no more than one query."""
    database = np.load(Path(folder) / "database.npy")
    queries = np.load(Path(folder) / "queries.npy")[: 1 if chain.startswith("dba:") else None]
    evidence = Evidence(queries, database)
    ranking = rank_by_vectors(make_empty_ranking(len(queries), len(database)), evidence)
    start = time.perf_counter()
    build_chain(parse_chain(chain)).rerank(ranking, evidence)
    print(time.perf_counter() - start, read_peak_bytes())


def make_empty_ranking(num_queries: int, num_photos: int) -> Ranking:
    """Return a ranking of `DEPTH` empty places."""
    ranks = np.full((num_queries, DEPTH), NO_ROW)
    ids = tuple(map(str, range(num_queries))), tuple(map(str, range(num_photos)))
    return Ranking(*ids, ranks, np.full(ranks.shape, -np.inf))


if __name__ == "__main__":
    main()
