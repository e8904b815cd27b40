"""Near copies: how many `--near` folds, and how often it folds a different photo away.

    python benchmarks/bench_near.py [../shared/data]

Copies are made of photos in the ways in which people and services make them (`KINDS`); each is compared with
its photo by perceptual hash and by descriptor, as `meisho.run.folding` does. Different photos are all pairs
of the photos themselves: of one landmark, and of two.

- `validation` (the split `train` and the distractors of the shared photos; without them, a drawn city)
  chooses: recall and false folds over a grid of limits.
- `eval` and a city of another seed are reported, at the limits that `meisho.run.folding` has: recall of each
  kind; the share of answers that are folded away below a different photo when every photo asks for its 50
  best; and how many files a question reads.

The shared data may also be named by the variable MEISHO_SHARED_DATA.
"""

import argparse
import io
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFont, ImageOps

from meisho.arrays import Float32Array, Int64Array
from meisho.datasets.photo_facts import PhotoFacts, examine_photos
from meisho.describing import Describer
from meisho.extractors.base import load_extractor
from meisho.photos import Photo
from meisho.ranking import Ranking
from meisho.run.folding import NEAR_BITS, NEAR_SIMILARITY, fold_near
from meisho.toycity import build_toycity, landmark_labels, load_toycity
from shared_sets import read_records

BITS = (4, 6, 8, 10, 12, 14, 16, 18)
SIMILARITIES = (0.5, 0.6, 0.7, 0.8, 0.9)
DEPTH = 50
Make = Callable[[Image.Image], tuple[str, bytes]]


def save(image: Image.Image, format: str = "jpeg", **options: object) -> tuple[str, bytes]:
    """Return how the file's name ends, and the file."""
    file = io.BytesIO()
    image.save(file, format, **options)
    return format, file.getvalue()


def shrink(divisor: int, **options: object) -> Make:
    """Make a photo smaller."""

    def make(image: Image.Image) -> tuple[str, bytes]:
        size = image.width // divisor, image.height // divisor
        return save(image.resize(size, Image.Resampling.LANCZOS), **options)

    return make


def cut(share: float, *, sides: int) -> Make:
    """Cut a share of the height and of the width off at the left and the top, or at all four sides."""

    def make(image: Image.Image) -> tuple[str, bytes]:
        x, y = round(share * image.width), round(share * image.height)
        right, bottom = (image.width, image.height) if sides == 2 else (image.width - x, image.height - y)
        return save(image.crop((x, y, right, bottom)), quality=85)

    return make


def light(kind: str, factor: float) -> Make:
    """Change brightness, contrast or colour."""
    return lambda image: save(getattr(ImageEnhance, kind)(image).enhance(factor), quality=85)


def gamma(power: float) -> Make:
    """Change the middle tones."""
    table = [round(255 * (value / 255) ** power) for value in range(256)] * 3
    return lambda image: save(image.point(table), quality=85)


def write_line(image: Image.Image) -> tuple[str, bytes]:
    """Write a line of text over the lower edge, on a dark bar."""
    image, height = image.copy(), image.height // 14
    pen = ImageDraw.Draw(image)
    pen.rectangle((0, image.height - height, image.width, image.height), fill="black")
    font = ImageFont.load_default(0.7 * height)
    pen.text((height / 2, image.height - height / 2), "© example.org 2024", "white", font, "lm")
    return save(image, quality=85)


def mark(image: Image.Image) -> tuple[str, bytes]:
    """Lay half-transparent words over the whole photo, as sellers of photos do."""
    layer = Image.new("RGBA", image.size)
    pen, size = ImageDraw.Draw(layer), image.width / 9
    for line in range(4):
        place = (image.width / 2, (line + 0.5) * image.height / 4)
        pen.text(place, "SAMPLE photo", (255, 255, 255, 110), ImageFont.load_default(size), "mm")
    return save(Image.alpha_composite(image.convert("RGBA"), layer).convert("RGB"), quality=85)


def frame(image: Image.Image) -> tuple[str, bytes]:
    """Put a white border of 3 % around."""
    return save(ImageOps.expand(image, round(0.03 * max(image.size)), "white"), quality=85)


