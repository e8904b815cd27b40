"""What commits, tidying and an update without changes take as a collection grows.

    python benchmarks/bench_commits.py [10000 100000 1000000] [--dim 16] [--folder FOLDER]

For each number of photos, a collection with generated contents is written: all but the last 70,400 in large
commits, then those as `meisho index` does it, 64 photos per commit, which are the commits that are timed. It
is tidied, one photo in eight is replaced, and it is tidied again. Then each step of an update that finds
nothing changed runs in a process of its own. The walk of the folder is left out: the photos are a list, and
lie in a folder of 1,000 small files that has many names.

Shown: seconds on the clock of the slowest commit and of all but the slowest 1 % (merging included), then
processor seconds of all threads, and the peak memory of the process.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from meisho.arrays import Float32Array, UInt8Array
from meisho.describing import Describer
from meisho.descriptors import Provenance
from meisho.images import ImageOptions
from meisho.photo_folder import PhotoFolder
from meisho.photos import Photo
from meisho.planning import plan_update, size_and_times
from meisho.run.indexing import IndexOptions, index_photos
from meisho.store.collection import Collection
from meisho.store.records import PhotoRecord
from meisho.store.writer import CollectionWriter
from meisho.update import COMMIT_PHOTOS

PROVENANCE = Provenance.from_options("default", {})
FILES = 1000
TIMED_COMMITS = 1100
BULK_PHOTOS = 4096
REPLACED = 8
"""One photo in so many is replaced."""


def make_folder(root: Path, num_photos: int) -> None:
    """Make a folder in which every photo of the list has a file."""
    (root / "files").mkdir(parents=True)
    for number in range(FILES):
        (root / "files" / f"{number:03}.jpg").write_bytes(b"x" * (number + 1))
    for number in range(-(-num_photos // FILES)):
        (root / f"{number:04}").symlink_to("files")


def make_records(root: Path, num_photos: int) -> list[PhotoRecord]:
    """Return records that are in step with the files."""
    states = [size_and_times(root / "files" / f"{number:03}.jpg") for number in range(FILES)]
    records = []
    for number in range(num_photos):
        name, (size, mtime, ctime) = f"{number // FILES:04}/{number % FILES:03}.jpg", states[number % FILES]
        record = PhotoRecord(name, f"{number:064x}", size, mtime, 640, 480, file=name, ctime_ns=ctime)
        records.append(record)
    return records


class Clock:
    """Times of many calls, on the clock and of the processor, s."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.processor: list[float] = []

    @contextmanager
    def __call__(self) -> Iterator[None]:
        began, processor = time.perf_counter(), time.process_time()
        yield
        self.seconds.append(time.perf_counter() - began)
        self.processor.append(time.process_time() - processor)


def write_all(
    writer: CollectionWriter, records: list[PhotoRecord], dim: int, clock: Clock, *, at_once: int
) -> None:
    """Write photos as an update does: descriptors first, then records."""
    rng = np.random.default_rng(len(records))
    for first in range(0, len(records), at_once):
        batch = records[first : first + at_once]
        vectors = rng.standard_normal((len(batch), dim), np.float32)
        with clock():
            writer.add_descriptors([record.content_sha256 for record in batch], vectors)
        with clock():
            writer.put_records(batch)


def build(path: Path, root: Path, num_photos: int, dim: int) -> dict[str, float]:
    """Write the collection, replace some photos, tidy twice."""
    records = make_records(root, num_photos)
    Collection.create(path, photo_root=root, provenance=PROVENANCE, dim=dim)
    bulk, commits, changes, tidying, again = Clock(), Clock(), Clock(), Clock(), Clock()
    with Collection.open(path).writer() as writer:
        first = max(0, num_photos - TIMED_COMMITS * COMMIT_PHOTOS)
        write_all(writer, records[:first], dim, bulk, at_once=BULK_PHOTOS)
        write_all(writer, records[first:], dim, commits, at_once=COMMIT_PHOTOS)
        with tidying():
            writer.tidy()
        new = [replace(r, content_sha256=f"f{r.content_sha256[1:]}") for r in records[::REPLACED]]
        write_all(writer, new, dim, changes, at_once=BULK_PHOTOS)
        with again():
            writer.tidy()
    return {
        "commit, slowest, s": max(commits.seconds),
        "commit, 99 %, s": float(np.quantile(commits.seconds, 0.99)),
        "commit, processor, ms": 1000 * float(np.mean(commits.processor)),
        "commit, slowest processor, s": max(commits.processor),
        "commit of 4096, slowest, s": max(bulk.seconds + changes.seconds),
        "tidy, s": tidying.seconds[0],
        "tidy, processor": tidying.processor[0],
        "tidy with 1/8 replaced, processor": again.processor[0],
        "size, MB": sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) / 1e6,
    }


