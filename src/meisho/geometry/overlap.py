"""Overlap: how much of each of two photos the other shows, by the geometry that relates them."""

import math
from typing import NamedTuple

import numpy as np

from meisho.arrays import Float64Array
from meisho.geometry.ransac import Points, Verification

Frame = tuple[float, float, float, float]
"""x0, y0, x1, y1 of a part of a photo, px."""

_NEAR_HORIZON = 1e-3
"""Depth, of that in the middle of the inliers, below which a homography says nothing more."""


class Overlap(NamedTuple):
    """What a geometry says of two photos.

    Attributes:
        of_query: Share of the query's frame that the other photo shows, 0 to 1.
        of_photo: Share of the other's that the query shows.
        slant: 1 less the cosine of the turn times the ratio of the least zoom to the largest, in the middle
            of the inliers: 0 for a map that only moves and scales, 1 for a turn by 90 degrees, or to a line.
    """

    of_query: float
    of_photo: float
    slant: float


def measure_overlap(
    verification: Verification, query_points: Points, query: Frame, photo: Frame
) -> Overlap | None:
    """Measure how two photos overlap; None where no map was found (a fundamental matrix is none).

    Args:
        verification: The geometry that was found.
        query_points: (M, 2) x, y in px of the query's side of the matches.
        query: What of the query was asked with.
        photo: What of the other was looked at.
    """
    H = verification.query_to_database
    if H is None or verification.model == "fundamental" or not verification.num_inliers:
        return None
    middle = query_points[verification.inliers].mean(axis=0, dtype=np.float64)
    depth = H[2, :2] @ middle + H[2, 2]
    if depth == 0:
        return None
    H = H / depth
    seen = _clip(_corners(query), np.array([*H[2, :2], H[2, 2] - _NEAR_HORIZON]))
    seen = _map(H, seen)
    for line in _sides(photo):
        seen = _clip(seen, line)
    inverse = np.linalg.pinv(H)
    return Overlap(_share(_map(inverse, seen), query), _share(seen, photo), _slant(_jacobian(H, middle)))


def _corners(frame: Frame) -> Float64Array:
    x0, y0, x1, y1 = frame
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], np.float64)


def _sides(frame: Frame) -> Float64Array:
    """Return lines (4, 3) that are positive inside a frame."""
    x0, y0, x1, y1 = frame
    return np.array([[1, 0, -x0], [-1, 0, x1], [0, 1, -y0], [0, -1, y1]], np.float64)


def _clip(polygon: Float64Array, line: Float64Array) -> Float64Array:
    """Return the part of a convex polygon (P, 2) where a line (3,) is not negative."""
    heights = polygon @ line[:2] + line[2]
    kept: list[Float64Array] = []
    for place, (point, height) in enumerate(zip(polygon, heights, strict=True)):
        before, its_height = polygon[place - 1], heights[place - 1]
        if (height >= 0) != (its_height >= 0):
            kept.append(before + (point - before) * (its_height / (its_height - height)))
        if height >= 0:
            kept.append(point)
    return np.array(kept, np.float64).reshape(-1, 2)


def _map(H: Float64Array, points: Float64Array) -> Float64Array:
    there = points @ H[:, :2].T + H[:, 2]
    mapped: Float64Array = there[:, :2] / there[:, 2:]
    return mapped


def _share(polygon: Float64Array, frame: Frame) -> float:
    """Return the area of a convex polygon as a share of a frame."""
    x, y = polygon.T
    area = abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2
    whole = (frame[2] - frame[0]) * (frame[3] - frame[1])
    return float(min(area / whole, 1.0)) if whole > 0 else 0.0


def _jacobian(H: Float64Array, point: Float64Array) -> Float64Array:
    """Return the derivative (2, 2) of a homography whose depth at the point is 1."""
    there = H[:2, :2] @ point + H[:2, 2]
    derivative: Float64Array = H[:2, :2] - np.outer(there, H[2, :2])
    return derivative


def _slant(jacobian: Float64Array) -> float:
    largest, least = np.linalg.svd(jacobian, compute_uv=False)
    turn = math.atan2(jacobian[1, 0] - jacobian[0, 1], jacobian[0, 0] + jacobian[1, 1])
    return float(1 - max(math.cos(turn), 0.0) * least / largest) if largest > 0 else 1.0
