"""Matching and verification of stored local features: meisho against the chapter's way, in one run.

The chapter's way, written plainly: for each feature of the database photo the nearest of the query from a
k-d tree, if it is at most 0.8 away, then a fundamental matrix by DEGENSAC (4 px, confidence 0.99, 2,000
iterations); what DEGENSAC cannot take (fewer than 8 matches) has 0 inliers. Both get the same RootSIFT
features.

Speed: 1,000 features of 128 dimensions for each of some drawn photos; the two ways take turns, query by
query, each query with four photos of its landmark and four others. Decisions: the area under the ROC curve of
the number of inliers for pairs of the same and of another landmark, on photos of the split `train` of the
shared data, a few per cent of whose labels are wrong.

    python benchmarks/bench_matching.py [--shared ../shared/data] [--pairs 2000]
"""

import argparse
import itertools
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from meisho.arrays import BoolArray, Float32Array, Float64Array, Int64Array
from meisho.extractors.local_base import load_local_extractor
from meisho.extractors.sift import Sift
from meisho.geometry.matching import match_many
from meisho.local_describing import LocalDescriber
from meisho.local_features import LocalFeatures
from meisho.photos import Photo
from meisho.rerank.geometric import verify_photos
from meisho.toycity import build_toycity, landmark_labels, load_toycity
from shared_sets import read_records

NUM_FEATURES = 1000
TARGET = 15.0

Pair = tuple[int, int]
FindInliers = Callable[[Float32Array, Float32Array], BoolArray]


def main() -> None:
    options = parse_arguments()
    print(f"{os.cpu_count()} processors, numpy {np.__version__}, load {os.getloadavg()[0]:.1f}\n")
    measure_speed(options.rounds)
    if options.shared is not None:
        measure_decisions(options.shared, options.pairs)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=8, help="queries that are timed")
    parser.add_argument(
        "--shared", type=Path, help="folder of the shared data; without it speed alone is measured"
    )
    parser.add_argument("--pairs", type=int, default=2000, help="half of the same, half of other landmarks")
    return parser.parse_args()


# ---- the two ways: a query's features x those of B photos -> (B,) inliers


def find_by_degensac(query: Float32Array, database: Float32Array) -> BoolArray:
    """Return which of the (M, 2) points agree on a fundamental matrix."""
    import pydegensac  # not everywhere that `gpu.py` measures

    inliers: BoolArray = pydegensac.findFundamentalMatrix(query, database, 4.0, 0.99, 2000, seed=0)[1]
    return inliers


def find_by_opencv(query: Float32Array, database: Float32Array) -> BoolArray:
    """The same by OpenCV's plain RANSAC, which is far quicker and finds fewer."""
    inliers = cv2.findFundamentalMat(query, database, cv2.FM_RANSAC, 4.0, 0.99, 2000)[1]
    return np.zeros(len(query), bool) if inliers is None else inliers.ravel().astype(bool)


def verify_by_chapter(
    query: LocalFeatures, database: Sequence[LocalFeatures], find: FindInliers = find_by_degensac
) -> list[int]:
    return [verify_pair_by_chapter(query, features, find) for features in database]


def verify_pair_by_chapter(query: LocalFeatures, database: LocalFeatures, find: FindInliers) -> int:
    from scipy.spatial import cKDTree

    tree = cKDTree(query.descriptors)
    _, nearest = tree.query(database.descriptors, distance_upper_bound=0.8)
    found = np.flatnonzero(nearest < len(query))
    if len(found) < 8:
        return 0
    return int(find(query.keypoints[nearest[found]], database.keypoints[found]).sum())


def verify_by_meisho(query: LocalFeatures, database: Sequence[LocalFeatures]) -> list[int]:
    return [pair.num_inliers for pair in verify_photos(query, database)]


# ---- speed


def measure_speed(rounds: int) -> None:
    features, landmarks = draw_features()
    rows = np.concatenate([choose_rows(landmarks, query) for query in range(rounds)]).reshape(rounds, -1)
    seconds = np.array([time_query(features, query, rows[query]) for query in range(rounds)])
    per_pair = 1000 * seconds / rows.shape[1]  # (rounds, 3) ms
    chapter, ours, matching = np.median(per_pair, axis=0)
    ratios = per_pair[:, 0] / per_pair[:, 1]
    print("| way | ms per pair | chapter / this |\n|---|---:|---:|")
    print(f"| chapter | {chapter:.1f} | 1 |\n| meisho | {ours:.2f} | {np.median(ratios):.1f} |")
    print(f"\nmatching alone {matching:.2f} ms; medians over {rounds} queries x {rows.shape[1]} photos;")
    print(f"least ratio {ratios.min():.1f}, greatest {ratios.max():.1f}; target {TARGET:.0f}\n")


