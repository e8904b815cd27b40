"""Extraction on a Ray cluster of two nodes on this machine: its throughput, and what it survives.

    python benchmarks/bench_cluster.py PHOTOS [--number 2000] [--timed 300] [--rounds 3] [--skip-deaths]

PHOTOS is a folder of photos, such as the `database` of a toy city. `--number` of them are laid out in a new
folder; where it holds fewer, crops of them follow, 90 % of their sides, so that each file is unlike others.

Throughput: the first `--timed` photos are indexed by this machine alone, by one worker and by two workers, in
turn, `--rounds` times. Shown are photos per second of the whole index run (without joining the cluster), and
in each round the ratios; a busy machine changes the figures and not so much their ratios.

Deaths: all photos are indexed by two workers; after a quarter of them an actor is killed, after a half one of
the two nodes, after three quarters the driver; a second run finishes. Then the rows are compared with those
that one machine writes.
"""

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from PIL import Image

REPOSITORY = Path(__file__).parent.parent
sys.path.insert(0, str(REPOSITORY / "tests"))

from meisho.errors import CollectionError  # noqa: E402
from meisho.photo_folder import find_photos  # noqa: E402
from meisho.store.collection import Collection  # noqa: E402
from processes import kill, started, wait_until  # noqa: E402  # how the tests start Ray's nodes
from ray_nodes import Nodes, environment  # noqa: E402


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--number", type=int, default=2000)
    parser.add_argument("--timed", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--skip-deaths", action="store_true")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="m-"))  # a socket's path must be short
    try:
        with ExitStack() as stack:
            nodes = Nodes(folder, stack)
            other = nodes.add()
            measure_throughput(
                lay_out(options.photos, folder / "timed", options.timed), nodes, options.rounds
            )
            if not options.skip_deaths:
                photos = lay_out(options.photos, folder / "photos", options.number)
                survive_deaths(photos, options.number, nodes, other)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def lay_out(source: Path, folder: Path, number: int) -> Path:
    """Fill a folder with photos, then with crops of them."""
    folder.mkdir()
    found = [photo.path for photo in find_photos(source).photos]
    for row in range(number):
        path, turn = found[row % len(found)], row // len(found)
        if turn == 0:
            shutil.copyfile(path, folder / f"{row:05}{path.suffix}")
            continue
        image = Image.open(path).convert("RGB")
        dx, dy = (turn * side // 40 for side in image.size)
        box = (dx, dy, dx + image.width * 9 // 10, dy + image.height * 9 // 10)
        image.crop(box).save(folder / f"{row:05}.jpg", quality=92)
    return folder


def index(photos: Path, to: Path, *words: str) -> dict[str, object]:
    """Index photos in a process of its own; returns its summary."""
    command = [sys.executable, "-m", "meisho.cli", "index", str(photos), "--to", str(to), "--json", *words]
    done = subprocess.run(command, env=environment(), stdout=subprocess.PIPE, check=True)
    summary: dict[str, object] = json.loads(done.stdout)
    return summary


def measure_throughput(photos: Path, nodes: Nodes, rounds: int) -> None:
    """Print photos per second of each way, and their ratios within a round."""
    on_cluster = ("--cluster", f"ray:{nodes.address}")
    ways = {
        "this machine alone": (),
        "1 worker": (*on_cluster, "--workers", "1"),
        "2 workers": (*on_cluster, "--workers", "2"),
    }
    number = len(find_photos(photos).photos)
    rates: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(rounds):
        for way in [*ways][turn % 3 :] + [*ways][: turn % 3]:
            with tempfile.TemporaryDirectory() as place:
                summary = index(photos, Path(place) / "c", *ways[way])
            rates[way].append(number / float(str(summary["seconds"])))
    for way, found in rates.items():
        print(f"{way}: {', '.join(f'{rate:.1f}' for rate in found)} photos/s ({number} photos a run)")
    for one, other in (("2 workers", "1 worker"), ("2 workers", "this machine alone")):
        ratios = [a / b for a, b in zip(rates[one], rates[other], strict=True)]
        shown = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        print(f"{one} / {other}: median {statistics.median(ratios):.2f} ({shown})")


def survive_deaths(photos: Path, number: int, nodes: Nodes, other: int) -> None:
    """Kill an actor, a node and the driver in the middle, finish, and compare with one machine."""
    work = photos.parent
    path = work / "c"
    words = ["--cluster", f"ray:{nodes.address}", "--workers", "2"]
    command = [sys.executable, "-m", "meisho.cli", "index", str(photos), "--to", str(path), *words]
    with started(command, env=environment(), stdout=subprocess.DEVNULL) as driver:
        ends: list[tuple[str, Callable[[], None]]] = [
            ("an actor", lambda: os.kill(nodes.workers(nodes.raylets[0])[0], signal.SIGKILL)),
            ("a node", lambda: os.kill(other, signal.SIGKILL)),
            ("the driver", lambda: kill(driver)),
        ]
        for quarter, (what, end) in enumerate(ends, start=1):
            wait_until(lambda least=quarter * number // 4: count_recorded(path) >= least, driver)
            end()
            print(f"killed {what} at {count_recorded(path):,} photos of {number:,}", flush=True)
    committed = count_recorded(path)
    start = time.perf_counter()
    summary = index(photos, path, *words)
    print(f"committed {committed:,}; the second run described {summary['described']:,} more "
          f"in {time.perf_counter() - start:.0f} s")  # fmt: skip
    index(photos, work / "home")
    compare(path, work / "home", number)


def count_recorded(path: Path) -> int:
    """Return how many photos a collection holds by now."""
    try:
        return len(Collection.open(path).records())
    except CollectionError:  # it is being made
        return 0


def compare(path: Path, home: Path, number: int) -> None:
    """Say how the rows of two collections differ; ends with an error where a photo is missing or twice."""
    here, there = (Collection.open(each).snapshot().descriptors for each in (path, home))
    row_of = {photo_id: row for row, photo_id in enumerate(there.ids)}
    twice = len(here.ids) - len({*here.ids})
    rows = [row_of[photo_id] for photo_id in here.ids]
    largest = float(np.abs(here.vectors - there.vectors[rows]).max())
    print(f"{len({*here.ids}):,} photos, {twice} of them twice; largest difference of a value {largest:.1e}")
    if twice or len(here.ids) != number or len(there.ids) != number or largest > 1e-5:
        raise SystemExit("the rows are not those of one machine")


if __name__ == "__main__":
    main()
