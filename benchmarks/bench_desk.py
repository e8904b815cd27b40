"""What it costs to ask among some photos only, and to put photos into a collection one by one.

    python benchmarks/bench_desk.py DEMO [--photos 20000]

DEMO is the folder that `meisho demo` made; its photos are put into a copy of its collection. Prints ratios of
times that were taken in turns:

- among: a search among a share of 20,000 random descriptors in groups, against one among all of them; by the
  exact index and by HNSW.
- together: putting 32 photos by 8 threads, which are committed together, against one after the other.
"""

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image

from meisho.datasets.base import load_dataset
from meisho.index.among import AmongIndex
from meisho.index.live import LiveIndex
from meisho.run.finding import Finder
from meisho.service.gate import Gate
from meisho.service.uploads import Uploads

DIM = 1280
QUERIES = 50
SHARES = (0.5, 0.1, 0.01)
PUT = 32
THREADS = 8
ROUNDS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("demo", type=Path)
    parser.add_argument("--photos", type=int, default=20_000)
    arguments = parser.parse_args()
    measure_among(arguments.photos)
    measure_together(arguments.demo)


def measure_among(number: int) -> None:
    rng = np.random.default_rng(0)
    centers = rng.standard_normal((number // 10, DIM)).astype(np.float32)
    vectors = centers[rng.integers(0, len(centers), number)]
    vectors += 0.7 * rng.standard_normal(vectors.shape, np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    queries, keys = vectors[rng.integers(0, number, QUERIES)], np.arange(number, dtype=np.uint64)
    for kind in ("exact", "hnsw"):
        index = LiveIndex.build(kind, vectors, keys, 1).follow(vectors, keys, 1)
        for share in SHARES:
            rows = np.flatnonzero(rng.random(number) < share)
            among = AmongIndex(index, vectors.__getitem__, rows, number)
            ratios = []
            for _ in range(ROUNDS):
                plain = seconds(partial(ask_each, index, queries))
                ratios.append(seconds(partial(ask_each, among, queries)) / plain)
            print(
                f"among {share:.0%}, {kind}: {median(ratios):.2f} times "
                f"({min(ratios):.2f} to {max(ratios):.2f})"
            )


def ask_each(index: LiveIndex | AmongIndex, queries: np.ndarray) -> None:
    for query in queries:
        index.search(query[None], 20)


def measure_together(demo: Path) -> None:
    photos = [photo.path for photo in load_dataset("toycity", demo / "toycity").queries[:PUT]]
    ratios = []
    for _ in range(ROUNDS):
        times = []
        for threads in (1, THREADS):
            with tempfile.TemporaryDirectory() as folder:
                shutil.copytree(demo / "collection", Path(folder) / "c")
                finder = Finder.open(Path(folder) / "c")
                uploads = Uploads(finder, Gate(finder.path))
                times.append(seconds(partial(put_all, uploads, photos, threads)))
        ratios.append(times[1] / times[0])
        print(f"  {1000 * times[0] / PUT:.0f} ms for each, together {1000 * times[1] / PUT:.0f} ms")
    print(f"together / one by one: {median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


def put_all(uploads: Uploads, photos: list[Path], threads: int) -> None:
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda path: uploads.put(f"{path.parent.name}/{path.name}", different(path)), photos))


def different(path: Path) -> bytes:
    """Return a photo that the collection does not hold: the query, mirrored."""
    with tempfile.SpooledTemporaryFile() as file, Image.open(path) as image:
        image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(file, "JPEG", quality=90)
        file.seek(0)
        return file.read()


def seconds(step: Callable[[], None]) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
