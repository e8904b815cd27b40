"""What a photo costs by models of several sizes, on one core of this machine.

    export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
    taskset -c 0 python benchmarks/bench_sizes.py [--models default drawn small]

The models take turns at one photo of a drawn city, enlarged to a JPEG of 1,600 px. Prints for each the ms of
a processor (medians) for describing alone, and with decoding; and the first as a share of the first model's.
"""

import argparse
import io
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from PIL import Image

from meisho.datasets.base import load_dataset
from meisho.extractors.base import load_extractor
from meisho.images import as_photos, load_sized_image
from meisho.toycity.build import build_toycity

SIDE_PX = 1600


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["default", "drawn", "small"])
    parser.add_argument("--rounds", type=int, default=40)
    arguments = parser.parse_args()
    (photo,) = as_photos(draw_photo())
    extractors = {name: load_extractor(name, device="cpu") for name in arguments.models}
    describing: dict[str, list[float]] = {name: [] for name in extractors}
    together: dict[str, list[float]] = {name: [] for name in extractors}
    for turn in range(arguments.rounds + 1):
        for name, extractor in extractors.items():
            begun = time.process_time()
            image = load_sized_image(photo, extractor.image_options)
            decoded = time.process_time()
            extractor.extract(image.pixels[None])
            ended = time.process_time()
            if turn:  # the first loads the network
                describing[name].append(1000 * (ended - decoded))
                together[name].append(1000 * (ended - begun))
    first = median(describing[arguments.models[0]])
    print("| model | px | describing, ms | with decoding, ms | share |\n|---|---:|---:|---:|---:|")
    for name, extractor in extractors.items():
        alone, both = median(describing[name]), median(together[name])
        side_px = extractor.image_options.max_side_px
        print(f"| {name} | {side_px} | {alone:.1f} | {both:.1f} | {alone / first:.2f} |")


def draw_photo() -> bytes:
    """Return a photo of a drawn city as a JPEG of 1,600 px."""
    with TemporaryDirectory() as folder:
        build_toycity(Path(folder, "city"), landmarks=1, views=2, distractors=0)
        query = load_dataset("toycity", Path(folder, "city")).queries[0]
        picture = Image.open(query.path).convert("RGB")
    scale = SIDE_PX / max(picture.size)
    data = io.BytesIO()
    picture.resize((round(picture.width * scale), round(picture.height * scale))).save(
        data, "JPEG", quality=88
    )
    return data.getvalue()


if __name__ == "__main__":
    main()
