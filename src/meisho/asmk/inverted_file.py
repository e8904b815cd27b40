"""Inverted file: for each visual word the photos that hold it, and what they hold; searched as a whole."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meisho.array_files import Arrays, read_npz
from meisho.arrays import Float32Array, Float64Array, Int64Array, UInt8Array, UInt64Array, read_only
from meisho.asmk.aggregation import Aggregated
from meisho.asmk.codebook import Codebook, restore_codebook
from meisho.documents import one_line, parse_json
from meisho.errors import CollectionError, InputError
from meisho.files import write_bytes

_BITS = np.array([bin(number).count("1") for number in range(256)], np.uint8)
_FORMAT = 1
_ARRAYS = ("header", "centers", "counts", "gaps", "values")
_ADVICE = "no inverted file can be read; delete it, and it is made again"


@dataclass(frozen=True)
class Kernel:
    """How alike two aggregated vectors are: sign(u) · |u|^α of their similarity u where u >= τ, else 0.

    u is the cosine of the residuals, or 1 - 2 h / D of h different signs. (The paper has u > τ, the package
    `asmk` u >= τ; at the default τ the two are the same.) The defaults are those of arXiv:2007.13172.

    Args:
        alpha: α, above 0.
        threshold: τ, from -1 up to 1.

    Raises:
        InputError: An option is outside its range.
    """

    alpha: float = 3.0
    threshold: float = 0.0

    def __post_init__(self) -> None:
        if not (0 < self.alpha < np.inf and -1 <= self.threshold < 1):
            raise InputError(
                f"asmk: alpha {self.alpha} must be above 0, threshold {self.threshold} from -1 up to 1"
            )

    def __call__(self, similarities: Float32Array | Float64Array) -> Float32Array:
        """Return the kernel of similarities of any shape."""
        values = np.sign(similarities) * np.abs(similarities) ** self.alpha
        return np.where(similarities >= np.float32(self.threshold), values, 0).astype(np.float32)


@dataclass(frozen=True, eq=False)
class InvertedFile:
    """What N photos hold, by visual word: E entries ordered by word, then by photo.

    Memory: 4 bytes and the values of each entry, a bit per dimension or 4 bytes each; a photo has at most as
    many entries as features. Time of a search: the entries of the query's words.

    Attributes:
        codebook: The W words.
        num_photos: N.
        starts: (W + 1,) int64, read-only; the entries of word w are `starts[w]` to `starts[w + 1] - 1`.
        photos: (E,) int32, read-only.
        values: As in `Aggregated`, read-only.
        idf: Whether words count by log(N / number of their photos)², and not all the same.

    Raises:
        InputError: The shapes do not fit.
    """

    codebook: Codebook
    num_photos: int
    starts: Int64Array
    photos: NDArray[np.int32]
    values: Float32Array | UInt64Array
    idf: bool = True

    def __post_init__(self) -> None:
        binary = self.values.dtype == np.uint64
        object.__setattr__(self, "starts", read_only(self.starts, np.int64))
        object.__setattr__(self, "photos", read_only(self.photos, np.int32))
        object.__setattr__(self, "values", read_only(self.values, np.uint64 if binary else np.float32))
        width = -(-self.dim // 64) if binary else self.dim
        entries = len(self.photos)
        fits = self.starts.shape == (len(self.codebook) + 1,) and self.values.shape == (entries, width)
        if not fits or self.starts[0] != 0 or self.starts[-1] != entries or np.any(np.diff(self.starts) < 0):
            raise InputError(
                f"inverted file: starts {self.starts.shape}, photos {self.photos.shape} and values "
                f"{self.values.shape} do not fit {len(self.codebook)} words of {self.dim} dimensions"
            )
        if entries and (self.photos.min() < 0 or self.photos.max() >= self.num_photos):
            raise InputError(f"inverted file: a photo lies outside the {self.num_photos} photos")

    @classmethod
    def build(
        cls, parts: Iterable[Aggregated], num_photos: Iterable[int], codebook: Codebook, *, idf: bool = True
    ) -> "InvertedFile":
        """Build from the aggregated features of photos, a batch after the other.

        Args:
            parts: Aggregated features of each batch, in order; all with bits, or none.
            num_photos: How many photos each batch has.
            codebook: What they were made with.
            idf: See the class.
        """
        whole, first = [], 0
        for part, count in zip(parts, num_photos, strict=True):
            whole.append((part.photos + first, part.words, part.values))
            first += count
        if not whole:
            return cls(
                codebook,
                0,
                np.zeros(len(codebook) + 1, np.int64),
                np.empty(0, np.int32),
                np.empty((0, codebook.centers.shape[1]), np.float32),
                idf,
            )
        photos, words, values = (np.concatenate(column) for column in zip(*whole, strict=True))
        order = np.argsort(words, kind="stable")
        starts = np.concatenate([[0], np.cumsum(np.bincount(words, minlength=len(codebook)))])
        return cls(codebook, first, starts, photos[order].astype(np.int32), values[order], idf)

    @property
    def dim(self) -> int:
        """Number of dimensions of the local descriptors."""
        return int(self.codebook.centers.shape[1])

    @property
    def binary(self) -> bool:
        """Whether only signs are held."""
        return self.values.dtype == np.uint64

    @property
    def num_bytes(self) -> int:
        """Bytes of the entries in memory, without the codebook."""
        return int(self.photos.nbytes + self.values.nbytes + self.starts.nbytes)

    def score(self, query: Aggregated, kernel: Kernel | None = None) -> Float32Array:
        """Compare one photo with all N; checked against the package `asmk` 0.1.1.

        The sum over common words of weight · kernel, divided by the square roots of both photos' sums of
        weights, so that a photo scores 1 with itself when both are assigned alike. The weight is 1, or
        log(N / n_w)² of a word that n_w of the N photos hold; of a word that none holds it is 1.

        Args:
            query: One aggregated photo, of the same codebook and kind of values.
            kernel: How alike two vectors are.

        Returns:
            (N,) float32, higher is better.
        """
        kernel = Kernel() if kernel is None else kernel
        counts = self.starts[query.words + 1] - self.starts[query.words]
        entries = _ranges(self.starts[query.words], counts)
        alike = self._compare(query.values, np.repeat(np.arange(len(counts)), counts), entries, kernel)
        weighted = alike * np.repeat(self._weights[query.words], counts)
        sums = np.bincount(self.photos[entries], weighted, self.num_photos)
        lengths = self._lengths * np.sqrt(self._weights[query.words].sum())
        scaled: Float64Array = np.divide(sums, lengths, out=np.zeros(len(sums)), where=lengths > 0)
        return scaled.astype(np.float32)

    def save(self, path: Path, *, about: str = "") -> None:
        """Write everything to one .npz file, to a temporary name first.

        Args:
            path: The file.
            about: Says what it was made from, for `load` to compare.

        Raises:
            InputError: It cannot be written there.
        """
        header = {"format": _FORMAT, "num_photos": self.num_photos, "idf": self.idf, "about": about}
        content = BytesIO()
        np.savez_compressed(
            content,
            header=np.frombuffer(json.dumps(header).encode(), np.uint8),
            centers=self.codebook.centers,
            counts=np.diff(self.starts).astype(np.int32),
            gaps=np.diff(self.photos, prepend=np.int32(0)),  # small numbers, which compress well
            values=self.values,
        )
        try:
            write_bytes(path, content.getvalue())
        except OSError as error:
            raise InputError(f"{path}: cannot be written ({error.strerror}); choose another place") from error

    @classmethod
    def load(cls, path: Path) -> tuple["InvertedFile", str]:
        """Read what `save` wrote, and what it was made from.

        Raises:
            CollectionError: The file is missing, damaged, or something else.
        """
        try:
            return _restore(path, read_npz(path, _ARRAYS, error=CollectionError, advice=_ADVICE))
        except (ArithmeticError, InputError, LookupError, TypeError, ValueError) as error:
            raise CollectionError(f"{path}: {one_line(error)}; {_ADVICE}") from error

    @cached_property
    def _weights(self) -> Float64Array:
        """(W,): how much each word counts."""
        ones = np.ones(len(self.codebook))
        counts = np.diff(self.starts)
        if not self.idf:
            return ones
        return np.log(self.num_photos / np.maximum(counts, 1), where=counts > 0, out=ones) ** 2

    @cached_property
    def _lengths(self) -> Float64Array:
        """(N,): square roots of the sums of the weights of each photo's words."""
        weights = np.repeat(self._weights, np.diff(self.starts))
        return np.sqrt(np.bincount(self.photos, weights, self.num_photos))

    def _compare(
        self,
        query_values: Float32Array | UInt64Array,
        query_rows: Int64Array,
        entries: Int64Array,
        kernel: Kernel,
    ) -> Float32Array:
        """Kernel (H,) of the H pairs of a row of the query and an entry."""
        if not self.binary:
            return kernel(np.einsum("hd,hd->h", query_values[query_rows], self.values[entries]))
        different = count_bits(np.bitwise_xor(query_values[query_rows], self.values[entries]))
        return kernel(1 - 2 * np.arange(self.dim + 1) / max(1, self.dim))[different]


