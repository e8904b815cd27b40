"""Sampling: which photos make an epoch, and in which batches.

The batches of an epoch are a pure function of the labels, the options, the seed and the number of the epoch.
So a run resumes at any batch by leaving out those before it, and ranks cut their parts out of the same ones.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from meisho.arrays import Int64Array, read_only
from meisho.errors import ConfigError
from meisho.tables import require_name, require_options

ASPECT_RATIOS = (1 / 2, 2 / 3, 3 / 4, 1.0, 4 / 3, 3 / 2, 2.0)
"""Width / height of the shapes that batches have when they are grouped by aspect ratio."""


@dataclass(frozen=True, eq=False)
class Batch:
    """One batch of all ranks together.

    Attributes:
        rows: (B,) int64, of the labels.
        group: Which of `ASPECT_RATIOS` most of its photos are nearest to; None where batches are not grouped.
    """

    rows: Int64Array
    group: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", read_only(self.rows, np.int64))


@dataclass(frozen=True, eq=False)
class ClassRows:
    """Rows sorted by class, in random order within a class.

    Attributes:
        rows: (N,) int64.
        starts: (C,) int64: where each class begins in `rows`. Classes without a photo are left out.
        counts: (C,) int64: its photos.
    """

    rows: Int64Array
    starts: Int64Array
    counts: Int64Array


Draw = Callable[..., Int64Array]
"""(labels (N,), batch size, generator, **options) -> rows (L,) of an epoch; each B of them are a batch."""


@dataclass(frozen=True, eq=False)
class Sampler:
    """Makes the batches of every epoch; see `make_sampler`.

    Attributes:
        labels: (N,) int64 class of each photo.
        batch_size: B, of all ranks together.
        seed: With the number of an epoch, the seed of its draw.
        groups: (N,) int64 of `group_by_aspect`, or None.
        draw: Draws an epoch.
    """

    labels: Int64Array
    batch_size: int
    seed: int
    groups: Int64Array | None
    draw: Callable[[Int64Array, int, np.random.Generator], Int64Array]

    def batches(self, epoch: int, rows: Int64Array | None = None) -> tuple[Batch, ...]:
        """Return the full batches of an epoch; what is left of the draw, less than a batch, is left out.

        Args:
            epoch: From 0.
            rows: (L,) of the epoch, where they are not to be drawn.
        """
        generator = np.random.default_rng([self.seed, epoch])
        if rows is None:
            rows = self.draw(self.labels, self.batch_size, generator)
        if len(rows) < self.batch_size:
            fitting = 1 << (max(len(rows), 1).bit_length() - 1)
            raise ConfigError(
                f"an epoch has {len(rows)} photos, less than one batch of {self.batch_size}; "
                f"choose a smaller batch, such as --set sampling.batch_size={fitting}, or give more photos"
            )
        if self.groups is None:
            return tuple(Batch(batch) for batch in _cut(rows, self.batch_size))
        return _cut_groups(rows, self.groups, self.batch_size, generator)


def make_sampler(
    name: str,
    labels: Int64Array,
    *,
    batch_size: int,
    seed: int = 0,
    groups: Int64Array | None = None,
    **options: object,
) -> Sampler:
    """Make a sampler by name.

    Args:
        name: One of `SAMPLERS`.
        labels: (N,) int64 class of each photo, 0 to C - 1.
        batch_size: Photos of a batch, of all ranks together.
        seed: Seed of the draws.
        groups: (N,) int64 of `group_by_aspect`: batches hold photos of one group as far as they can.
        **options: Options of the draw function.

    Raises:
        ConfigError: There is no such sampler or option, or they do not fit the labels.
    """
    require_name(name, SAMPLERS, what="sampler")
    draw = SAMPLERS[name]
    require_options(options, list(inspect.signature(draw).parameters)[3:], of=f"sampler {name!r}")
    if groups is not None and draw is draw_per_class:
        raise ConfigError("sampler 'per_class' makes its own batches; they cannot be grouped by aspect ratio")

    def draw_epoch(labels: Int64Array, batch_size: int, generator: np.random.Generator) -> Int64Array:
        rows: Int64Array = draw(labels, batch_size, generator, **options)
        return rows

    labels = read_only(np.asarray(labels), np.int64)
    sampler = Sampler(labels, batch_size, seed, groups, draw_epoch)
    sampler.batches(0)  # refuses options that do not fit the labels before training starts
    return sampler


def draw_uniform(labels: Int64Array, batch_size: int, generator: np.random.Generator) -> Int64Array:
    """Draw every photo once."""
    return generator.permutation(len(labels))


def draw_balanced(
    labels: Int64Array,
    batch_size: int,
    generator: np.random.Generator,
    photos_per_epoch: int | None = None,
) -> Int64Array:
    """Draw every class as often as any other, but for one photo.

    A class's photos come in random order, and again from the first when all have come.

    Args:
        labels: (N,) classes.
        batch_size: Not used here.
        generator: Draws.
        photos_per_epoch: L; None: N.
    """
    of_class = sort_by_class(labels, generator)
    num_photos = _epoch_length(photos_per_epoch, labels)
    num_classes = len(of_class.starts)
    rounds = [generator.permutation(num_classes) for _ in range(-(-num_photos // num_classes))]
    classes = np.concatenate(rounds)[:num_photos]
    turns = np.arange(num_photos) // num_classes
    return of_class.rows[of_class.starts[classes] + turns % of_class.counts[classes]]


def draw_per_class(
    labels: Int64Array,
    batch_size: int,
    generator: np.random.Generator,
    photos_per_class: int = 4,
    photos_per_epoch: int | None = None,
) -> Int64Array:
    """Draw batches of B / m different classes with m photos each, every class about as often as any other.

    A class's photos come in random order, and again from the first when all have come: a class of fewer than
    m photos shows some of them twice in a batch.

    Args:
        labels: (N,) classes.
        batch_size: B, a multiple of m.
        generator: Draws.
        photos_per_class: m.
        photos_per_epoch: L; None: N.

    Raises:
        ConfigError: B is no multiple of m, or there are fewer than B / m classes.
    """
    of_class = sort_by_class(labels, generator)
    num_classes = len(of_class.starts)
    per_batch, rest = divmod(batch_size, max(photos_per_class, 1))
    if rest or per_batch == 0 or photos_per_class < 1:
        raise ConfigError(
            f"batch_size={batch_size} must be a multiple of photos_per_class={photos_per_class}"
        )
    if per_batch > num_classes:
        raise ConfigError(
            f"batch_size={batch_size} with photos_per_class={photos_per_class} needs {per_batch} classes; "
            f"there are {num_classes}"
        )
    num_batches = _epoch_length(photos_per_epoch, labels) // batch_size
    batches_per_round = num_classes // per_batch
    rounds = [
        generator.permutation(num_classes)[: batches_per_round * per_batch]
        for _ in range(-(-num_batches // batches_per_round))
    ]
    classes = np.concatenate(rounds)[: num_batches * per_batch] if rounds else np.empty(0, np.int64)
    places = count_earlier(classes)[:, None] * photos_per_class + np.arange(photos_per_class)
    rows = of_class.rows[of_class.starts[classes][:, None] + places % of_class.counts[classes][:, None]]
    return rows.reshape(-1)


def draw_bounded(
    labels: Int64Array, batch_size: int, generator: np.random.Generator, max_per_class: int = 100
) -> Int64Array:
    """Draw every photo once, but at most some of each class, others in each epoch.

    Args:
        labels: (N,) classes.
        batch_size: Not used here.
        generator: Draws.
        max_per_class: Photos of a class, at most.

    Raises:
        ConfigError: `max_per_class` is less than 1.
    """
    if max_per_class < 1:
        raise ConfigError(f"max_per_class={max_per_class}: must be at least 1")
    of_class = sort_by_class(labels, generator)
    places = np.arange(len(labels)) - np.repeat(of_class.starts, of_class.counts)
    return generator.permutation(of_class.rows[places < max_per_class])


SAMPLERS: dict[str, Draw] = {
    "uniform": draw_uniform,
    "balanced": draw_balanced,
    "per_class": draw_per_class,
    "bounded": draw_bounded,
}
"""Name of a sampler -> what draws its epochs."""


def group_by_aspect(sizes_px: Int64Array) -> Int64Array:
    """Return (N,) int64: which of `ASPECT_RATIOS` each photo is nearest to, by the ratio of ratios.

    Args:
        sizes_px: (N, 2) width and height of the upright photos.
    """
    ratios = np.log(sizes_px[:, 0] / sizes_px[:, 1])
    nearest: Int64Array = np.abs(ratios[:, None] - np.log(ASPECT_RATIOS)).argmin(axis=1)
    return nearest


def shape_of_group(group: int | None, side_px: int, *, multiple_px: int = 32) -> tuple[int, int]:
    """Return the (height, width), px, of a batch's images: of about the area of a square of `side_px`.

    Args:
        group: As in `Batch.group`; None gives the square itself, whatever `multiple_px`.
        side_px: Side of the square.
        multiple_px: Both sides become multiples of it, at least one.
    """
    if group is None:
        return side_px, side_px
    stretch = ASPECT_RATIOS[group] ** 0.5

    def rounded(side: float) -> int:
        return max(1, round(side / multiple_px)) * multiple_px

    return rounded(side_px / stretch), rounded(side_px * stretch)


def sort_by_class(labels: Int64Array, generator: np.random.Generator) -> ClassRows:
    """Sort the rows of (N,) labels by class, in random order within each."""
    shuffled = generator.permutation(len(labels))
    rows = shuffled[np.argsort(labels[shuffled], kind="stable")]
    _, starts, counts = np.unique(labels[rows], return_index=True, return_counts=True)
    return ClassRows(rows, starts, counts)


def count_earlier(values: Int64Array) -> Int64Array:
    """Return (N,) int64: how many equal values stand before each."""
    order = np.argsort(values, kind="stable")
    _, starts, counts = np.unique(values[order], return_index=True, return_counts=True)
    earlier = np.empty(len(values), np.int64)
    earlier[order] = np.arange(len(values)) - np.repeat(starts, counts)
    return earlier


def _epoch_length(photos_per_epoch: int | None, labels: Int64Array) -> int:
    if photos_per_epoch is not None and photos_per_epoch < 1:
        raise ConfigError(f"photos_per_epoch={photos_per_epoch}: must be at least 1")
    return photos_per_epoch or len(labels)


def _cut(rows: Int64Array, batch_size: int) -> list[Int64Array]:
    return [rows[i : i + batch_size] for i in range(0, len(rows) - batch_size + 1, batch_size)]


def _cut_groups(
    rows: Int64Array, groups: Int64Array, batch_size: int, generator: np.random.Generator
) -> tuple[Batch, ...]:
    """Cut batches out of each group, and out of what is left of all, neighbours together; in random order."""
    own = groups[rows]
    batches, rest = [], []
    for group in np.unique(own):
        members = rows[own == group]
        whole = len(members) // batch_size * batch_size
        batches += _cut(members[:whole], batch_size)
        rest.append(members[whole:])
    left = np.concatenate(rest)
    surplus = len(left) % batch_size
    kept = np.sort(
        generator.permutation(len(left))[surplus:]
    )  # any photo may be left out, not the widest ones
    batches += _cut(left[kept], batch_size)
    return tuple(
        Batch(batches[i], int(np.bincount(groups[batches[i]]).argmax()))
        for i in generator.permutation(len(batches))
    )
