"""Extraction: photos x extractor -> descriptors, streamed in batches of equal shape."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from meisho.arrays import Float32Array
from meisho.descriptors import Descriptors
from meisho.errors import ImageError
from meisho.extractors.base import GlobalExtractor
from meisho.images import Photo


@dataclass(frozen=True, eq=False)
class DescribedBatch:
    """Photos that were described together, and those that could not be read meanwhile.

    Attributes:
        photos: B photos.
        vectors: (B, D) float32, one row per photo.
        errors: Photos that could not be read, each with its reason; they are in no batch.
    """

    photos: tuple[Photo, ...]
    vectors: Float32Array
    errors: tuple[tuple[Photo, ImageError], ...] = ()


def stream_descriptors(
    photos: Iterable[Photo],
    extractor: GlobalExtractor,
    *,
    batch_size: int = 16,
    num_workers: int | None = None,
) -> Iterator[DescribedBatch]:
    """Describe photos batch by batch, in no promised order; memory does not grow with their number."""
    raise NotImplementedError


def describe_photos(
    photos: Iterable[Photo],
    extractor: GlobalExtractor,
    *,
    batch_size: int = 16,
    num_workers: int | None = None,
) -> Descriptors:
    """Describe photos and return their descriptors in the photos' order.

    Raises:
        ImageError: The first photo that cannot be read.
    """
    raise NotImplementedError
