"""What a service answers in, how much at once, for how long, and how soon after a kill.

    OMP_NUM_THREADS=2 python benchmarks/bench_service.py DEMO [--local LOCAL --minutes 10 --kills 20]

DEMO is the folder that `meisho demo` made. Its descriptors are multiplied to a collection of 20,000 photos
(with noise, and without files), which `meisho serve` opens in a process of its own. Prints:

- one client: wall time of an upload search without verification, ms, and where it goes by /v1/timings. Each
  photo is asked once: nothing of it is remembered.
- 50 clients at once: answers per second, against the photos that two processes which do nothing but describe
  take per second, in turns; the processor time of both per photo, which a busy machine does not change; and
  every status that came. The processor time of an answer is that of the service and the processes that it
  started. That of the clients (`cheap_clients.py`), 0.3 ms each, is printed beside it and not counted, and on
  a machine with no more cores than the service uses it slows the answers down by so much.
- with `--local`, a collection with local features that is copied first: `--minutes` of searches, matches,
  photos added and removed by 8 clients, with the memory of the service and its processes after each tenth of
  the time, whether versions ever went back, and whether an answer held what was removed before (here the
  service keeps 8 MiB of each kind of thing, which are soon full); and `--kills`: how long the service takes
  to be ready after a `kill -9` under that load, and whether anything was lost that it had acknowledged.
"""

import argparse
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from uuid import uuid4

import httpx
import numpy as np
from PIL import Image

from cheap_clients import ask_at_once, prepare_search
from meisho.datasets.base import load_dataset
from meisho.descriptors import normalize_rows
from meisho.run.indexing import refresh_index
from meisho.store.collection import Collection
from meisho.store.records import PhotoRecord

NUM_PHOTOS = 20_000
NOISE = 0.02
ROUNDS = 3
BATCH = 5_000
_DESCRIBE = """
import sys, time
from pathlib import Path
from meisho.describing import Describer
from meisho.extractors.base import load_extractor
from meisho.images import as_photos
describer = Describer(load_extractor("default"))
photos = [path.read_bytes() for path in sorted(Path(sys.argv[1]).iterdir())]
describer.describe(photos[0])
print("ready", flush=True)
sys.stdin.readline()
start, cpu = time.perf_counter(), time.process_time()
for photo in photos[int(sys.argv[2])::2]:
    describer.describe(photo)
print(time.perf_counter() - start, time.process_time() - cpu, flush=True)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("demo", type=Path)
    parser.add_argument("--uploads", type=int, default=150, help="photos that one client asks with")
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--side-px", type=int, default=1600, help="longer side of these photos")
    parser.add_argument("--local", type=Path, help="a collection with local features")
    parser.add_argument("--minutes", type=float, default=0)
    parser.add_argument("--kills", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        photos = draw_uploads(arguments.demo, root / "uploads", 2 * arguments.uploads, arguments.side_px)
        if not arguments.minutes and not arguments.kills:
            collection = multiply(arguments.demo / "collection", root / "many.meisho")
            measure_answers(collection, photos, root / "uploads", arguments.clients)
        if arguments.local:
            own = copy_collection(arguments.local, root)
            if arguments.minutes:
                measure_mixed(own, photos, 60 * arguments.minutes)
            if arguments.kills:
                measure_kills(own, photos, arguments.kills)


def draw_uploads(demo: Path, folder: Path, number: int, side_px: int) -> list[bytes]:
    """Write JPEG files that all differ: the demo's queries, enlarged, each with its number in a comment."""
    folder.mkdir()
    queries = load_dataset("toycity", demo / "toycity").queries
    for row in range(number):
        picture = Image.open(queries[row % len(queries)].path).convert("RGB")
        scale = side_px / max(picture.size)
        picture = picture.resize((round(picture.width * scale), round(picture.height * scale)))
        picture.save(folder / f"{row:04}.jpg", quality=88, comment=str(row))
    return [path.read_bytes() for path in sorted(folder.iterdir())]


def multiply(source: Path, path: Path) -> Path:
    """Make a collection of many photos from the descriptors of few."""
    few = Collection.open(source)
    descriptors, rng = few.snapshot().descriptors, np.random.default_rng(0)
    many = Collection.create(
        path, photo_root=path.parent, provenance=descriptors.provenance, dim=descriptors.dim
    )
    with many.writer() as writer:
        for first in range(0, NUM_PHOTOS, BATCH):
            rows = np.arange(first, first + BATCH)
            vectors = descriptors.vectors[rows % len(descriptors)]
            vectors = normalize_rows(vectors + NOISE * rng.standard_normal(vectors.shape, np.float32))
            contents = [f"{row:064x}" for row in rows.tolist()]
            writer.add_descriptors(contents, vectors)
            names = [f"street {row % 97}/{row}.jpg" for row in rows.tolist()]
            writer.put_records(
                [
                    PhotoRecord(name, content, 640, 480, 1, 1, file=name)
                    for name, content in zip(names, contents, strict=True)
                ]
            )
        refresh_index(many)
    return path


