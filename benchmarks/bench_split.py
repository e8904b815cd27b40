"""The chapter's histogram and split, and the honest one, on a table as large as that of Google Landmarks v2.

The table is generated, for the real one cannot be had everywhere: 4,132,914 rows and 203,094 landmarks, as
published [Weyand et al. 2020, arXiv:2004.01804]. The tail follows their figures too: 38 % of the landmarks
have at most 5 images and 57 % at most 10, the largest has 10,247. A log-normal distribution (mu 2.115, sigma
1.343) goes through both points, and its mean is 20.4; the real one is 20.35.

    python benchmarks/bench_split.py --to /tmp/bench_split

Every step runs in a process of its own through the command line, so that its peak memory is its own. Fails
when a split takes more than 30 s of a processor (it uses one, and the machine may be busy) or 2 GB.
"""

import argparse
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ROWS, LANDMARKS, LARGEST = 4_132_914, 203_094, 10_247
MU, SIGMA = 2.115, 1.343
MOST_SECONDS, MOST_GB = 30.0, 2.0


def draw_counts(rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw the number of images of each landmark, (LANDMARKS,) int64, that sum up to ROWS."""
    counts = np.clip(rng.lognormal(MU, SIGMA, LANDMARKS).round().astype(np.int64), 1, LARGEST)
    counts[0] = LARGEST
    excess = int(counts.sum()) - ROWS
    movable = np.flatnonzero(counts[1:] > 20) + 1
    steps = np.bincount(rng.choice(movable, abs(excess)), minlength=LANDMARKS)
    counts = np.maximum(counts - np.sign(excess) * steps, 1)
    counts[int(np.argmax(counts[1:])) + 1] -= int(counts.sum()) - ROWS  # what the floor of 1 kept back
    return counts


def write_table(path: Path, rng: np.random.Generator) -> None:
    """Write train.csv as it is published: id, url, landmark_id, in random order."""
    labels = np.repeat(rng.choice(1_000_000, LANDMARKS, replace=False), draw_counts(rng))
    rng.shuffle(labels)
    ids = rng.permutation(ROWS).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)  # odd: no two are the same
    with path.open("w", encoding="ascii") as file:
        file.write("id,url,landmark_id\n")
        for start in range(0, ROWS, 100_000):
            part = zip(ids[start : start + 100_000].tolist(), labels[start : start + 100_000], strict=True)
            file.writelines(
                f"{i:016x},https://example.org/commons/{i & 15:x}/{i & 255:02x}/A_photo_{i:x}.jpg,{label}\n"
                for i, label in part
            )


def measure(title: str, *arguments: object) -> tuple[float, float]:
    """Run meisho in a process of its own; print what it says; return processor seconds and peak GB."""
    command = [sys.executable, "-m", "meisho.cli", "datasets", *map(str, arguments)]
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds, gigabytes = time.perf_counter() - start, usage.ru_maxrss / 2**20
    if process.returncode:
        raise SystemExit(f"{shlex.join(command)} failed")
    processor = usage.ru_utime + usage.ru_stime
    print(f"{title}: {seconds:.1f} s ({processor:.1f} s of a processor), {gigabytes:.2f} GB\n{printed}")
    return processor, gigabytes


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--to", type=Path, required=True, help="folder for the table (425 MB) and the splits")
    to = parser.parse_args().to
    table = to / "gldv2" / "train.csv"
    if not table.exists():
        table.parent.mkdir(parents=True, exist_ok=True)
        write_table(table, np.random.default_rng(0))
    print(f"{table}: {table.stat().st_size / 1e6:.0f} MB\n")
    (to / "without.txt").write_text("\n".join(read_some_landmarks(table)) + "\n")
    name = ("gldv2_train", "--root", to / "gldv2")
    measure("histogram", "stats", *name, "--to", to / "stats")
    limits = [
        measure(kind, "split", *name, "--kind", kind, "--to", to / kind, "--overwrite", *more)
        for kind, more in (("image", ()), ("landmark", ()), ("none", ("--without", to / "without.txt")))
    ]
    if max(seconds for seconds, _ in limits) > MOST_SECONDS or max(gb for _, gb in limits) > MOST_GB:
        raise SystemExit(f"a split took more than {MOST_SECONDS:.0f} s or {MOST_GB:.0f} GB")


def read_some_landmarks(table: Path) -> set[str]:
    """Return a few landmarks of the table, as a stand-in for those that overlap a benchmark."""
    with table.open() as file:
        return {next(file).rsplit(",", 1)[1].strip() for _ in range(50)} - {"landmark_id"}


if __name__ == "__main__":
    main()
