"""Statistics of labelled photos: how many photos each class has, and how unequal that is.

The chapter draws images per class as a histogram; on Google Landmarks v2 it has a long tail: 57 % of the
landmarks have at most 10 images [Weyand et al. 2020, arXiv:2004.01804].
"""

from dataclasses import dataclass

import numpy as np

from meisho.arrays import Int64Array
from meisho.datasets.labels import Labels
from meisho.errors import InputError

FEW = 5
"""A class with fewer photos than this is counted as small."""


@dataclass(frozen=True)
class ClassStatistics:
    """How photos are spread over classes.

    Attributes:
        num_photos: N.
        num_classes: C.
        mean: Photos per class.
        median: Photos per class.
        smallest: Photos of the smallest class.
        largest: Photos of the largest class.
        largest_class: Its name.
        num_single: Classes of one photo.
        share_few: Share of the classes that have fewer than 5 photos, 0 to 1.
        classes_for_half: How many of the largest classes hold half of the photos.
        gini: Gini coefficient of the counts: 0 where all are equal, towards 1 where one class has all.
    """

    num_photos: int
    num_classes: int
    mean: float
    median: float
    smallest: int
    largest: int
    largest_class: str
    num_single: int
    share_few: float
    classes_for_half: int
    gini: float


@dataclass(frozen=True)
class HistogramBar:
    """Classes of similar size.

    Attributes:
        low: Least number of photos.
        high: Largest number of photos.
        num_classes: Classes with `low` to `high` photos.
        num_photos: Photos of those classes.
    """

    low: int
    high: int
    num_classes: int
    num_photos: int

    @property
    def label(self) -> str:
        """What stands beside the bar, for example "5-8"."""
        return f"{self.low}" if self.low == self.high else f"{self.low}-{self.high}"


def describe_classes(labels: Labels) -> ClassStatistics:
    """Say how the photos are spread over the classes."""
    counts = labels.counts
    held = np.cumsum(np.sort(counts)[::-1])
    return ClassStatistics(
        num_photos=len(labels),
        num_classes=len(counts),
        mean=float(counts.mean()),
        median=float(np.median(counts)),
        smallest=int(counts.min()),
        largest=int(counts.max()),
        largest_class=labels.class_names[int(counts.argmax())],
        num_single=int((counts == 1).sum()),
        share_few=float((counts < FEW).mean()),
        classes_for_half=int(np.searchsorted(held, len(labels) / 2)) + 1,
        gini=gini(counts),
    )


def gini(counts: Int64Array) -> float:
    """Gini coefficient of (C,) counts, at least one above 0: 0 where all are equal, less than 1 always.

    Half of the mean absolute difference of two of them, drawn with replacement, over their mean; by the sum
    over the sorted counts x_1 ≤ ... ≤ x_C, sum((2 i - C - 1) x_i) / (C sum(x)).

    Raises:
        InputError: There are none, or none is above 0.
    """
    if counts.sum() <= 0:
        raise InputError("a Gini coefficient needs at least one class with photos")
    places = np.arange(1, len(counts) + 1)
    return float(((2 * places - len(counts) - 1) * np.sort(counts)).sum() / (len(counts) * counts.sum()))


def count_bars(counts: Int64Array) -> tuple[HistogramBar, ...]:
    """Return the histogram of (C,) counts in bars that double in width: 1, 2, 3-4, 5-8, 9-16, ...

    All bars from the smallest count to the largest are there, empty ones too.
    """
    numbers = np.ceil(np.log2(np.maximum(counts, 1))).astype(np.int64)
    return tuple(
        HistogramBar(
            low=2 ** (number - 1) + 1 if number else 1,
            high=2**number,
            num_classes=int((numbers == number).sum()),
            num_photos=int(counts[numbers == number].sum()),
        )
        for number in range(int(numbers.min()), int(numbers.max()) + 1)
    )
