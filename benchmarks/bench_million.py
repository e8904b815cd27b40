"""A collection of up to a million photos: what it costs to build, open, ask and change it.

    python benchmarks/bench_million.py [--rows 10000 --rows 100000 ...] [--dim 1280] [--folder PLACE]
        [--plot million.svg]
    python benchmarks/bench_million.py --files 20000 [--folder PLACE]

Data: generated descriptors. Places of 1 to 2,000 photos, sizes with a long tail (Pareto, exponent 1); the
spread of their centres and of the photos around them falls with the square root of the dimension's number, as
that of real descriptors does; two photos of a place have a cosine near 0.5. One photo in 20 is a near copy of
another (cosine 0.9998). The queries are 200 further photos of random photos' places, and 1,000 photos
themselves.

Building and asking run in processes of their own, so that the memory of each is its own: without the pages of
files that are mapped, which the system takes back when it needs them.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from meisho.arrays import Float32Array, Int64Array
from meisho.descriptors import Descriptors, Provenance, normalize_rows
from meisho.index.live import LiveIndex
from meisho.index.scoring import blocks_of
from meisho.searching import search
from meisho.store.collection import Collection
from meisho.store.metadata import INDEX_FOLDER
from meisho.store.records import PhotoRecord
from meisho.store.snapshot import read_commit
from meisho.store.snapshot_files import load_snapshot
from meisho.store.writer import CollectionWriter

MADE_BY = Provenance("generated")
BATCH = 16_384
NUM_QUERIES, NUM_OWN = 200, 1000


class Photos:
    """Generated descriptors: the same for the same seed, made a batch at a time."""

    def __init__(self, num_rows: int, dim: int) -> None:
        generator = np.random.default_rng(0)
        sizes = np.minimum(2000, generator.pareto(1.0, num_rows) + 1).astype(int)
        self.places = generator.permutation(np.repeat(np.arange(len(sizes)), sizes)[:num_rows])
        self.dim, self.spread = dim, (1 + np.arange(dim, dtype=np.float32)) ** -0.5
        self.sources = np.arange(num_rows)
        copies = generator.choice(num_rows, num_rows // 20, replace=False)
        self.sources[copies] = generator.integers(0, num_rows, len(copies))

    def __len__(self) -> int:
        return len(self.places)

    def make(self, rows: Int64Array, *, seed: int = 1) -> Float32Array:
        """Return (B, D) unit vectors of photos; another seed gives other photos of the same places."""
        sources = self.sources[rows] if seed == 1 else rows
        vectors = np.stack([self._one(int(row), seed) for row in sources])
        near = np.flatnonzero(sources != rows)
        noise = np.random.default_rng([3, int(rows[0])]).standard_normal((len(near), self.dim), np.float32)
        vectors[near] += noise * np.float32(0.02 / np.sqrt(self.dim))
        return normalize_rows(vectors)

    def _one(self, row: int, seed: int) -> Float32Array:
        place = self._draw(0, int(self.places[row]))
        one: Float32Array = place + np.float32(0.9) * self._draw(seed, row)
        return one

    def _draw(self, seed: int, number: int) -> Float32Array:
        generator = np.random.Generator(np.random.SFC64([seed, number]))
        vector = generator.standard_normal(self.dim, np.float32) * self.spread
        drawn: Float32Array = vector / np.linalg.norm(vector)
        return drawn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, action="append")
    parser.add_argument("--dim", type=int, default=1280)
    parser.add_argument("--folder", type=Path, help="where to make the collections; a temporary one")
    parser.add_argument("--files", type=int, help="work on so many real files instead, by the commands")
    parser.add_argument("--plot", type=Path, help="where to draw how each figure grows, as SVG")
    parser.add_argument("--part", choices=("build", "ask"), help=argparse.SUPPRESS)
    parser.add_argument("--gone", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.files:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            work_on_files(options.files, Path(folder))
        return
    sizes = options.rows or [10_000, 100_000, 1_000_000]
    if options.part:
        photos = Photos(sizes[0] + sizes[0] // 100, options.dim)
        part = build if options.part == "build" else ask
        print(json.dumps(part(options.folder, photos, sizes[0], gone=options.gone)))
        return
    results = []
    for num_rows in sizes:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            results.append(measure(num_rows, options.dim, Path(folder)))
    for name in results[0]:
        print("|", name, "|", " | ".join(f"{result[name]:,.4g}" for result in results), "|")
    if options.plot:
        draw(results, options.plot)


def measure(num_rows: int, dim: int, folder: Path) -> dict[str, float]:
    """Build, ask, change and ask again, each in a process of its own."""
    figures: dict[str, float] = {"photos": num_rows}
    for gone, prefix in ((False, ""), (True, "then: ")):
        for part in ("build", "ask"):
            command = [sys.executable, __file__, "--part", part, "--rows", str(num_rows), "--dim", str(dim)]
            words = [*command, "--folder", str(folder), *(["--gone"] if gone else [])]
            done = subprocess.run(words, stdout=subprocess.PIPE, check=True, text=True)
            figures |= {prefix + name: value for name, value in json.loads(done.stdout).items()}
    return figures


def work_on_files(num_files: int, folder: Path) -> None:
    """Run the commands on a folder of drawn photos, and show what each costs."""
    photos, collection = folder / "photos", folder / "c"
    for number in range(num_files):
        draw_photo(photos, number)
    show("index", "index", photos, "--to", collection)
    show("index, nothing changed", "index", photos, "--to", collection)
    for number in range(num_files, num_files + num_files // 100):
        draw_photo(photos, number)
    show("index, 1 % added", "index", photos, "--to", collection)
    for number in range(0, num_files, 100):
        photo_path(photos, number).unlink()
    show("index, 1 % removed", "index", photos, "--to", collection, "--prune")
    show("search", "search", collection, photo_path(photos, 1))


def photo_path(folder: Path, number: int) -> Path:
    return folder / f"{number // 1000:03}" / f"{number % 1000:03}.jpg"


def draw_photo(folder: Path, number: int) -> None:
    """Write a JPEG of a smooth random pattern, no two alike."""
    path = photo_path(folder, number)
    path.parent.mkdir(parents=True, exist_ok=True)
    pattern = np.random.default_rng(number).integers(0, 256, (15, 20, 3), np.uint8)
    cv2.imwrite(str(path), cv2.resize(pattern, (640, 480), interpolation=cv2.INTER_CUBIC))


def show(title: str, *words: str | Path) -> None:
    """Run a command of meisho, and print what it took."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "meisho.cli", *map(str, words)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    assert not status, f"{words} failed"
    seconds, processor = time.perf_counter() - start, usage.ru_utime + usage.ru_stime
    print(
        f"{title}: {seconds:.1f} s, {processor:.1f} s of a processor, peak {usage.ru_maxrss / 1024:.0f} MB",
        flush=True,
    )