def measure_open(path: Path, _root: Path, _num_photos: int) -> Callable[[], object]:
    """Open the writer."""

    def work() -> None:
        with Collection.open(path).writer():
            pass

    return work


def measure_records(path: Path, _root: Path, _num_photos: int) -> Callable[[], object]:
    """Read the records."""
    return Collection.open(path).records


def measure_plan(path: Path, root: Path, num_photos: int) -> Callable[[], object]:
    """Plan an update that finds nothing to do."""
    records = make_records(root, num_photos)
    photos = tuple(Photo(r.id, root / r.file) for r in records)
    contents = frozenset(r.content_sha256 for r in records)

    def work() -> None:
        plan = plan_update(records, PhotoFolder(root, photos), known_contents=contents)
        assert plan.unchanged == num_photos
        assert not plan.gone

    return work


def measure_tidy(path: Path, _root: Path, _num_photos: int) -> Callable[[], object]:
    """Open the writer and tidy what is tidy."""

    def work() -> None:
        with Collection.open(path).writer() as writer:
            writer.tidy()

    return work


@dataclass
class NoExtractor:
    """Stands for the model of the collection, as nothing is described."""

    dim: int
    provenance: Provenance = PROVENANCE
    image_options: ImageOptions = field(default_factory=ImageOptions)

    def extract(self, images: UInt8Array) -> Float32Array:
        """Refuse: nothing has changed."""
        raise AssertionError(f"{len(images)} photos were to be described")


def measure_update(path: Path, root: Path, num_photos: int) -> Callable[[], object]:
    """Bring the collection in step with a folder in which nothing has changed, by the second time."""
    photos = tuple(Photo(r.id, root / r.file) for r in make_records(root, num_photos))
    describer = Describer(NoExtractor(Collection.open(path).dim))

    def work() -> None:
        summary = index_photos(PhotoFolder(root, photos), path, describer, IndexOptions(index="exact"))
        assert summary.unchanged == num_photos

    return work


STEPS = {
    "open for writing": measure_open,
    "records": measure_records,
    "plan": measure_plan,
    "open and tidy": measure_tidy,
    "first update": measure_update,
    "update": measure_update,
}


def run_step(args: argparse.Namespace) -> dict[str, float]:
    """Run one step here: this is a process of its own."""
    root, path, num_photos = args.folder / "photos", args.folder / "collection", args.sizes[0]
    if args.step == "build":
        return build(path, root, num_photos, args.dim)
    work, clock = STEPS[args.step](path, root, num_photos), Clock()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with clock():
        work()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        f"{args.step}, processor": clock.processor[0],
        f"{args.step}, peak MB": peak / 1024,
        f"{args.step}, before MB": before / 1024,
    }


def measure(num_photos: int, dim: int, folder: Path) -> None:
    """Print what each step takes for one number of photos."""
    make_folder(folder / "photos", num_photos)
    for step in ("build", *STEPS):
        command = [sys.executable, __file__, str(num_photos), "--dim", str(dim)]
        command += ["--folder", str(folder), "--step", step]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, env={**os.environ})
        for name, value in json.loads(done.stdout).items():
            print(f"{num_photos:>9,} × {dim}  {name:36} {value:10.3f}", flush=True)


def main() -> None:
    """Measure each size, or run one step of a size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("sizes", type=int, nargs="*", default=[10_000, 100_000])
    parser.add_argument("--dim", type=int, default=16)
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--step", default="", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.step:
        print(json.dumps(run_step(args)))
        return
    for num_photos in args.sizes:
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            measure(num_photos, args.dim, Path(folder))


if __name__ == "__main__":
    main()
