"""A submission once descriptors exist: 1,129 queries over 100,000 database photos, 512 dimensions.

Photos are files of a few bytes in the contest's layout, and their descriptors lie in collections as
`meisho submit gld-retrieval` leaves them, so that what is measured is the second run of the command: find the
photos, compare them with what is recorded, read the descriptors, search, write the submission, score it.

    python benchmarks/bench_submit.py --to /tmp/bench_submit
    python benchmarks/bench_submit.py --to /tmp/bench_submit --database 200000 --models 2

The submission runs in a process of its own, so that its peak memory is its own. Fails above 60 s for 100,000
photos and one model; plans the contest's 761,757 photos from the rates.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from meisho.contest.entry import collection_name
from meisho.contest.submit import ContestFiles, submit_retrieval
from meisho.describing import Describer
from meisho.descriptors import Provenance, normalize_rows
from meisho.images import ImageOptions
from meisho.store.collection import Collection
from meisho.store.records import PhotoRecord

QUERIES, CONTEST_DATABASE, DIM = 1_129, 761_757, 512
MOST_SECONDS = 60.0
AT_ONCE = 20_000


class Described:
    """A model whose descriptors exist: it must never be asked for one."""

    dim = DIM
    image_options = ImageOptions()

    def __init__(self, number: int) -> None:
        self.provenance = Provenance.from_options("described", {"number": number})

    def extract(self, images: object) -> None:
        raise SystemExit("a photo was described again, though its descriptor exists")


def write_photos(folder: Path, count: int, seed: int) -> list[str]:
    """Write files named like photos of the contest and return their ids."""
    ids = [hashlib.md5(f"{seed} {number}".encode()).hexdigest()[:16] for number in range(count)]
    for photo_id in ids:
        path = folder / photo_id[0] / photo_id[1] / photo_id[2] / f"{photo_id}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\xff\xd8" + photo_id.encode())
    return ids


def write_collection(path: Path, folder: Path, ids: list[str], model: Described, seed: int) -> None:
    """Record the photos with random descriptors."""
    rng = np.random.default_rng(seed)
    place = path / collection_name(model.provenance)
    collection = Collection.create(place, photo_root=folder, provenance=model.provenance, dim=DIM)
    with collection.writer() as writer:
        for start in range(0, len(ids), AT_ONCE):
            some = ids[start : start + AT_ONCE]
            contents = [hashlib.sha256(photo_id.encode()).hexdigest() for photo_id in some]
            writer.add_descriptors(contents, normalize_rows(rng.normal(size=(len(some), DIM)).astype("f4")))
            writer.put_records([record_of(folder, *pair) for pair in zip(some, contents, strict=True)])
        writer.tidy()


def record_of(folder: Path, photo_id: str, content: str) -> PhotoRecord:
    file = f"{photo_id[0]}/{photo_id[1]}/{photo_id[2]}/{photo_id}.jpg"
    state = (folder / file).stat()
    return PhotoRecord(photo_id, content, state.st_size, state.st_mtime_ns, 640, 480, file=file)


def prepare(root: Path, num_database: int, num_models: int) -> None:
    database = write_photos(root / "index", num_database, 0)
    queries = write_photos(root / "test", QUERIES, 1)
    for number in range(num_models):
        model = Described(number)
        write_collection(root / "work" / "database", root / "index", database, model, 2 * number)
        write_collection(root / "work" / "queries", root / "test", queries, model, 2 * number + 1)
    right = np.random.default_rng(9).choice(database, (QUERIES, 3))
    rows = [
        f"{query},{' '.join(dict.fromkeys(ids))},Private\n" for query, ids in zip(queries, right, strict=True)
    ]
    (root / "solution.csv").write_text("id,images,Usage\n" + "".join(rows))


def submit(root: Path, num_models: int) -> None:
    """Make the submission; print the seconds at which each stage ended."""
    start = time.perf_counter()
    ends = {}

    def note(stage: str, done: int, total: int) -> None:
        if done == total:
            ends[stage] = time.perf_counter() - start

    submitted = submit_retrieval(
        ContestFiles(root / "test", root / "index", solution=root / "solution.csv"),
        [Describer(Described(number)) for number in range(num_models)],
        root / "submission.csv",
        work=root / "work",
        progress=note,
    )
    assert len(submitted.entry.ranking.query_ids) == QUERIES
    ends["written and scored"] = time.perf_counter() - start
    print(json.dumps(ends))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--to", type=Path, required=True, help="folder for photos, collections, submission")
    parser.add_argument("--database", type=int, default=100_000, help="database photos")
    parser.add_argument("--models", type=int, default=1, help="models of the ensemble")
    parser.add_argument("--submit", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    root = options.to / f"{options.database}-{options.models}"
    if options.submit:
        submit(root, options.models)
        return
    if not (root / "solution.csv").exists():
        prepare(root, options.database, options.models)
    process = subprocess.Popen([sys.executable, *sys.argv, "--submit"], stdout=subprocess.PIPE, text=True)
    ends = json.loads(process.stdout.read().splitlines()[-1])
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    report(options.database, options.models, ends, usage.ru_maxrss / 2**20, usage.ru_utime + usage.ru_stime)


def report(
    num_database: int, num_models: int, ends: dict[str, float], gigabytes: float, processor: float
) -> None:
    total = ends["written and scored"]
    print(f"{QUERIES:,} queries, {num_database:,} database photos, {num_models} x {DIM} dimensions")
    for stage, seconds in ends.items():
        print(f"  {seconds:7.1f} s  {stage}")
    print(f"  {processor:.1f} s of processors in all, peak {gigabytes:.2f} GB")
    factor = CONTEST_DATABASE / num_database
    print(
        f"  {CONTEST_DATABASE:,} photos at these rates: {factor * total:.0f} s, {factor * gigabytes:.1f} GB"
    )
    if num_models == 1 and total / num_database > MOST_SECONDS / 100_000:
        raise SystemExit(f"took more than {MOST_SECONDS:.0f} s for 100,000 photos")


if __name__ == "__main__":
    main()
