"""What a whitening that was fitted on few photos does to retrieval: mAP before and after.

    python benchmarks/bench_whiten.py ../shared/data --cache /tmp/whiten

Fits on 10, 20, 40, 100, 400 photos and all (drawn from the splits `train` and `train_loose`, without every
fourth landmark of `train`) and scores on `validation`: those landmarks among the distractors. `--own` fits on
photos of the database that is searched, as the owner of a folder does. `--eval` scores on `eval` instead:
report by it, never choose. A row is the mean over `--draws` draws of photos, and the worst of them. Columns:
the default; the same with 256 dimensions; with a shrinkage of 1, which was the default; the default learned
from pairs. Descriptors of the model are kept in the cache folder. Revisited trapezoid mAP, per cent.
"""

import argparse
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from meisho.arrays import Float32Array, Int64Array
from meisho.describing import Describer
from meisho.descriptors import Descriptors, Provenance
from meisho.errors import InputError
from meisho.evaluate.revisitop import revisitop_map
from meisho.extractors.base import load_extractor
from meisho.ground_truth import GroundTruth
from meisho.photos import Photo
from meisho.ranking import Ranking
from meisho.whitening import fit_learned_whitening, fit_pca_whitening
from shared_sets import Record, read_records

COUNTS = (10, 20, 40, 100, 400, 4000)
Fit = Callable[[Descriptors, np.ndarray], Callable[[Float32Array], Float32Array]]


@dataclass(frozen=True)
class Described:
    """Photos, their records and descriptors, row by row."""

    records: list[Record]
    vectors: Float32Array

    def where(self, chosen: Callable[[Record], bool]) -> "Described":
        """Return the photos that are chosen."""
        rows = [row for row, record in enumerate(self.records) if chosen(record)]
        return Described([self.records[row] for row in rows], self.vectors[rows])

    def rows(self, rows: Int64Array) -> Descriptors:
        """Return the descriptors of some rows."""
        return Descriptors(tuple(map(str, rows)), self.vectors[rows], Provenance("benchmark"))

    @property
    def labels(self) -> np.ndarray:
        """Return the landmark of each photo."""
        return np.array([record["landmark"] for record in self.records])


def describe(shared: Path, cache: Path, model: str) -> Described:
    """Describe the photos by a model, or read what was kept."""
    splits = ("train", "train_loose", "distractor", "eval")
    records = [r for r in read_records(shared) if r["split"] in splits]
    kept = cache / f"{model}_{len(records)}.npy"
    if not kept.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        photos = [Photo(r["file"], shared / "photos" / r["file"]) for r in records]
        np.save(kept, Describer(load_extractor(model, device="cpu")).describe(photos).vectors)
    return Described(records, np.load(kept))


def score(vectors: Float32Array, records: list[Record], is_query: np.ndarray) -> float:
    """Score by queries that are in the database too, if they are no photos of `eval`. Per cent."""
    labels, junk = (
        np.array([r["landmark"] for r in records]),
        np.array([r["role"] for r in records]) == "junk",
    )
    queries = np.flatnonzero(is_query)
    is_out = is_query if records[queries[0]]["split"] == "eval" else np.zeros(len(records), bool)
    database = np.flatnonzero(~is_out)
    positives, ignored = [], []
    for query in queries:
        same, itself = labels[database] == labels[query], database == query
        positives.append(np.flatnonzero(same & ~junk[database] & ~itself))
        ignored.append(np.flatnonzero((same & junk[database]) | itself))
    scores = vectors[queries] @ vectors[database].T
    ranking = Ranking.from_scores(range(len(queries)), range(len(database)), scores)
    return 100 * revisitop_map(ranking, GroundTruth(positives, ignored))


def by_default(descriptors: Descriptors, labels: np.ndarray) -> Callable[[Float32Array], Float32Array]:
    """Fit by PCA as `meisho whiten` does."""
    return fit_pca_whitening(descriptors).transform


def to_few_dimensions(descriptors: Descriptors, labels: np.ndarray) -> Callable[[Float32Array], Float32Array]:
    """Fit by PCA as `meisho whiten --dim 256` does."""
    return fit_pca_whitening(descriptors, dim=256).transform


def with_little_shrinkage(
    descriptors: Descriptors, labels: np.ndarray
) -> Callable[[Float32Array], Float32Array]:
    """Fit by PCA as `meisho whiten --shrinkage 1` does."""
    return fit_pca_whitening(descriptors, shrinkage=1).transform


def by_pairs(descriptors: Descriptors, labels: np.ndarray) -> Callable[[Float32Array], Float32Array]:
    """Learn from all pairs of photos of one landmark, as `meisho whiten --learned` does."""
    first, second = np.nonzero(np.triu(labels[:, None] == labels[None, :], k=1))
    return fit_learned_whitening(descriptors, first, second).transform


FITS: dict[str, Fit] = {
    "default": by_default,
    "256 dimensions": to_few_dimensions,
    "shrinkage 1": with_little_shrinkage,
    "learned": by_pairs,
}


def measure(fit: Fit, train: Described, test: Described, is_query: np.ndarray, num: int, draws: int) -> str:
    """Return the mean and the worst mAP over draws of `num` photos."""
    values = []
    for seed in range(draws if num < len(train.records) else 1):
        rows = np.random.default_rng(seed).permutation(len(train.records))[:num]
        try:
            transform = fit(train.rows(rows), train.labels[rows])
        except InputError:  # no pair among so few, or too few for 256 directions
            continue
        values.append(score(transform(test.vectors), test.records, is_query))
    return f"{np.mean(values):.1f} ({min(values):.1f})" if values else "refused"


def main() -> None:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("shared", type=Path, nargs="?", default=os.environ.get("MEISHO_SHARED_DATA"))
    parser.add_argument("--cache", type=Path, default=Path("whiten_cache"))
    parser.add_argument("--draws", type=int, default=4)
    parser.add_argument("--eval", action="store_true")
    parser.add_argument("--own", action="store_true", help="fit on the database that is searched")
    parser.add_argument("--model", default="default")
    arguments = parser.parse_args()
    if arguments.shared is None:
        parser.error("name the folder of the shared data, or set MEISHO_SHARED_DATA")
    photos = describe(Path(arguments.shared), arguments.cache, arguments.model)
    landmarks = sorted({r["landmark"] for r in photos.records if r["split"] == "train"})
    held_out = set() if arguments.eval else set(landmarks[::4])
    train = photos.where(lambda r: r["split"].startswith("train") and r["landmark"] not in held_out)
    asked = "eval" if arguments.eval else "train"
    test = photos.where(
        lambda r: (
            r["split"] == "distractor"
            or (r["split"] == asked and (arguments.eval or r["landmark"] in held_out))
        )
    )
    is_query = np.array(
        [r["split"] == asked and (not arguments.eval or r["role"] == "query") for r in test.records]
    )
    if arguments.own:
        train = test.where(lambda r: r["role"] != "query")
    bare = score(test.vectors, test.records, is_query)
    print(
        f"without whitening: {bare:.1f}; {int(is_query.sum())} queries, {len(train.records)} photos at most\n"
    )
    print(f"| photos | {' | '.join(FITS)} |\n|---:|{'---:|' * len(FITS)}", flush=True)
    for num in COUNTS:
        cells = [measure(fit, train, test, is_query, num, arguments.draws) for fit in FITS.values()]
        print(f"| {min(num, len(train.records))} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
