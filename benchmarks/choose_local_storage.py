"""How local features are stored: bytes per photo against what verification loses, for several formats.

Pairs of photos of the split `train`, half of them of one landmark and half of two, are verified with the
query's features as extracted and the database photo's as each format gives them back. `matches kept` is the
share of the matches of exact features that are found again. A pair counts as verified when it has more
inliers than 99 % of the pairs of two landmarks have with exact features. Keypoints are exact but where the
format says otherwise. `another seed` changes only RANSAC's seed: differences of that size mean nothing.

    python benchmarks/choose_local_storage.py ../shared/data [--local sift --local xfeat] [--pairs 300]
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import faiss
import numpy as np

from meisho.arrays import Float32Array, Int64Array
from meisho.descriptors import Provenance
from meisho.extractors.local_base import LOCAL_EXTRACTORS, load_local_extractor
from meisho.geometry.matching import MutualMatcher
from meisho.geometry.ransac import RansacOptions, verify
from meisho.local_describing import LocalDescriber
from meisho.local_features import LocalFeatures
from meisho.matches import Matches
from meisho.photos import Photo
from meisho.store.collection import Collection
from meisho.store.local_rows import pack, pack_descriptors, unpack, unpack_descriptors
from meisho.store.records import PhotoRecord
from shared_sets import read_records

T = TypeVar("T")
COLLECTION_PHOTOS = 2000
Pair = tuple[str, str]
Change = Callable[[LocalFeatures], LocalFeatures]


@dataclass(frozen=True)
class Format:
    """A way to store local features.

    Attributes:
        name: What it is.
        feature_bytes: Bytes of one feature, without scales.
        give_back: What is read after features were stored.
        seed: Of RANSAC.
    """

    name: str
    feature_bytes: float
    give_back: Change
    seed: int = 0


def main() -> None:
    """Print a table per extractor."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("shared", type=Path, help="folder of the shared data")
    parser.add_argument("--local", action="append", choices=LOCAL_EXTRACTORS, help="sift and xfeat when none")
    parser.add_argument("--pairs", type=int, default=300, help="half of one landmark, half of two")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    pairs, is_same = draw_pairs(options.shared, options.pairs, np.random.default_rng(options.seed))
    for name in options.local or ("sift", "xfeat"):
        features = extract(options.shared, name, sorted({file for pair in pairs for file in pair}))
        report(name, features, pairs, is_same)
        report_collection(list(features.values()), load_local_extractor(name).provenance)


def draw_pairs(shared: Path, count: int, rng: np.random.Generator) -> tuple[list[Pair], list[bool]]:
    """Draw pairs of files, and whether they show one landmark."""
    records = [record for record in read_records(shared) if record["split"] == "train"]
    pairs: dict[Pair, bool] = {}
    for wanted in (True, False):
        while sum(same == wanted for same in pairs.values()) < count // 2:
            first, second = (records[row] for row in rng.choice(len(records), 2, replace=False))
            if (first["landmark"] == second["landmark"]) == wanted:
                pairs[first["file"], second["file"]] = wanted
    return list(pairs), list(pairs.values())


def extract(shared: Path, name: str, files: list[str]) -> dict[str, LocalFeatures]:
    photos = [Photo(file, shared / "photos" / file) for file in files]
    found = LocalDescriber(load_local_extractor(name), num_workers=0).stream(photos)
    return {photo.id: features for photo, features in found if isinstance(features, LocalFeatures)}


