"""Loading: the batches of an epoch -> images and landmarks, ahead of their use, in worker processes.

What a batch holds depends on seed, epoch and its number alone: not on workers, processes or the step that a
run was resumed at.
"""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from meisho.arrays import Int64Array, UInt8Array
from meisho.cores import count_cores
from meisho.decoding import MAX_WORKERS
from meisho.errors import ConfigError, DatasetError, ImageError
from meisho.extractors.backbone import BackboneTraits
from meisho.images import ImageOptions, load_image, read_size, working_size
from meisho.photos import Photo
from meisho.training.augmentation import (
    Changes,
    augmentation_of,
    change_batch,
    crop_photo,
    draw_changes,
    seeded_generator,
)
from meisho.training.data import TrainingSet
from meisho.training.interruption import outlive_signals, start_worker_server
from meisho.training.mining import count_tuples
from meisho.training.photo_cache import RECORD, CachedPhotos, CacheOptions
from meisho.training.recipe import Recipe
from meisho.training.recipe_tables import DataRecipe
from meisho.training.sampling import Batch, Sampler, group_by_aspect, make_sampler, shape_of_group


@dataclass(frozen=True, eq=False)
class LoadedPart:
    """One part of a batch: what one process computes at once.

    Attributes:
        rows: (b,) int64, of the training set.
        images: (b, 3, h, w): float32, normalised; or uint8, cropped only, where `changes` are still to come.
        labels: (b,) int64 landmarks.
        changes: What `augmentation.change_batch` is still to do; None where it is done.
        unreadable: Why photos could not be read. Others are in their places, with their rows and labels.
    """

    rows: Tensor
    images: Tensor
    labels: Tensor
    changes: Changes | None
    unreadable: tuple[ImageError, ...] = ()

    def pin_memory(self) -> "LoadedPart":
        """Return it with what goes to a GPU in memory that is copied there in the background."""
        return replace(self, images=self.images.pin_memory(), labels=self.labels.pin_memory())


@dataclass(frozen=True, eq=False)
class PartPlan:
    """What a part is made of: the first `size` photos of batch number `batch` of `epoch`, turned by `start`.

    The others may take the place of those that cannot be read. It brings what is to be known of them all:
    workers that each held the names of millions of photos would take long to start and much memory.
    """

    epoch: int
    batch: int
    start: int
    size: int
    shape_px: tuple[int, int]
    rows: Int64Array
    labels: Int64Array
    photos: tuple[Photo, ...]
    records: NDArray[np.void]


class _Plans:
    """What to load next, drawn while it is loaded."""

    parts: Iterable[PartPlan] = ()

    def __iter__(self) -> Iterator[PartPlan]:
        return iter(self.parts)