def count_bits(bits: UInt64Array) -> Int64Array:
    """Count the ones of each row of (H, B) uint64."""
    of_parts = np.bitwise_count(bits) if hasattr(np, "bitwise_count") else _count_by_table(bits)
    counts: Int64Array = of_parts.sum(axis=1, dtype=np.int64)
    return counts


def _count_by_table(bits: UInt64Array) -> UInt8Array:
    """Count the ones of each byte: for numpy 1, about 5 times slower."""
    return _BITS[np.ascontiguousarray(bits).view(np.uint8)]


def _ranges(starts: Int64Array, counts: Int64Array) -> Int64Array:
    """Return start, start + 1, ... of each range, one range after the other."""
    shifts = np.repeat(starts - np.cumsum(counts) + counts, counts)
    return shifts + np.arange(len(shifts))


def _restore(path: Path, arrays: Arrays) -> tuple[InvertedFile, str]:
    header = parse_json(arrays["header"].tobytes(), source=str(path), error=CollectionError, advice=_ADVICE)
    if header.integer("format") != _FORMAT:
        header.fail(f"its format is not {_FORMAT}")
    if not {arrays["counts"].dtype.kind, arrays["gaps"].dtype.kind} <= {*"iu"}:
        header.fail("its counts and gaps are no whole numbers")
    starts = np.concatenate([[0], np.cumsum(arrays["counts"], dtype=np.int64)])
    photos = np.cumsum(arrays["gaps"], dtype=np.int64).astype(np.int32)
    values: Any = arrays["values"]  # the class checks its type
    codebook = restore_codebook(arrays)
    inverted = InvertedFile(
        codebook, header.integer("num_photos"), starts, photos, values, header.flag("idf")
    )
    return inverted, header.text("about")