def report(name: str, features: dict[str, LocalFeatures], pairs: list[Pair], is_same: list[bool]) -> None:
    counts = np.array([len(each) for each in features.values()])
    dim = next(iter(features.values())).descriptors.shape[1]
    print(f"\n{name}: {len(features)} photos, {counts.mean():.0f} features each, {len(pairs)} pairs\n")
    print(
        "| stored as | bytes per feature | KB per photo | matches kept | verified, one landmark "
        "| verified, two | inliers, one landmark | area under ROC |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    same = np.array(is_same)
    least, exact = 0, []
    for each in formats(dim, list(features.values())):
        start = time.perf_counter()
        matches = match_pairs(each, features, pairs)
        inliers = count_inliers(each, features, pairs, matches)
        seconds = time.perf_counter() - start
        exact = exact or matches
        if not least:
            least = int(np.quantile(inliers[~same], 0.99, method="higher")) + 1
        verified = inliers >= least
        cells = (
            each.name,
            f"{each.feature_bytes:.0f}",
            f"{each.feature_bytes * counts.mean() / 1000:.1f}",
            f"{100 * share_kept(exact, matches):.1f} %",
            f"{verified[same].sum()} of {same.sum()}",
            f"{verified[~same].sum()} of {(~same).sum()}",
            f"{inliers[same].mean():.2f}",
            f"{area_under_roc(inliers, same):.4f}",
        )
        print(f"| {' | '.join(cells)} |", flush=True)
    print(f"\nverified: {least} inliers or more; {1e3 * seconds / len(pairs):.1f} ms per pair")


def match_pairs(kind: Format, features: dict[str, LocalFeatures], pairs: list[Pair]) -> list[Matches]:
    stored = {file: kind.give_back(features[file]) for file in {second for _, second in pairs}}
    return [MutualMatcher().match(features[a], [stored[b]])[0] for a, b in pairs]


def share_kept(exact: list[Matches], matches: list[Matches]) -> float:
    """Share of the exact matches that are among the others, over all pairs."""
    kept = [
        len({*map(tuple, ours.rows.tolist())} & {*map(tuple, theirs.rows.tolist())})
        for ours, theirs in zip(exact, matches, strict=True)
    ]
    return sum(kept) / sum(map(len, exact))


def count_inliers(
    kind: Format, features: dict[str, LocalFeatures], pairs: list[Pair], matches: list[Matches]
) -> Int64Array:
    ransac = RansacOptions(seed=kind.seed)
    stored = {file: kind.give_back(features[file]).keypoints for file in {second for _, second in pairs}}
    found = [
        verify(features[a].keypoints[each.rows[:, 0]], stored[b][each.rows[:, 1]], ransac)
        for (a, b), each in zip(pairs, matches, strict=True)
    ]
    return np.array([verification.num_inliers for verification in found], np.int64)


def area_under_roc(inliers: Int64Array, same: np.ndarray) -> float:
    """Probability that a pair of one landmark has more inliers than one of two; equals count half."""
    ours, others = inliers[same][:, None], inliers[~same][None]
    return float((ours > others).mean() + (ours == others).mean() / 2)


def report_collection(features: list[LocalFeatures], provenance: Provenance) -> None:
    """Write a collection with these features, over and over, and read 100 photos at a time from it."""
    ids = [f"{number:064x}" for number in range(COLLECTION_PHOTOS)]
    rng = np.random.default_rng(0)
    choices = [rng.choice(len(ids), 100, replace=False) for _ in range(20)]
    with TemporaryDirectory() as folder:
        made, written = timed(lambda: write_collection(Path(folder) / "c", ids, features, provenance))
        with made.writer() as writer:
            writer.tidy(keep=timedelta())  # what was merged is not counted twice
        size = sum(file.stat().st_size for file in (made.path / "local_features.lance").rglob("*.lance"))
        reader, look_up = timed(lambda: made.local_reader(ids))
        reading = [timed(lambda rows=rows: reader.read(rows))[1] for rows in choices]
        few = reader.read(choices[0])
        unpacking = [timed(lambda: [f.descriptors.shape for f in few if f is not None])[1] for _ in choices]
    print(
        f"in a collection of {len(ids)} photos: {size / len(ids) / 1000:.1f} KB per photo on disk, "
        f"{1e3 * written / len(ids):.1f} ms to write one, {1e3 * look_up:.0f} ms to look up where all lie, "
        f"{1e3 * np.median(reading):.0f} ms (best {1e3 * min(reading):.0f}) to read 100 of them, "
        f"{1e3 * np.median(unpacking):.0f} (best {1e3 * min(unpacking):.0f}) to unpack them one by one"
    )


def write_collection(
    path: Path, ids: list[str], features: list[LocalFeatures], provenance: Provenance
) -> Collection:
    """Write a collection of photos with these ids, which stand for their contents too."""
    made = Collection.create(path, photo_root=path, provenance=provenance, dim=1)
    made = made.enable_local(provenance, features[0].descriptors.shape[1])
    with made.writer() as writer:
        for first in range(0, len(ids), 64):
            some = ids[first : first + 64]
            writer.add_descriptors(some, np.ones((len(some), 1), np.float32))
            writer.put_records([PhotoRecord(each, each, 0, 0, 0, 0) for each in some])
            rows = range(first, first + len(some))
            writer.add_local_features(some, [another_copy(features, number) for number in rows])
    return made


def another_copy(features: list[LocalFeatures], number: int) -> LocalFeatures:
    """Return features that no other number has: what is the same in many rows, tables store once."""
    again, which = divmod(number, len(features))
    return features[which].first(len(features[which]) - again)


def timed(work: Callable[[], T]) -> tuple[T, float]:
    start = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start


# ---- the formats


def formats(dim: int, features: list[LocalFeatures]) -> list[Format]:
    quantizer = train_quantizer(dim, features)
    exact, fixed = 8 + 4, 4 + 2  # keypoint and score as float32, or as 16 bits
    return [
        Format("float32", exact + 4 * dim, lambda each: each),
        Format("float32, another seed", exact + 4 * dim, lambda each: each, seed=1),
        Format("float32, keypoints in 16 bits", fixed + 4 * dim, on_grid(16)),
        Format("float32, keypoints in 10 bits", 2.5 + 2 + 4 * dim, on_grid(10)),
        Format("float16", exact + 2 * dim, of_descriptors(lambda d: d.astype(np.float16))),
        Format("8 bits, range of the feature", exact + dim + 4, of_descriptors(lambda d: by_feature(d, 255))),
        Format("8 bits, range of the photo", exact + dim, of_descriptors(lambda d: by_photo(d, 255))),
        Format(
            "8 bits, range of the photo, keypoints in 16 bits",
            fixed + dim,
            lambda f: on_grid(16)(of_descriptors(lambda d: by_photo(d, 255))(f)),
        ),
        *(
            Format(
                f"4 bits, 3 deviations of each dimension, keypoints in {bits} bits, 32 scores{chosen}",
                bits / 4 + dim / 2,
                lambda f, bits=bits: on_grid(bits)(as_stored(f)),  # type: ignore[misc]
            )
            for bits, chosen in ((16, ""), (10, " (chosen)"))
        ),
        Format(
            "4 bits, range of the dimension", exact + dim / 2, of_descriptors(lambda d: by_dimension(d, 15))
        ),
        Format(
            "3 bits, range of the dimension",
            exact + 3 * dim / 8,
            of_descriptors(lambda d: by_dimension(d, 7)),
        ),
        Format("8 bits, range of the photo, first 500", (fixed + dim) / 2, first_half),
        Format("4 bits, range of the photo", exact + dim / 2, of_descriptors(lambda d: by_photo(d, 15))),
        Format(
            f"product codes, {dim // 4} bytes",
            exact + dim // 4,
            of_descriptors(lambda d: quantizer.decode(quantizer.compute_codes(d)) if len(d) else d),
        ),
    ]


def of_descriptors(change: Callable[[Float32Array], np.ndarray]) -> Change:
    return lambda features: replace(features, descriptors=change(features.descriptors))


def on_grid(bits: int) -> Change:
    """Store keypoints in so many bits per coordinate."""

    def change(features: LocalFeatures) -> LocalFeatures:
        keypoints = features.keypoints
        return replace(features, keypoints=unpack(pack(keypoints, bits), bits, keypoints.shape))

    return change


def as_stored(features: LocalFeatures) -> LocalFeatures:
    """Return the features with their descriptors as the collection stores them."""
    descriptors = features.descriptors
    packed = memoryview(pack_descriptors(descriptors))
    return replace(features, descriptors=unpack_descriptors(packed, descriptors.shape))


def first_half(features: LocalFeatures) -> LocalFeatures:
    """Return the best 500 features, as collections held them before."""
    few = features.first(500)
    return replace(on_grid(16)(few), descriptors=by_photo(few.descriptors, 255))


def by_dimension(descriptors: Float32Array, levels: int) -> Float32Array:
    low, high = (each(descriptors, axis=0, keepdims=True) for each in (np.min, np.max))
    return round_to(descriptors, low, (high - low) / levels)


def by_feature(descriptors: Float32Array, levels: int) -> Float32Array:
    low, high = (each(descriptors, axis=1, keepdims=True) for each in (np.min, np.max))
    return round_to(descriptors, low, (high - low) / levels)


def by_photo(descriptors: Float32Array, levels: int) -> Float32Array:
    low, high = descriptors.min(initial=np.inf), descriptors.max(initial=-np.inf)
    return round_to(descriptors, low, (high - low) / levels)


def round_to(descriptors: Float32Array, low: np.ndarray, step: np.ndarray) -> Float32Array:
    steps = np.divide(descriptors - low, step, out=np.zeros_like(descriptors), where=step > 0)
    return np.asarray(low + np.rint(steps) * step, np.float32)


def train_quantizer(
    dim: int, features: list[LocalFeatures], num_bytes: int | None = None
) -> faiss.ProductQuantizer:
    """Train product codes on features of all photos of the pairs: better than they can be in use."""
    quantizer = faiss.ProductQuantizer(dim, num_bytes or dim // 4, 8)
    quantizer.train(np.concatenate([each.descriptors[::5] for each in features]))
    return quantizer


if __name__ == "__main__":
    main()