KINDS: dict[str, Make] = {
    "JPEG 90": lambda image: save(image, quality=90),
    "JPEG 60": lambda image: save(image, quality=60),
    "JPEG 30": lambda image: save(image, quality=30),
    "PNG": lambda image: save(image, "png", compress_level=1),
    "WebP 60": lambda image: save(image, "webp", quality=60, method=1),
    "GIF, 256 colours": lambda image: save(image.quantize(256), "gif"),
    "1/2 as wide": shrink(2, quality=85),
    "1/3 as wide": shrink(3, quality=85),
    "1/3 as wide, JPEG 50": shrink(3, quality=50),
    "1 % cut at two sides": cut(0.01, sides=2),
    "2 % cut at two sides": cut(0.02, sides=2),
    "3 % cut at two sides": cut(0.03, sides=2),
    "5 % cut at two sides": cut(0.05, sides=2),
    "1 % cut all round": cut(0.01, sides=4),
    "3 % cut all round": cut(0.03, sides=4),
    "5 % cut all round": cut(0.05, sides=4),
    "brightness 0.75": light("Brightness", 0.75),
    "brightness 1.25": light("Brightness", 1.25),
    "contrast 0.7": light("Contrast", 0.7),
    "contrast 1.3": light("Contrast", 1.3),
    "gamma 0.7": gamma(0.7),
    "gamma 1.4": gamma(1.4),
    "colour 1.5": light("Color", 1.5),
    "grey": light("Color", 0.0),
    "line of text": write_line,
    "watermark": mark,
    "white border 3 %": frame,
}
"""How copies are made, by name."""


@dataclass(frozen=True)
class PhotoSet:
    """Photos, each with what it shows.

    Attributes:
        name: What the set is called.
        photos: (N,) photos.
        labels: (N,) int64, the landmark of each; -1 for none.
    """

    name: str
    photos: tuple[Photo, ...]
    labels: Int64Array


@dataclass(frozen=True)
class Compared:
    """What two photos are to each other.

    Attributes:
        bits: Number of bits in which their perceptual hashes differ.
        similarities: Cosine similarity of their descriptors.
    """

    bits: np.ndarray
    similarities: np.ndarray

    def are_near(self, bits: int, similarity: float) -> np.ndarray:
        """Return a mask of those that the limits call near copies."""
        return (self.bits <= bits) & (self.similarities >= similarity)


@dataclass(frozen=True)
class Facts:
    """A set of photos, described.

    Attributes:
        of: The set.
        hashes: (N,) perceptual hashes.
        vectors: (N, D) descriptors.
        copies: For each kind of copy, the copies beside their photos.
    """

    of: PhotoSet
    hashes: tuple[int, ...]
    vectors: Float32Array
    copies: dict[str, Compared]

    def pairs(self, *, same: bool) -> Compared:
        """Compare all pairs of different photos, of one landmark or not."""
        first, second = np.triu_indices(len(self.hashes), 1)
        labels = self.of.labels
        is_same = (labels[first] == labels[second]) & (labels[first] >= 0)
        first, second = first[is_same == same], second[is_same == same]
        hashes = np.array(self.hashes, np.uint64)
        bits = np.bitwise_count(hashes[first] ^ hashes[second])
        return Compared(bits, (self.vectors @ self.vectors.T)[first, second])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    shared = os.environ.get("MEISHO_SHARED_DATA")
    parser.add_argument("shared", type=Path, nargs="?", default=shared, help="the folder with photos.csv")
    parser.add_argument("--originals", type=int, default=60, help="photos of each set that copies are of")
    parser.add_argument("--landmarks", type=int, default=24, help="of each drawn city")
    options = parser.parse_args()
    describer = Describer(load_extractor("default"), num_workers=0)  # a few photos at a time
    with tempfile.TemporaryDirectory() as name:
        choosing, *reported = make_sets(options.shared, Path(name), options.landmarks)
        print_grid(examine(choosing, describer, options.originals))
        print_report([examine(photos, describer, options.originals) for photos in reported])


def make_sets(shared: Path | None, folder: Path, landmarks: int) -> list[PhotoSet]:
    """Return the set that chooses, then those that are reported."""
    cities = []
    for seed in (1,) if shared else (1, 2):
        root = folder / f"city{seed}"
        build_toycity(root, landmarks=landmarks, views=8, distractors=120, seed=seed)
        labels = landmark_labels(root, "database")
        cities.append(PhotoSet(f"drawn city {seed}", load_toycity(root).database, labels))
    if shared is None:
        return cities
    splits = ("train", "distractor"), ("eval", "distractor")
    return [shared_set(shared, *splits[0]), shared_set(shared, *splits[1]), *cities]


def shared_set(shared: Path, split: str, more: str) -> PhotoSet:
    """Return the photos of a split, and every second photo of no landmark, an own half for each split."""
    records = read_records(shared)
    others = [r for r in records if r["split"] == more][split == "eval" :: 2]
    chosen = [*(r for r in records if r["split"] == split), *others]
    names = sorted({r["landmark"] for r in chosen if r["split"] == split})
    labels = [names.index(r["landmark"]) if r["split"] == split else -1 for r in chosen]
    photos = tuple(Photo(r["file"], shared / "photos" / r["file"]) for r in chosen)
    name = "validation" if split == "train" else split
    return PhotoSet(name, photos, np.array(labels, np.int64))


