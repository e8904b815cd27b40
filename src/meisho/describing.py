"""Describer: photos x extractor -> descriptors, streamed in batches of equal shape."""

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cache

import numpy as np

from meisho.arrays import Float32Array, Int64Array, read_only
from meisho.decoding import check_num_workers, load_images
from meisho.descriptors import Descriptors, Provenance, check_unit_length
from meisho.errors import ConfigError, ImageError, InputError
from meisho.extractors.base import GlobalExtractor
from meisho.extractors.restoring import restore_extractor
from meisho.images import LoadedImage, PhotoLike, as_photos, load_sized_image
from meisho.memory import Admit, refuse_cost
from meisho.photos import Photo
from meisho.progress import DECODING, DESCRIBING, Progress, Stages, silent

_MAX_WAITING_BATCHES = 8
"""Images that wait for others of their shape, in batches: memory is bounded however many shapes there are."""


@dataclass(frozen=True, eq=False)
class DescribedBatch:
    """Photos that were described together, and those that could not be read meanwhile.

    Attributes:
        photos: B photos; none when there is nothing but errors to tell.
        vectors: (B, D) float32, one row per photo, read-only.
        sizes_px: (B, 2) int64, width and height of each whole upright photo, px, read-only.
        errors: Photos that could not be read, each with its reason; they are in no batch.

    Raises:
        InputError: The numbers of rows differ: the extractor did not return one vector per image.
    """

    photos: tuple[Photo, ...]
    vectors: Float32Array
    sizes_px: Int64Array
    errors: tuple[tuple[Photo, ImageError], ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "vectors", read_only(self.vectors, np.float32))
        object.__setattr__(self, "sizes_px", read_only(self.sizes_px, np.int64))
        rows = len(self.photos)
        if self.vectors.ndim != 2 or len(self.vectors) != rows or self.sizes_px.shape != (rows, 2):
            raise InputError(
                f"a batch of {rows} photos needs vectors ({rows}, D) and sizes ({rows}, 2), "
                f"got {self.vectors.shape} and {self.sizes_px.shape}"
            )


@dataclass(frozen=True, eq=False)
class DescribedPhoto:
    """A photo that was described in a process of its own.

    Attributes:
        vector: (D,) float32.
        size_px: Width and height of the whole upright photo, px.
        decoding_seconds: How long it took to decode it.
    """

    vector: Float32Array
    size_px: tuple[int, int]
    decoding_seconds: float


def describe_photo(photo: Photo, provenance: Provenance, *, admit: Admit = refuse_cost) -> DescribedPhoto:
    """Describe one photo; `meisho.decoding.GuardedDecoder.ask` does it in a process that may die of it.

    Args:
        photo: The photo.
        provenance: What makes the extractor, which computes on the CPU and is kept for the next photo.
        admit: Called before the photo is decoded with what that takes, see `meisho.memory`.

    Raises:
        ImageError: The photo cannot be read.
        MeishoError: The extractor cannot be had, or fails.
    """
    extractor = _keep_extractor(provenance)
    start = time.perf_counter()
    image = load_sized_image(photo, extractor.image_options, admit=admit)
    seconds = time.perf_counter() - start
    return DescribedPhoto(_describe([(photo, image)], extractor, []).vectors[0], image.size_px, seconds)


def warm_up(provenances: Iterable[Provenance]) -> None:
    """Load what `describe_photo` needs, and describe a small picture by it; raises as that does."""
    for provenance in provenances:
        _keep_extractor(provenance).extract(np.zeros((1, 64, 64, 3), np.uint8))


@cache
def _keep_extractor(provenance: Provenance) -> GlobalExtractor:
    return restore_extractor(provenance, device="cpu")


