"""What local features cost those who do not use them: the same index and searches without and with them.

Collections of the same 400 small drawn photos, one without local features and one with them, described by
colours that cost next to nothing: what is timed is the product itself. Each process measures one of them, and
they take turns.

- index: `index_photos` until the index is built; local features are found after that.
- again: `index_photos` with nothing new.
- open: opening the collection and reading its snapshot, the least of 30.
- search: `search_collection` with one query, the least of 30.

All in CPU time of the process, which depends less than wall time on what else the machine does.

`--before SRC` also measures another version without local features: the `src` folder of a worktree of a
commit from before they existed.

    git worktree add /tmp/before e830433
    python benchmarks/bench_local_absent.py --before /tmp/before/src

Ends with 1 where a search without local features takes more than 1.2 times what it takes with them, or before
they existed.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

NUM_PHOTOS = 400
MOST = 1.2
MEASURED = ("index", "again", "open", "search")


def main() -> None:
    options = parse_arguments()
    if options.measure:
        print(json.dumps(measure(options.measure, options.photos)))
        return
    ways = {"absent": ("absent", None), "present": ("present", None)}
    if options.before:
        ways["before"] = ("absent", options.before)
    seconds: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder)
        draw_photos(photos)
        for _ in range(options.rounds):
            for name, (way, source) in ways.items():
                seconds[name].append(measure_apart(way, photos, source))
    print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}; {NUM_PHOTOS} photos; ", end="")
    print(f"least of {options.rounds} processes, CPU ms\n")
    best = {n: {m: min(r[m] for r in rounds) for m in MEASURED} for n, rounds in seconds.items()}
    print_table(best)
    slow = [name for name in ways if best["absent"]["search"] > MOST * best[name]["search"]]
    if slow:
        raise SystemExit(f"a search without local features is slower than: {', '.join(slow)}")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--before", type=Path, help="src of a version without local features")
    parser.add_argument("--rounds", type=int, default=3, help="processes of each way")
    parser.add_argument("--measure", choices=["absent", "present"], help=argparse.SUPPRESS)
    parser.add_argument("--photos", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def draw_photos(folder: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(NUM_PHOTOS):
        small = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
        Image.fromarray(small).resize((160, 120), Image.Resampling.BICUBIC).save(folder / f"{number:03}.jpg")


def measure_apart(way: str, photos: Path, source: Path | None) -> dict[str, float]:
    """Measure in a process of its own, by the version at `source` if one is given."""
    path = {"PYTHONPATH": str(source)} if source else {}
    command = [sys.executable, __file__, "--measure", way, "--photos", str(photos)]
    found: dict[str, float] = json.loads(subprocess.check_output(command, env=os.environ | path))
    return found


def measure(way: str, photos: Path) -> dict[str, float]:
    """Return CPU seconds of each thing that is measured; `meisho` may be an older version."""
    from meisho.photos import Photo
    from meisho.run.finding import search_collection
    from meisho.run.indexing import index_photos
    from meisho.store.collection import Collection

    database = [Photo(path.name, path) for path in sorted(photos.glob("*.jpg"))]
    colors = make_colors()
    options: dict[str, Any] = {"photo_root": photos, "num_workers": 0}
    if way == "present":
        from meisho.extractors.local_base import load_local_extractor

        options["local_extractor"] = load_local_extractor("sift", max_side_px=160)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "c"
        seconds = {
            "index": time_index(
                lambda progress: index_photos(database, path, colors, progress=progress, **options)
            )
        }
        seconds["again"] = min(
            timed(lambda: index_photos(database, path, colors, **options)) for _ in range(3)
        )
        seconds["open"] = min(timed(lambda: Collection.open(path).snapshot()) for _ in range(30))
        collection = Collection.open(path)
        seconds["search"] = min(
            timed(lambda photo=photo: search_collection(collection, [photo], colors))
            for photo in database[:30]
        )
    return seconds


def make_colors() -> Any:
    """Return an extractor of (8 * 8 * 3,) mean colours."""
    from meisho.descriptors import Provenance, normalize_rows
    from meisho.images import ImageOptions

    class Colors:
        dim = 192
        provenance = Provenance.from_options("colors", {})
        image_options = ImageOptions(max_side_px=64, multiple_px=8)

        def extract(self, images: Any) -> Any:
            num, height, width, _ = images.shape
            cells = images[:, : height // 8 * 8].reshape(num, 8, height // 8, 8, width // 8, 3)
            return normalize_rows(cells.mean(axis=(2, 4), dtype=np.float32).reshape(num, -1))

    return Colors()


def time_index(run: Any) -> float:
    """Return the CPU seconds until the index is built."""
    start, built = time.process_time(), []

    def watch(stage: str, done: int, total: int) -> None:
        if stage == "build index" and done == total:
            built.append(time.process_time() - start)

    run(watch)
    return float(built[0])


def timed(run: Any) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def print_table(best: dict[str, dict[str, float]]) -> None:
    others = [name for name in best if name != "absent"]
    print(f"| | absent | {' | '.join(f'{name} | absent / {name}' for name in others)} |")
    print("|---|---:|" + "---:|---:|" * len(others))
    for what in MEASURED:
        own = best["absent"][what]
        cells = [f"{1000 * best[n][what]:.1f} | {own / best[n][what]:.2f}" for n in others]
        print(f"| {what} | {1000 * own:.1f} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
