"""What a question costs: to one finder that stays, and to a command that starts from nothing.

    python benchmarks/bench_finder.py DEMO [--before CHECKOUT --before-demo DEMO0]

DEMO is the folder that `meisho demo` made. Prints:

- questions: 200 questions to one `Finder`, against the sum of describing the same photos and searching the
  index with their descriptors; wall time, in turns, the median of the ratios.
- cold search: processor time of `meisho search` in a process of its own, the median of 5 runs; with
  `--before`, in turns with the same command of another checkout (a git worktree of an earlier commit) on a
  collection that it made itself.
"""

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from meisho.datasets.base import load_dataset
from meisho.photos import Photo
from meisho.run.finding import Finder

QUESTIONS = 200
ROUNDS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("demo", type=Path)
    parser.add_argument("--before", type=Path, help="a checkout to compare with")
    parser.add_argument("--before-demo", type=Path, help="what its own `meisho demo` made")
    arguments = parser.parse_args()
    queries = load_dataset("toycity", arguments.demo / "toycity").queries
    measure_questions(arguments.demo / "collection", queries)
    query = queries[0].path
    commands = [(Path(__file__).parent.parent, arguments.demo)]
    if arguments.before:
        commands.append((arguments.before, arguments.before_demo))
    measure_cold_search(commands, query)


def measure_questions(collection: Path, queries: tuple[Photo, ...]) -> None:
    finder = Finder.open(collection)
    photos = [queries[number % len(queries)] for number in range(QUESTIONS)]

    def ask() -> None:
        for photo in photos:
            finder.find(photo, top=10)

    def parts() -> None:
        for photo in photos:
            vectors = finder.describer.describe([photo]).vectors
            finder._state.index.search(vectors, 10)

    ask(), parts()  # to warm up
    ratios = []
    for _ in range(ROUNDS):
        asked, summed = seconds(ask), seconds(parts)
        ratios.append(asked / summed)
        print(
            f"  {1000 * asked / QUESTIONS:.1f} ms per question, its parts {1000 * summed / QUESTIONS:.1f} ms"
        )
    print(
        f"questions: {median(ratios):.3f} times describing and index ({min(ratios):.3f} to {max(ratios):.3f})"
    )


def seconds(step: Callable[[], None]) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def measure_cold_search(commands: list[tuple[Path, Path]], query: Path) -> None:
    costs: list[list[float]] = [[] for _ in commands]
    for _ in range(ROUNDS + 1):
        for (checkout, demo), found in zip(commands, costs, strict=True):
            found.append(processor_seconds(checkout, demo / "collection", query))
    for (checkout, _), found in zip(commands, costs, strict=True):
        print(f"cold search: {median(found[1:]):.2f} s of a processor ({checkout.name})")
    if len(costs) == 2:
        ratios = [before / after for after, before in zip(costs[0][1:], costs[1][1:], strict=True)]
        print(f"before / now: {median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


def processor_seconds(checkout: Path, collection: Path, query: Path) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    code = f"import sys; sys.path.insert(0, {str(checkout / 'src')!r}); from meisho.cli import main; main()"
    command = [sys.executable, "-c", code, "search", str(collection), str(query), "--top", "5"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
