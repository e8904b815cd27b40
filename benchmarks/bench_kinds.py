"""What a photo of each kind of place costs, beside one of a building.

    python benchmarks/bench_kinds.py [--landmarks 6] [--views 6]

Processor time of one process in one run: drawing the site, shared by 13.5 photos as in the default city (12
views and one and a half queries), and taking a photo. Then what faults and renderings add to a photo.
"""

import argparse
import time
from collections.abc import Callable

import cv2
import numpy as np

from meisho.toycity.faults import FAULTS
from meisho.toycity.kinds import KINDS, draw_place
from meisho.toycity.photo import take_photo
from meisho.toycity.plots import Plot
from meisho.toycity.renderings import RENDERINGS
from meisho.toycity.site import VIEW, stream

PHOTOS_OF_A_SITE = 13.5


def time_kind(kind: str, landmarks: int, views: int) -> tuple[float, float]:
    """Return seconds for a site and for a photo."""
    sites, photos = 0.0, 0.0
    for number in range(landmarks):
        start = time.process_time()
        site = draw_place(Plot(0, kind, number, False))
        drawn = time.process_time()
        for view in range(views):
            take_photo(stream(0, VIEW, number, view), site, fair=False)
        sites, photos = sites + drawn - start, photos + time.process_time() - drawn
    return sites / landmarks, photos / landmarks / views


def time_change(change: Callable[[np.random.Generator, np.ndarray], np.ndarray], photo: np.ndarray) -> float:
    """Return seconds for one change of a photo."""
    start = time.process_time()
    for seed in range(8):
        change(np.random.default_rng(seed), photo)
    return (time.process_time() - start) / 8


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--landmarks", type=int, default=6)
    parser.add_argument("--views", type=int, default=6)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    time_kind("building", 1, 1)  # imports
    base = 0.0
    print("| kind | site, ms | photo, ms | both per photo, ms | times a building's |")
    print("|---|---:|---:|---:|---:|")
    for kind in KINDS:
        site, photo = time_kind(kind, arguments.landmarks, arguments.views)
        whole = site / PHOTOS_OF_A_SITE + photo
        base = base or whole
        print(
            f"| {kind} | {site * 1e3:.0f} | {photo * 1e3:.0f} | {whole * 1e3:.0f} | {whole / base:.2f} |",
            flush=True,
        )
    shot = take_photo(stream(0, VIEW, 0), draw_place(Plot(0, "building", 0, False)), fair=True).pixels
    print(f"\nA photo of {shot.shape[1]} x {shot.shape[0]} px with one of these more:\n")
    for name, change in {**FAULTS, **RENDERINGS}.items():
        print(f"{name}: {time_change(change, shot) * 1e3:.1f} ms")


if __name__ == "__main__":
    main()
