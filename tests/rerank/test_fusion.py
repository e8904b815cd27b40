from typing import get_args

import numpy as np
import pytest

from meisho.errors import InputError
from meisho.ranking import NO_ROW, Ranking
from meisho.rerank.fusion import Method, fuse_rankings

METHODS = get_args(Method)


def ranking(*lists, num_database=5, queries=None):
    """A ranking of lists of (row, score)."""
    depth = max(map(len, lists), default=0)
    ranks = np.full((len(lists), depth), NO_ROW)
    scores = np.full((len(lists), depth), -np.inf)
    for query_row, pairs in enumerate(lists):
        for place, (row, score) in enumerate(pairs):
            ranks[query_row, place], scores[query_row, place] = row, score
    names = queries or tuple(f"q{row}" for row in range(len(lists)))
    return Ranking(names, tuple(f"d{row}" for row in range(num_database)), ranks, scores)


ONE = ranking([(0, 0.9), (1, 0.6), (2, 0.3)])
OTHER = ranking([(2, 80.0), (0, 20.0)])


def random_rankings(seed, count=3, num_queries=4, num_database=30):
    generator = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        lists = []
        for _ in range(num_queries):
            length = int(generator.integers(0, 20))
            rows = generator.permutation(num_database)[:length]
            lists.append(list(zip(rows, np.sort(generator.integers(0, 9, length))[::-1] / 4, strict=True)))
        made.append(ranking(*lists, num_database=num_database))
    return made


def slow_points(pairs, row, method, num_database):
    """The points that one list of (row, score) gives to a row."""
    rows, scores = [r for r, _ in pairs], [float(s) for _, s in pairs]
    listed = row in rows
    place = rows.index(row) + 1 if listed else None
    if method == "rrf":
        return 1 / (60 + place) if listed else 0.0
    if method == "borda":
        left = [num_database - n for n in range(len(rows) + 1, num_database + 1)]
        return num_database - place if listed else sum(left) / len(left)
    if method in ("combsum", "combmnz"):
        if not listed:
            return 0.0
        span = max(scores) - min(scores)
        return (scores[place - 1] - min(scores)) / span if span else 1.0
    deviation = np.std(scores) if scores else 0
    z = [(s - np.mean(scores)) / deviation if deviation else 0.0 for s in scores]
    return z[place - 1] if listed else min(z, default=0.0)


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        # 0 is first and second, 2 third and first, 1 second in one list
        ("rrf", {0: 1 / 61 + 1 / 62, 2: 1 / 63 + 1 / 61, 1: 1 / 62}),
        # of 5 photos: 4, 3, 2 points, the other two share 1 + 0; and 4, 3, the other three share 2 + 1 + 0
        ("borda", {0: 4 + 3, 2: 2 + 4, 1: 3 + 1}),
        # (1, .5, 0) and (1, 0)
        ("combsum", {0: 1 + 0, 2: 0 + 1, 1: 0.5}),
        ("combmnz", {0: 2 * 1, 2: 2 * 1, 1: 0.5}),
        # ±sqrt(1.5) and 0; ±1; 1 is not in the other list and gets its least
        ("zscore", {0: 1.5**0.5 - 1, 2: -(1.5**0.5) + 1, 1: 0 - 1}),
    ],
)
def test_the_points_of_a_worked_case(method, expected):
    fused = fuse_rankings([ONE, OTHER], method=method)
    found = dict(zip(fused.ranks[0].tolist(), fused.scores[0], strict=True))
    assert found == pytest.approx({row: points / 2 for row, points in expected.items()}, rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("weights", [None, (1.0, 0.0, 3.0)])
def test_it_agrees_with_a_slow_version(method, weights):
    rankings = random_rankings(1)
    fused = fuse_rankings(rankings, method=method, weights=weights)
    shares = np.array(weights or (1, 1, 1)) / np.sum(weights or (1, 1, 1))
    for query_row in range(4):
        lists = [
            [(r, s) for r, s in zip(x.ranks[query_row], x.scores[query_row], strict=True) if r != NO_ROW]
            for x in rankings
        ]
        rows = sorted({row for pairs in lists for row, _ in pairs})
        totals = []
        for row in rows:
            points = [slow_points(pairs, row, method, 30) for pairs in lists]
            total = sum(share * p for share, p in zip(shares, points, strict=True))
            total *= sum(row in dict(pairs) for pairs in lists) if method == "combmnz" else 1
            totals.append(total)
        order = sorted(range(len(rows)), key=lambda i: (-round(totals[i], 10), rows[i]))[: fused.depth]
        length = len(order)
        np.testing.assert_allclose(
            fused.scores[query_row, :length], [totals[i] for i in order], rtol=1e-5, atol=1e-6
        )
        assert sorted(fused.ranks[query_row, :length]) == sorted(set(fused.ranks[query_row, :length]))
        assert (fused.ranks[query_row, length:] == NO_ROW).all()


@pytest.mark.parametrize("method", METHODS)
def test_one_ranking_keeps_its_order(method):
    fused = fuse_rankings([ONE], method=method)
    np.testing.assert_array_equal(fused.ranks, ONE.ranks)


@pytest.mark.parametrize("method", METHODS)
def test_the_same_ranking_twice_keeps_its_order_whatever_the_scores_scale(method):
    scaled = Ranking(ONE.query_ids, ONE.database_ids, ONE.ranks, 1000 * ONE.scores - 7)
    np.testing.assert_array_equal(fuse_rankings([ONE, scaled], method=method).ranks, ONE.ranks)


@pytest.mark.parametrize("method", METHODS)
def test_empty_lists_and_equal_scores_are_answers(method):
    empty, alike = ranking([], []), ranking([(3, 1.0), (1, 1.0)], [])
    fused = fuse_rankings([empty, alike], method=method)
    assert sorted(fused.ranks[0].tolist()) == [1, 3]
    assert fused.ranks[1].tolist() == [NO_ROW, NO_ROW]
    assert np.isfinite(fused.scores[0]).all()
    assert fuse_rankings([empty], method=method).depth == 0


def test_a_weight_of_nothing_leaves_a_ranking_out_but_for_the_photos_it_names():
    assert fuse_rankings([ONE, OTHER], weights=(0, 1)).ranks.tolist() == [[2, 0, 1]]


@pytest.mark.parametrize(
    ("rankings", "options", "message"),
    [
        ([], {}, "at least one"),
        ([ONE, OTHER], {"method": "sum"}, "choose one of rrf, borda"),
        ([ONE, OTHER], {"weights": (1,)}, "give one each"),
        ([ONE, OTHER], {"weights": (0, 0)}, "not all 0"),
        ([ONE, OTHER], {"weights": (1, -1)}, "0 or more"),
        ([ONE, OTHER], {"weights": (1, float("nan"))}, "give one each"),
        ([ONE, ranking([(0, 1.0)], queries=("other",))], {}, "ranking 1 is of other queries"),
        ([ONE, ranking([(0, 1.0)], num_database=4)], {}, "ranking 1 is of other queries or photos"),
    ],
)
def test_what_cannot_be_fused_is_refused(rankings, options, message):
    with pytest.raises(InputError, match=message):
        fuse_rankings(rankings, **options)
