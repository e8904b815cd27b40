"""Description in bf16 against float32: images per second of the network alone, as a ratio.

    python benchmarks/bench_precision.py [--device cpu] [--rounds 5] [--models default timm:resnet50]
        [--photos FOLDER]

Both precisions describe the same 16 images of 384 × 288 px in turn. CPUs without AVX512-BF16 or AMX are
slower in bf16. Weights are random but for the default model's: they change no time. The default model is
measured in float32 as it runs, on ONNX Runtime, and on torch too, whose kernels bf16 is computed with. With
--photos, how far the descriptors of the first 64 photos of a folder move from float32 to bf16.
"""

import argparse
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from meisho.arrays import UInt8Array
from meisho.describing import Describer
from meisho.extractors.base import GlobalExtractor, load_extractor
from meisho.extractors.timm_gem import load_torch
from meisho.extractors.timm_models import DEFAULT_BACKBONE, IMAGENET_OPTIONS
from meisho.photo_folder import find_photos

MODELS = ("default", "timm:resnet34", "timm:resnet50", "timm:resnet101")
PRECISIONS = ("float32", "bf16")
ON_TORCH = "default, float32 on torch"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--photos", type=Path, help="a folder: compare the descriptors of its photos")
    arguments = parser.parse_args()
    images = np.random.default_rng(0).integers(0, 256, (16, 288, 384, 3), dtype=np.uint8)
    models = [(m, m) for m in arguments.models]
    if "default" in arguments.models:
        models.append((ON_TORCH, "default"))
    for title, model in models:
        extractors = load_both(title, model, arguments.device)
        rates = measure_rates(extractors, images, arguments.rounds)
        exact, rounded = (statistics.median(column) for column in zip(*rates, strict=True))
        ratios = [after / before for before, after in rates]
        print(
            f"{title}: float32 {exact:.1f}, bf16 {rounded:.1f} images/s, "
            f"{statistics.median(ratios):.2f} times as fast ({min(ratios):.2f} to {max(ratios):.2f})",
            flush=True,
        )
        if arguments.photos:
            print_cosines(extractors, arguments.photos)


def load_both(title: str, model: str, device: str) -> list[GlobalExtractor]:
    """Load a model in both precisions."""
    if title == ON_TORCH:
        return [
            load_torch(DEFAULT_BACKBONE, device=device, precision=p, **IMAGENET_OPTIONS) for p in PRECISIONS
        ]
    weights = {} if model == "default" else {"weights": "none:0"}
    return [load_extractor(model, device=device, precision=p, **weights) for p in PRECISIONS]


def print_cosines(extractors: list[GlobalExtractor], folder: Path) -> None:
    """Print the cosine between the two descriptors of each photo."""
    photos = find_photos(folder).photos[:64]
    exact, rounded = (Describer(extractor).describe(photos).vectors for extractor in extractors)
    cosines = (exact * rounded).sum(axis=1)
    print(f"  {len(photos)} photos: cosine {np.median(cosines):.5f}, least {cosines.min():.5f}", flush=True)


def measure_rates(
    extractors: Sequence[GlobalExtractor], images: UInt8Array, rounds: int
) -> list[list[float]]:
    """Return how many images per second each describes, round by round."""
    for extractor in extractors:
        extractor.extract(images)  # the first call compiles kernels
    rates = []
    for _ in range(rounds):
        seconds = []
        for extractor in extractors:
            started = time.perf_counter()
            extractor.extract(images)
            seconds.append(time.perf_counter() - started)
        rates.append([len(images) / s for s in seconds])
    return rates


if __name__ == "__main__":
    main()
