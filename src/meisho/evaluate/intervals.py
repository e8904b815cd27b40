"""Intervals: how far a mean over queries would move with other queries, and whether two runs differ.

Source: Efron and Tibshirani 1993 (percentile bootstrap); Smucker et al. 2007, "A comparison of statistical
significance tests for information retrieval evaluation" (the paired randomisation test of average
precisions).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from meisho.arrays import Float64Array
from meisho.errors import InputError

LEVEL = 0.95
_DRAWS_AT_ONCE = 1 << 20  # bounds the temporary memory to tens of MB, however many queries there are
_SAME = 1e-12  # sums of the same numbers in another order differ by rounding


@dataclass(frozen=True)
class Interval:
    """The middle 95 % (or `level`) of a resampled mean."""

    low: float
    high: float


@dataclass(frozen=True)
class PairedTest:
    """What a paired test of two runs says.

    Attributes:
        difference: Mean of second - first, over the queries that both score.
        low: Low end of its bootstrap interval.
        high: High end.
        p_value: Two-sided: how often a difference at least this large comes about when the two runs' scores
            are swapped query by query at random.
        num_pairs: Queries compared.
    """

    difference: float
    low: float
    high: float
    p_value: float
    num_pairs: int


def bootstrap_interval(
    values: Float64Array, rng: np.random.Generator, *, level: float = LEVEL, num_resamples: int = 5_000
) -> Interval:
    """Percentile bootstrap interval of the mean, resampling queries.

    Args:
        values: (Q,) one score per query; NaN ones are left out, as in the mean.
        rng: Where the resamples come from.
        level: Share of the resampled means inside the interval.
        num_resamples: How many.

    Returns:
        The interval; NaN where no query counts.
    """
    counted = values[~np.isnan(values)]
    if len(counted) == 0:
        return Interval(float("nan"), float("nan"))
    means = np.concatenate(
        [
            counted[rng.integers(0, len(counted), size=(size, len(counted)))].mean(axis=1)
            for size in _chunks(num_resamples, len(counted))
        ]
    )
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def paired_test(
    first: Float64Array,
    second: Float64Array,
    rng: np.random.Generator,
    *,
    level: float = LEVEL,
    num_resamples: int = 10_000,
) -> PairedTest:
    """Compare two runs over the same queries by a sign-flip permutation test of the per-query differences.

    Args:
        first: (Q,) scores of one run, in the order of the queries.
        second: (Q,) scores of the other.
        rng: Where resamples and flips come from.
        level: Level of the bootstrap interval.
        num_resamples: Resamples for both; the smallest p value is 1 / (num_resamples + 1).

    Returns:
        The test of second - first; queries that either run does not score (NaN) are left out. All NaN, with
        no pairs, where none is left.

    Raises:
        InputError: The runs have different lengths.
    """
    if first.shape != second.shape:
        raise InputError(f"paired test: the runs score {len(first)} and {len(second)} queries; need the same")
    differences = second - first
    differences = differences[~np.isnan(differences)]
    if len(differences) == 0:
        return PairedTest(float("nan"), float("nan"), float("nan"), float("nan"), 0)
    interval = bootstrap_interval(differences, rng, level=level, num_resamples=num_resamples)
    p_value = _sign_flip_p_value(differences, rng, num_resamples)
    return PairedTest(float(differences.mean()), interval.low, interval.high, p_value, len(differences))


def _sign_flip_p_value(differences: Float64Array, rng: np.random.Generator, num_resamples: int) -> float:
    observed = abs(differences.mean())
    as_large = 0
    for size in _chunks(num_resamples, len(differences)):
        signs = rng.integers(0, 2, size=(size, len(differences)), dtype=np.int8) * 2 - 1
        as_large += int(np.count_nonzero(np.abs(signs @ differences) / len(differences) >= observed - _SAME))
    return (as_large + 1) / (num_resamples + 1)  # the observed order is one of the possible ones


def _chunks(num_resamples: int, num_values: int) -> Iterator[int]:
    at_once = max(1, _DRAWS_AT_ONCE // num_values)
    for start in range(0, num_resamples, at_once):
        yield min(at_once, num_resamples - start)
