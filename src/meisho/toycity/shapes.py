"""Solid shapes from rings and paths: columns, limbs, boulders, vaults; their texture wraps around them."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from meisho.arrays import Float64Array
from meisho.toycity.surfaces import ROUNDED_TO, Surface, Texture, box, slope

Vector = tuple[float, float, float]
LEAST_EDGE_M = 1e-3


def ring(
    center: Vector, radii: tuple[float, float], *, sides: int = 10, turn_rad: float = 0.0
) -> Float64Array:
    """Return a level ellipse: (sides, 3), metres, anticlockwise from above."""
    angles = 2 * np.pi * (np.arange(sides) + 0.5) / sides
    x, y = radii[0] * np.cos(angles), radii[1] * np.sin(angles)
    cos, sin = np.cos(turn_rad), np.sin(turn_rad)
    flat = np.column_stack([cos * x - sin * y, sin * x + cos * y, np.zeros(sides)])
    found: Float64Array = flat + np.array(center)
    return found


def loft(
    rings: Sequence[Float64Array], texture: Texture, *, facade: bool = True, closed: bool = True
) -> list[Surface]:
    """Return the bands between rings of one length (N, 3), from the lowest to the highest.

    Args:
        rings: The rings, anticlockwise from above.
        texture: Wrapped around all bands, so that a point has the same texel in every photo.
        facade: Whether its points count for labels.
        closed: Whether each ring's last point joins its first.
    """
    count = len(rings[0])
    widest = max(rings, key=_girth)
    steps = np.linalg.norm(np.roll(widest, -1, axis=0) - widest, axis=1)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    high = np.cumsum([0.0] + [float(np.linalg.norm(b - a, axis=1).mean()) for a, b in pairwise(rings)])
    parts = []
    for level, (low, top) in enumerate(pairwise(rings)):
        for i in range(count if closed else count - 1):
            j = (i + 1) % count
            band = patch([low[i], low[j], top[j], top[i]], texture, facade=facade)
            if band is not None:
                parts.append(laid(band, float(along[i]), texture.size_m[1] - float(high[level])))
    return parts


def _girth(points: Float64Array) -> float:
    return float(np.linalg.norm(np.roll(points, -1, axis=0) - points, axis=1).sum())


def patch(corners: Sequence[Float64Array], texture: Texture, *, facade: bool = False) -> Surface | None:
    """Return a polygon without its doubled corners, or None if fewer than three are left."""
    points = [np.asarray(c, dtype=np.float64).round(ROUNDED_TO) for c in corners]
    kept = [p for i, p in enumerate(points) if np.linalg.norm(p - points[i - 1]) > LEAST_EDGE_M]
    if len(kept) < 3:
        return None
    first, second, last = kept[0], kept[1], kept[-1]
    if np.linalg.norm(np.cross(second - first, last - first)) < LEAST_EDGE_M**2:
        return None
    return replace(slope([p.tolist() for p in kept], texture), facade=facade)


def laid(surface: Surface, column_m: float, row_m: float) -> Surface:
    """Shift a surface's texture so that its first corner shows the texel (column_m, row_m), metres."""
    return replace(surface, origin=surface.corners[0] - surface.u * column_m - surface.v * row_m)


def tube(
    path: Sequence[Vector], radii: Sequence[float], texture: Texture, *, sides: int = 6, facade: bool = True
) -> list[Surface]:
    """Return a limb along a path: a radius, metres, at each of its points; radius 0 closes an end."""
    points = np.array(path, dtype=np.float64)
    ways = np.gradient(points, axis=0)
    ways = ways / np.linalg.norm(ways, axis=1, keepdims=True)
    angles = 2 * np.pi * (np.arange(sides) + 0.5) / sides
    rings = []
    for point, way, radius in zip(points, ways, radii, strict=True):
        aside = np.cross([0.0, 1.0, 0.0], way) if abs(way[1]) < 0.9 else np.cross([0.0, 0.0, 1.0], way)
        aside = aside / np.linalg.norm(aside)
        other = np.cross(way, aside)
        rings.append(point + radius * (np.cos(angles)[:, None] * aside + np.sin(angles)[:, None] * other))
    return loft(rings, texture, facade=facade)


def ball(
    center: Vector, radii: Vector, texture: Texture, *, sides: int = 8, bands: int = 4, facade: bool = True
) -> list[Surface]:
    """Return an ellipsoid with radii along x, y and z, metres."""
    heights = np.linspace(-np.pi / 2, np.pi / 2, bands + 1)
    x, y, z = center
    rings = [
        ring(
            (x, y, z + radii[2] * float(np.sin(h))),
            (radii[0] * float(np.cos(h)), radii[1] * float(np.cos(h))),
            sides=sides,
        )
        for h in heights
    ]
    return loft(rings, texture, facade=facade)


def block(x: Sequence[float], y: Sequence[float], z: Sequence[float], texture: Texture) -> list[Surface]:
    """Return a box of one material with a lid, all of whose sides count for labels."""
    parts = box((x[0], x[1]), (y[0], y[1]), (z[0], z[1]), texture, texture, roof=texture)
    return [replace(part, facade=True) for part in parts]


def turned(parts: Sequence[Surface], angle_rad: float, pivot: tuple[float, float]) -> list[Surface]:
    """Turn surfaces anticlockwise around the upright axis through `pivot`."""
    cos, sin = round(float(np.cos(angle_rad)), 9), round(float(np.sin(angle_rad)), 9)
    turn, at = np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]]), np.array([*pivot, 0.0])
    return [
        replace(
            part,
            corners=((part.corners - at) @ turn.T + at).round(ROUNDED_TO),
            origin=(turn @ (part.origin - at) + at).round(ROUNDED_TO),
            u=(turn @ part.u).round(9),
            v=(turn @ part.v).round(9),
        )
        for part in parts
    ]


def moved(parts: Sequence[Surface], shift: Vector) -> list[Surface]:
    """Move surfaces by a vector, metres."""
    by = np.array(shift)
    return [replace(part, corners=part.corners + by, origin=part.origin + by) for part in parts]
