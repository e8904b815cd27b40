"""What `meisho index` and `meisho search` cost now, against the same commands of an earlier commit.

    git worktree add /tmp/before COMMIT
    python benchmarks/bench_cost.py PHOTOS --before /tmp/before [--rounds 5] [--first 400]

Each command runs in a process of its own, the two checkouts in turns, each on its own collections.
Prints processor seconds (children included) and the median of the ratios now / before:

- index: the first photos of the folder PHOTOS, described from nothing; with SIFT too; again, nothing changed;
- search: one question, plain and with 50 verified answers.
"""

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from meisho.photo_folder import find_photos


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("--before", type=Path, required=True, help="a checkout to compare with")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--first", type=int, default=400, help="how many photos of the folder")
    arguments = parser.parse_args()
    checkouts = (Path(__file__).parent.parent, arguments.before)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photos = link_photos(arguments.photos, folder / "photos", arguments.first)
        query = next(photos.rglob("*.*"))
        commands = {
            "index": lambda to: ["index", photos, "--to", fresh(to)],
            "index, nothing changed": lambda to: ["index", photos, "--to", to],
            "search": lambda to: ["search", to, query],
            "index --local sift": lambda to: ["index", photos, "--to", fresh(to), "--local", "sift"],
            "search --verify 50": lambda to: ["search", to, query, "--verify", "50"],
        }
        for title, words in commands.items():
            costs: list[list[float]] = [[], []]
            for _ in range(arguments.rounds + 1):  # the first round warms up
                for number, checkout in enumerate(checkouts):
                    costs[number].append(processor_seconds(checkout, words(folder / f"collection{number}")))
            show(title, costs[0][1:], costs[1][1:])


def show(title: str, now: list[float], before: list[float]) -> None:
    ratios = [after / earlier for after, earlier in zip(now, before, strict=True)]
    print(
        f"{title}: {median(now):.2f} s now, {median(before):.2f} s before; "
        f"ratio {median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})",
        flush=True,
    )


def link_photos(source: Path, to: Path, first: int) -> Path:
    to.mkdir()
    for number, photo in enumerate(find_photos(source).photos[:first]):
        (to / f"{number:05}{photo.path.suffix}").hardlink_to(photo.path)
    return to


def fresh(collection: Path) -> Path:
    shutil.rmtree(collection, ignore_errors=True)
    return collection


def processor_seconds(checkout: Path, words: list[str | Path]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    code = f"import sys; sys.path.insert(0, {str(checkout / 'src')!r}); from meisho.cli import main; main()"
    environment = os.environ | {"PYTHONPATH": str(checkout / "src")}
    command = [sys.executable, "-c", code, *map(str, words)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
