"""Statistics of classes against numbers worked by hand."""

from pathlib import Path

import numpy as np
import pytest

from meisho.datasets.labels import LAYOUTS, Labels
from meisho.datasets.statistics import count_bars, describe_classes, gini
from meisho.errors import InputError


def labels_of(counts):
    classes = np.repeat(np.arange(len(counts)), counts)
    names = tuple(f"{i}.jpg" for i in range(len(classes)))
    return Labels(
        Path("t.csv"), Path(), LAYOUTS[-1], names, classes, tuple(f"class {i}" for i in range(len(counts)))
    )


def test_statistics_of_a_small_table():
    statistics = describe_classes(labels_of([1, 1, 2, 6, 10]))
    assert (statistics.num_photos, statistics.num_classes) == (20, 5)
    assert (statistics.mean, statistics.median) == (4, 2)
    assert (statistics.smallest, statistics.largest, statistics.largest_class) == (1, 10, "class 4")
    assert (statistics.num_single, statistics.share_few) == (2, 0.6)
    assert statistics.classes_for_half == 1  # the class of 10 holds 10 of 20
    # by pairs: |differences| 0 1 5 9 | 1 5 9 | 4 8 | 4 sum to 46, twice 46 / (2 * 25 * 4) = .46
    assert statistics.gini == pytest.approx(0.46)


@pytest.mark.parametrize(("counts", "half"), [([5, 5], 1), ([4, 4, 4], 2), ([1], 1), ([3, 2, 2, 2], 2)])
def test_how_many_classes_hold_half(counts, half):
    assert describe_classes(labels_of(counts)).classes_for_half == half


def test_gini_is_half_the_relative_mean_difference():
    rng = np.random.default_rng(0)
    for _ in range(20):
        counts = rng.integers(0, 50, rng.integers(1, 30)) + np.array([1] + [0] * 0)
        differences = np.abs(counts[:, None] - counts[None]).mean()
        assert gini(counts) == pytest.approx(differences / (2 * counts.mean()))
    assert gini(np.array([7, 7, 7])) == 0
    assert gini(np.array([0] * 99 + [1])) == pytest.approx(0.99)
    with pytest.raises(InputError, match="at least one class"):
        gini(np.array([0, 0]))


def test_bars_double_in_width_and_hold_every_class():
    bars = count_bars(np.array([1, 1, 2, 3, 4, 5, 8, 9, 40]))
    assert [bar.label for bar in bars] == ["1", "2", "3-4", "5-8", "9-16", "17-32", "33-64"]
    assert [bar.num_classes for bar in bars] == [2, 1, 2, 2, 1, 0, 1]
    assert [bar.num_photos for bar in bars] == [2, 2, 7, 13, 9, 0, 40]
