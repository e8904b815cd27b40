import itertools

import numpy as np
import pytest

from meisho.errors import InputError
from meisho.evaluate.intervals import bootstrap_interval, paired_test


def test_the_interval_covers_the_true_mean_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(400):
        interval = bootstrap_interval(rng.beta(2, 3, size=70), rng, num_resamples=400)
        covered += interval.low <= 2 / 5 <= interval.high
    # binomial(400, .95): mean 380, deviation 4.4; the percentile bootstrap is a little short at n = 70
    assert 364 <= covered <= 394


def test_the_interval_agrees_with_the_normal_one():
    values = np.random.default_rng(1).beta(2, 3, size=500)
    interval = bootstrap_interval(values, np.random.default_rng(0))
    half = 1.96 * values.std() / np.sqrt(len(values))
    assert interval.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_the_same_seed_gives_the_same_interval():
    values = np.random.default_rng(0).random(30)
    first, second = (bootstrap_interval(values, np.random.default_rng(7)) for _ in range(2))
    assert first == second
    assert first != bootstrap_interval(values, np.random.default_rng(8))


def test_queries_that_do_not_count_do_not_change_the_interval():
    values = np.random.default_rng(0).random(30)
    with_nan = np.concatenate([values[:9], [np.nan, np.nan], values[9:]])
    assert bootstrap_interval(with_nan, np.random.default_rng(0)) == bootstrap_interval(
        values, np.random.default_rng(0)
    )


def test_one_query_has_a_point_and_none_has_nan():
    one = bootstrap_interval(np.array([0.3]), np.random.default_rng(0))
    assert (one.low, one.high) == (0.3, 0.3)
    none = bootstrap_interval(np.array([np.nan]), np.random.default_rng(0))
    assert np.isnan([none.low, none.high]).all()


def test_chunks_cover_all_resamples():
    # 3,000 values: more than one chunk of resamples
    interval = bootstrap_interval(np.random.default_rng(0).random(3_000), np.random.default_rng(0))
    assert 0.48 < interval.low < 0.5 < interval.high < 0.52


def test_equal_runs_do_not_differ():
    values = np.random.default_rng(0).random(20)
    test = paired_test(values, values, np.random.default_rng(0))
    assert (test.difference, test.low, test.high, test.p_value) == (0, 0, 0, 1)


def test_the_p_value_is_that_of_all_sign_flips():
    rng = np.random.default_rng(2)
    first, second = rng.random(10), rng.random(10) + 0.15
    differences = second - first
    flips = np.array(list(itertools.product([-1, 1], repeat=10)))  # all 1,024
    exact = np.mean(np.abs(flips @ differences) >= abs(differences.sum()) - 1e-12)
    got = paired_test(first, second, rng, num_resamples=20_000).p_value
    # deviation of a share over 20,000 draws: sqrt(p (1 - p) / 20,000) < .0036
    assert got == pytest.approx(exact, abs=0.015)
    assert 0.02 < exact < 0.9


def test_without_a_difference_the_test_rejects_as_rarely_as_it_says():
    rng = np.random.default_rng(3)
    p_values = []
    for _ in range(400):
        skill = rng.random(40)  # how hard each query is, the same for both runs
        runs = [skill + 0.2 * rng.standard_normal(40) for _ in range(2)]
        p_values.append(paired_test(*runs, rng, num_resamples=400).p_value)
    # binomial(400, .05): mean 20, deviation 4.4; p is uniform: mean .5, deviation .29 / 20
    assert 6 <= np.count_nonzero(np.array(p_values) <= 0.05) <= 36
    assert np.mean(p_values) == pytest.approx(0.5, abs=0.06)


def test_a_difference_is_found_through_the_spread_of_queries():
    rng = np.random.default_rng(4)
    found = 0
    for _ in range(100):
        skill = rng.random(70)
        runs = [skill + 0.1 * rng.standard_normal(70) + gain for gain in (0, 0.06)]
        test = paired_test(*runs, rng, num_resamples=1_000)
        found += test.p_value < 0.05 and test.low > 0
    assert found >= 85  # a test of the means without pairs would find hardly any: the skill spreads by .29


def test_the_difference_is_second_less_first():
    test = paired_test(np.zeros(5), np.ones(5), np.random.default_rng(0))
    assert test.difference == 1
    assert test.num_pairs == 5


def test_pairs_with_nan_are_left_out():
    test = paired_test(np.array([0, np.nan, 0]), np.array([1, 1, np.nan]), np.random.default_rng(0))
    assert (test.difference, test.num_pairs) == (1, 1)
    nothing = paired_test(np.array([np.nan]), np.array([1.0]), np.random.default_rng(0))
    assert nothing.num_pairs == 0
    assert np.isnan(nothing.p_value)


def test_runs_of_different_length_are_refused():
    with pytest.raises(InputError, match="3 and 2 queries"):
        paired_test(np.zeros(3), np.zeros(2), np.random.default_rng(0))
