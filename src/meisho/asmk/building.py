"""Building an inverted file from the local features of photos, read a batch at a time."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from meisho.arrays import Float32Array, Int64Array
from meisho.asmk.aggregation import Aggregated, aggregate_photos
from meisho.asmk.codebook import Codebook, learn_codebook
from meisho.asmk.inverted_file import InvertedFile
from meisho.local_features import LocalFeatures

Reader = Callable[[Int64Array], Sequence[LocalFeatures]]
"""Returns the local features of (B,) photos, by their rows."""

SAMPLE_PER_WORD = 32
"""Descriptors per word that a codebook is learned from; FAISS warns below 39, and uses at most 256."""

_SAMPLE_PHOTOS = 4_096
_BATCH = 64


def sample_descriptors(
    read: Reader, num_photos: int, count: int, generator: np.random.Generator
) -> Float32Array:
    """Choose about `count` local descriptors of at most 4,096 photos at random, as many of each.

    Returns:
        (S, D) float32, S <= count + number of photos; (0, 0) where no photo has a feature.
    """
    chosen = np.sort(generator.choice(num_photos, min(num_photos, _SAMPLE_PHOTOS), replace=False))
    share = -(-count // max(1, len(chosen)))
    sample = [
        photo.descriptors[np.sort(generator.choice(len(photo), min(share, len(photo)), replace=False))]
        for rows in _batches(chosen)
        for photo in read(rows)
        if len(photo)
    ]
    return np.concatenate(sample) if sample else np.empty((0, 0), np.float32)


def learn_from_photos(read: Reader, num_photos: int, size: int, generator: np.random.Generator) -> Codebook:
    """Learn a codebook of `size` words from a sample of the local features of N photos.

    Where there are fewer than 8 descriptors per word, there are fewer words. Memory: the sample, 32 · `size`
    descriptors, and one batch of 64 photos.
    """
    sample = sample_descriptors(read, num_photos, SAMPLE_PER_WORD * size, generator)
    return learn_codebook(sample, min(size, max(1, len(sample) // 8)), generator)


def index_photos(
    read: Reader, num_photos: int, codebook: Codebook, *, idf: bool = True, binary: bool = True
) -> InvertedFile:
    """Put the local features of N photos into an inverted file, each assigned to its nearest word.

    Time N · K · W · D for K features per photo and W words. Memory: twice the entries, and one batch of 64
    photos.
    """
    batches = list(_batches(np.arange(num_photos)))
    parts: Iterator[Aggregated] = (aggregate_photos(read(rows), codebook, binary=binary) for rows in batches)
    return InvertedFile.build(parts, map(len, batches), codebook, idf=idf)


def load_or_build(path: Path | None, about: str, build: Callable[[], InvertedFile]) -> InvertedFile:
    """Return the inverted file that was saved at `path` if it was made from the same; else build and save it.

    Args:
        path: A file, or None to build only.
        about: What it is made from, and how.
        build: Builds it.

    Raises:
        CollectionError: What stands at `path` is damaged or something else.
    """
    if path is not None and path.exists():
        saved, made_from = InvertedFile.load(path)
        if made_from == about:
            return saved
    built = build()
    if path is not None:
        built.save(path, about=about)
    return built


def _batches(rows: Int64Array) -> Iterator[Int64Array]:
    for first in range(0, len(rows), _BATCH):
        yield rows[first : first + _BATCH]
