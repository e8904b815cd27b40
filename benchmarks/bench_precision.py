"""Description in bf16 against float32: images per second of the network alone, as a ratio.

    python benchmarks/bench_precision.py [--device cpu] [--rounds 5] [--models default timm:resnet50]

Both precisions describe the same 16 images of 384 × 288 px in turn. CPUs without AVX512-BF16 or AMX are
slower in bf16. Weights are random but for the default model's: they change no time.
"""

import argparse
import statistics
import time
from collections.abc import Sequence

import numpy as np

from meisho.arrays import UInt8Array
from meisho.extractors.base import GlobalExtractor, load_extractor

MODELS = ("default", "timm:resnet34", "timm:resnet50", "timm:resnet101")
PRECISIONS = ("float32", "bf16")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--models", nargs="+", default=MODELS)
    arguments = parser.parse_args()
    images = np.random.default_rng(0).integers(0, 256, (16, 288, 384, 3), dtype=np.uint8)
    for model in arguments.models:
        weights = {} if model == "default" else {"weights": "none:0"}
        extractors = [
            load_extractor(model, device=arguments.device, precision=p, **weights) for p in PRECISIONS
        ]
        rates = measure_rates(extractors, images, arguments.rounds)
        exact, rounded = (statistics.median(column) for column in zip(*rates, strict=True))
        ratios = [after / before for before, after in rates]
        print(
            f"{model}: float32 {exact:.1f}, bf16 {rounded:.1f} images/s, "
            f"{statistics.median(ratios):.2f} times as fast ({min(ratios):.2f} to {max(ratios):.2f})",
            flush=True,
        )


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
