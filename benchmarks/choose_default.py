"""Size, pooling, scales and whitening of the model off the shelf: chosen on `train`, reported on `eval`.

    python benchmarks/choose_default.py ../shared/data --cache /tmp/choose_default

The shared data may also be named by the variable MEISHO_SHARED_DATA. Pooled features are kept in the cache
folder, so that a second run only scores. `--every 2` takes every second photo of `train` and of the
distractors, for a quicker look; `--columns validation` leaves `eval` out. The columns:

- `validation`: the landmarks of the split `train` in two halves; every photo of a half asks once, the other
  photos of the half and all distractors are the database. A whitening is fitted on the other half. This
  column chooses.
- `eval`: 63 queries against gallery + junk + distractors; a whitening is fitted on all of `train`.

Both are the revisited trapezoid mAP, per cent; queries are whole photos.
"""

import argparse
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import torch

from meisho.arrays import BoolArray, Float32Array
from meisho.descriptors import Descriptors, Provenance, normalize_rows
from meisho.evaluate.revisitop import revisitop_map
from meisho.extractors.timm_gem import TimmGeM, to_torch
from meisho.extractors.timm_models import load_imagenet
from meisho.ground_truth import GroundTruth
from meisho.images import ImageOptions, load_image
from meisho.layers.pooling import GeM, MaxPooling
from meisho.photos import Photo
from meisho.ranking import Ranking
from meisho.whitening import Whitening, fit_learned_whitening, fit_pca_whitening
from shared_sets import Record, read_records

SIZES_PX = (256, 320, 384, 448, 512, 640)
POWERS = (1.0, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0)
BATCH = 8
Fit = Callable[[Float32Array, "Photos"], Whitening]
Trial = tuple[str, Float32Array, Fit | None]


@dataclass(frozen=True)
class Photos:
    """The photos that take part, in the order of every array of descriptors."""

    records: tuple[Record, ...]

    def column(self, name: str) -> np.ndarray:
        """Return one column of photos.csv as an array."""
        return np.array([r[name] for r in self.records])

    def where(self, split: str) -> BoolArray:
        """Return a mask of the photos of one split."""
        return self.column("split") == split

    @property
    def splits(self) -> list[str]:
        """Return the splits that the photos are of, in the photos' order."""
        return list(dict.fromkeys(r["split"] for r in self.records))

    def of_split(self, split: str) -> "Photos":
        """Return the photos of one split."""
        return Photos(tuple(r for r in self.records if r["split"] == split))

    def half(self, number: int) -> BoolArray:
        """Return a mask of every other landmark of `train`, from the `number`th."""
        landmarks = sorted(set(self.column("landmark")[self.where("train")]))
        return np.isin(self.column("landmark"), landmarks[number::2]) & self.where("train")


def choose_photos(shared: Path, every: int, *, with_eval: bool) -> Photos:
    """Read the photos that take part, split by split."""
    splits = ["train", "distractor", "eval"] if with_eval else ["train", "distractor"]
    records = read_records(shared)
    chosen: list[Record] = []
    for split in splits:
        chosen += [r for r in records if r["split"] == split][:: 1 if split == "eval" else every]
    return Photos(tuple(chosen))


# --- features: photos -> pooled features, one file per image size


def pooled_features(photos: Photos, root: Path, options: ImageOptions, cache: Path, key: str) -> Float32Array:
    """Return every photo's features pooled in one way; all ways are kept in the cache, a file per split."""
    parts = [_features_of(photos.of_split(s), root, options, cache, key) for s in photos.splits]
    return np.concatenate(parts)


def _features_of(photos: Photos, root: Path, options: ImageOptions, cache: Path, key: str) -> Float32Array:
    kind = f"{options.max_side_px}_{options.multiple_px}_{options.interpolation}"
    path = cache / f"{kind}_{photos.splits[0]}_{len(photos.records)}.npz"
    if not path.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"part_{path.name}")
        np.savez(part, **_pool_all(photos, root, options))
        part.replace(path)
    with np.load(path) as arrays:
        return arrays[key]


