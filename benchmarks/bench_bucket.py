"""What a collection in an object store costs beside one on the disk.

    python benchmarks/bench_bucket.py PHOTOS QUERY [--work FOLDER] [--rounds 5]

PHOTOS is a folder of photos, such as the database of a toy city, QUERY one to ask with. The store is that of
AWS_ENDPOINT_URL, in the bucket "bench"; where that is not set, SeaweedFS is started on loopback for the run.
Both collections hold the same descriptors: the photos are described once, before. In turns, disk and store:

- index: the collection is made from descriptors that are there, in batches of 64; commits, tidying, index.
- nothing to do: the same command once more.
- cold: a new process opens the collection and asks; in the store also with an empty cache, as elsewhere.
- warm: a `Finder` that is open follows the writer, and asks.
- upload: a service takes ten photos, one after the other, and acknowledges each.
- from the store: the photos themselves are read from it, hashed and decoded, against the disk.

Prints the median of the rounds, wall seconds.
"""

import argparse
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import numpy as np

from meisho.arrays import Float32Array, UInt8Array
from meisho.buckets import BucketPath, as_place, remove_tree
from meisho.describing import Describer
from meisho.descriptors import Descriptors
from meisho.extractors.base import load_extractor
from meisho.images import ImageOptions, load_image
from meisho.photo_folder import find_photos
from meisho.photos import content_sha256
from meisho.run.finding import Finder
from meisho.run.indexing import index_folder
from meisho.service.gate import Gate
from meisho.service.uploads import Uploads
from meisho.store.places import place_of

TESTS = Path(__file__).parent.parent / "tests"
_COLD = """
import sys, time
start = time.perf_counter()
from meisho.run.finding import Finder
from meisho.extractors.base import load_extractor
finder = Finder.open(sys.argv[1])
opened = time.perf_counter()
found = finder.find(sys.argv[2])
print(opened - start, time.perf_counter() - opened, found[0][0].id, f"{found[0][0].score:.6f}")
"""


class Known:
    """An extractor that gives descriptors that are known already, in the order of the photos."""

    def __init__(self, before: Describer, descriptors: Descriptors) -> None:
        self.dim, self.provenance = before.dim, before.provenance
        self.image_options = ImageOptions(max_side_px=32)
        self._vectors, self._next = descriptors.vectors, 0

    def extract(self, images: UInt8Array) -> Float32Array:
        rows = np.arange(self._next, self._next + len(images))
        self._next += len(images)
        return np.asarray(self._vectors[rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("query", type=Path)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.work) as folder, some_store(Path(folder)):
        os.environ["MEISHO_CACHE"] = f"{folder}/cache"
        BucketPath("bench", "made").write_bytes(b"")
        measure(arguments.photos, arguments.query, Path(folder), arguments.rounds)


@contextmanager
def some_store(folder: Path) -> Iterator[None]:
    """Find the store that is named, or start one."""
    if os.environ.get("AWS_ENDPOINT_URL"):
        yield
        return
    sys.path.insert(0, str(TESTS))
    from object_stores import find_weed, seaweed

    with seaweed(find_weed(), folder / "store") as variables:
        os.environ.update(variables)
        yield


def measure(photos: Path, query: Path, folder: Path, rounds: int) -> None:
    real = Describer(load_extractor("default"))
    listed = find_photos(photos).photos
    known = real.describe(listed)
    print(f"{len(listed)} photos, {real.dim} dimensions, {rounds} rounds")
    costs: dict[str, list[float]] = {}
    answers = set()
    name = secrets.token_hex(4)
    for number in range(rounds):
        for where, place in (("disk", folder / f"c{number}"), ("store", f"s3://bench/{name}/c{number}")):
            describer = Describer(Known(real, known), batch_size=64, num_workers=0)
            note(costs, f"index, {where}", lambda d=describer, p=place: index_folder(photos, p, d))
            note(costs, f"nothing to do, {where}", lambda d=describer, p=place: index_folder(photos, p, d))
            if where == "store":
                shutil.rmtree(place_of(place).cache)
                answers.add(note_cold(costs, f"cold, {where}, empty cache", place, query))
            answers.add(note_cold(costs, f"cold, {where}", place, query))
            finder = Finder.open(place)
            note(costs, f"follow a writer that did nothing, {where}", lambda f=finder: f.follow())
            note(costs, f"ask, {where}", lambda f=finder: f.find(query))
            answers.add((found := finder.find(query)[0][0]).id + f" {found.score:.6f}")
            uploads = Uploads(finder, Gate(finder.path))
            note(costs, f"upload 10 photos, {where}", lambda u=uploads: upload(u, query))
    print(f"first answers: {answers}")
    copy_photos(photos, f"s3://bench/{name}/photos")
    for _ in range(rounds):
        for where, root in (("disk", photos), ("store", as_place(f"s3://bench/{name}/photos"))):
            note(costs, f"list photos, {where}", lambda r=root: find_photos(r))
            some = find_photos(root).photos[:200]
            note(costs, f"hash 200 photos, {where}", lambda s=some: [content_sha256(p.path) for p in s])
            options = real.extractor.image_options
            note(
                costs, f"decode 200 photos, {where}", lambda s=some, o=options: [load_image(p, o) for p in s]
            )
    for what, seconds in costs.items():
        print(f"{what:48} {median(seconds):8.3f} s   ({min(seconds):.3f} to {max(seconds):.3f})")
    remove_tree(as_place(f"s3://bench/{name}"))


def upload(uploads: Uploads, query: Path) -> None:
    """Put a photo into a collection ten times, its bytes a little different each time."""
    for number in range(10):
        uploads.put(f"{number}.jpg", query.read_bytes() + bytes([number]))


def note(costs: dict[str, list[float]], what: str, step: Callable[[], object]) -> None:
    start = time.perf_counter()
    step()
    costs.setdefault(what, []).append(time.perf_counter() - start)


def note_cold(costs: dict[str, list[float]], what: str, place: str | Path, query: Path) -> str:
    """Ask in a new process; returns its first answer."""
    words = [sys.executable, "-c", _COLD, str(place), str(query)]
    opened, asked, photo, score = subprocess.check_output(words, text=True).split()
    costs.setdefault(f"{what}: open", []).append(float(opened))
    costs.setdefault(f"{what}: ask", []).append(float(asked))
    return f"{photo} {score}"


def copy_photos(photos: Path, place: str) -> None:
    for photo in find_photos(photos).photos:
        (as_place(place) / photo.id).write_bytes(photo.path.read_bytes())  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
