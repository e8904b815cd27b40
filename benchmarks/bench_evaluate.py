"""Time and memory of scoring.

Run: python benchmarks/bench_evaluate.py [--ground-truths FOLDER] [--large 1000000]

1. Both revisited benchmarks at full length (70 × 4,993 and 70 × 6,322): Easy, Medium, Hard, mAP and mP@1, 5,
   10. FOLDER holds gnd_roxford5k.pkl and gnd_rparis6k.pkl; without it, such are drawn.
2. 70 queries × 1,000,000 database photos: time, and memory above that of the ranking itself.

Ends with 1 where the whole reports of both benchmarks take longer than the target, 0.5 s.
"""

import argparse
import time
import tracemalloc
from pathlib import Path

import numpy as np

from meisho.datasets.revisitop import load_ground_truth
from meisho.descriptors import Provenance
from meisho.evaluate.protocols import evaluate_ranking
from meisho.evaluate.random_baseline import random_ranking
from meisho.evaluate.revisitop import score_revisitop
from meisho.ground_truth import GradedGroundTruth
from meisho.ranking import Ranking

NUM_QUERIES = 70
SIZES = {
    "roxford5k": (4_993, (43, 36, 19)),
    "rparis6k": (6_322, (98, 148, 102)),
}  # N; easy, hard, junk per query
MB = 1e6
TARGET_SECONDS = 0.5


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ground-truths", type=Path)
    parser.add_argument("--large", type=int, default=1_000_000)
    options = parser.parse_args()
    seconds = bench_benchmarks(options.ground_truths)
    bench_large(options.large)
    if seconds > TARGET_SECONDS:
        raise SystemExit(1)


def bench_benchmarks(folder: Path | None) -> float:
    """Print the times of both benchmarks; return the seconds of their whole reports."""
    cases = [load_case(name, folder) for name in SIZES]
    scoring = best_of(5, lambda: [score_revisitop(ranking, truth) for ranking, truth in cases])
    reports = best_of(5, lambda: [report_of(ranking, truth) for ranking, truth in cases])
    print(f"both benchmarks, ground truths {'drawn' if folder is None else 'real'}")
    print(f"  scoring (E, M, H: mAP, mP@1, 5, 10)        {scoring * 1e3:7.1f} ms")
    print(f"  whole reports (+ bootstrap, warnings)      {reports * 1e3:7.1f} ms, target {TARGET_SECONDS} s")
    return reports


def bench_large(num_database: int) -> None:
    rng = np.random.default_rng(0)
    ranks = np.empty((NUM_QUERIES, num_database), np.int64)
    for row in ranks:
        row[:] = rng.permutation(num_database)
    scores = np.tile(-np.arange(num_database, dtype=np.float32), (NUM_QUERIES, 1))
    ranking = Ranking(ids("q", NUM_QUERIES), ids("d", num_database), ranks, scores)
    truth = drawn_truth(rng, num_database, SIZES["rparis6k"][1])
    print(
        f"{NUM_QUERIES} × {num_database:,}; the ranking itself {(ranks.nbytes + scores.nbytes) / MB:.0f} MB"
    )
    for name, work in {"scoring": score_revisitop, "whole report": report_of}.items():
        seconds = best_of(2, lambda work=work: work(ranking, truth))
        tracemalloc.start()
        work(ranking, truth)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        print(f"  {name:<14} {seconds:6.2f} s, {peak / MB:6.1f} MB more ({peak / ranks[0].nbytes:.1f} lists)")


def load_case(name: str, folder: Path | None) -> tuple[Ranking, GradedGroundTruth]:
    num_database, sizes = SIZES[name]
    if folder is None:
        truth = drawn_truth(np.random.default_rng(0), num_database, sizes)
        return random_ranking(ids("q", NUM_QUERIES), ids("d", num_database), name), truth
    loaded = load_ground_truth(folder / f"gnd_{name}.pkl")
    return random_ranking(loaded.query_ids, loaded.database_ids, name), loaded.ground_truth


def drawn_truth(
    rng: np.random.Generator, num_database: int, sizes: tuple[int, int, int]
) -> GradedGroundTruth:
    ends = np.cumsum(sizes)
    labelled = [rng.choice(num_database, ends[-1], replace=False) for _ in range(NUM_QUERIES)]
    easy, hard, junk = zip(*(np.split(rows, ends[:-1]) for rows in labelled), strict=True)
    return GradedGroundTruth(easy, hard, junk)


def report_of(ranking: Ranking, truth: GradedGroundTruth) -> object:
    return evaluate_ranking(
        ranking,
        truth,
        protocol="revisitop",
        dataset="benchmark",
        queries_cropped=True,
        provenance=Provenance("random"),
    )


def ids(prefix: str, count: int) -> tuple[str, ...]:
    return tuple(f"{prefix}{number}" for number in range(count))


def best_of(repeats: int, work) -> float:  # noqa: ANN001 - any callable without arguments
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


if __name__ == "__main__":
    main()
