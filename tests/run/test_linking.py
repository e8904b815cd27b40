import itertools

import numpy as np
import pytest

from meisho.run.linking import LinkOptions, link


def clique(rows, probability=0.99):
    return {pair: probability for pair in itertools.combinations(rows, 2)}


def groups_of(edges, number=12, *, seed=None, **options):
    pairs, probabilities = np.array([*edges]).reshape(-1, 2), np.array([*edges.values()])
    if seed is not None:
        order = np.random.default_rng(seed).permutation(len(pairs))
        pairs, probabilities = pairs[order], probabilities[order]
    names = link(number, pairs, probabilities, LinkOptions(**options))
    return sorted(
        {tuple(np.flatnonzero(names == name).tolist()) for name in names if (names == name).sum() > 1}
    )


LEFT, RIGHT = (0, 1, 2, 3), (4, 5, 6, 7)
APART = [LEFT, RIGHT]
TWO_PLACES = clique(LEFT) | clique(RIGHT)


@pytest.mark.parametrize(
    ("between", "expected"),
    [
        ({}, APART),
        ({(3, 4): 1.0}, APART),  # one pair proves nothing, however sure
        ({(3, 4): 0.95, (3, 5): 0.95, (3, 6): 0.95}, APART),  # one photo that looks like many
        ({(3, 4): 0.95, (2, 5): 0.95}, [LEFT + RIGHT]),
        ({(3, 4): 0.95, (2, 5): 0.7}, APART),  # below `together`
    ],
)
def test_two_places_are_one_only_by_pairs_apart(between, expected):
    assert groups_of(TWO_PLACES | between) == expected


@pytest.mark.parametrize(
    ("edges", "expected"),
    [
        ({(8, 0): 0.95}, [(*LEFT, 8), RIGHT]),  # alone
        ({(8, 0): 0.85}, APART),
        ({(8, 0): 0.85, (8, 1): 0.85}, [(*LEFT, 8), RIGHT]),  # together
        ({(8, 9): 0.95}, [*APART, (8, 9)]),
        ({(8, 9): 0.85}, APART),
    ],
)
def test_a_photo_joins_by_one_sure_pair_or_by_several(edges, expected):
    assert groups_of(TWO_PLACES | edges) == sorted(expected)


def test_of_large_groups_a_share_must_be_in_pairs():
    left, right = range(10), range(10, 20)
    places = clique(left) | clique(right)
    bridge = {(row, row + 10): 0.95 for row in range(3)}
    assert groups_of(places | bridge, 20, share=0.3) == [tuple(range(20))]
    assert groups_of(places | bridge, 20, share=0.31) == [tuple(left), tuple(right)]


def test_groups_that_grow_are_asked_again():
    edges = {(0, 1): 0.99, (2, 3): 0.98, (1, 2): 0.85, (0, 3): 0.84, (4, 3): 0.83, (4, 0): 0.82}
    assert groups_of(edges) == [(0, 1, 2, 3, 4)]


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_pairs_does_not_matter(seed):
    rng = np.random.default_rng(seed)
    pairs = [pair for pair in itertools.combinations(range(12), 2) if rng.random() < 0.4]
    edges = dict(zip(pairs, rng.uniform(0.7, 1, len(pairs)).tolist(), strict=True))
    assert groups_of(edges, seed=seed) == groups_of(edges)


def test_nothing_joins_nothing():
    assert link(3, np.empty((0, 2), np.int64), np.empty(0), LinkOptions()).tolist() == [0, 1, 2]
