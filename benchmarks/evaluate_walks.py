"""Which photos of walks round a building are verified: neighbouring views must be, other scenes must not.

Split `sfm_dense` of the shared data. Neighbours: photos of one walk whose numbers in the file names differ by
at most 2. The folders `castle` and `herz_jesus` hold two walks each, whose numbers overlap; they were told
apart by eye (`SECOND_WALK`). Other scenes: all pairs of photos of two sites, or a random part; `castle`,
`entry_p10` and `fountain_p11` are one site, for they show parts of one building.

A pair is verified from `meisho.certainty.LEAST_INLIERS` on. `--choose COUNT` shows where these numbers come
from: inliers of COUNT random pairs of two landmarks of the split `train`, and the least number that at most
one pair in 1,000 reaches.

    python benchmarks/evaluate_walks.py ../shared/data --local xfeat --matcher mutual [--choose 2000]

Ends with 1 where fewer than 95 % of the neighbours or more than 1 % of the others are verified.
"""

import argparse
import itertools
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from meisho.arrays import Int64Array
from meisho.certainty import LEAST_INLIERS
from meisho.extractors.local_base import LOCAL_EXTRACTORS, load_local_extractor
from meisho.geometry.base import MATCHERS, LocalMatcher, load_matcher
from meisho.geometry.ransac import RansacOptions
from meisho.local_describing import LocalDescriber
from meisho.local_features import LocalFeatures
from meisho.photos import Photo
from meisho.rerank.geometric import RETRIEVAL_RANSAC, verify_matches
from shared_sets import Record, read_records

SITE = {"entry_p10": "castle", "fountain_p11": "castle"}
SECOND_WALK = frozenset(
    {
        *("d88afa91", "9d999909", "988bd7a0", "175fdf6d", "809a572d"),
        *("35e819ae", "fde96618", "ea05c1c3", "765bac6f", "595ffeb0"),
        *("299c8600", "397d7c42", "42d3e53a", "b5e5a8b9", "fd165b89"),
    }
)
"""Ends of the names of the photos of castle and herz_jesus that are of the shorter walk."""

RANSACS = {
    "retrieval": RETRIEVAL_RANSAC,
    "homography": RansacOptions(),
    "fundamental": RansacOptions("fundamental"),
}
"""As `search --verify` verifies, and as `match` does with its models."""

LEAST_NEIGHBORS, MOST_OTHERS, MOST_FALSE = 0.95, 0.01, 0.001
Pair = tuple[int, int]


def main() -> None:
    options = parse_arguments()
    matcher = load_matcher(options.matcher)
    if options.choose:
        show_choice(options, matcher)
    records = [r for r in read_records(options.shared) if r["split"] == "sfm_dense"]
    features = extract(options.shared, records, options.local)
    pairs = {"neighbours": find_neighbors(records), "other scenes": find_others(records, options.others)}
    print("| RANSAC | pairs | number | verified | least, 5 %, median, 95 %, most inliers |")
    print("|---|---|---:|---:|---|")
    shares = {}
    for kind, rows in pairs.items():
        for name, counts in count_inliers(features, rows, matcher).items():
            shares[name, kind] = np.mean(counts >= LEAST_INLIERS[RANSACS[name].model])
            spread = ", ".join(f"{n:.0f}" for n in np.percentile(counts, [0, 5, 50, 95, 100]))
            print(f"| {name} | {kind} | {len(counts)} | {100 * shares[name, kind]:.2f} % | {spread} |")
    missed = shares["retrieval", "neighbours"] < LEAST_NEIGHBORS
    if missed or shares["retrieval", "other scenes"] > MOST_OTHERS:
        raise SystemExit(1)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("shared", type=Path, help="folder of the shared data")
    parser.add_argument("--local", default="xfeat", choices=LOCAL_EXTRACTORS)
    parser.add_argument("--matcher", default="mutual", choices=MATCHERS)
    parser.add_argument("--others", type=int, help="random pairs of two sites; all when not given")
    parser.add_argument("--choose", type=int, default=0, help="pairs of two landmarks of `train`")
    return parser.parse_args()


def show_choice(options: argparse.Namespace, matcher: LocalMatcher) -> None:
    """Print, for each way to verify, the least number of inliers that pairs of two landmarks rarely reach."""
    records = [r for r in read_records(options.shared) if r["split"] == "train"]
    features = extract(options.shared, records, options.local)
    rng = np.random.default_rng(0)
    drawn = (tuple(map(int, rng.integers(0, len(records), 2))) for _ in itertools.count())
    other = ((a, b) for a, b in drawn if records[a]["landmark"] != records[b]["landmark"])
    pairs = list(itertools.islice(other, options.choose))
    for name, found in count_inliers(features, pairs, matcher).items():
        counts = np.sort(found)[::-1]
        least = counts[int(MOST_FALSE * len(counts))] + 1
        print(
            f"train, {len(pairs)} pairs of two landmarks, {name}: {least} inliers; most {counts[:5].tolist()}"
        )
    print()


def extract(shared: Path, records: Sequence[Record], name: str) -> list[LocalFeatures]:
    extractor = load_local_extractor(name)
    return [
        LocalDescriber(extractor).describe(Photo(r["file"], shared / "photos" / r["file"])) for r in records
    ]


def find_neighbors(records: Sequence[Record]) -> list[Pair]:
    walks: dict[tuple[str, bool], list[tuple[int, int]]] = defaultdict(list)
    for row, record in enumerate(records):
        number, _, end = Path(record["file"]).stem.rpartition("_")  # 100_7101_75d1503c
        walk = record["landmark"], end in SECOND_WALK
        walks[walk].append((int(number.rpartition("_")[2]), row))
    pairs = []
    for walk in walks.values():
        for (number, row), (next_number, next_row) in itertools.pairwise(sorted(walk)):
            if next_number - number <= 2:
                pairs.append((row, next_row))
    return pairs


def find_others(records: Sequence[Record], count: int | None) -> list[Pair]:
    sites = [SITE.get(record["landmark"], record["landmark"]) for record in records]
    pairs = [(a, b) for a, b in itertools.combinations(range(len(sites)), 2) if sites[a] != sites[b]]
    if count is None or count >= len(pairs):
        return pairs
    return [pairs[i] for i in np.random.default_rng(0).choice(len(pairs), count, replace=False)]


def count_inliers(
    features: Sequence[LocalFeatures], pairs: Sequence[Pair], matcher: LocalMatcher
) -> dict[str, Int64Array]:
    """Return, for each way to verify, the inliers (P,) of each pair."""
    counts = {name: np.zeros(len(pairs), np.int64) for name in RANSACS}
    for place, (a, b) in enumerate(pairs):
        matches = matcher.match(features[a], [features[b]])[0]
        for name, ransac in RANSACS.items():
            counts[name][place] = verify_matches(features[a], features[b], matches, ransac).num_inliers
    return counts


if __name__ == "__main__":
    main()
