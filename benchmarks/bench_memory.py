"""Peak memory of `meisho index` at 1,000 and 4,000 photos: no growth beyond the descriptors themselves.

python benchmarks/bench_memory.py [1000 4000]
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

SIZE_PX = 128
DIM = 1280


def write_photos(folder: Path, first: int, last: int) -> None:
    """Write distinct JPEG photos of 640 × 480 smooth noise."""
    for number in range(first, last):
        rng = np.random.default_rng(number)
        small = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
        Image.fromarray(small).resize((640, 480), Image.Resampling.BICUBIC).save(folder / f"{number:06}.jpg")


def peak_mebibytes(photos: str, collection: str) -> float:
    """Return the peak resident memory of the indexing process, MiB."""
    command = [
        sys.executable,
        "-m",
        "meisho.cli",
        "index",
        photos,
        "--to",
        collection,
        "--size",
        str(SIZE_PX),
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"meisho index failed with status {status}")
    return usage.ru_maxrss / 1024


def main() -> None:
    counts = [int(c) for c in sys.argv[1:]] or [1000, 4000]
    peaks = []
    with tempfile.TemporaryDirectory() as scratch:
        photos = Path(scratch) / "photos"
        photos.mkdir()
        for done, count in zip([0, *counts], counts, strict=False):
            write_photos(photos, done, count)
            peaks.append(peak_mebibytes(str(photos), str(Path(scratch) / f"{count}.meisho")))
            print(f"{count:>7} photos: peak {peaks[-1]:7.0f} MiB")
    descriptors = (counts[-1] - counts[0]) * DIM * 4 / 2**20
    print(f"growth {peaks[-1] - peaks[0]:+.0f} MiB; the added descriptors are {descriptors:.0f} MiB")


if __name__ == "__main__":
    main()
