"""Planar textured polygons, which make up everything in the city.

World frame: metres, x to the right along the street, y away from the street, z up; the landmark's main
facade stands on y = 0 and faces -y. A texture's pixel (column, row) lies on its surface at
`origin + u * column / px_per_m + v * row / px_per_m`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import cv2
import numpy as np

from meisho.arrays import Float64Array, UInt8Array

Point = tuple[float, float]
ROUNDED_TO = 4
"""Decimals kept of a corner in metres, so that no machine's last bit reaches the drawing."""


@dataclass(frozen=True, eq=False)
class Texture:
    """A picture at a known scale, with smaller copies to avoid aliasing.

    Attributes:
        image: (H, W, 4) uint8: RGB, and a fourth channel: opacity if `cutout`, otherwise how much a pixel
            glows at night.
        px_per_m: Pixels per metre.
        cutout: Whether the fourth channel is opacity.
        levels: Copies of `image`, each half the size of the one before; computed from it.
    """

    image: UInt8Array
    px_per_m: float
    cutout: bool = False
    levels: tuple[UInt8Array, ...] = field(init=False)

    def __post_init__(self) -> None:
        levels = [self.image]
        while min(levels[-1].shape[:2]) >= 8 and len(levels) < 6:
            height, width = levels[-1].shape[:2]
            even = levels[-1][: height // 2 * 2, : width // 2 * 2]
            levels.append(cv2.resize(even, (width // 2, height // 2), interpolation=cv2.INTER_AREA))
        object.__setattr__(self, "levels", tuple(levels))

    @property
    def size_m(self) -> Point:
        """Width and height, metres."""
        return self.image.shape[1] / self.px_per_m, self.image.shape[0] / self.px_per_m


@dataclass(frozen=True, eq=False)
class Surface:
    """A planar convex polygon with a texture.

    Attributes:
        corners: (N, 3) float64, metres, in order around the polygon.
        origin: (3,) position of the texture's top-left corner, metres.
        u: (3,) unit vector along texture columns.
        v: (3,) unit vector along texture rows; the surface is visible from the side of `v x u`.
        texture: The texture; repeated if the surface is larger.
        facade: Whether its points count for labels and correspondences.
        two_sided: Whether it is also visible from behind.
        grows: Whether it is leaves or grass, whose colour changes with the season.
        normal: (3,) unit vector towards the visible side; computed from `u` and `v`.
    """

    corners: Float64Array
    origin: Float64Array
    u: Float64Array
    v: Float64Array
    texture: Texture
    facade: bool = False
    two_sided: bool = False
    grows: bool = False
    normal: Float64Array = field(init=False)

    def __post_init__(self) -> None:
        (a, b, c), (x, y, z) = self.v, self.u
        object.__setattr__(self, "normal", np.array([b * z - c * y, c * x - a * z, a * y - b * x]))


def _rounded(values: Sequence[Sequence[float]] | Float64Array) -> Float64Array:
    rounded: Float64Array = np.asarray(values, dtype=np.float64).round(ROUNDED_TO)
    return rounded


def wall_polygon(
    left: Point,
    right: Point,
    top_z: float,
    outline: Sequence[Point],
    texture: Texture,
    *,
    facade: bool = False,
) -> Surface:
    """Return a polygon on the vertical plane through the ground points `left` and `right`, seen from outside.

    Args:
        left: (x, y) of the plane's left edge, metres.
        right: (x, y) of its right edge, metres.
        top_z: Height of the texture's top edge, metres.
        outline: Corners as (distance from the left edge, height z), metres.
        texture: The texture.
        facade: Whether its points count for labels.
    """
    start, end = np.array([*left, 0.0]), np.array([*right, 0.0])
    along = (end - start) / np.linalg.norm(end - start)
    corners = [start + along * s + np.array([0.0, 0.0, z]) for s, z in outline]
    origin = start + np.array([0.0, 0.0, top_z])
    return Surface(
        _rounded(corners), _rounded(origin[None])[0], along, np.array([0.0, 0.0, -1.0]), texture, facade
    )


def wall(
    left: Point, right: Point, z0: float, z1: float, texture: Texture, *, facade: bool = False
) -> Surface:
    """Return a vertical rectangle between the ground points `left` and `right`, seen from outside."""
    width = float(np.hypot(right[0] - left[0], right[1] - left[1]))
    return wall_polygon(left, right, z1, [(0, z1), (width, z1), (width, z0), (0, z0)], texture, facade=facade)


def slope(corners: Sequence[Sequence[float]], texture: Texture, *, two_sided: bool = False) -> Surface:
    """Return a tilted polygon; its first two corners are the lower edge, from left to right."""
    points = _rounded(corners)
    along = points[1] - points[0]
    along = along / np.linalg.norm(along)
    up = points[-1] - points[0]
    up = up - along * (up @ along)
    down = -up / np.linalg.norm(up)
    shifts = points - points[0]
    origin = points[0] + along * (shifts @ along).min() + down * (shifts @ down).min()
    return Surface(points, origin, along, down, texture, two_sided=two_sided)


def floor(x: Point, y: Point, z: float, texture: Texture) -> Surface:
    """Return a horizontal rectangle over the ranges `x` and `y`, seen from above."""
    return slope([(x[0], y[0], z), (x[1], y[0], z), (x[1], y[1], z), (x[0], y[1], z)], texture)


def box(
    x: Point,
    y: Point,
    z: Point,
    front: Texture,
    side: Texture,
    *,
    facade: bool = False,
    roof: Texture | None = None,
) -> list[Surface]:
    """Return the walls of a box over the ranges `x`, `y`, `z`; `front` faces -y."""
    (x0, x1), (y0, y1), (z0, z1) = x, y, z
    walls = [
        wall((x0, y0), (x1, y0), z0, z1, front, facade=facade),
        wall((x1, y0), (x1, y1), z0, z1, side, facade=facade),
        wall((x0, y1), (x0, y0), z0, z1, side, facade=facade),
        wall((x1, y1), (x0, y1), z0, z1, side),
    ]
    return walls if roof is None else [*walls, floor(x, y, z1, roof)]


def frustum(x: Point, y: Point, z: Point, top_x: Point, top_y: Point, texture: Texture) -> list[Surface]:
    """Return the four slopes from the rectangle (x, y) at z[0] to the rectangle (top_x, top_y) at z[1]."""
    low = [(x[0], y[0]), (x[1], y[0]), (x[1], y[1]), (x[0], y[1])]
    high = [(top_x[0], top_y[0]), (top_x[1], top_y[0]), (top_x[1], top_y[1]), (top_x[0], top_y[1])]
    slopes = []
    for a, b in ((0, 1), (1, 2), (2, 3), (3, 0)):
        corners = [(*low[a], z[0]), (*low[b], z[0]), (*high[b], z[1]), (*high[a], z[1])]
        kept = [c for i, c in enumerate(corners) if c not in corners[:i]]
        if len(kept) >= 3:
            slopes.append(slope(kept, texture))
    return slopes


def revolve(
    center: Point, profile: Sequence[Point], texture: Texture, *, sides: int = 12, facade: bool = False
) -> list[Surface]:
    """Return the bands of a solid of revolution around a vertical axis.

    Args:
        center: (x, y) of the axis, metres.
        profile: (radius, z) from bottom to top, metres.
        texture: The texture of each band.
        sides: Number of flat sides.
        facade: Whether its points count for labels.
    """
    angles = 2 * np.pi * (np.arange(sides + 1) + 0.5) / sides
    ring = np.round(np.stack([np.cos(angles), np.sin(angles)], axis=1), 6)
    bands = []
    for (r0, z0), (r1, z1) in pairwise(profile):
        for a, b in pairwise(ring):
            low = [(center[0] + r0 * p[0], center[1] + r0 * p[1], z0) for p in (a, b)]
            high = [(center[0] + r1 * p[0], center[1] + r1 * p[1], z1) for p in (b, a)]
            bands.append(slope(low + (high if r1 > 0 else high[:1]), texture))
    return [replace(band, facade=facade) for band in bands]