def _pool_all(photos: Photos, root: Path, options: ImageOptions) -> dict[str, Float32Array]:
    extractor = to_torch(load_imagenet(device="cpu"), device="cpu")
    rows_of_shape: dict[tuple[int, ...], list[int]] = {}
    pooled: dict[int, dict[str, Float32Array]] = {}
    waiting: dict[int, np.ndarray] = {}
    for row, record in enumerate(photos.records):
        waiting[row] = load_image(Photo(record["file"], root / "photos" / record["file"]), options)
        rows = rows_of_shape.setdefault(waiting[row].shape, [])
        rows.append(row)
        if len(rows) == BATCH or len(waiting) > 40 * BATCH:
            _pool_batch(extractor, rows, waiting, pooled)
    for rows in rows_of_shape.values():
        if rows:
            _pool_batch(extractor, rows, waiting, pooled)
    return {key: np.stack([pooled[r][key] for r in range(len(pooled))]) for key in pooled[0]}


@torch.inference_mode()
def _pool_batch(extractor: TimmGeM, rows: list[int], waiting: dict, pooled: dict) -> None:
    pixels = torch.from_numpy(np.stack([waiting.pop(r) for r in rows])).permute(0, 3, 1, 2).float()
    backbone = extractor.network.backbone
    before_head = backbone.blocks(backbone.bn1(backbone.conv_stem(pixels / 127.5 - 1)))
    head = backbone.bn2(backbone.conv_head(before_head))
    poolings = {f"gem{p:g}": GeM(p)(head) for p in POWERS}
    poolings |= {"max": MaxPooling()(head), "before_head_gem3": GeM(3)(before_head)}
    poolings["before_head_avg"] = before_head.mean(dim=(-2, -1))
    for place, row in enumerate(rows):
        pooled[row] = {key: value[place].numpy() for key, value in poolings.items()}
    rows.clear()


# --- scores


def validation_map(vectors: Float32Array, photos: Photos, fit: Fit | None = None) -> float:
    """Score by the two halves of `train`; see the top of this file. Per cent."""
    values, counts = [], []
    for number in (0, 1):
        own = photos.half(number)
        whitened = vectors if fit is None else _whiten(vectors, photos, photos.half(1 - number), fit)
        database = np.flatnonzero(own | photos.where("distractor"))
        queries = np.flatnonzero(own)
        values.append(_score(whitened, photos, queries, database))
        counts.append(len(queries))
    return float(np.average(values, weights=counts))


def eval_map(vectors: Float32Array, photos: Photos, fit: Fit | None = None) -> float:
    """Score by `eval`; a whitening is fitted on all of `train`. Per cent."""
    whitened = vectors if fit is None else _whiten(vectors, photos, photos.where("train"), fit)
    is_query = photos.where("eval") & (photos.column("role") == "query")
    database = (photos.where("eval") & ~is_query) | photos.where("distractor")
    return _score(whitened, photos, np.flatnonzero(is_query), np.flatnonzero(database))


SCORES = {"validation": validation_map, "eval": eval_map}


def _score(vectors: Float32Array, photos: Photos, queries: np.ndarray, database: np.ndarray) -> float:
    landmark, is_junk = photos.column("landmark"), photos.column("role")[database] == "junk"
    positives, junk = [], []
    for query in queries:
        same = landmark[database] == landmark[query]
        itself = database == query
        positives.append(np.flatnonzero(same & ~is_junk & ~itself))
        junk.append(np.flatnonzero((same & is_junk) | itself))
    names = photos.column("file")
    ranking = Ranking.from_scores(
        tuple(names[queries]), tuple(names[database]), vectors[queries] @ vectors[database].T
    )
    return 100 * revisitop_map(ranking, GroundTruth(positives, junk))


def _whiten(vectors: Float32Array, photos: Photos, fitted_on: BoolArray, fit: Fit) -> Float32Array:
    part = Photos(tuple(r for r, use in zip(photos.records, fitted_on, strict=True) if use))
    return fit(vectors[fitted_on], part).transform(vectors)


# --- what is compared


def pca(dim: int | None, shrinkage: float) -> Fit:
    """PCA whitening."""
    return lambda vectors, photos: fit_pca_whitening(_describe(vectors), dim=dim, shrinkage=shrinkage)


def learned(dim: int | None, shrinkage: float) -> Fit:
    """Whitening learned from all pairs of photos of one landmark."""

    def fit(vectors: Float32Array, photos: Photos) -> Whitening:
        landmark = photos.column("landmark")
        first, second = np.nonzero(np.triu(landmark[:, None] == landmark[None, :], k=1))
        return fit_learned_whitening(_describe(vectors), first, second, dim=dim, shrinkage=shrinkage)

    return fit


