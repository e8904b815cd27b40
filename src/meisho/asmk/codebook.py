"""Codebook: visual words, the centres of local descriptors, learned by k-means."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path

import numpy as np

from meisho.array_files import Arrays, read_npz
from meisho.arrays import Float32Array, Int64Array, read_only
from meisho.documents import one_line
from meisho.errors import CollectionError, InputError
from meisho.files import write_bytes

_PRODUCT_BYTES = 16 * 2**20  # of products held at a time: about what a cache holds


@dataclass(frozen=True, eq=False)
class Codebook:
    """W visual words for local descriptors of D dimensions.

    Attributes:
        centers: (W, D) float32, read-only; the centre of each word.

    Raises:
        InputError: `centers` is no matrix, or a number is not finite.
    """

    centers: Float32Array

    def __post_init__(self) -> None:
        centers = read_only(self.centers, np.float32)
        if centers.ndim != 2 or not np.isfinite(centers).all():
            raise InputError(f"codebook: centers {centers.shape} must be a matrix of finite numbers")
        object.__setattr__(self, "centers", centers)

    def __len__(self) -> int:
        return len(self.centers)

    def assign(self, descriptors: Float32Array, *, count: int = 1) -> Int64Array:
        """Find the nearest words of each of (F, D) descriptors by Euclidean distance.

        Returns:
            Words (F, min(count, W)) int64, nearest first; ties go to the lower word. Time F · W · D; beside
            the answer it holds about 16 MiB.

        Raises:
            InputError: The descriptors have another number of dimensions.
        """
        if len(descriptors) and descriptors.shape[1] != self.centers.shape[1]:
            raise InputError(
                f"codebook: it is for descriptors of {self.centers.shape[1]} dimensions, these have "
                f"{descriptors.shape[1]}; learn one from local features of the same extractor"
            )
        words = np.empty((len(descriptors), min(count, len(self))), np.int64)
        for block, products in self._products(descriptors):
            rows = np.arange(len(products))
            for place in range(words.shape[1]):  # a few maxima are found sooner than a partition
                words[block, place] = best = np.argmax(products, axis=1)
                products[rows, best] = -np.inf
        return words

    def save(self, path: Path) -> None:
        """Write the codebook as one .npz file, to a temporary name first."""
        content = BytesIO()
        np.savez(content, centers=self.centers)
        write_bytes(path, content.getvalue())

    @classmethod
    def load(cls, path: Path) -> "Codebook":
        """Read the codebook that `save` wrote, or that of an inverted file's file.

        Raises:
            CollectionError: The file is missing, or holds no codebook.
        """
        advice = "no codebook; give a file that 'asmk' saved"
        arrays = read_npz(path, ("centers",), error=CollectionError, advice=advice)
        try:
            return restore_codebook(arrays)
        except (ArithmeticError, InputError, ValueError) as error:
            raise CollectionError(f"{path}: {one_line(error)}; {advice}") from error

    @cached_property
    def _lifted(self) -> Float32Array:
        """(D + 1, W): with a 1 behind a descriptor the product is (|x|² - |x - c|²) / 2."""
        halves = -0.5 * np.einsum("wd,wd->w", self.centers, self.centers)
        return np.concatenate([self.centers.T, halves[None]]).astype(np.float32)

    def _products(self, descriptors: Float32Array) -> Iterator[tuple[slice, Float32Array]]:
        step = max(1, _PRODUCT_BYTES // (4 * max(1, len(self))))
        for first in range(0, len(descriptors), step):
            part = descriptors[first : first + step]
            lifted = np.concatenate([part, np.ones((len(part), 1), np.float32)], axis=1, dtype=np.float32)
            yield slice(first, first + len(part)), lifted @ self._lifted


def restore_codebook(arrays: Arrays) -> Codebook:
    """Return the codebook among the arrays of a file.

    Raises:
        ArithmeticError: A number is larger than a float32 can be.
        InputError: They are no words.
    """
    with np.errstate(over="raise", invalid="raise"):
        return Codebook(arrays["centers"].astype(np.float32, copy=False))


def learn_codebook(
    descriptors: Float32Array, size: int, generator: np.random.Generator, *, iterations: int = 10
) -> Codebook:
    """Learn visual words by Lloyd's k-means from distinct random descriptors.

    A word that nothing is assigned to moves to one of the descriptors that are furthest from their words.
    Time iterations · S · size · D; memory about 16 MiB beside the descriptors, which are not copied, and two
    codebooks. The same generator and descriptors give the same words.

    Args:
        descriptors: (S, D) float32, a sample.
        size: How many words; fewer where there are fewer descriptors.
        generator: Chooses the first centres.
        iterations: 10, as in the package `asmk` (and FAISS as it is used there).

    Raises:
        InputError: `size` or `iterations` is less than 1, or a number is not finite.
    """
    if size < 1 or iterations < 1:
        raise InputError(f"codebook: size {size} and iterations {iterations} must be 1 or more")
    chosen = generator.choice(len(descriptors), min(size, len(descriptors)), replace=False)
    codebook = Codebook(descriptors[np.sort(chosen)])
    for _ in range(iterations if len(codebook) else 0):
        codebook = _improve(codebook, descriptors)
    return codebook


def _improve(codebook: Codebook, descriptors: Float32Array) -> Codebook:
    words = codebook.assign(descriptors)[:, 0]
    counts = np.bincount(words, minlength=len(codebook))
    order = np.argsort(words, kind="stable")
    centers = codebook.centers.copy()
    for word, rows in _groups(order, counts):
        centers[word] = descriptors[rows].mean(axis=0, dtype=np.float64)
    empty = np.flatnonzero(counts == 0)
    if len(empty):
        centers[empty] = descriptors[_furthest(descriptors, codebook.centers, words, len(empty))]
    return Codebook(centers)


def _groups(order: Int64Array, counts: Int64Array) -> Iterator[tuple[int, Int64Array]]:
    ends: Sequence[int] = np.cumsum(counts).tolist()
    for word, (end, count) in enumerate(zip(ends, counts.tolist(), strict=True)):
        if count:
            yield word, order[end - count : end]


def _furthest(descriptors: Float32Array, centers: Float32Array, words: Int64Array, count: int) -> Int64Array:
    distances = np.empty(len(descriptors), np.float32)
    for first in range(0, len(descriptors), 2**14):
        block = slice(first, first + 2**14)
        differences = descriptors[block] - centers[words[block]]
        distances[block] = np.einsum("fd,fd->f", differences, differences)
    return np.argsort(-distances, kind="stable")[:count]
