"""Local features by each extractor and matcher: time per photo and pair, matches and inliers.

Photos of the split `train` of the shared data, two of each landmark (a few per cent of the labels are wrong).
Pairs: the two photos of each landmark, and each first photo with the second one of the next two landmarks.
Wall seconds are the median; CPU seconds count all threads and depend less on what else the machine does.

    python benchmarks/bench_local_features.py ../shared/data [--max-side-px 640] [--extractors sift xfeat]
"""

import argparse
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from meisho.extractors.learned_matching import LighterGlue, LightGlue
from meisho.extractors.local_base import load_local_extractor
from meisho.geometry.base import LocalMatcher
from meisho.geometry.matching import MutualMatcher
from meisho.geometry.ransac import verify
from meisho.images import load_sized_image
from meisho.local_describing import place_in_photo
from meisho.local_features import LocalFeatures
from meisho.photos import Photo
from shared_sets import read_records

MATCHERS: dict[str, tuple[Callable[[], LocalMatcher], ...]] = {
    "sift": (MutualMatcher,),
    "xfeat": (MutualMatcher, LighterGlue),
    "aliked": (MutualMatcher, LightGlue),
}


@dataclass(frozen=True)
class Timing:
    """Seconds of one call: by the clock, and of all processors together."""

    wall: float
    cpu: float


def main() -> None:
    options = parse_arguments()
    pairs_of_landmarks = choose_photos(options.shared)[: options.landmarks]
    print(
        f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}, {len(pairs_of_landmarks)} landmarks\n"
    )
    print("| extractor | keypoints | s per photo (CPU s) |", end="")
    print(" matcher | ms per pair (CPU ms) | matches same / other | inliers same / other | AUC |")
    print("|---|---|---|---|---|---|---|---|")
    for name in options.extractors:
        measure_extractor(name, options.max_side_px, pairs_of_landmarks)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("shared", type=Path, help="folder of the shared data")
    parser.add_argument("--landmarks", type=int, default=21, help="the first of them by name")
    parser.add_argument("--max-side-px", type=int, default=640)
    parser.add_argument("--extractors", nargs="+", choices=MATCHERS, default=list(MATCHERS))
    return parser.parse_args()


def choose_photos(shared: Path) -> list[tuple[Photo, Photo]]:
    """Return two photos of each landmark of `train`: those at a third and at two thirds of its list."""
    files: dict[str, list[str]] = {}
    for record in read_records(shared):
        if record["split"] == "train":
            files.setdefault(record["landmark"], []).append(record["file"])
    chosen = []
    for landmark in sorted(files):
        names = sorted(files[landmark])
        two = names[len(names) // 3], names[2 * len(names) // 3]
        chosen.append(tuple(Photo(name, shared / "photos" / name) for name in two))
    return chosen


def measure_extractor(name: str, max_side_px: int, photos: Sequence[tuple[Photo, Photo]]) -> None:
    """Print one line for each matcher of an extractor."""
    extractor = load_local_extractor(name, max_side_px=max_side_px)
    timings: list[Timing] = []
    features: list[list[LocalFeatures]] = []
    for pair in photos:
        images = [load_sized_image(photo, extractor.image_options) for photo in pair]
        found = [timed(lambda image=image: extractor.extract(image.pixels)) for image in images]
        timings += [timing for timing, _ in found]
        features.append([place_in_photo(f, image) for (_, f), image in zip(found, images, strict=True)])
    keypoints = np.median([len(f) for pair in features for f in pair])
    cost = show_cost(timings[2:], 1)
    for matcher in MATCHERS[name]:
        print(f"| {name} | {keypoints:.0f} | {cost} | {measure_matcher(matcher(), features)} |", flush=True)


def measure_matcher(matcher: LocalMatcher, features: Sequence[Sequence[LocalFeatures]]) -> str:
    """Match and verify the pairs; returns the cells of a Markdown table."""
    count = len(features)
    same = [(features[i][0], features[i][1]) for i in range(count)]
    other = [(features[i][0], features[(i + step) % count][1]) for step in (1, 2) for i in range(count)]
    timings, matches, inliers = [], [], []
    for query, database in [same[0], *same, *other]:
        timing, found = timed(lambda q=query, d=database: matcher.match(q, [d]))
        timings.append(timing)
        matches.append(len(found[0]))
        rows = found[0].rows
        here, there = query.keypoints[rows[:, 0]], database.keypoints[rows[:, 1]]
        inliers.append(verify(here, there, database_size_px=database.size_px).num_inliers)
    matches, inliers = matches[1:], inliers[1:]
    return (
        f"{type(matcher).__name__} | {show_cost(timings[1:], 1000)} | "
        f"{np.median(matches[:count]):.0f} / {np.median(matches[count:]):.0f} | "
        f"{np.median(inliers[:count]):.0f} / {np.median(inliers[count:]):.0f} | "
        f"{area_under_roc(inliers[:count], inliers[count:]):.3f}"
    )


def timed(work: Callable[[], Any]) -> tuple[Timing, Any]:
    """Do some work; returns what it took and what it gave."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    return Timing(time.perf_counter() - wall, time.process_time() - cpu), result


def show_cost(timings: Sequence[Timing], factor: float) -> str:
    wall, cpu = (factor * np.median([getattr(t, kind) for t in timings]) for kind in ("wall", "cpu"))
    return f"{wall:.3g} ({cpu:.3g})"


def area_under_roc(positives: Sequence[int], negatives: Sequence[int]) -> float:
    """Share of (same, other) pairs of pairs in the right order; ties count half."""
    a, b = np.array(positives)[:, None], np.array(negatives)[None]
    return float(((a > b) + 0.5 * (a == b)).mean())


if __name__ == "__main__":
    main()
