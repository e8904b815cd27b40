"""Which pairs of photos with known geometry are solved: EVD and WxBS, per extractor of local features.

EVD [Mishkin et al. 2015]: 15 pairs of extreme viewpoint, each with a homography. A pair is solved when the
estimated homography maps true correspondences (a grid on photo 1 whose images lie in photo 2) with a median
error below 10 px of photo 2. WxBS [Mishkin et al. 2015]: 34 pairs of scenes that are no planes, with
hand-marked correspondences. A pair is solved when their median distance from the epipolar lines of the
estimated fundamental matrix, the mean of both photos, is below 10 px. A line is met by chance more often than
a point: hence the columns for 5 and 2.5 px.

    python benchmarks/evaluate_pairs.py ../shared/data [--local sift --local xfeat ...] [--method magsac]
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from meisho.arrays import Float64Array
from meisho.extractors.local_base import LOCAL_EXTRACTORS, LocalExtractor, load_local_extractor
from meisho.geometry.base import LocalMatcher, load_matcher
from meisho.geometry.matching import MutualMatcher
from meisho.geometry.ransac import RansacOptions, Verification
from meisho.local_describing import LocalDescriber
from meisho.photos import Photo
from meisho.rerank.geometric import verify_photos

SOLVED_PX = (10.0, 5.0, 2.5)
GRID_STEP_PX = 16
LEARNED = {"aliked": "lightglue", "xfeat": "lighterglue"}
"""Extractor -> the learned matcher that goes with it."""


@dataclass(frozen=True, eq=False)
class TruePair:
    """Two photos and P true correspondences (P, 4): x, y in the first, x, y in the second."""

    name: str
    first: Path
    second: Path
    correspondences: Float64Array


def main() -> None:
    options = parse_arguments()
    sets = {"EVD": load_evd(options.shared), "WxBS": load_wxbs(options.shared)}
    print(
        "| features | matcher | set (pairs) | solved at 10 px | 5 px | 2.5 px | median inliers | s per pair |"
    )
    print("|---|---|---|---:|---:|---:|---:|---:|")
    for name in options.local or LOCAL_EXTRACTORS:
        size = {} if options.max_side_px is None else {"max_side_px": options.max_side_px}
        extractor = load_local_extractor(name, **size)
        for set_name, pairs in sets.items():
            measure(name, extractor, set_name, pairs, options)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("shared", type=Path, help="folder of the shared data")
    parser.add_argument("--local", action="append", choices=LOCAL_EXTRACTORS, help="all when none is given")
    parser.add_argument("--max-side-px", type=int, help="working size; each extractor's own when not given")
    parser.add_argument("--ratio", type=float, default=0.9, help="Lowe's, of the second matcher")
    parser.add_argument("--method", default="magsac")
    parser.add_argument("--threshold-px", type=float, default=4.0)
    parser.add_argument("--iterations", type=int, default=5000)
    return parser.parse_args()


def matchers(extractor_name: str, ratio: float) -> dict[str, LocalMatcher]:
    found: dict[str, LocalMatcher] = {
        "mutual": MutualMatcher(ratio=None),
        f"mutual, ratio {ratio}": MutualMatcher(ratio=ratio),
    }
    if extractor_name in LEARNED:
        found[LEARNED[extractor_name]] = load_matcher(LEARNED[extractor_name])
    return found


# ---- the pairs


def load_evd(shared: Path) -> list[TruePair]:
    root = shared / "pairs" / "EVD"
    return [read_evd_pair(root, path.stem) for path in sorted((root / "h").glob("*.txt"))]


def read_evd_pair(root: Path, name: str) -> TruePair:
    first, second = root / "1" / f"{name}.jpg", root / "2" / f"{name}.jpg"
    H_first_to_second = np.loadtxt(root / "h" / f"{name}.txt")
    (width, height), (other_width, other_height) = size_of(first), size_of(second)
    x, y = np.meshgrid(np.arange(0, width, GRID_STEP_PX), np.arange(0, height, GRID_STEP_PX))
    points = np.column_stack([x.ravel(), y.ravel()]).astype(np.float64)
    there = project(H_first_to_second, points)
    inside = ((there >= 0) & (there < [other_width, other_height])).all(axis=1)
    return TruePair(name, first, second, np.hstack([points, there])[inside])


def load_wxbs(shared: Path) -> list[TruePair]:
    paths = sorted((shared / "pairs" / "WxBS").glob("*/*/corrs.txt"))
    pairs = [
        TruePair(path.parent.name, path.with_name("01.jpg"), path.with_name("02.jpg"), np.loadtxt(path))
        for path in paths
    ]
    missing = [pair.name for pair in pairs if not (pair.first.is_file() and pair.second.is_file())]
    print(f"WxBS: without a photo, left out: {missing}\n")
    return [pair for pair in pairs if pair.name not in missing]


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


# ---- errors


def project(H: Float64Array, points: Float64Array) -> Float64Array:
    mapped = np.column_stack([points, np.ones(len(points))]) @ H.T
    with np.errstate(divide="ignore", invalid="ignore"):
        there: Float64Array = mapped[:, :2] / mapped[:, 2:]
    return there


def homography_error_px(found: Verification, pair: TruePair) -> float:
    if found.query_to_database is None:
        return np.inf
    there = project(found.query_to_database, pair.correspondences[:, :2])
    return float(np.median(np.linalg.norm(there - pair.correspondences[:, 2:], axis=1)))


def epipolar_error_px(found: Verification, pair: TruePair) -> float:
    if found.query_to_database is None:
        return np.inf
    first, second = (
        np.column_stack([points, np.ones(len(points))])
        for points in (pair.correspondences[:, :2], pair.correspondences[:, 2:])
    )
    lines, back = first @ found.query_to_database.T, second @ found.query_to_database
    residual = np.abs((second * lines).sum(axis=1))
    distances = [residual / np.linalg.norm(line[:, :2], axis=1) for line in (lines, back)]
    return float(np.median((distances[0] + distances[1]) / 2))


ERRORS: dict[str, tuple[str, Callable[[Verification, TruePair], float]]] = {
    "EVD": ("homography", homography_error_px),
    "WxBS": ("fundamental", epipolar_error_px),
}
"""Set -> model, error of it."""


def measure(
    name: str, extractor: LocalExtractor, set_name: str, pairs: list[TruePair], options: argparse.Namespace
) -> None:
    """Print a row for each matcher."""
    start = time.perf_counter()
    features = [
        [LocalDescriber(extractor).describe(Photo(pair.name, path)) for path in (pair.first, pair.second)]
        for pair in pairs
    ]
    extraction = time.perf_counter() - start
    model, error_px = ERRORS[set_name]
    ransac = RansacOptions(
        model,
        options.method,
        reproj_threshold_px=options.threshold_px,
        max_iterations=options.iterations,
        plausible_only=False,  # these pairs are meant to be extreme
    )
    for matcher_name, matcher in matchers(name, options.ratio).items():
        start = time.perf_counter()
        found = [
            verify_photos(first, [second], matcher=matcher, ransac=ransac)[0].verification
            for first, second in features
        ]
        seconds = (extraction + time.perf_counter() - start) / len(pairs)
        errors = np.array([error_px(*each) for each in zip(found, pairs, strict=True)])
        solved = [f"{100 * np.mean(errors < limit):.1f} %" for limit in SOLVED_PX]
        inliers = np.median([verification.num_inliers for verification in found])
        cells = (
            name,
            matcher_name,
            f"{set_name} ({len(pairs)})",
            *solved,
            f"{inliers:.0f}",
            f"{seconds:.2f}",
        )
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
