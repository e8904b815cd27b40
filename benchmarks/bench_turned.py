"""Turned queries: what a turn costs, what `--turned` gives back, and what it takes from upright ones.

    python benchmarks/bench_turned.py [../shared/data]

Every query is asked upright and turned by 90, 180 and 270 degrees, each with and without `--turned`; queries
are given as their pixels, so that turning loses nothing. Revisitop mAP (a city: medium; junk taken out), per
cent; the place of the first positive, median, and how often it is the first; time as a ratio to the same
questions without `--turned`, in turns, the median of `ROUNDS`.

The sets: a drawn city; and of the shared photos `validation` (every fourth landmark of `train` among the
distractors) and `eval`. How positions are put together is chosen by the first two and reported on `eval`.

The shared data may also be named by the variable MEISHO_SHARED_DATA.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from meisho.datasets.base import Dataset
from meisho.datasets.csv_table import load_csv_table
from meisho.describing import Describer
from meisho.descriptors import Descriptors
from meisho.evaluate.average_precision import positions_per_query
from meisho.evaluate.revisitop import revisitop_map
from meisho.extractors.base import load_extractor
from meisho.ground_truth import GradedGroundTruth, GroundTruth
from meisho.images import ImageOptions, load_image
from meisho.photos import Photo
from meisho.ranking import Ranking
from meisho.run.finding import Finder
from meisho.run.indexing import IndexOptions, index_folder
from meisho.run.turning import POSITIONS, merge_positions, turn_photos
from meisho.toycity import build_toycity, load_toycity
from shared_sets import write_eval_csv, write_training_csvs

SIDE_PX = 1024
ROUNDS, QUESTIONS = 7, 20


@dataclass(frozen=True)
class Asked:
    """A data set whose queries were described in four positions.

    Attributes:
        truth: The right answers.
        queries: (4 Q, D) descriptors, those of one query together.
        database: (N, D) descriptors.
    """

    truth: GroundTruth
    queries: Descriptors
    database: Descriptors

    def rank(self, position: int, *, turned: bool) -> Ranking:
        """Rank for queries that come in one position, which `turned` has asked in all four."""
        step = len(POSITIONS)
        names = self.queries.ids[::step]
        vectors = self.queries.vectors.reshape(len(names), step, -1)
        if not turned:
            return Ranking.from_scores(
                names, self.database.ids, vectors[:, position] @ self.database.vectors.T
            )
        asked = np.roll(vectors, -position, axis=1).reshape(self.queries.vectors.shape)
        four = Ranking.from_scores(self.queries.ids, self.database.ids, asked @ self.database.vectors.T)
        return merge_positions(four)[0]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    shared = os.environ.get("MEISHO_SHARED_DATA")
    parser.add_argument("shared", type=Path, nargs="?", default=shared, help="the folder with photos.csv")
    parser.add_argument("--landmarks", type=int, default=24, help="of the drawn city")
    options = parser.parse_args()
    describer = Describer(load_extractor("default"), num_workers=0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print("| set | queries | turned by | `--turned` | mAP | first positive, median | is the first |")
        print("|---|---:|---|---|---:|---:|---:|")
        for dataset in load_sets(options.shared, folder, options.landmarks):
            print_scores(dataset.name, ask(dataset, describer))
        measure_time(folder / "city", describer)


def load_sets(shared: Path | None, folder: Path, landmarks: int) -> Iterator[Dataset]:
    build_toycity(folder / "city", landmarks=landmarks, views=8, distractors=120, seed=1)
    yield load_toycity(folder / "city")
    if shared:
        yield load_csv_table(write_training_csvs(shared, folder)[1])
        yield load_csv_table(write_eval_csv(shared, folder / "eval.csv"))


def ask(dataset: Dataset, describer: Describer) -> Asked:
    """Describe the database and the queries, cropped to their boxes, in four positions."""
    truth = dataset.ground_truth
    truth = truth.at("medium") if isinstance(truth, GradedGroundTruth) else truth
    options = ImageOptions(SIDE_PX, min_side_px=1, enlarge=False)
    queries = [Photo(q.id, q.path, content=load_image(q, options)) for q in dataset.queries]
    return Asked(
        truth, describer.describe(turn_photos(queries, SIDE_PX)), describer.describe(dataset.database)
    )


def print_scores(name: str, asked: Asked) -> None:
    """Print what each turn costs, and what asking in four positions gives."""
    for position, degrees in enumerate(POSITIONS):
        for turned in (False, True):
            ranking = asked.rank(position, turned=turned)
            places = positions_per_query(ranking, asked.truth)
            firsts = np.array([int(found[0]) + 1 for found in places if len(found)])
            cells = (
                f"{100 * revisitop_map(ranking, asked.truth):.2f}",
                f"{np.median(firsts):g}",
                f"{100 * np.mean(firsts == 1):.0f} %",
            )
            asked_as = f"{len(places)} | {degrees}° | {'yes' if turned else 'no'}"
            print(f"| {name} | {asked_as} | {' | '.join(cells)} |", flush=True)


def measure_time(city: Path, describer: Describer) -> None:
    """Ask a collection with and without `--turned`, in turns."""
    collection = city.with_name("collection")
    index_folder(city / "database", collection, describer, IndexOptions())
    finder = Finder.open(collection)
    queries = load_toycity(city).queries[:QUESTIONS]
    ratios = []
    for _ in range(ROUNDS):
        seconds = {}
        for turned in (False, True):
            start = time.perf_counter()
            for query in queries:
                finder.find(query, turned=turned)
            seconds[turned] = time.perf_counter() - start
        ratios.append(seconds[True] / seconds[False])
    print(
        f"\ntime with / without: median {median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}), "
        f"{len(queries)} questions"
    )


if __name__ == "__main__":
    main()
