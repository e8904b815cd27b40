import itertools
import math

import numpy as np
import pytest

from meisho.evaluate.average_precision import rectangular_average_precision, trapezoid_average_precision
from meisho.evaluate.chance import expected_rectangular, expected_trapezoid, harmonic_number


def all_orders(num_positives, num_candidates):
    """The positions of the positives in every possible order, each equally likely."""
    return [np.array(c) for c in itertools.combinations(range(num_candidates), num_positives)]


@pytest.mark.parametrize(
    ("num_positives", "num_candidates"), [(1, 1), (1, 5), (2, 2), (2, 6), (3, 7), (5, 8), (8, 8)]
)
@pytest.mark.parametrize("depth", [1, 3, 20])
def test_chance_is_the_mean_over_all_orders(num_positives, num_candidates, depth):
    orders = all_orders(num_positives, num_candidates)
    trapezoid = np.mean([trapezoid_average_precision(o[o < depth], num_positives) for o in orders])
    rectangular = np.mean([rectangular_average_precision(o, num_positives, cut=depth) for o in orders])
    got = expected_trapezoid(num_positives, num_candidates, depth=depth)
    assert got == pytest.approx(trapezoid, abs=1e-12)
    got = expected_rectangular(num_positives, num_candidates, cut=depth)
    assert got == pytest.approx(rectangular, abs=1e-12)


def test_chance_without_positives_is_nan():
    assert np.isnan(expected_trapezoid(0, 5, depth=5))
    assert np.isnan(expected_rectangular(0, 5, cut=5))


def test_an_empty_list_has_no_chance():
    assert expected_trapezoid(2, 5, depth=0) == 0


@pytest.mark.parametrize("count", [1, 2, 999, 1_000, 1_001, 50_000])
def test_harmonic_numbers_are_exact_on_both_sides_of_the_formula(count):
    assert harmonic_number(count) == pytest.approx(math.fsum(1 / k for k in range(1, count + 1)), abs=1e-12)