class BatchLoader:
    """Loads the batches of any epoch.

    What the photo cache holds, and the shapes of batches that are grouped by aspect ratio, are not known
    before `look_up`: the recipe is checked before a cache is filled, which takes hours.

    Args:
        photos: What is trained on.
        recipe: Sampling, augmentation, cache, number of parts, workers.
        traits: How images are normalised.
        rank: Number of this process.
        num_ranks: Processes that train together.
        pin_memory: Whether tensors are made ready for a GPU.

    Raises:
        ConfigError: The sampler's options do not fit, or processes and parts cannot share a batch evenly.
    """

    def __init__(
        self,
        photos: TrainingSet,
        recipe: Recipe,
        traits: BackboneTraits,
        *,
        rank: int = 0,
        num_ranks: int = 1,
        pin_memory: bool = False,
    ) -> None:
        size, parts = recipe.sampling.batch_size, recipe.hardware.accumulate
        if size % (parts * num_ranks):
            raise ConfigError(
                f"sampling.batch_size={size}: {num_ranks} processes and hardware.accumulate={parts} need a "
                f"multiple of {parts * num_ranks}"
            )
        self._photos, self._recipe, self._rank, self._num_ranks = photos, recipe, rank, num_ranks
        self._records = np.zeros(len(photos), RECORD)  # none is cached
        self.sampler = _make_sampler(photos, recipe)
        self._plans = _Plans()
        workers = recipe.hardware.workers
        self._loader = _make_loader(
            _PartDataset(recipe, traits),
            self._plans,
            num_workers=default_workers() if workers is None else workers,
            pin_memory=pin_memory,
        )

    def look_up(self) -> None:
        """Look up which photos the cache holds, and their aspect ratios where batches are grouped by them."""
        data = self._recipe.data
        if data.cache is not None:
            cached = CachedPhotos(data.cache, cache_options(data))
            self._records = cached.find(map(self._photos.photo, range(len(self._photos))))
        if self._recipe.sampling.by_aspect:
            sizes = _find_sizes(self._photos, cache_options(data).image, self._records)
            self.sampler = replace(self.sampler, groups=group_by_aspect(sizes))

    def start(self) -> None:
        """Start the workers, which takes seconds, while something else is done."""
        self._plans.parts = ()
        for _ in self._loader:
            pass

    def close(self) -> None:
        """End the workers; what they load is not needed any more."""
        iterator = self._loader._iterator  # torch has no other way, and waits for those of a loader in use
        if iterator is not None:
            iterator._shutdown_workers()  # type: ignore[attr-defined]
            self._loader._iterator = None

    def count_batches(self, epoch: int) -> int:
        """Return how many batches an epoch has."""
        mining, rows = self._recipe.mining, None
        if mining.num_negatives:
            rows = np.arange(count_tuples(self.sampler.labels, mining) * (mining.num_negatives + 2))
        return len(self.sampler.batches(epoch, rows))

    def load(
        self, epoch: int, size_px: int, *, first: int = 0, mined: Sequence[int] = ()
    ) -> Iterator[tuple[LoadedPart, ...]]:
        """Yield the parts of each batch of an epoch, from batch number `first` on.

        Args:
            epoch: From 0.
            size_px: Side of the square of an image's area.
            first: A batch's number.
            mined: Rows of the epoch, where the sampler is not to draw them.

        Raises:
            DatasetError: No photo of a part can be read.
        """
        parts = self._recipe.hardware.accumulate
        batches = self.sampler.batches(epoch, np.array(mined, np.int64) if mined else None)
        self._plans.parts = self._plan(epoch, size_px, batches, first)
        waiting: list[LoadedPart] = []
        for part in self._loader:
            if len(part.rows) == 0:
                raise DatasetError(
                    f"none of {len(part.unreadable)} photos in a row can be read, such as "
                    f"{part.unreadable[0]}; is the drive that holds them still there?"
                )
            waiting.append(part)
            if len(waiting) == parts:
                yield tuple(waiting)
                waiting = []

    def _plan(self, epoch: int, size_px: int, batches: Sequence[Batch], first: int) -> Iterator[PartPlan]:
        parts = self._recipe.hardware.accumulate
        for number, batch in enumerate(batches[first:], start=first):
            shape = shape_of_group(batch.group, size_px)
            own = len(batch.rows) // (parts * self._num_ranks)
            for part in range(parts):
                start = (part * self._num_ranks + self._rank) * own
                rows = np.roll(batch.rows, -start)
                labels, photos = self._photos.classes[rows], tuple(map(self._photos.photo, rows.tolist()))
                records = self._records[rows]
                yield PartPlan(epoch, number, start, own, shape, rows, labels, photos, records)


def default_workers() -> int:
    """Return how many workers load for each of the training processes that share this machine's cores."""
    return min(max(1, count_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))), MAX_WORKERS)


def _make_loader(
    photos: "_PartDataset", plans: _Plans, *, num_workers: int, pin_memory: bool
) -> "DataLoader[LoadedPart]":
    """Make the loader of all epochs; `plans` are replaced before each."""
    methods = multiprocessing.get_all_start_methods()
    has_server = num_workers > 0 and "forkserver" in methods
    if has_server:  # workers share what it has imported
        start_worker_server([__name__])
    return DataLoader(
        photos,
        batch_size=None,
        sampler=plans,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        # a plain fork copies locks of threads that it does not copy, such as those of the collection's store
        multiprocessing_context="forkserver" if has_server else None,
        pin_memory=pin_memory,
        worker_init_fn=_prepare_worker,
        generator=torch.Generator(),  # torch's own must not move: a resumed run starts a loader more
    )