def copy_collection(source: Path, root: Path) -> Path:
    """Copy a collection, so that it may be changed; its photos stay where they are."""
    shutil.copytree(source, root / "own.meisho")
    return root / "own.meisho"


_SERVE_SMALL = """
import sys
from pathlib import Path
from meisho.cores import rest_while_waiting
rest_while_waiting()
from meisho.service.server import serve
from meisho.service.settings import Settings
kept = dict.fromkeys(("queries_bytes", "decoded_bytes", "drawn_bytes", "keep_bytes"), 2**23)
settings = Settings(collections=(Path(sys.argv[1]),), port=0, **kept)
serve(settings, lambda address: print(address, "", flush=True))
"""


@contextmanager
def served(collection: Path, *, small: bool = False) -> Iterator[tuple[subprocess.Popen[str], str, float]]:
    """Run `meisho serve`; yields the process, its address, and the seconds until it was ready.

    With `small` it keeps little of what it was asked, so that what it keeps is soon as much as it will be.
    """
    start = time.perf_counter()
    command = [sys.executable, "-m", "meisho.cli", "serve", str(collection), "--port", "0"]
    if small:
        command = [sys.executable, "-c", _SERVE_SMALL, str(collection)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        found = re.search(r"http://[^ ]+", process.stdout.readline())
        assert found, "the service did not start"
        httpx.get(f"{found[0]}readyz", timeout=None).raise_for_status()
        try:
            yield process, found[0], time.perf_counter() - start
        finally:
            process.terminate()


def measure_answers(collection: Path, photos: list[bytes], folder: Path, num_clients: int) -> None:
    half = len(photos) // 2
    with served(collection) as (process, address, seconds):
        print(f"{NUM_PHOTOS:,} photos; ready after {seconds:.2f} s")
        with httpx.Client(base_url=address, timeout=None) as client:
            for photo in (photos[0] + b"warm", photos[1] + b"warm"):
                client.post("/v1/search", files={"photo": photo}).raise_for_status()
            times = [time_search(client, photo) for photo in photos[:half]]
            print(f"one client: p50 {median(times):.0f} ms, p99 {np.quantile(times, 0.99):.0f} ms ({half})")
            for name, stage in client.get("/v1/timings").json()["stages"].items():
                print(
                    f"  {name:9} p50 {stage['p50_ms']:7.1f}  p99 {stage['p99_ms']:7.1f}  ({stage['count']})"
                )
        rates, alone, costs, costs_alone, clients, statuses = [], [], [], [], [], Counter[int]()
        for turn in range(ROUNDS):
            part = [prepare_search(address, photo + b"%d" % turn) for photo in photos[half:]]
            before = processor_seconds(process.pid)
            came = ask_at_once(address, part, num_clients)
            costs.append((processor_seconds(process.pid) - before) / len(part))
            rates.append(len(part) / came.seconds)
            clients.append(came.client_seconds / len(part))
            statuses += came.statuses
            rate, cost = describe_alone(folder)
            alone.append(rate)
            costs_alone.append(cost)
    ratio = median(a / b for a, b in zip(rates, alone, strict=True))
    print(f"{num_clients} clients: {median(rates):.1f} answers/s, {dict(statuses)}")
    print(f"two describing processes: {median(alone):.1f} photos/s; median of the ratios {ratio:.2f}")
    share = median(costs_alone) / median(costs)
    answer, description, client_ms = (1000 * median(each) for each in (costs, costs_alone, clients))
    print(f"processor ms: {answer:.1f} an answer, {description:.1f} a description; {client_ms:.1f} a client")
    print(f"so an idle machine would give {share:.2f}")


def time_search(client: httpx.Client, photo: bytes) -> float:
    """Return the ms of one upload search."""
    start = time.perf_counter()
    client.post("/v1/search", files={"photo": photo}, data={"top": "20"}).raise_for_status()
    return 1000 * (time.perf_counter() - start)


def describe_alone(folder: Path) -> tuple[float, float]:
    """Return photos per second of two processes that describe, and processor seconds per photo."""
    number = len(list(folder.iterdir()))
    command = [sys.executable, "-c", _DESCRIBE, str(folder)]
    both = [
        subprocess.Popen([*command, str(n)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for n in range(2)
    ]
    for process in both:
        process.stdout.readline()
    for process in both:
        process.stdin.write("\n")
        process.stdin.flush()
    times = [tuple(map(float, process.stdout.readline().split())) for process in both]
    for process in both:
        process.communicate()
    return number / max(wall for wall, _ in times), sum(cpu for _, cpu in times) / number


class Load:
    """Clients that search, match, add and remove until they are stopped; knows what was acknowledged."""

    def __init__(self, address: str, photos: list[bytes], num_clients: int = 8) -> None:
        self.added: dict[str, bytes] = {}
        self.statuses: Counter[int] = Counter()
        self.went_back = self.undead = 0
        self._removed: set[str] = set()
        self._photos, self._address = photos, address
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(n,)) for n in range(num_clients)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, number: int) -> None:
        rng, version = random.Random(number), 0
        mine: list[str] = []
        with httpx.Client(base_url=self._address, timeout=None) as client:
            ids = [photo["id"] for photo in client.get("/v1/photos", params={"limit": 200}).json()["photos"]]
            while not self._stop.is_set():
                try:
                    version = self._act(client, rng, ids, mine, version)
                except httpx.HTTPError:  # it was killed
                    return

    def _act(
        self,
        client: httpx.Client,
        rng: random.Random,
        ids: list[str],
        mine: list[str],
        version: int,
    ) -> int:
        chosen = rng.random()
        removed = frozenset(self._removed)  # before it is asked
        if chosen < 0.6:
            fields = {"top": "20", "verify": "5" if chosen < 0.1 else "0", "near": "false"}
            answer = client.post("/v1/search", files={"photo": rng.choice(self._photos)}, data=fields)
        elif chosen < 0.8:
            answer = client.post("/v1/match", json={"photo": rng.choice(ids), "answer": rng.choice(ids)})
        elif chosen < 0.9 or not mine:
            name = f"bench-{uuid4().hex}.jpg"  # of no earlier load
            content = rng.choice(self._photos) + rng.randbytes(8)
            answer = client.put(f"/v1/photos/{name}", content=content)
            if answer.status_code in (200, 201):
                mine.append(answer.json()["id"])
                self.added[mine[-1]] = content
        else:
            gone = mine.pop(rng.randrange(len(mine)))
            del self.added[gone]  # whether it is there is not known until this is acknowledged
            answer = client.delete(f"/v1/photos/{gone}")
            if answer.status_code == 200:
                self._removed.add(gone)
        self.statuses[answer.status_code] += 1
        if answer.status_code == 429:
            self._stop.wait(float(answer.headers["retry-after"]))
        new = answer.json().get("version", version) if answer.status_code == 200 else version
        self.went_back += new < version
        if answer.status_code == 200:
            self.undead += any(found["id"] in removed for found in answer.json().get("answers", ()))
        return max(version, new)


def measure_mixed(collection: Path, photos: list[bytes], seconds: float) -> None:
    with served(collection, small=True) as (process, address, _), Load(address, photos) as load:
        sizes, own = [], []
        for _ in range(10):
            time.sleep(seconds / 10)
            sizes.append(memory_mb(process.pid))
            own.append(memory_mb(process.pid, "Pss_Anon"))
    print(f"mixed load, {seconds / 60:g} min: {dict(load.statuses)}")
    print(f"versions that went back: {load.went_back}; answers with what was removed: {load.undead}")
    for name, series in (("memory", sizes), ("without files", own)):
        least, most = (100 * (size / median(series[2:]) - 1) for size in (min(series[2:]), max(series[2:])))
        each = ", ".join(f"{size:.0f}" for size in series)
        print(f"{name} after each tenth, MB: {each}; from the third on {least:+.1f} to {most:+.1f} %")


def measure_kills(collection: Path, photos: list[bytes], number: int) -> None:
    times: list[float] = []
    expected, lost = set[str](), set[str]()
    for _ in range(number + 1):
        with served(collection) as (process, address, seconds):
            times.append(seconds)
            with httpx.Client(base_url=address, timeout=None) as client:
                lost |= {name for name in expected if client.get(f"/v1/photos/{name}").status_code != 200}
            with Load(address, photos, 4) as load:
                while len(load.added) < 3:
                    time.sleep(0.01)
                process.kill()
                process.wait()
            expected |= load.added.keys()
    print(
        f"{number} kills under load: ready after {median(times[1:]):.2f} s (median), {max(times[1:]):.2f} s "
        f"at most; {len(expected)} photos were acknowledged, {len(lost)} of them lost"
    )


def family(pid: int) -> list[int]:
    """Return a process and its children."""
    children = subprocess.run(["ps", "--ppid", str(pid), "-o", "pid="], capture_output=True, text=True).stdout
    return [pid, *map(int, children.split())]


def processor_seconds(pid: int) -> float:
    """Return the processor time that a process and its children have taken."""
    total = 0
    for each in family(pid):
        fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def memory_mb(pid: int, what: str = "Pss") -> float:
    """Return the memory of a process and its children, MB; what they share counts once.

    "Pss_Anon" leaves out the pages of files, which the system takes back where memory is short.
    """
    total = 0
    for each in family(pid):
        try:
            text = Path(f"/proc/{each}/smaps_rollup").read_text()
        except OSError:
            continue
        total += int(re.search(rf"{what}:\s+(\d+)", text)[1])
    return total / 1024


if __name__ == "__main__":
    main()
