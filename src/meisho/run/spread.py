"""Spread: how alike the photos of a collection are, by the score of each one's nearest other photo."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from meisho.arrays import Float32Array
from meisho.errors import InputError
from meisho.run.state import load_state

MOST_PHOTOS = 1000
"""Photos that are asked for their nearest; of a larger collection, evenly among all."""
_DEPTH = 64  # copies of a photo stand before its nearest other one
_WIDTH = 0.05


@dataclass(frozen=True)
class ScoreBar:
    """One bar of a histogram.

    Attributes:
        low: The least score that belongs to it.
        high: The first that does not.
        num_photos: Photos whose nearest other photo has such a score.
    """

    low: float
    high: float
    num_photos: int


@dataclass(frozen=True)
class Spread:
    """How alike photos are.

    Attributes:
        num_photos: Photos that were asked for their nearest other one.
        median: Median of its scores.
        bars: The histogram, from the least score to the highest.
    """

    num_photos: int
    median: float
    bars: tuple[ScoreBar, ...]


def nearest_scores(collection: Path, *, most: int = MOST_PHOTOS) -> Float32Array:
    """Return for photos of a collection the score of the nearest photo with another content.

    Args:
        collection: Its directory.
        most: How many photos are asked, evenly among all.

    Returns:
        (S,) from -1 to 1; a photo of which there are only copies has none.

    Raises:
        CollectionError: The collection cannot be read.
    """
    state = load_state(collection)
    contents, vectors = state.snapshot.contents, state.snapshot.descriptors.vectors
    rows = np.unique(contents)  # one photo of each content
    if not len(rows):
        return np.empty(0, np.float32)
    rows = rows[np.linspace(0, len(rows) - 1, min(len(rows), most)).astype(np.int64)]
    ranks, scores = state.index.search(np.asarray(vectors[rows]), min(_DEPTH, len(contents)))
    are_others = (ranks >= 0) & (contents[ranks] != rows[:, None])
    found: Float32Array = scores[are_others.any(axis=1), are_others.argmax(axis=1)[are_others.any(axis=1)]]
    return found


def describe_spread(scores: Float32Array) -> Spread:
    """Count scores into bars 0.05 wide.

    Raises:
        InputError: There is no score.
    """
    if not len(scores):
        raise InputError("the collection holds fewer than two different photos: none has a nearest one")
    places = np.floor(np.minimum(scores, 0.9999).astype(np.float64) / _WIDTH + 1e-6).astype(np.int64)
    low = int(places.min())
    counts = np.bincount(places - low).tolist()
    bars = tuple(
        ScoreBar(round((low + n) * _WIDTH, 2), round((low + n + 1) * _WIDTH, 2), number)
        for n, number in enumerate(counts)
    )
    return Spread(len(scores), float(np.median(scores)), bars)