@dataclass(frozen=True, eq=False)
class Describer:
    """An extractor of global descriptors, and how photos are fed to it.

    Attributes:
        extractor: What describes the photos, in the caller's thread.
        batch_size: Images given to the extractor at once, at most.
        num_workers: Processes that decode; None chooses, as `meisho.decoding.load_images` does.
        memory_bytes: What photos may take while they are decoded; None: a quarter of the machine's memory.

    Raises:
        ConfigError: `batch_size` is less than 1, or `num_workers` less than 0.
    """

    extractor: GlobalExtractor
    batch_size: int = 16
    num_workers: int | None = None
    memory_bytes: int | None = None

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ConfigError(f"batch_size is {self.batch_size}, it must be at least 1")
        check_num_workers(self.num_workers)

    @property
    def dim(self) -> int:
        """D, the number of dimensions."""
        return self.extractor.dim

    @property
    def provenance(self) -> Provenance:
        """Where its descriptors come from."""
        return self.extractor.provenance

    def stream(self, photos: Iterable[Photo], stages: Stages | None = None) -> Generator[DescribedBatch]:
        """Describe photos batch by batch; each photo is in one batch, or in the errors of one.

        The photos are drawn as they are needed, a bounded number of images is held, and the batches are the
        same whatever the number of workers. They are in no promised order, since those of one shape go
        together.

        Args:
            photos: Any number of photos.
            stages: Told what the time is spent on.
        """
        loaded = load_images(
            photos,
            self.extractor.image_options,
            num_workers=self.num_workers,
            max_waiting=max(2 * self.batch_size, 32),
            memory_bytes=self.memory_bytes,
        )
        return describe_loaded(loaded, self.extractor, self.batch_size, stages or Stages())

    def describe(
        self,
        photos: PhotoLike | Iterable[PhotoLike],
        *,
        progress: Progress = silent,
        stage: str = "describe",
        on_error: Callable[[ImageError], None] | None = None,
    ) -> Descriptors:
        """Describe photos and return their descriptors in the photos' order.

        Args:
            photos: N photos with unique ids: `Photo` values, paths, bytes, PIL images or arrays (H, W, 3)
                uint8 RGB, see `meisho.images.as_photos`.
            progress: Called as photos are done.
            stage: What `progress` calls this.
            on_error: Called with each photo that cannot be read; those are left out.

        Raises:
            ImageError: The first photo that cannot be read, where `on_error` is not given.
            InputError: Two photos have the same id, or a source cannot be a photo.
        """
        photos = as_photos(photos)
        row_of = {photo.id: row for row, photo in enumerate(photos)}
        vectors = np.zeros((len(photos), self.dim), np.float32)
        is_read = np.zeros(len(photos), bool)
        done = 0
        with closing(self.stream(photos)) as batches:
            for batch in batches:
                for _, error in batch.errors:
                    if on_error is None:
                        raise error
                    on_error(error)
                rows = [row_of[photo.id] for photo in batch.photos]
                vectors[rows], is_read[rows] = batch.vectors, True
                done += len(batch.photos) + len(batch.errors)
                progress(stage, done, len(photos))
        if is_read.all():
            return Descriptors(tuple(row_of), vectors, self.provenance)
        ids = tuple(photo_id for photo_id, row in row_of.items() if is_read[row])
        return Descriptors(ids, vectors[is_read], self.provenance)


def describe_loaded(
    loaded: Generator[tuple[Photo, LoadedImage | ImageError]],
    extractor: GlobalExtractor,
    batch_size: int,
    stages: Stages,
) -> Generator[DescribedBatch]:
    """Describe images as they are loaded, those of one shape together; see `Describer.stream`."""
    waiting = _Shapes(batch_size)
    errors: list[tuple[Photo, ImageError]] = []

    def describe(batch: Sequence[_Loaded]) -> DescribedBatch:
        with stages.at(DESCRIBING):
            described = _describe(batch, extractor, errors)
        errors.clear()
        return described

    with closing(loaded):
        for photo, image in stages.waiting(DECODING, loaded):
            if isinstance(image, ImageError):
                errors.append((photo, image))
                if len(errors) == batch_size:
                    yield describe(())
            elif full := waiting.add(photo, image):
                yield describe(full)
    for rest in waiting.drain():
        yield describe(rest)
    if errors:
        yield describe(())


_Loaded = tuple[Photo, LoadedImage]


class _Shapes:
    """Images that wait until enough of their shape are together."""

    def __init__(self, batch_size: int) -> None:
        self._batch_size = batch_size
        self._num_waiting = 0
        self._by_shape: dict[tuple[int, ...], list[_Loaded]] = {}

    def add(self, photo: Photo, image: LoadedImage) -> list[_Loaded] | None:
        """Add an image; returns a batch when one is full, or when too many images wait altogether."""
        batch = self._by_shape.setdefault(image.pixels.shape, [])
        batch.append((photo, image))
        self._num_waiting += 1
        if len(batch) == self._batch_size:
            return self._take(image.pixels.shape)
        if self._num_waiting == _MAX_WAITING_BATCHES * self._batch_size:
            return self._take(max(self._by_shape, key=lambda shape: len(self._by_shape[shape])))
        return None

    def drain(self) -> Iterator[list[_Loaded]]:
        while self._by_shape:
            yield self._take(next(iter(self._by_shape)))

    def _take(self, shape: tuple[int, ...]) -> list[_Loaded]:
        batch = self._by_shape.pop(shape)
        self._num_waiting -= len(batch)
        return batch


def _describe(
    batch: Sequence[_Loaded], extractor: GlobalExtractor, errors: list[tuple[Photo, ImageError]]
) -> DescribedBatch:
    vectors = np.zeros((0, extractor.dim), np.float32)
    if batch:
        vectors = extractor.extract(np.stack([image.pixels for _, image in batch]))
        check_unit_length(vectors, extractor.provenance.extractor)
    sizes = np.array([image.size_px for _, image in batch], np.int64).reshape(-1, 2)
    return DescribedBatch(tuple(photo for photo, _ in batch), vectors, sizes, tuple(errors))