def _prepare_worker(number: int) -> None:
    """End this worker with the process that trains, even one that is killed: torch watches the forkserver."""
    outlive_signals()

    def wait() -> None:
        trainer = multiprocessing.parent_process()
        if trainer is not None:
            trainer.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def cache_options(recipe: DataRecipe) -> CacheOptions:
    """Return how a recipe's photos are kept; without a cache they are brought to the same size."""
    return CacheOptions(
        image=ImageOptions(max_side_px=recipe.cache_side_px, enlarge=False),
        encoding=recipe.cache_encoding,
        max_bytes=round(1e9 * recipe.cache_gigabytes),
    )


class _PartDataset(Dataset[LoadedPart]):
    """Makes a part of what its plan says; the loader's workers call it."""

    def __init__(self, recipe: Recipe, traits: BackboneTraits) -> None:
        self._recipe, self._traits = recipe, traits
        self._augmentation = augmentation_of(recipe.augmentation)
        self._options = cache_options(recipe.data)
        cache = recipe.data.cache
        self._cached = None if cache is None else CachedPhotos(cache, self._options)

    def __getitem__(self, plan: PartPlan) -> LoadedPart:
        generator = seeded_generator(self._recipe.seed, plan.epoch, plan.batch)
        changes = draw_changes(self._augmentation, len(plan.rows), generator)
        changes = changes.take(slice(plan.start, plan.start + plan.size))
        readable = _ReadablePhotos(plan, self._read)
        taken, cropped = [], []
        for i in range(plan.size):
            if (found := readable.find(i)) is not None:
                taken.append(found[0])
                cropped.append(crop_photo(found[1], changes, i, plan.shape_px))
        rows, labels = torch.from_numpy(plan.rows[taken]), torch.from_numpy(plan.labels[taken])
        images = torch.stack(cropped) if cropped else torch.empty((0, 3, *plan.shape_px))
        part = LoadedPart(rows, images, labels, changes, tuple(readable.errors.values()))
        if self._recipe.augmentation.on_device or not cropped:
            return part
        changed = change_batch(images, changes, mean=self._traits.mean, std=self._traits.std)
        return replace(part, images=changed, changes=None)

    def _read(self, photo: Photo, record: np.void) -> UInt8Array:
        if self._cached is not None:
            return self._cached.load(photo, record)
        return load_image(photo, self._options.image)


class _ReadablePhotos:
    """The photos of a plan; those that cannot be read are tried once.

    Attributes:
        errors: Place in the plan -> why the photo there cannot be read.
    """

    def __init__(self, plan: PartPlan, read: Callable[[Photo, np.void], UInt8Array]) -> None:
        self._plan, self._read = plan, read
        self.errors: dict[int, ImageError] = {}

    def find(self, place: int) -> tuple[int, UInt8Array] | None:
        """Return a place and its photo; for a broken one the next place, of the same landmark if there is."""
        plan = self._plan
        for other in chain([place], self._others(place)):
            if other not in self.errors:
                try:
                    return other, self._read(plan.photos[other], plan.records[other])
                except ImageError as error:
                    self.errors[other] = error
        return None

    def _others(self, place: int) -> Iterator[int]:
        labels, count = self._plan.labels, len(self._plan.photos)
        following = [(place + step) % count for step in range(1, count)]
        yield from sorted(following, key=lambda other: labels[other] != labels[place])


def _make_sampler(photos: TrainingSet, recipe: Recipe) -> Sampler:
    groups = np.zeros(len(photos), np.int64) if recipe.sampling.by_aspect else None
    return make_sampler(
        recipe.sampling.name,
        photos.classes,
        batch_size=recipe.sampling.batch_size,
        seed=recipe.seed,
        groups=groups,
        **recipe.sampling.options,
    )


def _find_sizes(photos: TrainingSet, options: ImageOptions, records: NDArray[np.void]) -> Int64Array:
    """Return (N, 2) width and height at which photos are kept, or would be; 1 where they cannot be read."""
    sizes = np.column_stack([records["width"], records["height"]]).astype(np.int64)
    for row in np.flatnonzero(records["length"] == 0).tolist():
        try:
            sizes[row] = working_size(*read_size(photos.photo(row)), options)
        except ImageError:
            sizes[row] = 1
    return sizes