def _describe(vectors: Float32Array) -> Descriptors:
    return Descriptors(tuple(map(str, range(len(vectors)))), vectors, Provenance("benchmark"))


@dataclass(frozen=True)
class Study:
    """What every comparison needs.

    Attributes:
        photos: Those that take part.
        root: The folder of the shared data.
        cache: The folder of pooled features.
        size_px: The size at which all but sizes is compared.
        power: GeM's, in all comparisons but that of powers.
    """

    photos: Photos
    root: Path
    cache: Path
    size_px: int
    power: float

    def at(
        self, size_px: int | None = None, key: str = "", *, multiple_px: int = 32, filter: str = "bicubic"
    ) -> Float32Array:
        """Return the descriptors of the photos at one size."""
        options = ImageOptions(size_px or self.size_px, multiple_px=multiple_px, interpolation=filter)
        return normalize_rows(
            pooled_features(self.photos, self.root, options, self.cache, key or f"gem{self.power:g}")
        )


def compare_sizes(study: Study) -> Iterator[Trial]:
    """Compare sizes, and means over several of them."""
    for size in SIZES_PX:
        yield f"{size} px", study.at(size), None
    for several in ((256, 384, 512), (320, 448), (320, 384, 448), (384, 512)):
        vectors = normalize_rows(np.mean([study.at(size) for size in several], axis=0))
        yield f"mean of {', '.join(map(str, several))} px", vectors, None


def compare_poolings(study: Study) -> Iterator[Trial]:
    """Compare powers and poolings, after the head's 1280 channels and before, with 352."""
    for power in POWERS:
        yield f"GeM {power:g}", study.at(key=f"gem{power:g}"), None
    for key in ("max", "before_head_avg", "before_head_gem3"):
        yield key.replace("_", " "), study.at(key=key), None


def compare_filters(study: Study) -> Iterator[Trial]:
    """Compare how the photo is resized."""
    for multiple in (1, 16, 32):
        yield f"sides multiples of {multiple}", study.at(multiple_px=multiple), None
    for filter in ("bilinear", "lanczos"):
        yield filter, study.at(filter=filter), None


def compare_whitenings(study: Study) -> Iterator[Trial]:
    """Compare whitenings of the default's descriptors."""
    vectors = study.at()
    for dim, shrinkage in product((None, 512, 256, 128), (0.0, 0.1, 1.0, 10.0)):
        yield f"PCA to {dim or 'all'}, shrinkage {shrinkage:g}", vectors, pca(dim, shrinkage)
    for dim, shrinkage in product((None, 512, 256, 128), (0.1, 1.0, 10.0)):
        yield f"learned, to {dim or 'all'}, shrinkage {shrinkage:g}", vectors, learned(dim, shrinkage)


COMPARISONS = {
    "sizes": compare_sizes,
    "poolings": compare_poolings,
    "filters": compare_filters,
    "whitenings": compare_whitenings,
}


def main() -> None:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("shared", type=Path, nargs="?", default=os.environ.get("MEISHO_SHARED_DATA"))
    parser.add_argument("--cache", type=Path, default=Path("choose_default_cache"))
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--columns", default="validation,eval")
    parser.add_argument("--compare", default=",".join(COMPARISONS), help="which comparisons")
    parser.add_argument(
        "--power", type=float, default=2.0, help="GeM's, of the comparisons other than poolings"
    )
    parser.add_argument("--size", type=int, default=384, help="px, of the comparisons other than sizes")
    arguments = parser.parse_args()
    if arguments.shared is None:
        parser.error("name the folder of the shared data, or set MEISHO_SHARED_DATA")
    columns = arguments.columns.split(",")
    photos = choose_photos(arguments.shared, arguments.every, with_eval="eval" in columns)
    study = Study(photos, Path(arguments.shared), arguments.cache, arguments.size, arguments.power)
    print(f"GeM {study.power:g}, {study.size_px} px, sides multiples of 32, where not said otherwise.\n")
    print(f"| what | {' | '.join(columns)} |\n|---|{'---:|' * len(columns)}", flush=True)
    for comparison in arguments.compare.split(","):
        for name, vectors, fit in COMPARISONS[comparison](study):
            figures = [f"{SCORES[column](vectors, photos, fit):.2f}" for column in columns]
            print(f"| {name} | {' | '.join(figures)} |", flush=True)


if __name__ == "__main__":
    main()
