"""Turning: a query that is asked in four positions, and the best of the four for each database photo."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from meisho.arrays import read_only
from meisho.images import ImageOptions, load_sized_image
from meisho.photos import Photo
from meisho.ranking import NO_ROW, Ranking

POSITIONS = (0, 90, 180, 270)
"""Degrees, clockwise, by which a query is turned."""


def turn_photos(photos: Iterable[Photo], max_side_px: int) -> tuple[Photo, ...]:
    """Return each of Q photos in its four positions: 4 Q photos, the first of every four as it was.

    Args:
        photos: Photos; of one with a box, the box is turned alone.
        max_side_px: The longer side of the turned ones at most; larger photos are reduced.

    Raises:
        ImageError: A photo cannot be read.
    """
    options = ImageOptions(max_side_px=max_side_px, min_side_px=1, enlarge=False)
    turned: list[Photo] = []
    for photo in photos:
        pixels = load_sized_image(photo, options).pixels
        turned.append(photo)
        for quarters, degrees in enumerate(POSITIONS[1:], start=1):
            content = read_only(np.rot90(pixels, -quarters), np.uint8)
            turned.append(Photo(f"{photo.id} (turned by {degrees}°)", photo.path, content=content))
    return tuple(turned)


def merge_positions(ranking: Ranking) -> tuple[Ranking, list[dict[int, int]]]:
    """Give each database photo the best of its scores in the four positions.

    Args:
        ranking: Answers (4 Q, K) to the photos of `turn_photos`.

    Returns:
        A ranking (Q, K), best first, ties to the lower database row; and for each query the position of each
        row of it, a place in `POSITIONS`, the first where scores are equal.
    """
    step = len(POSITIONS)
    ranks, scores = np.full_like(ranking.ranks[::step], NO_ROW), np.full_like(ranking.scores[::step], -np.inf)
    position_of = np.repeat(np.arange(step), ranking.depth)
    found: list[dict[int, int]] = []
    for query in range(len(ranks)):
        rows = ranking.ranks[step * query : step * (query + 1)].ravel()
        values = ranking.scores[step * query : step * (query + 1)].ravel()
        order = np.lexsort((position_of, rows, -values))
        order = order[rows[order] != NO_ROW]
        best = order[np.sort(np.unique(rows[order], return_index=True)[1])[: ranking.depth]]
        ranks[query, : len(best)], scores[query, : len(best)] = rows[best], values[best]
        found.append(dict(zip(rows[best].tolist(), position_of[best].tolist(), strict=True)))
    return replace(ranking, query_ids=ranking.query_ids[::step], ranks=ranks, scores=scores), found