def examine(photos: PhotoSet, describer: Describer, num_originals: int) -> Facts:
    """Describe the photos of a set, and copies of some of them."""
    hashes, vectors = describe(photos.photos, describer)
    rows = np.unique(np.linspace(0, len(hashes) - 1, num_originals, dtype=int)).tolist()
    found: dict[str, list[tuple[int, float]]] = {kind: [] for kind in KINDS}
    for row in rows:
        with tempfile.TemporaryDirectory() as name:
            copies = tuple(make_copies(photos.photos[row], Path(name)))
            for kind, bits, vector in zip(KINDS, *describe(copies, describer), strict=True):
                found[kind].append(((bits ^ hashes[row]).bit_count(), float(vector @ vectors[row])))
    compared = {kind: Compared(*np.array(values).T) for kind, values in found.items()}
    return Facts(photos, hashes, vectors, compared)


def make_copies(photo: Photo, folder: Path) -> Iterator[Photo]:
    """Save a photo in each way to the folder."""
    with Image.open(photo.path) as opened:
        image = ImageOps.exif_transpose(opened).convert("RGB")
    for number, make in enumerate(KINDS.values()):
        format, content = make(image)
        path = folder / f"{number}.{format}"
        path.write_bytes(content)
        yield Photo(path.name, path)


def describe(photos: tuple[Photo, ...], describer: Describer) -> tuple[tuple[int, ...], Float32Array]:
    """Return the perceptual hash and the descriptor of each photo."""
    facts = examine_photos([PhotoFacts(photo.path, "") for photo in photos])
    hashes = [fact.perceptual_hash for fact in facts]
    if None in hashes:
        raise SystemExit(f"cannot be read: {facts[hashes.index(None)]}")
    return tuple(hashes), describer.describe(photos).vectors


def print_grid(facts: Facts) -> None:
    """Print recall, the mean over kinds, and the share of different photos that would be folded away."""
    siblings, strangers = facts.pairs(same=True), facts.pairs(same=False)
    print(
        f"{facts.of.name}: {len(facts.hashes)} photos, {len(siblings.bits):,} pairs of different photos of "
        f"one landmark, {len(strangers.bits):,} of two; {sum(len(c.bits) for c in facts.copies.values()):,} "
        "copies\n\n| bits | cosine | recall, per cent | least recall | pairs of one landmark | of two |"
    )
    print("|---:|---:|---:|---|---:|---:|")
    for bits in BITS:
        for similarity in SIMILARITIES:
            recalls = {k: 100 * c.are_near(bits, similarity).mean() for k, c in facts.copies.items()}
            least = min(recalls, key=recalls.__getitem__)
            same, two = (int(pairs.are_near(bits, similarity).sum()) for pairs in (siblings, strangers))
            mean = np.mean(list(recalls.values()))
            print(f"| {bits} | {similarity} | {mean:.1f} | {recalls[least]:.0f} {least} | {same} | {two} |")


def print_report(sets: list[Facts]) -> None:
    """Print what the limits of `meisho.run.folding` give."""
    print(
        f"\nAt {NEAR_BITS} bits and a cosine of {NEAR_SIMILARITY}; bits as median and greatest, least cosine:"
    )
    names = [facts.of.name for facts in sets]
    print("\n| copy | " + " | ".join(f"{name}: folded, per cent | bits | cosine" for name in names) + " |")
    print("|---|" + "---:|---|---:|" * len(sets))
    for kind in KINDS:
        copies = [facts.copies[kind] for facts in sets]
        cells = [
            f"{100 * c.are_near(NEAR_BITS, NEAR_SIMILARITY).mean():.1f} | "
            f"{np.median(c.bits):.0f}, {c.bits.max():.0f} | {c.similarities.min():.2f}"
            for c in copies
        ]
        print(f"| {kind} | " + " | ".join(cells) + " |")
    for facts in sets:
        print_false_folds(facts)


def print_false_folds(facts: Facts) -> None:
    """Let every photo ask for its best, fold, and count the different photos that are folded away."""
    names = [photo.id for photo in facts.of.photos]
    whole = Ranking.from_scores(names, names, facts.vectors @ facts.vectors.T).top(DEPTH)
    folded, read = 0, 0
    for query in range(len(names)):
        hashes: dict[int, int] = {}
        one = slice(query, query + 1)
        ranking = Ranking(names[one], names, whole.ranks[one], whole.scores[one])
        _, below = fold_near(
            ranking, facts.vectors, lambda row, kept=hashes: kept.setdefault(row, facts.hashes[row])
        )
        folded += sum(map(len, below[0].values()))
        read += len(hashes)
    siblings = facts.pairs(same=True)
    print(
        f"\n{facts.of.name}: of {whole.ranks.size:,} answers {folded} were folded away below a different "
        f"photo; a question of {whole.depth} answers reads {read / len(names):.1f} files. Of "
        f"{len(siblings.bits):,} pairs of one landmark the closest differ in {siblings.bits.min()} bits; "
        f"{int((siblings.similarities >= NEAR_SIMILARITY).sum()):,} have such a cosine."
    )


if __name__ == "__main__":
    main()
