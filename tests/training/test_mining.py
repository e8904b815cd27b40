import numpy as np
import pytest

from meisho.errors import ConfigError
from meisho.training.mining import count_tuples, mine_tuples
from meisho.training.recipe_tables import MiningRecipe

CLASSES = np.repeat(np.arange(5), [4, 1, 3, 6, 2])
VECTORS = np.random.default_rng(0).standard_normal((16, 3)).astype(np.float32)


def describe(rows):
    return VECTORS[rows]


def mine(seed=0, **options):
    recipe = MiningRecipe(**{"num_negatives": 2, **options})
    return mine_tuples(CLASSES, describe, recipe, np.random.default_rng(seed))


def test_each_photo_with_another_of_its_landmark_asks_once():
    anchors, positives = mine()[:, :2].T
    assert sorted(anchors) == [row for row in range(16) if row != 4]  # landmark 1 has one photo
    assert (CLASSES[anchors] == CLASSES[positives]).all() and (anchors != positives).all()


def test_every_other_photo_of_the_landmark_may_be_the_positive():
    pairs = {(a, p) for seed in range(60) for a, p in mine(seed)[:, :2].tolist()}
    assert pairs == {(a, p) for a in range(16) for p in range(16) if a != p and CLASSES[a] == CLASSES[p]}


def test_negatives_are_the_most_similar_photos_one_of_each_other_landmark():
    units = VECTORS / np.linalg.norm(VECTORS, axis=1, keepdims=True)
    for anchor, _, *negatives in mine().tolist():
        best = {}
        for row in np.argsort(-(units @ units[anchor])):
            if CLASSES[row] != CLASSES[anchor]:
                best.setdefault(CLASSES[row], row)
        assert negatives == list(best.values())[:2]


def test_a_small_pool_and_few_tuples_are_drawn_and_only_they_are_described():
    described = []

    def spy(rows):
        described.extend(rows.tolist())
        return VECTORS[rows]

    recipe = MiningRecipe(num_negatives=2, max_tuples=3, max_pool=4)
    rng = np.random.default_rng(1)
    tuples = mine_tuples(CLASSES, spy, recipe, rng)
    assert tuples.shape == (3, 4) and len(described) == len(set(described)) <= 7
    assert set(tuples[:, [0, 2, 3]].ravel()) <= set(described)


def test_the_generator_alone_decides():
    assert (mine(3) == mine(3)).all() and (mine(3) != mine(4)).any()


def test_more_negatives_than_other_landmarks_are_refused():
    assert count_tuples(CLASSES, MiningRecipe(num_negatives=4)) == 15
    with pytest.raises(
        ConfigError, match="num_negatives=5: each is of another landmark, of which there are 4"
    ):
        count_tuples(CLASSES, MiningRecipe(num_negatives=5))
    with pytest.raises(ConfigError, match="of which there are 2"):
        count_tuples(CLASSES, MiningRecipe(num_negatives=3, max_pool=3))