def draw_features() -> tuple[list[LocalFeatures], Int64Array]:
    """Return the features of drawn photos and the landmark of each."""
    sift = Sift(max_keypoints=NUM_FEATURES, max_side_px=1024, contrast_threshold=0.005)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name) / "city"
        build_toycity(root, landmarks=8, views=6, distractors=1)
        features = [LocalDescriber(sift).describe(photo) for photo in load_toycity(root).database]
        landmarks = landmark_labels(root, "database")
    full = [row for row, f in enumerate(features) if len(f) == NUM_FEATURES and landmarks[row] >= 0]
    return [features[row] for row in full], landmarks[full]


def choose_rows(landmarks: Int64Array, query: int) -> Int64Array:
    """Four photos of the query's landmark and as many of others."""
    same = np.flatnonzero((landmarks == landmarks[query]) & (np.arange(len(landmarks)) != query))
    others = np.flatnonzero(landmarks != landmarks[query])
    return np.concatenate([same[:4], others[:: len(others) // 4][:4]])


def time_query(features: list[LocalFeatures], query: int, rows: Int64Array) -> tuple[float, float, float]:
    """Seconds of the chapter's way, of ours, and of our matching, for one query against some photos."""
    database = [features[row] for row in rows]
    descriptors = [f.descriptors for f in database]
    ways = (
        lambda: verify_by_chapter(features[query], database),
        lambda: verify_by_meisho(features[query], database),
        lambda: match_many(features[query].descriptors, descriptors),
    )
    seconds = []
    for way in ways:
        start = time.perf_counter()
        way()
        seconds.append(time.perf_counter() - start)
    return seconds[0], seconds[1], seconds[2]


# ---- decisions


def measure_decisions(shared: Path, num_pairs: int) -> None:
    features, landmarks = load_train_features(shared)
    same, other = choose_pairs(landmarks, num_pairs // 2, np.random.default_rng(0))
    print(f"{len(same)} pairs of the same landmark and {len(other)} of others, {len(features)} photos\n")
    print("| way | area under ROC | same beyond 99 % of others | seconds |\n|---|---:|---:|---:|")
    for name, way in {"chapter": verify_by_chapter, "meisho": verify_by_meisho}.items():
        start = time.perf_counter()
        positive, negative = (
            np.array([way(features[a], [features[b]])[0] for a, b in pairs]) for pairs in (same, other)
        )
        found = np.mean(positive > np.quantile(negative, 0.99))
        seconds = time.perf_counter() - start
        print(f"| {name} | {area_under_roc(positive, negative):.4f} | {100 * found:.1f} % | {seconds:.0f} |")


def load_train_features(shared: Path) -> tuple[list[LocalFeatures], list[str]]:
    """Return the features of the readable photos of the split `train`, and their landmarks."""
    records = [record for record in read_records(shared) if record["split"] == "train"]
    photos = [Photo(record["file"], shared / "photos" / record["file"]) for record in records]
    stream = LocalDescriber(load_local_extractor("sift", max_keypoints=NUM_FEATURES)).stream(photos)
    found = [(f, record["landmark"]) for record, (_, f) in zip(records, stream, strict=True)]
    usable = [(f, landmark) for f, landmark in found if isinstance(f, LocalFeatures)]
    return [f for f, _ in usable], [landmark for _, landmark in usable]


def choose_pairs(landmarks: list[str], count: int, rng: np.random.Generator) -> tuple[list[Pair], list[Pair]]:
    """Choose `count` pairs of photos of the same landmark and as many of two landmarks."""
    pairs = list(itertools.combinations(range(len(landmarks)), 2))
    same = [(a, b) for a, b in pairs if landmarks[a] == landmarks[b]]
    other = [(a, b) for a, b in pairs if landmarks[a] != landmarks[b]]
    chosen = [[group[i] for i in rng.choice(len(group), count, replace=False)] for group in (same, other)]
    return chosen[0], chosen[1]


def area_under_roc(positive: Int64Array, negative: Int64Array) -> float:
    """Probability that a positive has more inliers than a negative; equal numbers count half."""
    difference: Float64Array = np.sign(positive[:, None] - negative[None, :])
    return float((difference.mean() + 1) / 2)


if __name__ == "__main__":
    main()
