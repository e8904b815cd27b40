"""Mining: a network's descriptors -> tuples of photos that are hard to tell apart, for one epoch.

Source: Radenović et al. 2018, arXiv:1711.02512, section 3: negatives are mined anew before each epoch, at
most one of each landmark. There positives come from 3-D models; here any other photo of the landmark is one.
"""

from collections.abc import Callable

import numpy as np
import torch

from meisho.arrays import Float32Array, Int64Array
from meisho.errors import ConfigError
from meisho.layers.pair_losses import mine_negatives
from meisho.training.recipe_tables import MiningRecipe
from meisho.training.sampling import draw_balanced, sort_by_class

Describe = Callable[[Int64Array], Float32Array]
"""(R,) rows of the training set -> their (R, D) descriptors."""


def count_tuples(classes: Int64Array, recipe: MiningRecipe) -> int:
    """Return how many tuples an epoch has: one for each photo with another of its landmark, up to the limit.

    Args:
        classes: (N,) landmark of each photo.
        recipe: What to mine.

    Raises:
        ConfigError: There are fewer other landmarks than negatives.
    """
    sizes = np.bincount(classes)
    others = min(int(np.count_nonzero(sizes)), recipe.max_pool) - 1
    if others < recipe.num_negatives:
        raise ConfigError(
            f"mining.num_negatives={recipe.num_negatives}: each is of another landmark, of which there are "
            f"{others}"
        )
    return min(recipe.max_tuples, int(np.count_nonzero(sizes[classes] > 1)))


def mine_tuples(
    classes: Int64Array, describe: Describe, recipe: MiningRecipe, rng: np.random.Generator
) -> Int64Array:
    """Return (T, 2 + M) int64 rows: a photo, another of its landmark, and the photos most like the first.

    Args:
        classes: (N,) landmark of each photo.
        describe: Called once, with the rows of the photos that ask and of those that are sought among.
        recipe: What to mine.
        rng: Draws the photos.
    """
    anchors = rng.permutation(np.flatnonzero(np.bincount(classes)[classes] > 1))
    anchors = anchors[: count_tuples(classes, recipe)]
    pool = np.arange(len(classes))
    if recipe.max_pool < len(pool):
        pool = np.unique(draw_balanced(classes, 1, rng, recipe.max_pool))
    rows = np.union1d(anchors, pool)
    vectors = torch.from_numpy(describe(rows).copy())
    labels = torch.from_numpy(classes.copy())
    places, pool_places = np.searchsorted(rows, anchors), np.searchsorted(rows, pool)
    negatives = mine_negatives(
        vectors[places],
        labels[anchors],
        vectors[pool_places],
        labels[pool],
        num_negatives=recipe.num_negatives,
    )
    positives = _draw_positives(classes, anchors, rng)
    return np.column_stack([anchors, positives, pool[negatives.numpy()]])


def _draw_positives(classes: Int64Array, anchors: Int64Array, rng: np.random.Generator) -> Int64Array:
    """Draw another photo of each anchor's landmark."""
    grouped = sort_by_class(classes, rng)
    place = np.argsort(grouped.rows)[anchors]
    group = np.searchsorted(grouped.starts, place, side="right") - 1
    start, count = grouped.starts[group], grouped.counts[group]
    positives: Int64Array = grouped.rows[start + (place - start + rng.integers(1, count)) % count]
    return positives
