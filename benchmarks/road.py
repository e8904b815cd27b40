"""The whole road beyond one machine, once, on loopback: photos in a bucket -> Ray -> Milvus -> the page.

    python benchmarks/road.py [CITY] [--landmarks 8] [--views 6] [--distractors 32]

CITY is a folder with `database` and `queries`, such as a toy city; without it one is drawn. Real servers are
started, and stopped by their process ids: SeaweedFS, two nodes of Ray, Milvus, and `meisho serve`.

1. The photos of the database are put into s3://road/photos.
2. `meisho index s3://road/photos --to s3://road/city --cluster ray:… --engine milvus:…?index=FLAT`.
3. `meisho serve s3://road/city`; each query is asked by `meisho.Client`, and given to the page in Chromium.
4. The same on one machine: `meisho index CITY/database --to FOLDER`, served and asked the same.

Shown are the seconds of each step, and how many answers of the two are the same photos in the same order.
It ends with an error where a photo is missing, where an answer is another photo, or where scores differ by
more than 1e-5. Without a browser the page is left out, which is said.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent
sys.path[:0] = [str(REPOSITORY / "tests"), str(REPOSITORY / "tests" / "service" / "browser")]

from browsers import missing, opened_browser  # noqa: E402
from meisho import Client  # noqa: E402
from meisho.buckets import BucketPath  # noqa: E402
from meisho.photo_folder import find_photos  # noqa: E402
from meisho.toycity import build_toycity  # noqa: E402
from milvus_servers import milvus_server  # noqa: E402  # how the tests start each server
from object_stores import find_weed, seaweed  # noqa: E402
from processes import started  # noqa: E402
from ray_nodes import Nodes, environment  # noqa: E402

PHOTOS, COLLECTION = "s3://road/photos", "s3://road/city"  # a bucket that the first photo makes
TOP = 10

Answers = dict[str, list[tuple[str, float]]]
"""Name of a query -> photos that answer it and their scores, the best first."""


def main() -> None:
    """Walk the road, and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("city", type=Path, nargs="?")
    parser.add_argument("--landmarks", type=int, default=8)
    parser.add_argument("--views", type=int, default=6)
    parser.add_argument("--distractors", type=int, default=32)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="m-"))  # a socket's path must be short
    try:
        city = options.city or folder / "city"
        if options.city is None:
            numbers = {name: getattr(options, name) for name in ("landmarks", "views", "distractors")}
            build_toycity(city, **numbers)
        with ExitStack() as stack:
            walk(city, folder, stack)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def walk(city: Path, folder: Path, stack: ExitStack) -> None:
    """Start the servers, and go the whole way on them and on this machine alone."""
    with timed("SeaweedFS started"):
        os.environ |= stack.enter_context(seaweed(find_weed(), folder / "store"))
        os.environ |= {"MEISHO_CACHE": str(folder / "cache")}
    with timed("two nodes of Ray started"):
        nodes = Nodes(folder, stack)
        nodes.add()
    with timed("Milvus started"):
        milvus = stack.enter_context(milvus_server(folder / "milvus"))
    number = put_photos(city / "database")
    queries = [photo.path for photo in find_photos(city / "queries").photos]
    engine = f"milvus:{milvus.uri}?index=FLAT"
    index(
        PHOTOS, COLLECTION, number, "--cluster", f"ray:{nodes.address}", "--workers", "2", "--engine", engine
    )
    there, shown_there = ask(COLLECTION, queries)
    index(city / "database", folder / "home", number)
    here, shown_here = ask(folder / "home", queries)
    compare(there, here)
    if shown_there != shown_here or not all(shown_here.values()):
        raise SystemExit("the page does not show what it shows of one machine")
    print(f"{len(shown_here)} questions show the same photos in the same order on the page")


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Print how long something took."""
    start = time.perf_counter()
    yield
    print(f"{time.perf_counter() - start:7.1f} s  {what}", flush=True)


def put_photos(database: Path) -> int:
    """Put the photos into the bucket; returns how many they are."""
    photos = find_photos(database).photos
    with timed(f"{len(photos):,} photos put into {PHOTOS}"):
        for photo in photos:
            BucketPath.parse(f"{PHOTOS}/{photo.id}").write_bytes(photo.path.read_bytes())
    return len(photos)


def index(photos: str | Path, to: str | Path, number: int, *words: str) -> None:
    """Index in a process of its own; every photo must be described."""
    command = [sys.executable, "-m", "meisho.cli", "index", str(photos), "--to", str(to), "--json", *words]
    with timed(f"indexed {photos} to {Path(to).name} {' '.join(words)}"):
        done = subprocess.run(command, env=environment(), stdout=subprocess.PIPE, check=True)
    summary = json.loads(done.stdout)
    if summary["num_photos"] != number or summary["skipped"]:
        raise SystemExit(
            f"{summary['num_photos']} of {number} photos are there; skipped: {summary['skipped']}"
        )


def ask(collection: str | Path, queries: list[Path]) -> tuple[Answers, dict[str, list[str]]]:
    """Serve a collection and ask it; returns what a program is answered, and what the page shows."""
    command = [sys.executable, "-m", "meisho.cli", "serve", str(collection), "--port", "0"]
    with started(command, env=environment(), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None  # asked for above
        said = next((found for line in process.stdout if (found := re.search(r"http://\S+", line))), None)
        if said is None:
            raise SystemExit(f"{' '.join(command)} ended with {process.wait()}")
        with Client(said[0]) as client, timed(f"{len(queries)} questions to {said[0]}, cold"):
            found = {query.name: client.search(query, top=TOP)["answers"] for query in queries}
        shown = ask_page(said[0], queries)
    return {q: [(each["id"], each["score"]) for each in answers] for q, answers in found.items()}, shown


def ask_page(address: str, queries: list[Path]) -> dict[str, list[str]]:
    """Give each query to the page in a browser; returns the photos that it shows, in their order."""
    if reason := missing():
        print(f"          {reason}")
        return {}
    from page_steps import answers, search_by_file
    from playwright import sync_api

    found = {}
    with opened_browser(sync_api) as browser, timed(f"{len(queries)} questions through the page"):
        page = browser.new_page()
        for query in queries:
            page.goto(address)
            search_by_file(page, query)
            found[query.name] = answers(page)
            page.goto("about:blank")
    return found


def compare(there: Answers, here: Answers) -> None:
    """Say how many answers are the same; all must be, and scores must agree to 1e-5."""
    same, largest = 0, 0.0
    for query, answers in here.items():
        same += [photo for photo, _ in answers] == [photo for photo, _ in there[query]]
        pairs = zip(answers, there[query], strict=True)
        largest = max(largest, *(abs(score - other) for (_, score), (_, other) in pairs))
    print(f"{same} of {len(here)} questions have the same {TOP} photos in the same order; "
          f"scores differ by {largest:.1e} at most")  # fmt: skip
    if largest > 1e-5 or same < len(here):
        raise SystemExit("the answers are not those of one machine")


if __name__ == "__main__":
    main()
