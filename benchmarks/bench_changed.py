"""Queries that are no plain photo: mirrored, on a screen, drawn, painted or printed.

    python benchmarks/bench_changed.py ../shared/data [--model default --model drawn] [--set eval]

Every query of `validation` (every fourth landmark of `train` among the distractors), or of `eval`, is changed
in each of these ways by one seed and asked for as its pixels. A query of `validation` is in its database too,
unchanged; that photo is no answer. Revisitop mAP, junk taken out, per cent. "both" asks as it is and
mirrored, and takes the better score.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from meisho.arrays import Float32Array, UInt8Array
from meisho.datasets.base import Dataset
from meisho.datasets.csv_table import load_csv_table
from meisho.describing import Describer
from meisho.evaluate.revisitop import revisitop_map
from meisho.extractors.base import load_extractor
from meisho.ground_truth import GradedGroundTruth
from meisho.images import ImageOptions, load_image
from meisho.photos import Photo
from meisho.ranking import Ranking
from meisho.toycity.renderings import RENDERINGS
from shared_sets import write_eval_csv, write_training_csvs

SIDE_PX = 768
Change = Callable[[np.random.Generator, UInt8Array], UInt8Array]


def plain(rng: np.random.Generator, pixels: UInt8Array) -> UInt8Array:
    """The photo as it is."""
    return pixels


def mirrored(rng: np.random.Generator, pixels: UInt8Array) -> UInt8Array:
    """Left and right exchanged."""
    return np.ascontiguousarray(pixels[:, ::-1])


def screenshot(rng: np.random.Generator, pixels: UInt8Array) -> UInt8Array:
    """The photo on the page of a phone: bars above and below, a line of text, buttons."""
    width = pixels.shape[1]
    page = int(rng.choice([18, 250]))
    bars = [int(width * rng.uniform(low, high)) for low, high in ((0.1, 0.3), (0.3, 0.7))]
    parts = [np.full((height, width, 3), page, np.uint8) for height in bars]
    ink = (255 - page,) * 3
    cv2.putText(parts[0], "12:41", (10, 24), cv2.FONT_HERSHEY_SIMPLEX, 0.6, ink, 2)
    cv2.putText(parts[1], "a place that I saw today", (10, 40), cv2.FONT_HERSHEY_SIMPLEX, 0.7, ink, 2)
    for number in range(4):
        cv2.circle(parts[1], (40 + number * width // 5, bars[1] - 30), 14, ink, 2)
    return np.concatenate([parts[0], pixels, parts[1]])


CHANGES: dict[str, Change] = {
    "plain": plain,
    "mirrored": mirrored,
    "screenshot": screenshot,
    **RENDERINGS,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("shared", type=Path, help="the folder with photos.csv")
    parser.add_argument("--model", action="append", help="default and drawn when none")
    parser.add_argument("--set", choices=("validation", "eval"), default="validation")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        dataset = load_set(options.shared, Path(folder), options.set)
        models = options.model or ["default", "drawn"]
        columns = [dict(measure(dataset, model)) for model in models]
    print(f"| {dataset.name}, {len(dataset.queries)} queries | {' | '.join(models)} |")
    print(f"|---|{'---:|' * len(models)}")
    for name in columns[0]:
        print(f"| {name} | {' | '.join(f'{100 * column[name]:.2f}' for column in columns)} |")


def load_set(shared: Path, folder: Path, name: str) -> Dataset:
    if name == "eval":
        return load_csv_table(write_eval_csv(shared, folder / "eval.csv"))
    return load_csv_table(write_training_csvs(shared, folder)[1])


def measure(dataset: Dataset, model: str) -> Iterator[tuple[str, float]]:
    """Yield each change and its mAP, and for the first two that of asking both ways."""
    describer = Describer(load_extractor(model))
    database = describer.describe(dataset.database).vectors
    queries = {name: describe_changed(dataset, describer, change) for name, change in CHANGES.items()}
    both = np.maximum(queries["plain"] @ database.T, queries["mirrored"] @ database.T)
    yield "plain, both", score(dataset, both)
    for name, vectors in queries.items():
        yield name, score(dataset, vectors @ database.T)


def describe_changed(dataset: Dataset, describer: Describer, change: Change) -> Float32Array:
    """Describe all queries, cropped to their boxes and changed: (Q, D)."""
    rng, load = np.random.default_rng(0), ImageOptions(SIDE_PX, min_side_px=1, enlarge=False)
    photos = (
        replace(Photo(query.id, query.path), content=change(rng, load_image(query, load)))
        for query in dataset.queries
    )
    return describer.describe(list(photos)).vectors


def score(dataset: Dataset, scores: Float32Array) -> float:
    truth = dataset.ground_truth
    assert not isinstance(truth, GradedGroundTruth)
    names = (tuple(photo.id for photo in part) for part in (dataset.queries, dataset.database))
    return revisitop_map(Ranking.from_scores(*names, scores), truth)


if __name__ == "__main__":
    main()