PLOTS = {
    "time, s": (
        "build snapshot and index, s",
        "open, s",
        "then: add 1 %, s",
        "then: remove 1 %, s",
        "s per query, top 10",
    ),
    "memory, MB": ("peak of that, MB", "then: peak, MB", "resident, MB"),
    "bytes per photo": ("bytes per photo beside the tables", "bytes per photo in the tables"),
}
"""A plot for each unit, and the figures in it."""


def draw(results: list[dict[str, float]], path: Path) -> None:
    """Draw how the figures grow with the number of photos."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, plots = pyplot.subplots(1, len(PLOTS), figsize=(13, 4), layout="constrained")
    for plot, (unit, names) in zip(plots, PLOTS.items(), strict=True):
        for name in names:
            values = [result[name] for result in results]
            plot.plot(
                [r["photos"] for r in results], values, marker="o", label=name.rpartition(", ")[0] or name
            )
        plot.set(xscale="log", yscale="log", xlabel="photos", title=unit)
        plot.grid(alpha=0.3)
        plot.legend(fontsize=8)
    figure.savefig(path)


def build(folder: Path, photos: Photos, num_rows: int, *, gone: bool) -> dict[str, float]:
    """Build a collection; or add a hundredth to the one that is there, and remove another."""
    from meisho.run.refreshing import refresh_index

    figures: dict[str, float] = {}
    if gone:
        collection = Collection.open(folder / "c")
        with collection.writer() as writer, peak(figures, "peak, MB"):
            with timed(figures, "add 1 %, s"):
                write(writer, photos, np.arange(num_rows, len(photos)))
                refresh_index(collection)
            with timed(figures, "remove 1 %, s"):
                writer.remove([f"{row}.jpg" for row in range(0, num_rows, 100)])
                refresh_index(collection)
    else:
        collection = Collection.create(folder / "c", photo_root=folder, provenance=MADE_BY, dim=photos.dim)
        with collection.writer() as writer, timed(figures, "write the tables, s"):
            write(writer, photos, np.arange(num_rows))
        with timed(figures, "build snapshot and index, s"), peak(figures, "peak of that, MB"):
            refresh_index(collection, "ivfpq")
    sizes = {path.suffix + path.name.partition("-")[0]: path for path in (folder / "c/index").iterdir()}
    beside = sum(path.stat().st_size for path in sizes.values()) / num_rows
    tables = sum(path.stat().st_size for path in folder.rglob("*.lance*/**/*") if path.is_file()) / num_rows
    return figures | {"bytes per photo beside the tables": beside, "bytes per photo in the tables": tables}


def write(writer: CollectionWriter, photos: Photos, rows: Int64Array) -> None:
    for first in range(0, len(rows), BATCH):
        batch = rows[first : first + BATCH]
        contents = [f"{row:064x}" for row in batch.tolist()]
        writer.add_descriptors(contents, photos.make(batch))
        writer.put_records(
            [
                PhotoRecord(f"{row}.jpg", content, 1, 1, 1, 1, file=f"{row}.jpg")
                for row, content in zip(batch.tolist(), contents, strict=True)
            ]
        )


def ask(folder: Path, photos: Photos, num_rows: int, *, gone: bool) -> dict[str, float]:
    """Open what is saved, without the tables, and ask it, one query at a time."""
    generator, figures, before = np.random.default_rng(7), dict[str, float](), resident_mb()
    path = folder / "c"
    start = time.perf_counter()
    snapshot = load_snapshot(path / INDEX_FOLDER, read_commit(path), MADE_BY, photos.dim)
    live = LiveIndex.load(path / INDEX_FOLDER)
    assert snapshot is not None and live is not None
    vectors = snapshot.descriptors.vectors
    index = live.follow(vectors, snapshot.keys, snapshot.version)
    figures["open, s"] = time.perf_counter() - start
    figures["resident, MB"] = resident_mb() - before
    queries = photos.make(generator.integers(0, num_rows, NUM_QUERIES), seed=2)
    best = rank_exactly(queries, vectors, 100)
    for top in (10, 100):
        found, seconds = [], []
        for query in queries:
            start = time.perf_counter()
            described = Descriptors(("q",), query[None], MADE_BY)
            found.append(search(described, snapshot.descriptors, index=index, top=top).ranks[0])
            seconds.append(time.perf_counter() - start)
        recalls = [len(np.intersect1d(f, b[:top])) / top for f, b in zip(found, best, strict=True)]
        figures[f"ms per query, top {top}"] = 1000 * float(np.median(seconds))
        figures[f"s per query, top {top}"] = float(np.median(seconds))
        figures[f"recall@{top}"] = float(np.mean(recalls))
    own = generator.choice(len(snapshot.keys), NUM_OWN, replace=False)
    hits = [index.search(vectors[row : row + 1], 1)[0][0, 0] == row for row in own.tolist()]
    figures["own photo first"] = float(np.mean(hits))
    if gone:
        names = {f"{row}.jpg" for row in range(0, num_rows, 100)}
        assert not names & {snapshot.descriptors.ids[row] for ranks in found for row in ranks}
    return figures


def rank_exactly(queries: Float32Array, vectors: Float32Array, top: int) -> Int64Array:
    scores = np.concatenate([queries @ block.T for _, block in blocks_of(vectors)], axis=1)
    return np.stack([np.argsort(-row, kind="stable")[:top] for row in scores])


@contextmanager
def timed(figures: dict[str, float], name: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    figures[name] = time.perf_counter() - start


@contextmanager
def peak(figures: dict[str, float], name: str) -> Iterator[None]:
    """Note the most memory that was resident inside, looked at 20 times a second."""
    done, seen = threading.Event(), [resident_mb()]

    def watch() -> None:
        while not done.wait(0.05):
            seen.append(resident_mb())

    watcher = threading.Thread(target=watch)
    watcher.start()
    yield
    done.set()
    watcher.join()
    figures[name] = max(seen)


def resident_mb() -> float:
    """Return the memory of this process without mapped files, MB."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("RssAnon:")[2].split()[0]) / 1024


if __name__ == "__main__":
    main()
