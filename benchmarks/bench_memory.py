"""Peak memory: of one photo of each format, and of `meisho index` at 1,000 and 4,000 photos.

    python benchmarks/bench_memory.py [1000 4000]

The first table is what decoding and resizing a photo of 6,000 × 4,000 px takes beside the process itself,
bytes for each of its pixels, and what `meisho.images` reckons with (Linux only); the second shows no growth
beyond the descriptors.
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


FORMATS = {
    "JPEG": ("RGB", "a.jpg", {}),
    "JPEG, progressive": ("RGB", "a.jpg", {"progressive": True}),
    "JPEG, turned": ("RGB", "a.jpg", {"turn": 6}),
    "JPEG, CMYK": ("CMYK", "a.jpg", {}),
    "PNG": ("RGB", "a.png", {}),
    "PNG, turned": ("RGB", "a.png", {"turn": 6}),
    "PNG, alpha": ("RGBA", "a.png", {}),
    "PNG, palette": ("P", "a.png", {}),
    "PNG, 16-bit grey": ("I;16", "a.png", {}),
    "TIFF, LZW": ("RGB", "a.tif", {"compression": "tiff_lzw"}),
    "WebP": ("RGB", "a.webp", {}),
    "BMP": ("RGB", "a.bmp", {}),
    "GIF": ("P", "a.gif", {}),
    "JPEG 2000": ("RGB", "a.jp2", {}),
    "AVIF": ("RGB", "a.avif", {"speed": 10}),
}
WIDTH, HEIGHT = 6000, 4000
ASK = """
import sys
from pathlib import Path
from meisho.images import ImageOptions, load_sized_image
from meisho.photos import Photo

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])

reckoned = []
load_sized_image(Photo("s", Path(sys.argv[2])), ImageOptions(384))
before = peak()
photo = Photo("a", Path(sys.argv[1]))
load_sized_image(photo, ImageOptions(384), admit=lambda _, cost: reckoned.append(cost))
print(peak() - before, *reckoned)
"""


def show_formats(folder: Path) -> None:
    """Print what decoding takes, format by format."""
    row = np.arange(WIDTH, dtype=np.uint32) * 255 // WIDTH
    column = np.arange(HEIGHT, dtype=np.uint32)[:, None] * 255 // HEIGHT
    grey = ((row + column) // 2).astype(np.uint8)
    for name, (mode, file, options) in FORMATS.items():
        deep = Image.fromarray(grey.astype(np.uint16) * 257)
        picture = deep if mode == "I;16" else Image.merge("RGB", [Image.fromarray(grey)] * 3).convert(mode)
        small = folder / f"small{Path(file).suffix}"
        picture.resize((60, 40)).save(small)
        options = dict(options)
        if turn := options.pop("turn", 0):
            exif = Image.Exif()
            exif[0x0112] = turn
            options["exif"] = exif
        picture.save(folder / file, **options)
        command = [sys.executable, "-c", ASK, str(folder / file), str(small)]
        taken, reckoned = map(int, subprocess.check_output(command).split())
        pixels = WIDTH * HEIGHT
        print(
            f"{name:18} {taken / pixels:5.1f} bytes per pixel; reckoned with {reckoned / pixels:5.1f}",
            flush=True,
        )


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        show_formats(Path(scratch))
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
